//! What a window of views says, brought into the map.
//!
//! The window has a scale of its own. The keyframes that it shares with the map tell it, pixel by
//! pixel: no pose is needed for that. Then the newest view's surfaces are laid on those that the
//! map has, and both are fused by their confidence; errors that differ from window to window
//! average out.

use nalgebra::{Point3, Vector3};

use super::Pipeline;
use super::inferring::Candidate;
use crate::geometry::Se3;
use crate::geometry::robust::mad_sigma;
use crate::keyframe::{Keyframe, KeyframeId};
use crate::pointmap::Pointmap;

/// About how many pixels of a view are compared.
const SAMPLES: usize = 3000;
/// Depths whose logarithms differ by less than this agree.
const AGREEMENT_LOG: f64 = 0.12;
/// A window in which a smaller share of pixels agrees with the map has failed.
const MIN_AGREEING_FRAC: f64 = 0.45;
/// Fewer pixels than this say nothing.
const MIN_COMPARED: usize = 50;
/// Depths that differ by less than this many standard deviations are of one surface, …
const FUSION_SIGMAS: f64 = 3.0;
/// … and by less than this share in any case.
const FUSION_GATE_FRAC: f64 = 0.05;
/// What is left of the confidence of a point that a window contradicts.
const DOUBT: f32 = 0.7;

/// What a model says of a window, at working size and in its own unit.
pub(super) struct Window {
    pub newest: Pointmap,
    /// What the model says of the focal length, in widths of the image.
    pub focal_over_width: f64,
    pub others: Vec<Shared>,
    /// Keyframes that only look like the newest view, as far as the model says how they stand to it.
    pub alike: Vec<Alike>,
}

/// What a model says of a keyframe of a place that the newest view may be of, too.
pub(super) struct Alike {
    pub id: KeyframeId,
    pub pointmap: Pointmap,
    pub keyframe_from_newest: Se3,
}

/// What a model says of a keyframe that the map has.
pub(super) struct Shared {
    pub id: KeyframeId,
    pub pointmap: Pointmap,
    /// Whether the model was given the map's depth of it, so that this is no new evidence.
    pub is_echo: bool,
}

/// How a window compares with what is known, in logarithms of depth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Comparison {
    /// Logarithm of what the window's lengths are to be multiplied by.
    pub log_scale: f64,
    /// Share of pixels that agree then.
    pub agreeing_frac: f64,
    /// Standard deviation of the bulk of the logarithms.
    pub sigma_log: f64,
}

impl Comparison {
    /// Returns the median of logarithms of known over predicted depth, and how many are near it.
    pub(super) fn of(mut logs: Vec<f32>) -> Option<Self> {
        let middle = logs.len() / 2;
        if logs.len() < MIN_COMPARED {
            return None;
        }
        let median = *logs.select_nth_unstable_by(middle, f32::total_cmp).1;
        let near = |log: &&f32| f64::from((**log - median).abs()) < AGREEMENT_LOG;
        let (agreeing, count) = (logs.iter().filter(near).count(), logs.len());
        logs.iter_mut().for_each(|log| *log -= median);
        Some(Self {
            log_scale: f64::from(median),
            agreeing_frac: agreeing as f64 / count as f64,
            sigma_log: f64::from(mad_sigma(&mut logs).unwrap_or(f32::INFINITY)),
        })
    }

    pub(super) fn is_good(&self) -> bool {
        self.agreeing_frac >= MIN_AGREEING_FRAC
    }
}

impl Pipeline {
    /// Brings a window into the map's unit and the map's older keyframes up to date; returns the
    /// pointmap of the newest view, or `None` where the window contradicts the map.
    pub(super) fn merge(
        &mut self,
        candidate: Candidate<'_>,
        mut window: Window,
    ) -> Option<Pointmap> {
        if candidate.frame.mean_depth_m.is_some() {
            return self.merge_measured(candidate, &window.newest);
        }
        if self.map.is_empty() {
            self.inferring.note_window(Some(0.0));
            return Some(window.newest);
        }
        let by_pixels = self.compare_pixels(&window);
        let Some(scale) = by_pixels.or_else(|| self.compare_seen(&candidate, &window.newest))
        else {
            // A window that nothing ties to the map's scale would bring its own.
            self.inferring.note_refused();
            return None;
        };
        if !scale.is_good() {
            self.inferring.note_refused();
            return self.reconsider(&mut window, &scale);
        }
        let pointmap = window.newest.scaled(scale.log_scale.exp());
        let across = self.compare_across(&candidate, &pointmap, &window);
        if across.is_some_and(|across| !across.is_good()) {
            self.inferring.note_refused();
            return None;
        }
        self.inferring.note_window(Some(scale.log_scale));
        if candidate.frame.frame.camera.is_none() {
            self.inferring.focal.add(window.focal_over_width);
        }
        self.fuse_window(&window, scale.log_scale.exp());
        let pointmap = pointmap.scaled(across.map_or(0.0, |across| across.log_scale).exp());
        Some(self.agreed(candidate, pointmap))
    }

