//! The network on the GPU beside the reference's intermediate results and outputs.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Tensor};
use recon_node::model::mapanything::Checkpoint;
use recon_node::model::mapanything::fusion::ViewPriors;
use recon_node::model::mapanything::network::{Network, RawOutput};
use recon_node::model::mapanything::taps::Taps;
use recon_node::model::nn;

use super::table::markdown;

/// Four times the limit on the CPU: other orders of summation.
const F32_LIMIT: f64 = 2e-4;
/// Relative, of depths and of the scale; bf16 has 8 bits of mantissa.
const BF16_DEPTH_LIMIT: f64 = 0.02;
const BF16_SCALE_LIMIT: f64 = 0.01;
const DEPTH_CHANNEL: usize = 3;

/// How far one case is off.
pub struct Parity {
    case: String,
    /// Largest absolute error in f32, and where.
    f32: (f64, String),
    bf16_depth: f64,
    bf16_scale: f64,
}

impl Parity {
    /// Returns whether all errors are within their limits.
    pub fn passed(&self) -> bool {
        self.f32.0 <= F32_LIMIT
            && self.bf16_depth <= BF16_DEPTH_LIMIT
            && self.bf16_scale <= BF16_SCALE_LIMIT
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.case.clone(),
            format!("{:.1e}", self.f32.0),
            self.f32.1.clone(),
            format!("{:.2} %", 100.0 * self.bf16_depth),
            format!("{:.2} %", 100.0 * self.bf16_scale),
            if self.passed() { "yes".to_owned() } else { "**NO**".to_owned() },
        ]
    }
}

/// Returns the table of all cases.
pub fn table(cases: &[Parity]) -> String {
    let heads = ["case", "f32, worst error", "of", "bf16, depth", "bf16, scale", "within limits"];
    markdown(&heads, &cases.iter().map(Parity::row).collect::<Vec<_>>())
}

/// Returns how far every case of the fixtures in `folder` is off: a model, `manifest.json`, and a
/// safetensors file for each case.
pub fn check(device: &Device, folder: &Path) -> Result<Vec<Parity>> {
    let manifest = std::fs::read_to_string(folder.join("manifest.json"))
        .with_context(|| format!("{}: no manifest.json", folder.display()))?;
    let manifest: serde_json::Value = serde_json::from_str(&manifest)?;
    let cases = manifest.pointer("/cases").and_then(|cases| cases.as_object());
    let cases = cases.context("manifest.json lists no cases")?;
    let load = |dtype| -> Result<Network> {
        let checkpoint = Checkpoint::open(folder, (device, dtype), false)?;
        Ok(Network::load(&checkpoint.weights, &checkpoint.architecture)?)
    };
    let (exact, rounded) = (load(DType::F32)?, load(DType::BF16)?);
    let model = folder.file_name().map(|name| name.to_string_lossy().into_owned());
    let mut found = Vec::new();
    for (name, settings) in cases {
        let file = folder.join(format!("{name}.safetensors"));
        if !file.is_file() {
            continue;
        }
        let tensors = candle_core::safetensors::load(&file, &Device::Cpu)?;
        let case = Case { tensors, settings };
        let (f32, bf16) = (case.f32_error(&exact)?, case.bf16_errors(&rounded)?);
        let case = format!("{} {name}", model.as_deref().unwrap_or_default());
        found.push(Parity { case, f32, bf16_depth: bf16.0, bf16_scale: bf16.1 });
    }
    ensure!(!found.is_empty(), "{}: there is no case", folder.display());
    Ok(found)
}

struct Case<'a> {
    tensors: HashMap<String, Tensor>,
    settings: &'a serde_json::Value,
}

