//! A session: one source through the pipeline, and all that it leaves behind.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use recon_node::cloud::PointCloud;
use recon_node::config::Config;
use recon_node::error::{Error, Result};
use recon_node::evaluation::{
    DEFAULT_MAX_DIFFERENCE_SECS, TrajectoryEvaluation, evaluate_trajectory,
};
use recon_node::export::{create_folder, write_atomically, write_ply, write_trajectory};
use recon_node::model;
use recon_node::observer::Observer;
use recon_node::pipeline::Pipeline;
use recon_node::runtime::{RunReport, replay_with};
use recon_node::source::FrameSource;
use recon_node::trajectory::Trajectory;
use recon_node::viz;

use crate::export;
use crate::maps::{MapArgs, Saving, save_others};
use crate::progress::{Progress, warn};
use crate::report::{self, Metrics};
use crate::watch::{WatchArgs, Watching};

/// How the pipeline is set up, and where results go.
#[derive(clap::Args)]
pub struct SessionArgs {
    /// Configuration file (YAML; 'recon config' prints all keys)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Change one setting, e.g. --set map.voxel_size_m=0.02; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Where geometry comes from: sensor-depth, mapanything, mast3r, dust3r, fast3r, or auto for
    /// mapanything where its weights are, else sensor-depth
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Weights of a feed-forward model: a folder, or a name from 'recon weights list'
    #[arg(long, value_name = "DIR")]
    weights: Option<String>,
    /// Where a feed-forward model computes: cpu, cuda, cuda:NUMBER or auto
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// How it computes: auto, f32, bf16 or f16
    #[arg(long, value_name = "TYPE")]
    dtype: Option<String>,
    /// Folder for the results [default: results/NAME-OF-THE-RECORDING]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Refine the whole map at the end
    #[arg(long)]
    refine: bool,
    /// Leave the map in these formats too, in the folder 'export' of the results
    #[arg(long, value_enum, value_delimiter = ',', value_name = "FORMATS")]
    export: Vec<export::Format>,
    /// No progress bar and no table
    #[arg(long)]
    quiet: bool,
    #[command(flatten)]
    watch: WatchArgs,
    #[command(flatten)]
    maps: MapArgs,
    #[command(flatten)]
    export_options: export::Options,
}

impl SessionArgs {
    /// Returns the configuration that file, options and defaults add up to.
    pub fn config(&self) -> Result<Config> {
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path).map_err(Error::io(path, "read the configuration"))
        };
        let yaml = self.config.as_ref().map(read).transpose()?;
        let mut settings = self.settings.clone();
        let options = [
            ("name", &self.model),
            ("weights", &self.weights),
            ("device", &self.device),
            ("dtype", &self.dtype),
        ];
        for (key, value) in options {
            // Quoted, since a name may look like a number or the start of a YAML list.
            let quoted = |value: &String| format!("model.{key}={}", serde_json::json!(value));
            settings.extend(value.as_ref().map(quoted));
        }
        settings.extend(self.maps.settings());
        self.export_options.check()?;
        self.watch.destination()?;
        let config = Config::from_sources(yaml.as_deref(), &settings)?;
        self.maps.check(&config)?;
        model::check_name(&config.model)?;
        Ok(config)
    }
}

/// Judges a map whose world is moved onto the truth by the given transform.
pub type MapJudge<'a> = &'a dyn Fn(&PointCloud, &TrajectoryEvaluation) -> report::MapFigures;

/// Runs `source` to its end, or until Ctrl-C, and leaves the results in the output folder.
pub fn run(
    source: &mut dyn FrameSource,
    args: &SessionArgs,
    judge_map: Option<MapJudge<'_>>,
) -> anyhow::Result<()> {
    let info = source.info().clone();
    let model::Resolved { config, warning } = model::resolve(&args.config()?, info.has_depth)?;
    warning.iter().for_each(|text| warn(text));
    let mut watching = Watching::begin(&args.watch, &info)?;
    let model = model::open(&config)?;
    let folder = args.out.clone().unwrap_or_else(|| Path::new("results").join(&info.name));
    create_folder(&folder)?;
    write_atomically(&folder.join("config.yaml"), |f| f.write_all(config.to_yaml().as_bytes()))?;

    let mut pipeline = Pipeline::new(config, model);
    let mut progress = Progress::new(info.frame_count, args.quiet);
    let stop = stop_on_interrupt()?;
    let mut saving = Saving::begin(&args.maps, &mut pipeline)?;
    let mut after_frame = |_: &_, pipeline: &Pipeline| saving.after_frame(pipeline);
    let observers: &mut [&mut dyn Observer] = &mut [&mut progress, &mut watching];
    let outcome = replay_with(source, &mut pipeline, observers, &stop, &mut after_frame);
    progress.finish();
    // What was mapped until an error is kept, too.
    save_others(&mut pipeline, &folder)?;
    if outcome.is_ok() && args.refine {
        refine(&mut pipeline, args.quiet)?;
    }
    let saved = saving.finish(&mut pipeline);
    let watched = watching.finish(&pipeline.view());
    let run = outcome?;
    saved?;

    let results = Results { folder, pipeline, run, reference: info.reference };
    let metrics = results.write(judge_map)?;
    if !args.quiet {
        let text = report::table(&metrics, &results.run, &results.folder);
        writeln!(std::io::stdout(), "{text}")?;
    }
    results.verdict()?;
    export_map(&results, args)?;
    watched?;
    Ok(watching.linger(&stop)?)
}

