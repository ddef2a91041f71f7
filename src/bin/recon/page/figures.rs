//! The charts and the table of a run.

use nalgebra::{Point3, Vector3};
use recon_node::evaluation::{
    DEFAULT_MAX_DIFFERENCE_SECS, TrajectoryEvaluation, evaluate_trajectory,
};
use recon_node::geometry::Sim3;
use recon_node::stamp::Stamp;
use recon_node::trajectory::Trajectory;
use recon_node::viz::{pieces, upright_axis, upright_direction};
use serde_json::Value;

use super::chart::{Chart, Line};
use super::run::Run;

const SPACE_HEIGHT: f64 = 360.0;
const TIME_HEIGHT: f64 = 200.0;

/// Returns the charts of a run: plan, side, error where there is a reference, and latency.
pub fn charts(run: &Run) -> Vec<String> {
    let compared = run.reference.as_ref().and_then(|reference| {
        let limit = DEFAULT_MAX_DIFFERENCE_SECS;
        Some((reference, evaluate_trajectory(&run.trajectory, reference, None, limit).ok()?))
    });
    let mut charts = space(run, compared.as_ref().map(|(r, e)| (*r, e)));
    charts.extend(compared.as_ref().map(|(_, evaluation)| errors(evaluation)));
    if !run.latencies.is_empty() {
        let lines = vec![Line { class: "estimate", pieces: vec![run.latencies.clone()] }];
        charts.push(over_time("Time for each frame", "ms", lines));
    }
    charts
}

fn over_time(title: &str, unit: &str, lines: Vec<Line>) -> String {
    Chart { title, axes: ["time [s]", unit], height: TIME_HEIGHT, equal: false, lines }.svg()
}

fn errors(evaluation: &TrajectoryEvaluation) -> String {
    let errors = evaluation.position_errors_m();
    let rows: Vec<(Stamp, (f64, f64))> = errors
        .iter()
        .map(|&(stamp, metres)| (stamp, (stamp.secs_since(errors[0].0), 100.0 * metres)))
        .collect();
    let lines = vec![Line { class: "estimate", pieces: pieces(&rows) }];
    over_time("Position error", "cm", lines)
}

/// Plan and side view, in a frame that stands upright.
fn space(run: &Run, compared: Option<(&Trajectory, &TrajectoryEvaluation)>) -> Vec<String> {
    let (up, moved) = match compared {
        Some((reference, evaluation)) => {
            (upright_axis(reference), evaluation.reference_from_estimate_rigid)
        }
        None => (upright_direction(&run.trajectory), Sim3::identity()),
    };
    let [right, ahead] = level_axes(&up);
    let view = |title: &str, axes: [&str; 2], along: [&Vector3<f64>; 2]| {
        let mut lines = Vec::new();
        if let Some((reference, _)) = compared {
            let pieces = track(reference, &Sim3::identity(), along);
            lines.push(Line { class: "reference", pieces });
        }
        let pieces = track(&run.trajectory, &moved, along);
        lines.push(Line { class: "estimate", pieces });
        Chart { title, axes, height: SPACE_HEIGHT, equal: true, lines }.svg()
    };
    vec![
        view("Plan", ["right [m]", "ahead [m]"], [&right, &ahead]),
        view("Side", ["right [m]", "up [m]"], [&right, &up]),
    ]
}

/// Two level axes that make a right-handed frame with `up`; the first is near a world axis.
fn level_axes(up: &Vector3<f64>) -> [Vector3<f64>; 2] {
    let axis = if up.x.abs() < 0.9 { Vector3::x() } else { Vector3::y() };
    let right = (axis - up * up.dot(&axis)).try_normalize(1e-9).unwrap_or(Vector3::x());
    [right, up.cross(&right)]
}

fn track(
    trajectory: &Trajectory,
    world_from_trajectory: &Sim3,
    along: [&Vector3<f64>; 2],
) -> Vec<Vec<(f64, f64)>> {
    let rows: Vec<(Stamp, (f64, f64))> = trajectory
        .poses()
        .iter()
        .map(|pose| {
            let place = Point3::from(pose.world_from_camera.translation.vector);
            let place = world_from_trajectory.transform_point(&place).coords;
            (pose.stamp, (place.dot(along[0]), place.dot(along[1])))
        })
        .collect();
    pieces(&rows)
}

/// Returns the rows of the table: name, and the value of each run.
pub fn rows(runs: &[Run]) -> Vec<(&'static str, Vec<String>)> {
    /// Name, where it is in `metrics.json`, factor, decimals, unit.
    const FIGURES: [(&str, &str, f64, usize, &str); 17] = [
        ("Frames", "/frames", 1.0, 0, ""),
        ("Tracked", "/tracked", 1.0, 0, ""),
        ("Left out", "/skipped", 1.0, 0, ""),
        ("Keyframes", "/keyframes", 1.0, 0, ""),
        ("Loops closed", "/loops", 1.0, 0, ""),
        ("ATE, SE(3)", "/trajectory/ate_se3", 100.0, 2, "cm"),
        ("Rotation error", "/trajectory/are_deg_se3", 1.0, 2, "°"),
        ("RPE over 1 s", "/trajectory/rpe1s_t_se3", 100.0, 2, "cm"),
        ("RPE over 1 s, rotation", "/trajectory/rpe1s_rot_deg", 1.0, 2, "°"),
        ("ATE, Sim(3)", "/trajectory/ate_sim3", 100.0, 2, "cm"),
        ("Scale", "/trajectory/scale", 1.0, 4, ""),
        ("Map accuracy", "/map/accuracy_cm", 1.0, 2, "cm"),
        ("Map completion", "/map/completion_cm", 1.0, 2, "cm"),
        ("Speed", "/fps", 1.0, 1, "frames/s"),
        ("Time for a frame, 50 %", "/latency_p50_ms", 1.0, 1, "ms"),
        ("Time for a frame, 95 %", "/latency_p95_ms", 1.0, 1, "ms"),
        ("Peak memory", "/peak_rss_mb", 1.0, 0, "MB"),
    ];
    let known = FIGURES.iter().map(|&(name, place, factor, decimals, unit)| {
        let value = |run: &Run| {
            let value = run.metrics.pointer(place).and_then(Value::as_f64);
            value.map_or_else(|| "–".to_owned(), |v| format!("{:.decimals$} {unit}", v * factor))
        };
        (name, runs.iter().map(value).collect::<Vec<_>>())
    });
    let timed = [("Time for a frame, 99 %", 0.99), ("Time for a frame, worst", 1.0)];
    let timed = timed.into_iter().map(|(name, frac)| {
        let value =
            |run: &Run| quantile(run, frac).map_or("–".to_owned(), |v| format!("{v:.1} ms"));
        (name, runs.iter().map(value).collect())
    });
    let mut all: Vec<_> = known.chain(timed).collect();
    // Memory last: times stand together.
    all.sort_by_key(|(name, _)| *name == "Peak memory");
    all.into_iter().filter(|(_, values)| values.iter().any(|value| value != "–")).collect()
}

fn quantile(run: &Run, frac: f64) -> Option<f64> {
    let mut millis: Vec<f64> = run.latencies.iter().map(|(_, ms)| *ms).collect();
    millis.sort_by(f64::total_cmp);
    let last = millis.len().checked_sub(1)?;
    Some(millis[(frac * last as f64).round() as usize])
}