impl Case<'_> {
    fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.tensors.get(name).with_context(|| format!("the case has no tensor {name}"))
    }

    fn views(&self) -> usize {
        (0..).take_while(|i| self.tensors.contains_key(&format!("proc_in.{i}.img"))).count()
    }

    fn run(&self, network: &Network, taps: &Taps) -> Result<RawOutput> {
        let views = self.views();
        let image = |i| -> Result<Tensor> {
            Ok(self.tensor(&format!("proc_in.{i}.img"))?.permute((0, 2, 3, 1))?.contiguous()?)
        };
        let images = Tensor::cat(&(0..views).map(image).collect::<Result<Vec<_>>>()?, 0)?;
        let priors = (0..views).map(|i| self.priors(i)).collect::<Result<Vec<_>>>()?;
        let encoded = network.encode(&images, taps)?;
        Ok(network.infer(&encoded, &priors, 2, taps)?)
    }

    /// What the reference handed to its encoders for a view.
    fn priors(&self, view: usize) -> Result<ViewPriors> {
        let flag = |name: &str| {
            let flag = self.settings.pointer(&format!("/infer_flags/{name}"));
            flag.and_then(|flag| flag.as_bool()).unwrap_or(false)
        };
        let has = |name: &str| self.tensors.contains_key(&format!("proc_in.{view}.{name}"));
        let metric = self.settings.pointer(&format!("/views/{view}/is_metric_scale"));
        let metric = metric.and_then(|metric| metric.as_bool()).unwrap_or(true);
        let rays = has("intrinsics") && !flag("ignore_calibration_inputs");
        let depth = has("depth_z") && !flag("ignore_depth_inputs");
        let pose = (has("camera_poses") || has("camera_pose_trans")) && !flag("ignore_pose_inputs");
        let depth_scale = depth && metric && !flag("ignore_depth_scale_inputs");
        let pose_scale = pose && metric && !flag("ignore_pose_scale_inputs");
        let input =
            |used: bool, name: &str| used.then(|| self.encoder_input(name, view)).transpose();
        let one = |values: Option<Vec<f32>>| values.and_then(|values| values.first().copied());
        let rotation = input(pose, "cam_rot")?.map(<[f32; 4]>::try_from).transpose();
        let translation = input(pose, "cam_trans")?.map(<[f32; 3]>::try_from).transpose();
        Ok(ViewPriors {
            ray_directions: input(rays, "ray_dirs")?,
            log_depth: input(depth, "depth")?,
            log_depth_scale: one(input(depth_scale, "depth_scale")?),
            rotation: rotation.ok().context("a rotation is not four numbers")?,
            translation: translation.ok().context("a translation is not three numbers")?,
            log_translation_scale: one(input(pose_scale, "cam_trans_scale")?),
        })
    }

    /// Maps come channels first, and leave pixel by pixel.
    fn encoder_input(&self, name: &str, view: usize) -> Result<Vec<f32>> {
        let values = self.tensor(&format!("mid.{name}_encoder.input"))?.get(view)?;
        let values = match values.rank() {
            3 => values.permute((1, 2, 0))?,
            _ => values,
        };
        Ok(values.flatten_all()?.to_vec1()?)
    }

    /// The worst absolute error of any intermediate result, and its name.
    fn f32_error(&self, network: &Network) -> Result<(f64, String)> {
        nn::set_precision(DType::F32);
        let taps = Taps::on();
        self.run(network, &taps)?;
        let mut worst = (0.0, String::new());
        for (name, found) in taps.into_results() {
            let Some(expected) = self.tensors.get(&format!("mid.{name}")) else { continue };
            let error = largest_difference(&found, expected)?;
            // A NaN becomes the worst and stays it.
            if !(error <= worst.0) && !f64::is_nan(worst.0) {
                worst = (error, name);
            }
        }
        ensure!(!worst.1.is_empty(), "nothing was compared");
        Ok(worst)
    }

    /// The worst relative errors of depth and scale.
    fn bf16_errors(&self, network: &Network) -> Result<(f64, f64)> {
        nn::set_precision(DType::BF16);
        let output = self.run(network, &Taps::off())?;
        let dense = output.dense.permute((0, 3, 1, 2))?;
        let log_depth = |x: &Tensor| x.narrow(1, DEPTH_CHANNEL, 1);
        let expected = self.tensor("mid.dense_head_raw_nchw")?;
        let depth = largest_difference(&log_depth(&dense)?, &log_depth(expected)?)?;
        let scale = largest_difference(&output.scale, self.tensor("mid.scale_head_raw")?)?;
        // Both are logarithms.
        Ok((depth.exp_m1(), scale.exp_m1()))
    }
}

fn largest_difference(found: &Tensor, expected: &Tensor) -> Result<f64> {
    let values = |x: &Tensor| -> Result<Vec<f32>> {
        Ok(x.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
    };
    let (found, expected) = (values(found)?, values(expected)?);
    ensure!(found.len() == expected.len(), "shapes differ");
    let errors = found.iter().zip(&expected).map(|(a, b)| f64::from((a - b).abs()));
    Ok(errors.fold(0.0, |worst, error| if error <= worst { worst } else { error }))
}
