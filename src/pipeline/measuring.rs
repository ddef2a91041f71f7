//! Frames with depth: what the sensor measures is the geometry of their keyframes, and no model has to
//! be waited for. What a model of several views says fills what the sensor leaves open, as far as the
//! two agree where both say something.

use super::inferring::Candidate;
use super::merging::{Comparison, log_ratios};
use super::{Pipeline, PreparedFrame};
use crate::frame::DepthImage;
use crate::keyframe::KeyframeId;
use crate::map::completed;
use crate::pointmap::Pointmap;
use crate::raster::Raster;
use crate::sensor::unproject;

/// A keyframe of which the sensor measures this much needs no model to be tracked against.
const ENOUGH_FRAC: f64 = 0.1;
/// A model whose depths scatter by more than this (standard deviation of logarithms) about the
/// sensor's has nothing to add.
const MAX_SIGMA_LOG: f64 = 0.03;

impl Pipeline {
    /// What the sensor measures of a frame, if it has depth to speak of.
    pub(super) fn measured(&self, frame: &PreparedFrame) -> Option<Pointmap> {
        frame.mean_depth_m?;
        let depth = frame.frame.depth.as_deref()?;
        let (width, height) = (depth.raster().width(), depth.raster().height());
        let rays = Raster::new(width, height, frame.camera.rays()).ok()?;
        unproject(depth, &rays, &self.config.sensor).ok()
    }

    /// What the sensor measures of a frame, if that alone makes a keyframe.
    pub(super) fn measured_enough(&self, frame: &PreparedFrame) -> Option<Pointmap> {
        self.measured(frame).filter(|measured| measured.valid_frac() >= ENOUGH_FRAC)
    }

    /// The geometry of a view with depth, by a window as far as it agrees with the sensor; `None` where
    /// it does not, and the sensor alone is too little.
    pub(super) fn merge_measured(
        &mut self,
        candidate: Candidate<'_>,
        newest: &Pointmap,
    ) -> Option<Pointmap> {
        let measured = self.measured(candidate.frame)?;
        let depth = candidate.frame.frame.depth.clone()?;
        match self.filled(&measured, &depth, newest) {
            Some(filled) => Some(filled),
            None => self.measured_enough(candidate.frame),
        }
    }

    /// Fills a keyframe with what a window that was asked for it says.
    pub(super) fn take_filling(&mut self, id: KeyframeId, newest: &Pointmap) {
        let Some(keyframe) = self.map.get(id) else { return };
        let (known, depth) = (keyframe.pointmap.clone(), keyframe.frame.depth.clone());
        let filled = depth.and_then(|depth| self.filled(&known, &depth, newest));
        let (Some(filled), Some(keyframe)) = (filled, self.map.get_mut(id)) else { return };
        keyframe.pointmap = filled;
        if self.anchor.as_ref().is_some_and(|anchor| anchor.keyframe == id) {
            self.renew_anchor(1.0);
        }
    }

    /// What is known of a view, and where its sensor says nothing, what a model says: in metres, and
    /// as sure as the two agree elsewhere. `None` where they do not.
    fn filled(
        &mut self,
        known: &Pointmap,
        depth: &DepthImage,
        said: &Pointmap,
    ) -> Option<Pointmap> {
        self.inferring.is_metric = true;
        let depth_m = depth.raster();
        // The sensor knows better than any window how long a metre is.
        let compared = Comparison::of(log_ratios(said, |x, y| depth_m.at(x, y)));
        let Some(scale) = compared.filter(|c| c.is_good() && c.sigma_log <= MAX_SIGMA_LOG) else {
            self.inferring.note_refused();
            return None;
        };
        self.inferring.note_window(None);
        let said = said.scaled(scale.log_scale.exp());
        let confidence = Raster::from_fn(said.width(), said.height(), |x, y| {
            let Some(point) = said.point(x, y).filter(|_| depth_m.at(x, y) <= 0.0) else {
                return 0.0;
            };
            said.confidence(x, y).min((scale.sigma_log as f32 * point.z).powi(-2))
        });
        Some(completed(known, &said.with_confidence(confidence)?))
    }
}
