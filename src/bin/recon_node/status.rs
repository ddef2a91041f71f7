//! `~/status`: what the mapping is doing, and why it is not.

use r2r::recon_node::msg::{Prior, Status};
use recon_node::observer::{InferenceReport, MapScale, PriorReport, TrackingState};
use recon_node::ros::report::Report;
use recon_node::stamp::Stamp;

use crate::convert;
use crate::shared::Inner;

/// The seconds that the steps of a frame took.
#[derive(Default, Clone, Copy)]
pub struct Steps {
    /// From its arrival to the start of decoding.
    pub queue: f64,
    /// From messages to images.
    pub decode: f64,
    /// Reduction and pyramid.
    pub prepare: f64,
    /// Tracking, mapping, alignment.
    pub process: f64,
    /// Pose and transforms.
    pub publish: f64,
    /// From the arrival of its last part to its published pose.
    pub latency: f64,
}

/// Returns the message while there is a mapping.
pub fn status(inner: &Inner, report: &Report, steps: &Steps, map_frame: &str) -> Status {
    let (state, reason) = state_of(inner);
    let stamp = report.stamp.unwrap_or(Stamp::from_nanos(0));
    let counts = inner.inputs.counts();
    let scale = report.scale.unwrap_or(MapScale::UNKNOWN);
    let inference = &report.inference;
    let windows = report.windows;
    let count = |of: fn(InferenceReport) -> usize| windows.map_or(0, of) as u64;
    Status {
        header: convert::header(stamp, map_frame),
        state,
        reason,
        keyframes: report.keyframes,
        loops: report.loops,
        map: report.map,
        images_received: inner.inputs.image_rate.count(),
        frames_processed: report.processed,
        frames_tracked: report.tracked,
        frames_dropped: counts.dropped,
        images_unpaired: counts.unpaired,
        images_refused: counts.refused,
        scale: scale.metres_per_unit,
        scale_sigma_log: scale.sigma_log,
        model: report.model.to_owned(),
        windows: inference.windows,
        window_views: inference.views as u32,
        inference_secs: inference.secs,
        windows_merged: count(|windows| windows.merged),
        windows_refused: count(|windows| windows.refused),
        windows_calibrated: inference.with_camera,
        depth_prior: prior(windows.map(|windows| windows.depth), inference.with_depth),
        poses_prior: prior(windows.map(|windows| windows.poses), inference.with_poses),
        overlap_frac: report.overlap_frac,
        inlier_frac: report.inlier_frac,
        stamp_delay_secs: inner.inputs.stamp_delay.quantile_secs(0.5),
        queue_secs: steps.queue,
        decode_secs: steps.decode,
        prepare_secs: steps.prepare,
        process_secs: steps.process,
        publish_secs: steps.publish,
        latency_secs: steps.latency,
        ..Status::default()
    }
}

/// What is told of a prior; a model of one view is given none of the map's.
fn prior(gate: Option<PriorReport>, windows: u64) -> Prior {
    gate.map_or_else(Prior::default, |gate| Prior {
        told: gate.is_told,
        windows,
        tests: gate.tests as u32,
        mean_gain: gate.mean_gain,
    })
}

/// Returns the message while no model is loaded, with the reason where that is a failure.
pub fn unconfigured(reason: &str, map_frame: &str) -> Status {
    Status {
        header: convert::header(Stamp::from_nanos(0), map_frame),
        state: Status::UNCONFIGURED as u8,
        reason: reason.to_owned(),
        scale: MapScale::UNKNOWN.metres_per_unit,
        scale_sigma_log: MapScale::UNKNOWN.sigma_log,
        ..Status::default()
    }
}

fn state_of(inner: &Inner) -> (u8, String) {
    let waiting = inner.figures.waiting_for.clone();
    if !inner.active {
        return (Status::INACTIVE as u8, String::new());
    }
    if inner.paused {
        return (Status::PAUSED as u8, String::new());
    }
    match &inner.figures.report.last {
        _ if !waiting.is_empty() => (Status::WAITING as u8, waiting),
        None => (Status::WAITING as u8, "no frame has come yet".to_owned()),
        Some(TrackingState::Initializing(reason)) => (Status::INITIALIZING as u8, reason.clone()),
        Some(TrackingState::Lost(reason)) => (Status::LOST as u8, reason.to_string()),
        Some(_) => (Status::TRACKING as u8, String::new()),
    }
}
