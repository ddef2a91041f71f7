//! What a run has left in its folder.

use std::path::Path;

use recon_node::dataset::read_trajectory;
use recon_node::error::{Error, Result};
use recon_node::trajectory::Trajectory;
use serde_json::Value;

const REMEDY: &str = "give a folder that 'recon replay' or 'recon demo' has left";

/// The results of a run.
pub struct Run {
    /// The folder's name.
    pub name: String,
    pub metrics: Value,
    pub trajectory: Trajectory,
    pub reference: Option<Trajectory>,
    /// Seconds since the first frame, and milliseconds that the frame took.
    pub latencies: Vec<(f64, f64)>,
    pub config: String,
    /// PNG files of the map and the trajectory.
    pub map_png: Option<Vec<u8>>,
}

impl Run {
    /// Returns what is in a folder of results. Figures and trajectory must be there; what else is
    /// missing is left out of the page.
    ///
    /// # Errors
    /// [`Error::Input`] for a folder or a file that is not what it should be.
    pub fn read(folder: &Path) -> Result<Self> {
        if !folder.is_dir() {
            return Err(Error::input(folder, "is not a folder of results", REMEDY));
        }
        let metrics = folder.join("metrics.json");
        let text = std::fs::read_to_string(&metrics)
            .map_err(|error| Error::input(&metrics, format!("cannot be read ({error})"), REMEDY))?;
        let parsed: Value = serde_json::from_str(&text)
            .map_err(|error| Error::input(&metrics, format!("is not JSON ({error})"), REMEDY))?;
        if !parsed.get("frames").is_some_and(Value::is_u64) {
            return Err(Error::input(&metrics, "does not say how many frames there were", REMEDY));
        }
        let reference = folder.join("reference.txt");
        Ok(Self {
            name: name(folder),
            metrics: parsed,
            trajectory: poses(&folder.join("trajectory.txt"))?,
            reference: reference.exists().then(|| read_trajectory(&reference)).transpose()?,
            latencies: latencies(&folder.join("timing.csv"))?,
            config: std::fs::read_to_string(folder.join("config.yaml")).unwrap_or_default(),
            map_png: std::fs::read(folder.join("map.png")).ok(),
        })
    }
}

fn name(folder: &Path) -> String {
    let full = folder.canonicalize().unwrap_or_else(|_missing| folder.to_owned());
    full.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A run without a pose leaves a file with a heading alone.
fn poses(path: &Path) -> Result<Trajectory> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::input(path, format!("cannot be read ({error})"), REMEDY))?;
    if text.lines().all(|line| line.starts_with('#') || line.trim().is_empty()) {
        return Ok(Trajectory::default());
    }
    read_trajectory(path)
}

fn latencies(path: &Path) -> Result<Vec<(f64, f64)>> {
    let Ok(text) = std::fs::read_to_string(path) else { return Ok(Vec::new()) };
    let row = |line: &str| {
        let (secs, millis) = line.split_once(',')?;
        Some((secs.trim().parse().ok()?, millis.trim().parse().ok()?))
    };
    let rows = text.lines().enumerate().skip(1).map(|(index, line)| {
        row(line).ok_or_else(|| {
            let problem = format!("line {}: '{line}' is not 'seconds,milliseconds'", index + 1);
            Error::input(path, problem, "remove the file, or run the replay again")
        })
    });
    rows.collect()
}
