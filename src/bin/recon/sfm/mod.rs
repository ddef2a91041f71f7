//! `recon sfm`: photographs in, cameras and a cloud out.

mod pairs;
mod photographs;
mod results;
mod stages;
mod work;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use recon_node::alignment::global::GlobalConfig;
use recon_node::alignment::sparse::{LensFreedom, SparseConfig};
use recon_node::config::ModelConfig;
use recon_node::error::{Error, Result};
use recon_node::export::create_folder;
use recon_node::matching::scene_graph::SceneGraph;
use recon_node::model::dust3r::reconstruct::{
    ManyOptions, Reconstruction, SparseOptions, reconstruct_global, reconstruct_many,
    reconstruct_sparse,
};
use recon_node::model::dust3r::retrieval::retrieval_beside;
use recon_node::model::dust3r::{Encoded, Family, Fast3rNetwork, ImageIds, Network};
use recon_node::model::{family_side_px, open_family};

use self::pairs::Pairs;
use self::photographs::Photographs;
use self::results::{Results, Seconds};
use self::stages::Stages;
use self::work::Work;
use crate::infer::files;
use crate::progress::warn;

/// Points of less confidence are left out, unless told otherwise.
pub const MIN_CONFIDENCE: f32 = 1.5;

/// What `recon sfm` is asked.
#[derive(clap::Args)]
pub struct Args {
    /// Photographs (PNG, JPEG), or folders of them; the first one's camera is the world
    #[arg(required = true, value_name = "IMAGES")]
    pub images: Vec<PathBuf>,
    /// Which model looks at them: mast3r matches and aligns in two stages, dust3r aligns all
    /// pointmaps, fast3r sees all photographs at once
    #[arg(long, value_name = "NAME", value_parser = ["mast3r", "dust3r", "fast3r"], default_value = "mast3r")]
    pub model: String,
    /// Its weights: a folder with model.safetensors and config.json, or a .pth file
    #[arg(long, value_name = "DIR")]
    pub weights: String,
    /// Which pairs are looked at: complete, swin-N, logwin-N (either with -noncyclic behind),
    /// oneref-I, retrieval-KEYS-N
    #[arg(long, value_name = "RULE", value_parser = graph, default_value = "complete")]
    pub pairs: SceneGraph,
    /// For retrieval pairs: MASt3R's ..._retrieval_trainingfree.pth with its codebook beside it, or
    /// both in one safetensors file; without this option it is looked for beside the weights
    #[arg(long, value_name = "FILE")]
    pub retrieval: Option<PathBuf>,
    /// Folder for the results
    #[arg(long, value_name = "DIR", default_value = "results/sfm")]
    pub out: PathBuf,
    /// Folder in which results of pairs are kept, so that a run can go on where it was ended
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Where the model computes: cpu, or cuda where the program is built for it
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub device: String,
    /// How it computes with its matrices
    #[arg(long, value_name = "TYPE", value_parser = ["auto", "f32", "bf16", "f16"], default_value = "auto")]
    pub dtype: String,
    /// What the longer side of photographs is brought to; a multiple of 16
    #[arg(long, value_name = "PIXELS", default_value_t = 512)]
    pub resolution: u32,
    /// Match photographs that are larger than --resolution a second time, in windows at their own
    /// size: finer, and many times slower (mast3r)
    #[arg(long)]
    pub coarse_to_fine: bool,
    /// One camera took all photographs: they share focal length and principal point (mast3r)
    #[arg(long)]
    pub one_camera: bool,
    /// Points of less confidence are left out
    #[arg(long, value_name = "C", default_value_t = MIN_CONFIDENCE)]
    pub min_confidence: f32,
    /// Pairs whose best match is not more confident than this count by their pointmaps alone
    /// (mast3r)
    #[arg(long, value_name = "C", default_value_t = SparseConfig::default().min_pair_confidence)]
    pub min_pair_confidence: f64,
    /// How the COLMAP model is written
    #[arg(long, value_name = "FORMAT", value_parser = ["binary", "text", "none"], default_value = "binary")]
    pub colmap: String,
    /// About how many points go into the COLMAP model of dust3r and fast3r, which match nothing
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub colmap_points: usize,
    /// No progress and no table
    #[arg(long)]
    pub quiet: bool,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            images: Vec::new(),
            model: "mast3r".to_owned(),
            weights: String::new(),
            pairs: SceneGraph::Complete,
            retrieval: None,
            out: PathBuf::from("results/sfm"),
            cache: None,
            device: "cpu".to_owned(),
            dtype: "auto".to_owned(),
            resolution: 512,
            coarse_to_fine: false,
            one_camera: false,
            min_confidence: MIN_CONFIDENCE,
            min_pair_confidence: SparseConfig::default().min_pair_confidence,
            colmap: "binary".to_owned(),
            colmap_points: 100_000,
            quiet: false,
        }
    }
}

fn graph(text: &str) -> Result<SceneGraph, String> {
    text.parse()
}

impl Args {
    fn model_config(&self) -> Result<ModelConfig> {
        let dtype = serde_json::from_value(self.dtype.as_str().into())
            .map_err(|error| Error::Usage(format!("--dtype: {error}")))?;
        Ok(ModelConfig {
            name: self.model.clone(),
            weights: self.weights.clone(),
            device: self.device.clone(),
            dtype,
            resolution_px: self.resolution,
            ..ModelConfig::default()
        })
    }

