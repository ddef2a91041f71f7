//! `recon infer`: images in, geometry out.

mod figures;
pub mod files;
mod inputs;
mod measured;
#[cfg(test)]
mod perfect;
mod results;
mod tracks;

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget};
use recon_node::config::ModelConfig;
use recon_node::error::{Error, Result};
use recon_node::export::{ColmapFormat, create_folder};
use recon_node::model::mapanything::postprocess::{
    AgreementThresholds, EdgeThresholds, MaskOptions,
};
use recon_node::model::mapanything::preprocess::TargetSize;
use recon_node::model::mapanything::{InferOptions, NAME, ViewOutput, fit_views};
use recon_node::model::open_map_anything;

use self::figures::{Figures, Seconds};
use self::inputs::Inputs;
pub use self::inputs::read_image;
use self::results::Results;

/// What `recon infer` is asked.
#[derive(clap::Args)]
pub struct Args {
    /// Images (PNG, JPEG), or folders of them, which are taken in order of their names; the first
    /// image's camera is the world
    #[arg(required = true, value_name = "IMAGES")]
    images: Vec<PathBuf>,
    /// Which model looks at them
    #[arg(long, value_name = "NAME", value_parser = ["mapanything", "mast3r", "dust3r", "fast3r", "sensor-depth"], default_value = "mapanything")]
    model: String,
    /// Its weights: a folder, or a name from 'recon weights list' [default: the one whose licence
    /// allows commercial use]
    #[arg(long, value_name = "DIR")]
    weights: Option<String>,
    #[command(flatten)]
    known: KnownArgs,
    /// Folder for the results
    #[arg(long, value_name = "DIR", default_value = "results/infer")]
    out: PathBuf,
    /// Where the model computes: cpu, or cuda where the program is built for it
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: String,
    /// How it computes with its matrices
    #[arg(long, value_name = "TYPE", value_parser = ["auto", "f32", "bf16", "f16"], default_value = "auto")]
    dtype: String,
    /// What images are brought to: 518 or 504 (the trained size nearest in shape), another length
    /// of the longer side, or WIDTHxHEIGHT; multiples of 14
    #[arg(long, value_name = "SIZE", value_parser = resolution, default_value = "518")]
    resolution: TargetSize,
    #[command(flatten)]
    mask: MaskArgs,
    /// How the COLMAP model is written
    #[arg(long, value_name = "FORMAT", value_parser = ["binary", "text", "none"], default_value = "binary")]
    colmap: String,
    /// About how many of the points go into the COLMAP model
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    colmap_points: usize,
    /// No progress and no table
    #[arg(long)]
    quiet: bool,
}

/// What is known of the images beforehand.
#[derive(clap::Args)]
struct KnownArgs {
    /// The camera of all images: a file (YAML with fx, fy, cx, cy, width, height, as for replay),
    /// or four numbers in pixels
    #[arg(long, value_name = "FILE|FX,FY,CX,CY")]
    intrinsics: Option<String>,
    /// Depth along the optical axis, 16-bit PNG of the images' size: a folder, or a file for each
    /// image; files in a folder go with the images of the same name
    #[arg(long, value_name = "DIR|FILES", num_args = 1..)]
    depth: Vec<PathBuf>,
    /// Units of the depth images per metre [default: the intrinsics file's depth_scale, or 1000]
    #[arg(long, value_name = "N")]
    depth_scale: Option<f64>,
    /// Where the images were taken, in TUM format (time tx ty tz qx qy qz qw, camera in world): a
    /// pose for each image, or for those whose names are times
    #[arg(long, value_name = "FILE")]
    poses: Option<PathBuf>,
    /// Depth and poses are right up to one factor only, not in metres
    #[arg(long)]
    not_metric: bool,
}

