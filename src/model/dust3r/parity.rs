//! Comparison with recorded runs of the reference implementation.
//!
//! A case is a safetensors file with images, intermediate results (`tap.`) and outputs (`out.`) of
//! one call. Part of the library, so that any program can check a model where it is to run.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Device, Tensor, safetensors};

use super::encoder::ImagePlanes;
use super::fast3r::{Fast3rNetwork, ImageIds};
use super::maps::ViewMaps;
use super::pair::PairNetwork;
use super::{Encoded, Network};
use crate::error::{Error, Result};
use crate::model::mapanything::parity::Comparison;
use crate::model::mapanything::taps::Taps;

/// The largest difference, relative to the largest number of the reference's result.
pub const LIMIT: f64 = 1e-5;

/// Returns how each recorded result of the case at `path` compares with ours, sorted by name, with
/// `limit` for each. Results that are not recorded here are left out.
///
/// # Errors
/// Where the case cannot be understood, or the network cannot be computed.
pub fn compare(network: &Network, path: &Path, limit: f64) -> Result<Vec<Comparison>> {
    let unreadable = |error: candle_core::Error| {
        Error::input(path, format!("no case that can be read ({error})"), "record it again")
    };
    let case = safetensors::load(path, &Device::Cpu).map_err(unreadable)?;
    let taps = Taps::on(case.keys().filter_map(|name| Some(name.strip_prefix("tap.")?.to_owned())));
    let mut ours = match network {
        Network::Pair(network) => pair_results(network, &case, &taps)?,
        Network::Fast3r(network) => fast3r_results(network, &case, &taps)?,
    };
    for (name, tensor) in taps.into_results() {
        ours.insert(format!("tap.{name}"), numbers(&tensor).map_err(unreadable)?);
    }
    let mut comparisons = Vec::new();
    for (name, ours) in ours {
        let Some(theirs) = case.get(&name) else { continue };
        let theirs = numbers(theirs).map_err(unreadable)?;
        // Heads run view by view: their taps are those of the last.
        let theirs = if name.starts_with("tap.") && ours.len() < theirs.len() {
            &theirs[theirs.len() - ours.len()..]
        } else {
            &theirs
        };
        let error = relative_error(&ours, theirs);
        comparisons.push(Comparison { name, error, limit: Some(limit) });
    }
    Ok(comparisons)
}

/// The largest difference relative to the largest number; not a number where the sizes differ.
fn relative_error(ours: &[f32], theirs: &[f32]) -> f64 {
    if ours.len() != theirs.len() || ours.iter().any(|x| x.is_nan()) {
        return f64::NAN;
    }
    let difference = ours.iter().zip(theirs).map(|(a, b)| f64::from((a - b).abs()));
    let largest = theirs.iter().map(|x| f64::from(x.abs())).fold(f64::MIN_POSITIVE, f64::max);
    difference.fold(0.0, f64::max) / largest
}

fn numbers(tensor: &Tensor) -> candle_core::Result<Vec<f32>> {
    tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
}

type Results = BTreeMap<String, Vec<f32>>;

fn image(case: &HashMap<String, Tensor>, name: &str) -> Option<Result<ImagePlanes>> {
    let tensor = case.get(name)?;
    let (_, _, height, width) = tensor.dims4().ok()?;
    Some(ImagePlanes::new(width, height, numbers(tensor).ok()?))
}

fn pair_results(
    network: &PairNetwork,
    case: &HashMap<String, Tensor>,
    taps: &Taps,
) -> Result<Results> {
    let missing = || Error::Usage("the case is of another model: it has no image of a pair".into());
    let first = image(case, "in.img1").ok_or_else(missing)??;
    let second = image(case, "in.img2").ok_or_else(missing)??;
    let maps = network.tapped([&first, &second], taps)?;
    let mut results = Results::new();
    put(&mut results, "out.view1", ["pts3d", "conf"], &maps.first);
    put(&mut results, "out.view2", ["pts3d_in_other_view", "conf"], &maps.second);
    Ok(results)
}

fn fast3r_results(
    network: &Fast3rNetwork,
    case: &HashMap<String, Tensor>,
    taps: &Taps,
) -> Result<Results> {
    let images = (0..).map_while(|i| image(case, &format!("in.img{i}")));
    let images = images.collect::<Result<Vec<_>>>()?;
    let ids = case.get("in.image_ids").and_then(|ids| ids.to_vec1::<i64>().ok());
    let ids = ids.unwrap_or_default().into_iter().map(|id| id as usize).collect();
    let encoded = images.iter().map(|image| network.encode(image)).collect::<Result<Vec<_>>>()?;
    let encoded: Vec<&Encoded> = encoded.iter().collect();
    let views = network.infer_tapped(&encoded, &ImageIds::Given(ids), taps)?;
    let mut results = Results::new();
    for (i, view) in views.iter().enumerate() {
        let name = format!("out.view{i}");
        put(&mut results, &name, ["pts3d_in_other_view", "conf"], &view.global);
        if let Some(local) = &view.local {
            put(&mut results, &name, ["pts3d_local", "conf_local"], local);
        }
    }
    Ok(results)
}

fn put(results: &mut Results, view: &str, [points, confidence]: [&str; 2], maps: &ViewMaps) {
    let xyz = maps.points.values().iter().flat_map(|p| [p.x, p.y, p.z]).collect();
    results.insert(format!("{view}.{points}"), xyz);
    results.insert(format!("{view}.{confidence}"), maps.confidence.values().to_vec());
    if let Some(descriptors) = &maps.descriptors {
        results.insert(format!("{view}.desc"), descriptors.values.clone());
        results.insert(format!("{view}.desc_conf"), descriptors.confidence.clone());
    }
}
