//! Maps in a session: loaded before it, saved at its end and meanwhile.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use recon_node::config::Config;
use recon_node::error::{Error, Result};
use recon_node::geometry::Se3;
use recon_node::pipeline::{MapSnapshot, Pipeline};
use recon_node::store::{self, ImageQuality, MapWriter};
use recon_node::viz;

use crate::progress::warn;

/// Which maps are loaded and saved.
#[derive(clap::Args)]
pub struct MapArgs {
    /// Go on with a map that was saved: frames are recognised in it, and it grows
    #[arg(long, value_name = "MAP")]
    load_map: Option<PathBuf>,
    /// Only place frames in the loaded map, and leave it as it is
    #[arg(long, requires = "load_map", conflicts_with_all = ["save_map", "autosave", "refine"])]
    localize: bool,
    /// Load what can be trusted of a damaged map
    #[arg(long, requires = "load_map")]
    recover: bool,
    /// Save the map at the end, e.g. as room.map
    #[arg(long, value_name = "MAP")]
    save_map: Option<PathBuf>,
    /// Save the map while it grows: not even a crash loses more than the last seconds. A new file,
    /// or the one of --load-map
    #[arg(long, value_name = "MAP", conflicts_with = "save_map")]
    autosave: Option<PathBuf>,
    /// Seconds between two autosaves
    #[arg(long, value_name = "SECS", default_value_t = 2.0, requires = "autosave")]
    autosave_every: f64,
    /// Keep the images of keyframes as JPEG, which takes a third of the space
    #[arg(long)]
    map_jpeg: bool,
}

impl MapArgs {
    /// Returns the settings that the options stand for.
    pub fn settings(&self) -> Option<String> {
        self.localize.then(|| "map.localization_only=true".to_owned())
    }

    /// Checks what does not fit together.
    pub fn check(&self, config: &Config) -> Result<()> {
        if config.map.localization_only && self.load_map.is_none() {
            let problem = "map.localization_only needs a map to be localised in: give --load-map";
            return Err(Error::Usage(problem.to_owned()));
        }
        if !(self.autosave_every >= 0.0 && self.autosave_every.is_finite()) {
            return Err(Error::Usage("--autosave-every needs seconds, at least 0".to_owned()));
        }
        Ok(())
    }

    fn quality(&self) -> ImageQuality {
        if self.map_jpeg { ImageQuality::Jpeg } else { ImageQuality::Lossless }
    }
}

/// Returns a map, and says what of it is not as it was saved.
pub fn load(path: &Path, recover: bool) -> Result<MapSnapshot> {
    let map = if recover { store::recover(path)? } else { store::load(path)? };
    for note in &map.notes {
        warn(&format!("{}: {note}", path.display()));
    }
    Ok(map)
}

/// The maps of a session that runs.
pub struct Saving {
    save_map: Option<PathBuf>,
    quality: ImageQuality,
    autosave: Option<Autosave>,
}

impl Saving {
    /// Loads the map that is to be loaded, and begins the one that is saved meanwhile.
    pub fn begin(args: &MapArgs, pipeline: &mut Pipeline) -> Result<Self> {
        if let Some(path) = &args.load_map {
            let map = load(path, args.recover)?;
            pipeline.restore(map).map_err(|error| {
                Error::input(path, error.to_string(), "give a map with keyframes")
            })?;
        }
        let autosave = args.autosave.as_ref().map(|path| {
            let goes_on = args.load_map.as_ref() == Some(path) && !args.recover;
            let every = Duration::from_secs_f64(args.autosave_every);
            Autosave::begin(path, goes_on, (args.quality(), every), pipeline)
        });
        let autosave = autosave.transpose()?;
        Ok(Self { save_map: args.save_map.clone(), quality: args.quality(), autosave })
    }

    /// Saves what has changed, where it is time for that.
    pub fn after_frame(&mut self, pipeline: &Pipeline) -> Result<()> {
        self.autosave.as_mut().map_or(Ok(()), |autosave| autosave.after_frame(pipeline))
    }

    /// Saves all that is not saved yet.
    pub fn finish(self, pipeline: &mut Pipeline) -> Result<()> {
        if self.save_map.is_none() && self.autosave.is_none() {
            return Ok(());
        }
        if pipeline.map_from_world().is_none() {
            pipeline.set_map_from_world(upright(pipeline));
        }
        if let Some(path) = &self.save_map {
            store::save(path, &pipeline.snapshot(), self.quality)?;
        }
        self.autosave.map_or(Ok(()), |autosave| autosave.finish(pipeline))
    }
}