/// Which points are left out.
#[derive(clap::Args)]
struct MaskArgs {
    /// Leave out points whose confidence is not above this percentile of their image's
    #[arg(long, value_name = "P")]
    conf_percentile: Option<f32>,
    /// Keep points that hang between near and far surfaces
    #[arg(long)]
    no_edge_mask: bool,
    /// Keep all points, also of sky, glass and mirrors
    #[arg(long, conflicts_with_all = ["conf_percentile", "no_edge_mask"])]
    no_mask: bool,
    /// Confidence by how far the images agree, instead of the model's own
    #[arg(long)]
    multi_view_confidence: bool,
}

impl Args {
    fn infer_options(&self) -> Result<InferOptions> {
        let percentile = self.mask.conf_percentile;
        if percentile.is_some_and(|p| !(0.0..=100.0).contains(&p)) {
            return Err(Error::Usage("--conf-percentile must be between 0 and 100".into()));
        }
        let edges = (!self.mask.no_edge_mask).then(EdgeThresholds::default);
        let mask = MaskOptions { edges, confidence_percentile: percentile };
        let agreement = self.mask.multi_view_confidence.then(AgreementThresholds::default);
        Ok(InferOptions {
            mask: (!self.mask.no_mask).then_some(mask),
            multi_view_confidence: agreement,
            standardize_quaternion: ModelConfig::default().standardize_rotations,
            ..InferOptions::default()
        })
    }

    fn model_config(&self) -> Result<ModelConfig> {
        let dtype = serde_json::from_value(self.dtype.as_str().into())
            .map_err(|error| Error::Usage(format!("--dtype: {error}")))?;
        Ok(ModelConfig {
            name: self.model.clone(),
            weights: self.weights.clone().unwrap_or_default(),
            device: self.device.clone(),
            dtype,
            ..ModelConfig::default()
        })
    }

    /// The same for a model that takes images alone: every pair of them.
    fn for_family(&self) -> Result<crate::sfm::Args> {
        if let Some(option) = self.option_beyond_images() {
            return Err(Error::Usage(format!(
                "{} takes images alone, and has no use for {option}; leave it out, or use --model \
                 {NAME}",
                self.model
            )));
        }
        let resolution = match self.resolution {
            TargetSize::Mapping518 => 512,
            TargetSize::LongestSide(side) => side as u32,
            _ => {
                let text = "--resolution: give the length of the longer side, a multiple of 16";
                return Err(Error::Usage(text.into()));
            }
        };
        Ok(crate::sfm::Args {
            images: self.images.clone(),
            model: self.model.clone(),
            weights: self.weights.clone().unwrap_or_default(),
            out: self.out.clone(),
            device: self.device.clone(),
            dtype: self.dtype.clone(),
            resolution,
            min_confidence: if self.mask.no_mask { 0.0 } else { crate::sfm::MIN_CONFIDENCE },
            colmap: self.colmap.clone(),
            colmap_points: self.colmap_points,
            quiet: self.quiet,
            ..crate::sfm::Args::default()
        })
    }

    /// An option that is given, and that models which take images alone would pass over.
    fn option_beyond_images(&self) -> Option<&'static str> {
        let (known, mask) = (&self.known, &self.mask);
        let given = [
            ("--intrinsics", known.intrinsics.is_some()),
            ("--depth", !known.depth.is_empty()),
            ("--depth-scale", known.depth_scale.is_some()),
            ("--poses", known.poses.is_some()),
            ("--not-metric", known.not_metric),
            ("--conf-percentile", mask.conf_percentile.is_some()),
            ("--no-edge-mask", mask.no_edge_mask),
            ("--multi-view-confidence", mask.multi_view_confidence),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(option, _)| option)
    }

    fn colmap_format(&self) -> Option<ColmapFormat> {
        colmap_format(&self.colmap)
    }
}

/// The format of this name, if there is to be a COLMAP model.
pub fn colmap_format(name: &str) -> Option<ColmapFormat> {
    match name {
        "binary" => Some(ColmapFormat::Binary),
        "text" => Some(ColmapFormat::Text),
        _ => None,
    }
}

