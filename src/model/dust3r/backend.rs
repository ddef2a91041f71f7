//! The family behind the `ReconstructionModel` socket.

use std::sync::Arc;

use image::RgbImage;

use super::checkpoint::Family;
use super::encoder::Encoded;
use super::failed;
use super::fast3r::ImageIds;
use super::maps::ViewMaps;
use super::network::Network;
use super::pair::PairNetwork;
use super::preprocess::{FamilyFitting, planes};
use super::reconstruct::{
    ManyOptions, PairGeometry, ReconstructedView, Reconstruction, SparseOptions, own_view,
    reconstruct_global, reconstruct_many, reconstruct_sparse,
};
use super::resample::pointmap;
use crate::alignment::global::GlobalConfig;
use crate::error::Result;
use crate::geometry::Camera;
use crate::inference::{Prediction, ReconstructionModel, View, ViewGeometry};

/// Draws Fast3R's ids; any number would do.
const IDS_SEED: u64 = 1;
/// Pixels with sensor depth that tell the scale of a view.
const MIN_SCALE_PIXELS: usize = 100;

/// How windows are looked at.
#[derive(Debug, Clone)]
pub struct BackendOptions {
    /// Views of a window that are looked at together.
    pub max_views: usize,
    /// The longer side of images, pixels.
    pub long_side_px: usize,
}

impl Default for BackendOptions {
    fn default() -> Self {
        Self { max_views: 4, long_side_px: 512 }
    }
}

/// DUSt3R, MASt3R or Fast3R as a source of geometry.
///
/// One view alone is paired with itself. Lengths of DUSt3R and Fast3R have no unit; where frames
/// have depth, its median makes them metres.
#[derive(Debug)]
pub struct FamilyBackend {
    network: Arc<Network>,
    options: BackendOptions,
}

impl FamilyBackend {
    /// Returns the back end with a loaded network, which others may use, too.
    pub fn new(network: impl Into<Arc<Network>>, options: BackendOptions) -> Self {
        Self { network: network.into(), options }
    }

    fn reconstruct(&self, encoded: &[Encoded]) -> Result<Reconstruction> {
        match &*self.network {
            Network::Fast3r(network) => {
                let views: Vec<&Encoded> = encoded.iter().collect();
                let views = network.infer(&views, &ImageIds::Seeded(IDS_SEED))?;
                reconstruct_many(&views, &ManyOptions::default())
            }
            Network::Pair(network) => reconstruct_pairs(network, encoded),
        }
    }

    fn encode(&self, image: &RgbImage) -> Result<Encoded> {
        let planes = planes(image)?;
        match &*self.network {
            Network::Pair(network) => network.encode(&[&planes]),
            Network::Fast3r(network) => network.encode(&planes),
        }
    }
}

fn reconstruct_pairs(network: &PairNetwork, encoded: &[Encoded]) -> Result<Reconstruction> {
    let is_metric = network.family() == Family::Mast3r;
    if let [only] = encoded {
        let maps: ViewMaps = network.pair(only, only)?.first;
        let views = vec![own_view(&maps)];
        return Ok(Reconstruction { views, tracks: Vec::new(), is_metric, loss: None });
    }
    let sizes: Vec<(usize, usize)> = encoded.iter().map(Encoded::image_size).collect();
    let orders = (0..encoded.len()).flat_map(|i| (i + 1..encoded.len()).map(move |j| [i, j]));
    let pairs = orders.map(|[i, j]| {
        Ok(([i, j], PairGeometry::of(&network.symmetric(&encoded[i], &encoded[j])?)?))
    });
    if is_metric {
        reconstruct_sparse(&sizes, pairs, &SparseOptions::default(), &|_| ())
    } else {
        let pairs = pairs.collect::<Result<Vec<_>>>()?;
        reconstruct_global(&sizes, &pairs, &GlobalConfig::default(), &|_| ())
    }
}

impl ReconstructionModel for FamilyBackend {
    fn name(&self) -> &'static str {
        self.network.family().name()
    }

    fn max_views(&self) -> usize {
        self.options.max_views
    }

    fn infer(&mut self, views: &[View<'_>]) -> Result<Prediction> {
        let fittings = views.iter().map(|view| {
            let color = &view.frame.color;
            let (width, height) = (color.width() as usize, color.height() as usize);
            FamilyFitting::new(width, height, self.options.long_side_px)
        });
        let fittings = fittings.collect::<Result<Vec<_>>>()?;
        let encoded = views
            .iter()
            .zip(&fittings)
            .map(|(view, fitting)| self.encode(&fitting.image(&view.frame.color)?));
        let encoded = encoded.collect::<Result<Vec<_>>>()?;
        let scene = self.reconstruct(&encoded)?;
        let (scene, is_metric) = in_metres(scene, views, &fittings);
        let geometry = views.iter().zip(&fittings).zip(&scene.views).zip(&encoded);
        let geometry = geometry.map(|(((view, fitting), reconstructed), encoded)| {
            let descriptor = encoded.descriptor().map_err(failed(self.name()))?;
            let geometry = geometry_of(view, fitting, reconstructed)?;
            Ok(ViewGeometry { descriptor: Some(descriptor), ..geometry })
        });
        Ok(Prediction { views: geometry.collect::<Result<_>>()?, is_metric })
    }
}

fn geometry_of(
    View { frame, priors }: &View<'_>,
    fitting: &FamilyFitting,
    view: &ReconstructedView,
) -> Result<ViewGeometry> {
    let camera = match priors.camera {
        Some(camera) => camera,
        None => {
            let intrinsics = fitting.original_intrinsics(&view.intrinsics);
            Camera::pinhole(intrinsics, frame.color.width(), frame.color.height())?
        }
    };
    Ok(ViewGeometry {
        pointmap: pointmap(view, fitting, &camera)?,
        camera,
        window_from_camera: Some(view.world_from_camera),
        descriptor: None,
    })
}

/// The scene in metres, where the network or the frames' depth say how long one is.
fn in_metres(
    scene: Reconstruction,
    views: &[View<'_>],
    fittings: &[FamilyFitting],
) -> (Reconstruction, bool) {
    if scene.is_metric {
        return (scene, true);
    }
    let mut ratios: Vec<f64> = Vec::new();
    for ((view, fitting), found) in views.iter().zip(fittings).zip(&scene.views) {
        let Some(depth) = view.priors.depth.filter(|_| view.priors.is_metric) else { continue };
        ratios.extend(depth_ratios(depth.raster(), fitting, found));
    }
    if ratios.len() < MIN_SCALE_PIXELS {
        return (scene, false);
    }
    let middle = ratios.len() / 2;
    let factor = *ratios.select_nth_unstable_by(middle, f64::total_cmp).1;
    (scene.scaled(factor), true)
}

/// Measured depth over that of the network, where there are both.
fn depth_ratios(
    measured: &crate::raster::Raster<f32>,
    fitting: &FamilyFitting,
    view: &ReconstructedView,
) -> Vec<f64> {
    let pixels = (0..view.depth.height())
        .step_by(4)
        .flat_map(|y| (0..view.depth.width()).step_by(4).map(move |x| (x, y)));
    let ratio = |(x, y): (usize, usize)| {
        let [column, row] = fitting.original_pixel([x as f64, y as f64]);
        let truth = measured.get(column.round() as i64, row.round() as i64)?;
        let depth = view.depth.at(x, y);
        (truth > 0.0 && depth > 0.0).then(|| f64::from(truth) / f64::from(depth))
    };
    pixels.filter_map(ratio).collect()
}