/// The turn by which z points up, as far as the camera's way and level surfaces tell.
fn upright(pipeline: &Pipeline) -> Se3 {
    let about = viz::upright_direction(&pipeline.trajectory());
    viz::upright_from_world(&pipeline.map().up(&about))
}

/// The file of one of the session's maps.
fn numbered(path: &Path, map: u32) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let ending = path.extension().unwrap_or_default().to_string_lossy();
    let dot = if ending.is_empty() { "" } else { "." };
    match map {
        0 => path.to_owned(),
        map => path.with_file_name(format!("{stem}_{map}{dot}{ending}")),
    }
}

/// Saves the maps that nothing has joined to the one in the end, so that they can be merged later;
/// says where they are.
pub fn save_others(pipeline: &mut Pipeline, folder: &Path) -> Result<()> {
    for (map, count) in pipeline.settle_on_largest().iter().zip(1..) {
        let path = folder.join(format!("other_{count}.map"));
        store::save(&path, map, ImageQuality::Lossless)?;
        let keyframes = map.keyframes.len();
        warn(&format!(
            "the camera was lost for long, and {keyframes} keyframes were mapped apart from the rest: \
             they are in {}, and not in trajectory and map; 'recon map merge' can join them where \
             they show a place of the map",
            path.display()
        ));
    }
    Ok(())
}

/// Saves from a second thread, so that frames do not wait for the disk.
struct Autosave {
    /// The file of the session's first map; those of others have their numbers in their names.
    path: PathBuf,
    /// The map that is being saved.
    map: u32,
    quality: ImageQuality,
    changes: SyncSender<MapSnapshot>,
    writer: Option<JoinHandle<Result<MapWriter>>>,
    every: Duration,
    last: Instant,
    /// The revision that the file is at, or will be.
    revision: u64,
}

impl Autosave {
    fn begin(
        path: &Path,
        goes_on: bool,
        (quality, every): (ImageQuality, Duration),
        pipeline: &Pipeline,
    ) -> Result<Self> {
        let (path, map) = (path.to_owned(), pipeline.map_number());
        let file = numbered(&path, map);
        let mut writer = match goes_on {
            true => MapWriter::resume(&file, quality)?,
            false => MapWriter::create(&file, &pipeline.snapshot(), quality)?,
        };
        let (changes, waiting) = sync_channel::<MapSnapshot>(1);
        let writer = Some(std::thread::spawn(move || {
            for change in waiting {
                writer.write(&change)?;
            }
            Ok(writer)
        }));
        let (revision, last) = (pipeline.map().revision(), Instant::now());
        Ok(Self { path, map, quality, changes, writer, every, last, revision })
    }

    fn after_frame(&mut self, pipeline: &Pipeline) -> Result<()> {
        if self.map != pipeline.map_number() {
            return self.change_map(pipeline);
        }
        if self.last.elapsed() < self.every {
            return Ok(());
        }
        let revision = pipeline.map().revision();
        match self.changes.try_send(pipeline.changes_since(self.revision)) {
            Ok(()) => (self.revision, self.last) = (revision, Instant::now()),
            // The disk is slower than asked for: what has changed is saved together, later.
            Err(TrySendError::Full(_)) => self.last = Instant::now(),
            Err(TrySendError::Disconnected(_)) => return Err(self.failure()),
        }
        Ok(())
    }

    /// Another map goes into another file, and one that is come back to, into its own.
    fn change_map(&mut self, pipeline: &Pipeline) -> Result<()> {
        let other = Self::begin(&self.path, false, (self.quality, self.every), pipeline)?;
        std::mem::replace(self, other).close()
    }

    /// Why the writer has ended.
    fn failure(&mut self) -> Error {
        let ended = || Error::Usage("the autosave has ended unexpectedly".to_owned());
        match self.writer.take().map(JoinHandle::join) {
            Some(Ok(Err(reason))) => reason,
            _ => ended(),
        }
    }

    fn finish(self, pipeline: &Pipeline) -> Result<()> {
        let changes = pipeline.changes_since(self.revision);
        // A writer that has failed says so when it is joined.
        let _ = self.changes.send(changes);
        self.close()
    }

    fn close(mut self) -> Result<()> {
        drop(self.changes);
        match self.writer.take().map(JoinHandle::join) {
            Some(Ok(writer)) => writer?.finish(),
            // Its failure was reported when it was met.
            None => Ok(()),
            Some(Err(_)) => Err(Error::Usage("the autosave has ended unexpectedly".to_owned())),
        }
    }
}