/// The way to the size that is written as `518`, `504`, another length, or `WIDTHxHEIGHT`.
fn resolution(text: &str) -> Result<TargetSize, String> {
    let side = |text: &str| {
        let side = text.parse::<usize>().ok().filter(|&side| (14..=4096).contains(&side));
        side.ok_or_else(|| format!("'{text}' is not a number of pixels from 14 to 4096"))
    };
    match (text, text.split_once('x')) {
        ("518", _) => Ok(TargetSize::Mapping518),
        ("504", _) => Ok(TargetSize::Mapping504),
        (_, Some((width, height))) => Ok(TargetSize::Fixed((side(width)?, side(height)?))),
        (_, None) => Ok(TargetSize::LongestSide(side(text)?)),
    }
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    if ![NAME, measured::NAME].contains(&args.model.as_str()) {
        return crate::sfm::run(&args.for_family()?);
    }
    let options = args.infer_options()?;
    let steps = Steps::new(args.quiet);
    steps.begin("reading the images");
    let inputs = Inputs::read(&args.images, &args.known)?;
    let (outputs, seconds) = match args.model.as_str() {
        measured::NAME => measured_outputs(args, &inputs)?,
        _ => inferred_outputs(args, &options, &inputs, &steps)?,
    };
    steps.begin("writing the results");
    let results = Results::new(&inputs, &outputs)?;
    let units_per_metre = results.write(&args.out, args.colmap_format(), args.colmap_points)?;
    let figures = Figures::new(&results, units_per_metre, seconds)?;
    figures.write(&args.out.join("metrics.json"))?;
    steps.finish();
    if !args.quiet {
        writeln!(std::io::stdout(), "{}", figures.table(&args.out))?;
    }
    Ok(results.verdict()?)
}

fn inferred_outputs(
    args: &Args,
    options: &InferOptions,
    inputs: &Inputs,
    steps: &Steps,
) -> Result<(Vec<ViewOutput>, Seconds)> {
    let views = fit_views(&inputs.source_views(), args.resolution)?;
    create_folder(&args.out)?;

    steps.begin("loading the weights");
    let start = Instant::now();
    let model = open_map_anything(&args.model_config()?)?;
    let load = start.elapsed().as_secs_f64();

    let (width, height) = views[0].size;
    steps.begin(&format!("inferring {} views of {width}x{height}", views.len()));
    let start = Instant::now();
    let outputs = model.infer(&views, options)?;
    Ok((outputs, Seconds { load, infer: start.elapsed().as_secs_f64() }))
}

fn measured_outputs(args: &Args, inputs: &Inputs) -> Result<(Vec<ViewOutput>, Seconds)> {
    let start = Instant::now();
    let outputs = measured::outputs(inputs)?;
    create_folder(&args.out)?;
    Ok((outputs, Seconds { load: 0.0, infer: start.elapsed().as_secs_f64() }))
}

/// Says on a terminal what is being done.
struct Steps(ProgressBar);

impl Steps {
    fn new(quiet: bool) -> Self {
        let target =
            if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let spinner = ProgressBar::with_draw_target(None, target);
        spinner.enable_steady_tick(Duration::from_millis(100));
        Self(spinner)
    }

    fn begin(&self, what: &str) {
        self.0.set_message(what.to_owned());
    }

    fn finish(&self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolutions_are_lengths_or_sizes() {
        let cases = [
            ("518", TargetSize::Mapping518),
            ("504", TargetSize::Mapping504),
            ("280", TargetSize::LongestSide(280)),
            ("70x56", TargetSize::Fixed((70, 56))),
        ];
        for (text, expected) in cases {
            assert_eq!(resolution(text), Ok(expected));
        }
        for text in ["", "x", "13", "70x", "axb", "-14", "1e3", "99999"] {
            assert!(resolution(text).unwrap_err().contains("number of pixels"), "{text}");
        }
    }
}