/// Hands the map on to other programs, as far as that is asked for.
fn export_map(results: &Results, args: &SessionArgs) -> anyhow::Result<()> {
    if args.export.is_empty() {
        return Ok(());
    }
    let folder = results.folder.join("export");
    let scene = export::Scene::of(&results.pipeline);
    for path in export::export(&scene, &args.export, &args.export_options, &folder)? {
        if !args.quiet {
            writeln!(std::io::stdout(), "exported {}", path.display())?;
        }
    }
    Ok(())
}

/// Refines the map, and says what came of it; a map of too little to refine stays as it is.
fn refine(pipeline: &mut Pipeline, quiet: bool) -> anyhow::Result<()> {
    let line = match pipeline.refine() {
        Ok(done) => done.to_string(),
        Err(reason) => format!("nothing was refined: {reason}"),
    };
    if !quiet {
        writeln!(std::io::stdout(), "{line}")?;
    }
    Ok(())
}

/// A flag that Ctrl-C and SIGTERM set, so that what was mapped so far is still written.
fn stop_on_interrupt() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))
        .context("cannot listen for Ctrl-C")?;
    Ok(stop)
}

/// What a session has come to.
struct Results {
    folder: PathBuf,
    pipeline: Pipeline,
    run: RunReport,
    reference: Option<Trajectory>,
}

impl Results {
    /// Writes trajectory, map, pictures and figures, and returns the figures.
    fn write(&self, judge_map: Option<MapJudge<'_>>) -> anyhow::Result<Metrics> {
        let trajectory = self.pipeline.trajectory();
        write_trajectory(&self.folder.join("trajectory.txt"), &trajectory)?;
        let cloud = self.pipeline.map().cloud(&self.pipeline.config().map);
        write_ply(&self.folder.join("map.ply"), &cloud)?;
        let evaluation = self.evaluate(&trajectory);
        let map = judge_map.zip(evaluation.as_ref()).map(|(judge, e)| judge(&cloud, e));
        let metrics = Metrics::new(&self.run, self.pipeline.map().len(), evaluation, map);
        let json = serde_json::to_string_pretty(&metrics)?;
        write_atomically(&self.folder.join("metrics.json"), |f| writeln!(f, "{json}"))?;
        self.write_series()?;
        self.draw(&trajectory, &cloud)?;
        Ok(metrics)
    }

    /// Writes what `recon report` draws over time: each frame's latency, and the true trajectory.
    fn write_series(&self) -> Result<()> {
        let start = self.run.stamps.first().copied();
        write_atomically(&self.folder.join("timing.csv"), |file| {
            writeln!(file, "secs,latency_ms")?;
            let rows = self.run.stamps.iter().zip(&self.run.latencies_secs);
            for (stamp, latency_secs) in rows {
                let secs = start.map_or(0.0, |start| stamp.secs_since(start));
                writeln!(file, "{secs:.6},{:.3}", 1e3 * latency_secs)?;
            }
            Ok(())
        })?;
        let path = self.folder.join("reference.txt");
        match &self.reference {
            Some(reference) => write_trajectory(&path, reference),
            // One that an earlier run has left is not of this one.
            None if path.exists() => {
                std::fs::remove_file(&path).map_err(Error::io(&path, "remove the old reference"))
            }
            None => Ok(()),
        }
    }

    fn evaluate(&self, trajectory: &Trajectory) -> Option<TrajectoryEvaluation> {
        let (stamps, reference) = (Some(self.run.stamps.as_slice()), self.reference.as_ref()?);
        // Too few common poses to compare is what the table then shows by showing no error.
        evaluate_trajectory(trajectory, reference, stamps, DEFAULT_MAX_DIFFERENCE_SECS).ok()
    }

    fn draw(&self, trajectory: &Trajectory, cloud: &PointCloud) -> Result<()> {
        if trajectory.poses().is_empty() {
            return Ok(());
        }
        let reference = self.reference.as_ref();
        viz::plot_trajectory(&self.folder.join("trajectory.png"), trajectory, reference)?;
        let up = self.pipeline.map().up(&viz::upright_direction(trajectory));
        viz::render_cloud(&self.folder.join("map.png"), cloud, &up)
    }

    /// A run that placed no frame has failed, whatever it has written.
    fn verdict(&self) -> anyhow::Result<()> {
        if self.run.tracked > 0 {
            return Ok(());
        }
        let reason = self.run.not_begun.clone().or_else(|| {
            self.run.skips.first().map(|skip| format!("all input was left out: {}", skip.reason))
        });
        let reason = reason.unwrap_or_else(|| "no frame came".to_owned());
        Err(anyhow::anyhow!("no frame could be placed: {reason}"))
    }
}
