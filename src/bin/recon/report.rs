//! The figures of a session: `metrics.json` and the summary table.

use std::path::Path;

use comfy_table::{Table, presets};
use recon_node::evaluation::{TrajectoryEvaluation, TrajectoryMetrics};
use recon_node::observer::{InferenceReport, MapScale};
use recon_node::runtime::RunReport;

/// Reasons for leaving input out that the table spells out.
const SKIPS_SHOWN: usize = 5;

/// How a map compares with an exactly known surface.
#[derive(serde::Serialize)]
pub struct MapFigures {
    /// Mean distance from the map's points to the surface, centimetres.
    pub accuracy_cm: f64,
    /// Mean distance from the surface that was seen to the map, centimetres.
    pub completion_cm: f64,
}

/// All figures of a session.
#[derive(serde::Serialize)]
pub struct Metrics {
    frames: usize,
    tracked: usize,
    skipped: usize,
    keyframes: usize,
    loops: usize,
    interrupted: bool,
    fps: f64,
    latency_p50_ms: Option<f64>,
    latency_p95_ms: Option<f64>,
    peak_rss_mb: Option<f64>,
    skips: Vec<String>,
    /// Metres in a unit of the map, and how surely; the uncertainty is null where nothing says it.
    scale: Option<MapScale>,
    /// What became of the windows of a model that looks at several views.
    #[serde(skip_serializing_if = "Option::is_none")]
    inference: Option<InferenceReport>,
    /// Time from the first frame to the first with a pose.
    first_pose_secs: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trajectory: Option<TrajectoryMetrics>,
    #[serde(skip_serializing_if = "Option::is_none")]
    map: Option<MapFigures>,
}

impl Metrics {
    /// Returns the figures of a run.
    pub fn new(
        run: &RunReport,
        keyframes: usize,
        evaluation: Option<TrajectoryEvaluation>,
        map: Option<MapFigures>,
    ) -> Self {
        let milliseconds = |frac| run.latency_quantile_secs(frac).map(|secs| secs * 1e3);
        Self {
            frames: run.frames,
            tracked: run.tracked,
            skipped: run.skips.len(),
            keyframes,
            loops: run.loops,
            interrupted: run.interrupted,
            fps: run.frames as f64 / run.wall_secs.max(1e-9),
            latency_p50_ms: milliseconds(0.5),
            latency_p95_ms: milliseconds(0.95),
            peak_rss_mb: peak_rss_mb(),
            first_pose_secs: run.first_pose_secs,
            scale: run.scale,
            inference: run.inference,
            skips: run.skips.iter().map(|skip| skip.reason.clone()).collect(),
            trajectory: evaluation.map(|e| e.metrics),
            map,
        }
    }
}

/// Returns the table that a user sees at the end of a session.
pub fn table(metrics: &Metrics, run: &RunReport, folder: &Path) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    for (name, value) in rows(metrics) {
        table.add_row([name.to_owned(), value]);
    }
    let mut text = table.to_string();
    for skip in run.skips.iter().take(SKIPS_SHOWN) {
        text += &format!("\nleft out: {}", skip.reason);
    }
    if run.skips.len() > SKIPS_SHOWN {
        text += &format!("\nleft out: {} more (metrics.json)", run.skips.len() - SKIPS_SHOWN);
    }
    if metrics.interrupted {
        text += "\nstopped early; what was mapped until then is saved";
    }
    text + &format!("\nresults in {}", folder.display())
}

fn rows(metrics: &Metrics) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("frames", metrics.frames.to_string()),
        ("tracked", format!("{} ({:.1} %)", metrics.tracked, share(metrics))),
        ("lost", (metrics.frames - metrics.tracked).to_string()),
        ("keyframes", metrics.keyframes.to_string()),
        ("loops", metrics.loops.to_string()),
    ];
    if let Some(secs) = metrics.first_pose_secs.filter(|secs| *secs > 0.0) {
        rows.push(("first pose after", format!("{secs:.2} s")));
    }
    if let Some(scale) = metrics.scale.filter(|scale| scale.sigma_log > 0.0) {
        rows.push(("metres per unit", scale.to_string()));
    }
    if let Some(windows) = &metrics.inference {
        rows.push(("windows", format!("{} merged, {} refused", windows.merged, windows.refused)));
    }
    if metrics.skipped > 0 {
        rows.push(("left out", metrics.skipped.to_string()));
    }
    rows.extend(metrics.trajectory.iter().flat_map(trajectory_rows));
    if let Some(map) = &metrics.map {
        rows.push(("map accuracy", format!("{:.2} cm", map.accuracy_cm)));
        rows.push(("map completion", format!("{:.2} cm", map.completion_cm)));
    }
    rows.push(("speed", format!("{:.1} fps", metrics.fps)));
    if let (Some(p50), Some(p95)) = (metrics.latency_p50_ms, metrics.latency_p95_ms) {
        rows.push(("latency p50, p95", format!("{p50:.1} ms, {p95:.1} ms")));
    }
    rows.extend(metrics.peak_rss_mb.map(|mb| ("peak memory", format!("{mb:.0} MB"))));
    rows
}

fn trajectory_rows(figures: &TrajectoryMetrics) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("ATE, SE(3)", format!("{:.2} cm", 100.0 * figures.ate_se3)),
        ("ATE, Sim(3)", format!("{:.2} cm, scale {:.4}", 100.0 * figures.ate_sim3, figures.scale)),
    ];
    if let (Some(metres), Some(degrees)) = (figures.rpe1s_t_se3, figures.rpe1s_rot_deg) {
        rows.push(("RPE over 1 s", format!("{:.2} cm, {degrees:.2}°", 100.0 * metres)));
    }
    rows
}

fn share(metrics: &Metrics) -> f64 {
    100.0 * metrics.tracked as f64 / metrics.frames.max(1) as f64
}

/// Returns the most memory that this process has held, where the system says so (Linux).
pub fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes / 1024.0)
}