    /// The window's scale by the pixels of keyframes that the map has, each keyframe as one voice.
    pub(super) fn compare_pixels(&self, window: &Window) -> Option<Comparison> {
        let ratios = |shared: &Shared| -> Option<Vec<f32>> {
            let known = &self.map.get(shared.id)?.pointmap;
            let logs = log_ratios(&shared.pointmap, |x, y| known.point(x, y).map_or(0.0, |p| p.z));
            Some(logs)
        };
        let all: Vec<Vec<f32>> = window.others.iter().filter_map(ratios).collect();
        Comparison::of(all.concat())
    }

    /// The window's scale by what the map shows where the newest view looks: for windows without a
    /// keyframe of the map. The tracked pose has to be right for that.
    fn compare_seen(&self, candidate: &Candidate<'_>, newest: &Pointmap) -> Option<Comparison> {
        let seen = self.rendered_at(candidate.frame, &candidate.world_from_camera, 1)?;
        Comparison::of(log_ratios(newest, |x, y| seen.point(x, y).map_or(0.0, |p| p.z)))
    }

    /// How the newest view's surfaces, already at about the right scale, lie to those of the
    /// keyframes that share the window.
    pub(super) fn compare_across(
        &self,
        candidate: &Candidate<'_>,
        newest: &Pointmap,
        window: &Window,
    ) -> Option<Comparison> {
        let of_one = |shared: &Shared| -> Option<Vec<f32>> {
            let keyframe = self.map.get(shared.id)?;
            let there = keyframe.world_from_camera.inv_mul(&candidate.world_from_camera);
            Some(log_ratios_across(newest, keyframe, &there))
        };
        let all: Vec<Vec<f32>> = window.others.iter().filter_map(of_one).collect();
        Comparison::of(all.concat())
    }

    /// A map of one keyframe may itself be what is wrong: when two windows contradict it and agree
    /// with one another, the later one is believed.
    fn reconsider(&mut self, window: &mut Window, scale: &Comparison) -> Option<Pointmap> {
        let (1, [shared]) = (self.map.len(), &mut window.others[..]) else { return None };
        let factor = scale.log_scale.exp();
        let first = shared.pointmap.scaled(factor);
        let agree = self.inferring.challenger.take().and_then(|challenger: Pointmap| {
            Comparison::of(log_ratios(&first, |x, y| challenger.point(x, y).map_or(0.0, |p| p.z)))
        });
        if !agree.is_some_and(|agree| agree.is_good()) {
            self.inferring.challenger = Some(first);
            return None;
        }
        self.inferring.begin_anew();
        self.inferring.note_window(Some(scale.log_scale));
        self.inferring.note_window(Some(scale.log_scale));
        if let Some(keyframe) = self.map.get_mut(shared.id) {
            set_pointmap(keyframe, first);
        }
        Some(window.newest.scaled(factor))
    }

    /// Fuses what a window says of older keyframes into those.
    fn fuse_window(&mut self, window: &Window, factor: f64) {
        let max_measurements = self.config.map.max_fused_measurements as f32;
        for shared in window.others.iter().filter(|shared| !shared.is_echo) {
            let Some(keyframe) = self.map.get_mut(shared.id) else { continue };
            if keyframe.frame.depth.is_some() {
                continue;
            }
            let said = shared.pointmap.scaled(factor);
            let fused = fused(&keyframe.pointmap, &said, max_measurements);
            set_pointmap(keyframe, fused);
            self.inferring.note_fused(shared.id);
        }
    }

