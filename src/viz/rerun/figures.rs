//! Figures over time: latency, overlap, scale and what the gate of priors says.

use super::event::Row;
use crate::observer::{InferenceReport, MapUpdate, Observation};

/// How many series there are.
pub(super) const COUNT: usize = 12;

/// A figure over time.
pub(super) struct Series {
    /// Its entity.
    pub(super) path: &'static str,
    /// What is written beside its line.
    pub(super) name: &'static str,
    /// Its colour.
    pub(super) color: [u8; 3],
}

/// All series, by what is drawn together.
pub(super) const SERIES: [Series; COUNT] = [
    series("figures/latency", "latency, ms", [230, 160, 60]),
    series("figures/tracking/overlap", "overlap with the keyframe", [90, 170, 240]),
    series("figures/tracking/inliers", "inliers of the image", [120, 200, 120]),
    series("figures/tracking/depth_inliers", "inliers of depth", [190, 140, 220]),
    series("figures/map/keyframes", "keyframes", [200, 200, 200]),
    series("figures/map/loops", "loops", [240, 90, 90]),
    series("figures/scale/metres_per_unit", "metres per unit", [90, 170, 240]),
    series("figures/scale/sigma_percent", "standard deviation, %", [230, 160, 60]),
    series("figures/gate/depth_gain", "gain by telling depth", [90, 170, 240]),
    series("figures/gate/poses_gain", "gain by telling poses", [120, 200, 120]),
    series("figures/gate/merged", "windows merged", [200, 200, 200]),
    series("figures/gate/refused", "windows refused", [240, 90, 90]),
];

const fn series(path: &'static str, name: &'static str, color: [u8; 3]) -> Series {
    Series { path, name, color }
}

/// Collects rows until they are taken.
#[derive(Default)]
pub(super) struct Figures {
    rows: Vec<Row>,
    loops: usize,
}

impl Figures {
    pub(super) fn note(&mut self, seen: &Observation<'_>) {
        self.loops += seen.update.loops_closed;
        let figures = figures(seen.update, seen.latency_secs, self.loops);
        let world_from_camera = seen.update.world_from_camera;
        self.rows.push(Row { stamp: seen.update.stamp, world_from_camera, figures });
    }

    pub(super) fn take(&mut self) -> Option<Vec<Row>> {
        (!self.rows.is_empty()).then(|| std::mem::take(&mut self.rows))
    }
}

fn figures(update: &MapUpdate, latency_secs: f64, loops: usize) -> [Option<f64>; COUNT] {
    let placed = |value: f64| update.state.has_pose().then_some(value);
    let gate = |value: fn(&InferenceReport) -> f64| update.inference.as_ref().map(value);
    let sigma_percent = 100.0 * update.scale.sigma_log;
    [
        Some(1e3 * latency_secs),
        placed(update.overlap_frac),
        placed(update.inlier_frac),
        update.depth_inlier_frac,
        Some(update.keyframes as f64),
        Some(loops as f64),
        Some(update.scale.metres_per_unit),
        sigma_percent.is_finite().then_some(sigma_percent),
        gate(|report| report.depth.mean_gain),
        gate(|report| report.poses.mean_gain),
        gate(|report| report.merged as f64),
        gate(|report| report.refused as f64),
    ]
}