    fn sparse_options(&self) -> SparseOptions {
        let lens = if self.one_camera { LensFreedom::Shared } else { LensFreedom::Free };
        let alignment = SparseConfig {
            focal_length: lens,
            principal_point: lens,
            min_pair_confidence: self.min_pair_confidence,
            ..SparseConfig::default()
        };
        SparseOptions { alignment, ..SparseOptions::default() }
    }

    /// The retrieval model's file, where the rule for pairs asks for one.
    fn retrieval_file(&self) -> Result<Option<PathBuf>> {
        if !self.pairs.needs_similarity() {
            return Ok(None);
        }
        let found = self.retrieval.clone().or_else(|| retrieval_beside(self.weights.as_ref()));
        let missing = || {
            let text = "--pairs retrieval-… needs MASt3R's retrieval model: put \
                        ..._retrieval_trainingfree.pth and ..._retrieval_codebook.pkl beside the \
                        weights, or name the first with --retrieval FILE";
            Error::Usage(text.into())
        };
        found.map_or_else(|| Err(missing()), |file| Ok(Some(file)))
    }

    /// What the longer side of photographs is brought to.
    fn long_side_px(&self) -> Result<usize> {
        family_side_px(self.resolution).map_err(|error| match error {
            Error::InvalidConfig { reason, .. } => Error::Usage(format!("--resolution: {reason}")),
            other => other,
        })
    }

    fn check(&self) -> Result<()> {
        self.long_side_px()?;
        if self.weights.is_empty() {
            return Err(Error::Usage(format!(
                "{} needs --weights: a folder with model.safetensors and config.json, or a .pth \
                 file; the released ones are for non-commercial use",
                self.model
            )));
        }
        if self.pairs.needs_similarity() && self.model != Family::Mast3r.name() {
            let text = "--pairs retrieval-… needs mast3r, whose encoder its retrieval model is for";
            return Err(Error::Usage(text.into()));
        }
        self.retrieval_file()?;
        if self.coarse_to_fine && self.model != Family::Mast3r.name() {
            let text = "--coarse-to-fine needs mast3r: the other models match no pixels";
            return Err(Error::Usage(text.into()));
        }
        if self.pairs != SceneGraph::Complete && self.model == Family::Fast3r.name() {
            let text = "fast3r sees all photographs at once; leave out --pairs";
            return Err(Error::Usage(text.into()));
        }
        Ok(())
    }
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    args.check()?;
    let stages = Stages::new(args.quiet);
    let files = files::images(&args.images)?;
    if files.len() < 2 && args.model != Family::Fast3r.name() {
        return Err(one_photograph(args, &files).into());
    }
    stages.begin("weights", None);
    let start = Instant::now();
    let network = open_family(&args.model_config()?)?;
    let load = start.elapsed().as_secs_f64();
    let photographs = Photographs::read(files, args.long_side_px()?, &stages)?;
    create_folder(&args.out)?;
    let start = Instant::now();
    let (scene, work) = reconstruct(args, &photographs, &network, &stages)?;
    let seconds = Seconds { load, reconstruct: start.elapsed().as_secs_f64() };
    drop(network);
    stages.begin("results", None);
    let warning = work.warning(&photographs.paths(), args.min_pair_confidence);
    let results = Results { photographs: &photographs, scene: &scene, args, seconds, work };
    results.write()?;
    stages.finish();
    if let Some(warning) = warning {
        warn(&warning);
    }
    if !args.quiet {
        writeln!(std::io::stdout(), "{}", results.table())?;
    }
    Ok(results.verdict()?)
}

fn one_photograph(args: &Args, files: &[PathBuf]) -> Error {
    let name = files.first().map(|file| file.display().to_string()).unwrap_or_default();
    Error::Usage(format!(
        "{name} is one photograph, and {} needs two photographs or more of one scene, since depth \
         comes from pairs; name more, or a folder of them (fast3r takes one, too)",
        args.model
    ))
}

fn reconstruct(
    args: &Args,
    photographs: &Photographs,
    network: &Network,
    stages: &Stages,
) -> Result<(Reconstruction, Work)> {
    let network = match network {
        Network::Fast3r(network) => return many(photographs, network, stages),
        Network::Pair(network) => network,
    };
    let mut pairs = Pairs::new(args, photographs, network, stages)?;
    let sizes = photographs.sizes();
    let watch = |iteration| stages.iteration(iteration);
    let scene = if network.family() == Family::Mast3r {
        reconstruct_sparse(&sizes, pairs.by_ref(), &args.sparse_options(), &watch)
    } else {
        let all = pairs.by_ref().collect::<Result<Vec<_>>>()?;
        reconstruct_global(&sizes, &all, &GlobalConfig::default(), &watch)
    };
    let work = pairs.work;
    let place = args.images.first().map_or(Path::new(""), PathBuf::as_path);
    let scene = scene.map_err(|error| work.explained(error, place, args.min_pair_confidence))?;
    Ok((scene, work))
}

fn many(
    photographs: &Photographs,
    network: &Fast3rNetwork,
    stages: &Stages,
) -> Result<(Reconstruction, Work)> {
    stages.begin("encoder", Some(photographs.len()));
    let mut encoded = Vec::new();
    for planes in photographs.planes() {
        encoded.push(network.encode(&planes?)?);
        stages.step();
    }
    stages.begin("all photographs", None);
    let views: Vec<&Encoded> = encoded.iter().collect();
    let views = network.infer(&views, &ImageIds::Seeded(1))?;
    stages.begin("poses", None);
    let scene = reconstruct_many(&views, &ManyOptions::default())?;
    Ok((scene, Work::of_encoder(encoded.len())))
}
