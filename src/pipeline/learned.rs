//! What was learned from a model's windows, and where on Earth the map is: plain numbers that outlive
//! a session.

use std::collections::BTreeMap;

use super::calibrating::SharedFocal;
use super::priors::Inferring;
use super::scaling::ScaleEvidence;
use crate::keyframe::KeyframeId;

/// What is known of scale and focal length by the windows of a model that sees several views.
#[derive(Debug, Clone, PartialEq)]
pub struct LearnedSnapshot {
    /// Of the logarithm of metres in a unit of the map, as windows say it and as odometry does: how
    /// many values, their mean, and the sum of their squared deviations.
    pub log_scale: [[f64; 3]; 2],
    /// The map's unit, in that of its first window.
    pub unit: f64,
    /// Windows merged, refused, and merged when the map was last brought to metres.
    pub windows: [u32; 3],
    /// Windows of which each keyframe's geometry is the mean.
    pub fused: BTreeMap<KeyframeId, u32>,
    /// Focal lengths that windows say, over the width of the image, in order of size.
    pub focals_over_width: Vec<f64>,
    /// The one that the map is made with.
    pub focal_in_use: Option<f64>,
}

/// Where on Earth the origin of a map is, whose z points up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GeoReference {
    /// Degrees north, WGS 84.
    pub latitude_deg: f64,
    /// Degrees east, WGS 84.
    pub longitude_deg: f64,
    /// Metres above the ellipsoid.
    pub altitude_m: f64,
    /// Of the map's y axis, degrees clockwise from north; 0 where x points east.
    pub heading_deg: f64,
}

impl Inferring {
    /// Returns what outlives the session, if anything was learned.
    pub(super) fn learned(&self) -> Option<LearnedSnapshot> {
        let windows = [self.merged, self.refused, self.merged_then].map(|n| n as u32);
        let (focals_over_width, focal_in_use) = self.focal.numbers();
        let has_learned = windows != [0; 3] || focal_in_use.is_some();
        has_learned.then(|| LearnedSnapshot {
            log_scale: self.scale.numbers(),
            unit: self.unit,
            windows,
            fused: self.fused.clone(),
            focals_over_width: focals_over_width.to_vec(),
            focal_in_use,
        })
    }

    /// Takes up what an earlier session has learned.
    pub(super) fn take_up(&mut self, learned: LearnedSnapshot) {
        let [merged, refused, merged_then] = learned.windows.map(|n| n as usize);
        (self.merged, self.refused, self.merged_then) = (merged, refused, merged_then);
        self.scale = ScaleEvidence::of(learned.log_scale);
        self.unit = learned.unit;
        self.fused = learned.fused;
        self.focal = SharedFocal::of(learned.focals_over_width, learned.focal_in_use);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learned_is_known_in_the_next_session() {
        let mut first = Inferring::default();
        assert_eq!(first.learned(), None);
        for i in 0..5 {
            first.note_window(Some(0.1 + 0.01 * f64::from(i)));
            first.note_fused(KeyframeId(0));
            first.focal.add(0.8 + 0.01 * f64::from(i));
        }
        first.note_refused();
        first.unit = 1.3;
        let learned = first.learned().unwrap();
        let mut second = Inferring::default();
        second.take_up(learned.clone());
        assert_eq!(second.learned(), Some(learned));
        assert_eq!(second.scale, first.scale);
        assert_eq!(second.windows(), (5, 1));
        assert!(second.is_settled(KeyframeId(0)) == first.is_settled(KeyframeId(0)));
    }
}