    /// The newest view's geometry as all keyframes agree on it.
    fn agreed(&self, candidate: Candidate<'_>, pointmap: Pointmap) -> Pointmap {
        let keyframe = Keyframe {
            id: KeyframeId(u32::MAX),
            frame: candidate.frame.frame.clone(),
            camera: candidate.frame.camera,
            pyramid: candidate.frame.pyramid.clone(),
            pointmap,
            world_from_camera: candidate.world_from_camera,
        };
        let agreed = self.map.agreed(&keyframe, &self.config.map);
        agreed.limited(&keyframe.pointmap, self.config.map.max_fused_measurements as f32)
    }
}

/// Gives a keyframe whose frame has no depth of its own a new geometry, and its pyramid the depth
/// by which others are compared with it.
pub(super) fn set_pointmap(keyframe: &mut Keyframe, pointmap: Pointmap) {
    if keyframe.frame.depth.is_none() {
        keyframe.pyramid = keyframe.pyramid.with_points(&pointmap);
    }
    keyframe.pointmap = pointmap;
}

/// Logarithms of known over predicted depth at some pixels that have both.
pub(super) fn log_ratios(predicted: &Pointmap, known_m: impl Fn(usize, usize) -> f32) -> Vec<f32> {
    sampled_pixels(predicted)
        .filter_map(|(x, y)| Some((known_m(x, y), predicted.point(x, y)?.z)))
        .filter(|(known, _)| *known > 0.0)
        .map(|(known, predicted)| (known / predicted).ln())
        .collect()
}

/// Logarithms of the depth that a keyframe has over the one that a view's points have there.
pub(super) fn log_ratios_across(
    view: &Pointmap,
    keyframe: &Keyframe,
    keyframe_from_view: &Se3,
) -> Vec<f32> {
    let known = &keyframe.pointmap;
    let ratio = |(x, y): (usize, usize)| -> Option<f32> {
        let point = keyframe_from_view * Point3::from(view.point(x, y)?.cast::<f64>());
        let pixel = keyframe.camera.project(&point)?;
        let (column, row) = (pixel.x.round(), pixel.y.round());
        let inside = column >= 0.0
            && row >= 0.0
            && column < known.width() as f64
            && row < known.height() as f64;
        let found = inside.then(|| known.point(column as usize, row as usize)).flatten()?;
        Some((f64::from(found.z) / point.z).ln() as f32)
    };
    sampled_pixels(view).filter_map(ratio).collect()
}

fn sampled_pixels(pointmap: &Pointmap) -> impl Iterator<Item = (usize, usize)> + use<> {
    let (width, height) = (pointmap.width(), pointmap.height());
    let stride = (((width * height) as f64 / SAMPLES as f64).sqrt() as usize).max(1);
    let rows = (stride / 2..height).step_by(stride);
    rows.flat_map(move |y| (stride / 2..width).step_by(stride).map(move |x| (x, y)))
}

/// The mean of two pointmaps of one view by their confidence; where they are of different surfaces
/// the first one stays, less sure.
fn fused(known: &Pointmap, said: &Pointmap, max_measurements: f32) -> Pointmap {
    let (width, height) = (known.width().min(said.width()), known.height().min(said.height()));
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let changes = pixels.filter_map(|(x, y)| {
        let new = (said.point(x, y)?, said.confidence(x, y));
        let old = known.point(x, y).map(|point| (point, known.confidence(x, y)));
        let (point, confidence) = match old {
            Some(old) => fused_point(old, new, max_measurements),
            None => (new.0, DOUBT * new.1),
        };
        Some((x, y, point, confidence))
    });
    let changes: Vec<_> = changes.collect();
    let mut fused = known.clone();
    fused.replace(&changes);
    fused
}

/// A point and its confidence.
type SurePoint = (Vector3<f32>, f32);

fn fused_point(old: SurePoint, new: SurePoint, max_measurements: f32) -> SurePoint {
    let (point, confidence) = old;
    let sigma_m = (1.0 / confidence + 1.0 / new.1).sqrt();
    let gate_m = (FUSION_SIGMAS * f64::from(sigma_m)).max(FUSION_GATE_FRAC * f64::from(point.z));
    if f64::from((new.0.z - point.z).abs()) > gate_m {
        return (point, DOUBT * confidence);
    }
    let total = confidence + new.1;
    let depth = (point.z * confidence + new.0.z * new.1) / total;
    let limit = (max_measurements * new.1).max(confidence);
    (point * (depth / point.z), total.min(limit))
}
