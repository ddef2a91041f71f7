//! Cameras without calibration: the focal length that the model sees, as the mean of what it says in
//! many windows, and the same for all frames.

use super::companions::Companions;
use super::inferring::Candidate;
use super::merging::set_pointmap;
use super::{Pipeline, PreparedFrame};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::geometry::focal::ordinary_focal_px;
use crate::geometry::{Camera, Intrinsics, Se3};
use crate::keyframe::KeyframeId;

/// The focal length stays as it is, and is told to the model, once so many windows have said it …
const LEAST_WINDOWS: usize = 12;
/// … and their median is as sure as this, as a share of it: a model that is told a camera that is not
/// the true one answers worse; or once so many have, which then will not agree.
const SURE_FRAC: f64 = 0.02;
const MOST_WINDOWS: usize = 48;
/// A focal length changed by less than this share changes nothing worth the trouble.
const NOTABLE_FRAC: f64 = 0.003;

/// The focal length that all frames without calibration share, over the width of the image.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedFocal {
    /// What the windows say, in order of size.
    said: Vec<f64>,
    /// What the map is made with.
    used: Option<f64>,
}

impl SharedFocal {
    /// Returns what windows say, in order of size, and what the map is made with.
    pub fn numbers(&self) -> (&[f64], Option<f64>) {
        (&self.said, self.used)
    }

    /// Returns what such numbers stand for.
    pub fn of(mut said: Vec<f64>, used: Option<f64>) -> Self {
        said.sort_by(f64::total_cmp);
        Self { said, used }
    }

    /// Takes note of what a window says.
    pub fn add(&mut self, focal_over_width: f64) {
        if !self.has_converged() && focal_over_width.is_finite() {
            let place = self.said.partition_point(|&said| said < focal_over_width);
            self.said.insert(place, focal_over_width);
        }
    }

    pub fn has_converged(&self) -> bool {
        let count = self.said.len();
        count >= MOST_WINDOWS || (count >= LEAST_WINDOWS && self.error_frac() <= SURE_FRAC)
    }

    /// The standard error of the median, as a share of it, by the spread of the middle half.
    fn error_frac(&self) -> f64 {
        let Some(median) = self.median() else { return f64::INFINITY };
        let quartile = |part: usize| self.said[part * (self.said.len() - 1) / 4];
        // As of normally distributed numbers.
        let sigma = (quartile(3) - quartile(1)) / 1.349;
        1.2533 * sigma / (self.said.len() as f64).sqrt() / median
    }

    /// The median of what windows say.
    fn median(&self) -> Option<f64> {
        let count = self.said.len();
        (count > 0).then(|| 0.5 * (self.said[(count - 1) / 2] + self.said[count / 2]))
    }

    /// The median, if it is notably another one than is in use, which it is from then on.
    fn changed(&mut self) -> Option<f64> {
        let median = self.median()?;
        let is_new = self.used.is_none_or(|used| (median / used - 1.0).abs() > NOTABLE_FRAC);
        is_new.then(|| *self.used.insert(median))
    }
}

/// Returns the pinhole in the middle of an image of a focal length, in widths of the image.
fn pinhole(width: u32, height: u32, focal_over_width: f64) -> Result<Camera> {
    let focal_px = focal_over_width * f64::from(width);
    let (cx, cy) = (0.5 * f64::from(width - 1), 0.5 * f64::from(height - 1));
    Ok(Camera::pinhole(Intrinsics { fx: focal_px, fy: focal_px, cx, cy }, width, height)?)
}

/// Returns the camera that a frame without calibration is made ready with, until its own is known.
///
/// # Errors
/// For an image without pixels.
pub(super) fn ordinary_camera(frame: &Frame) -> Result<Camera> {
    let (width, height) = frame.color.dimensions();
    let focal_px = ordinary_focal_px(width as usize, height as usize);
    pinhole(width.max(1), height.max(1), focal_px / f64::from(width.max(1)))
}

/// Returns what a camera says of the focal length, in widths of its image, as if pixels were square.
pub(super) fn focal_over_width(camera: &Camera) -> f64 {
    let k = camera.intrinsics();
    (k.fx * k.fy).sqrt() / f64::from(camera.width())
}

impl Pipeline {
    /// Returns a frame without calibration with the camera that all such frames share; what the
    /// model makes of the first one begins it.
    ///
    /// # Errors
    /// [`Error::MissingInput`] for a model that does not see cameras.
    pub(super) fn calibrated(&mut self, frame: &PreparedFrame) -> Result<PreparedFrame> {
        if self.model.max_views() < 2 {
            return Err(Error::MissingInput {
                model: "tracking",
                missing: "a calibrated camera",
                remedy: "give a calibration.yaml (fx, fy, cx, cy, width, height, depth_scale)",
            });
        }
        if self.inferring.focal.used.is_none() {
            let candidate = Candidate { frame, world_from_camera: Se3::identity() };
            let told = self.told();
            let window = self.infer_window(candidate, &Companions::default(), told)?;
            self.inferring.focal.add(window.focal_over_width);
            self.inferring.focal.changed();
        }
        let used = self.inferring.focal.used;
        let (width, height) = (frame.camera.width(), frame.camera.height());
        let camera = used.map_or(Ok(frame.camera), |focal| pinhole(width, height, focal))?;
        Ok(PreparedFrame { camera, pyramid: frame.pyramid.with_camera(&camera), ..frame.clone() })
    }

    /// Brings all keyframes without calibration to the focal length as it is known by now.
    pub(super) fn settle_focal(&mut self) -> Result<()> {
        let Some(focal) = self.inferring.focal.changed() else { return Ok(()) };
        let ids: Vec<KeyframeId> = self.map.keyframes().map(|k| k.id).collect();
        for id in ids {
            let Some(keyframe) = self.map.get_mut(id) else { continue };
            if keyframe.frame.camera.is_some() {
                continue;
            }
            let camera = pinhole(keyframe.camera.width(), keyframe.camera.height(), focal)?;
            let pointmap = keyframe.pointmap.on_rays(&camera.rays())?;
            keyframe.pyramid = keyframe.pyramid.with_camera(&camera);
            keyframe.camera = camera;
            set_pointmap(keyframe, pointmap);
        }
        if let Some(keyframe) = self.anchor.as_ref().map(|anchor| anchor.keyframe) {
            self.set_anchor(keyframe);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_used_and_then_stays() {
        let mut focal = SharedFocal::default();
        assert_eq!(focal.changed(), None);
        focal.add(0.8);
        assert_eq!(focal.changed(), Some(0.8));
        focal.add(0.801);
        assert_eq!(focal.changed(), None);
        for _ in 0..LEAST_WINDOWS {
            focal.add(0.9);
        }
        assert!(focal.has_converged());
        assert_eq!(focal.changed(), Some(0.9));
        let count = focal.said.len();
        for _ in 0..100 {
            focal.add(2.0);
        }
        assert_eq!((focal.changed(), focal.said.len()), (None, count));
    }

    /// Windows that scatter by 3 % are sure after 12 of them; by 6 %, after some more; and such as
    /// will never agree are taken as they are.
    #[test]
    fn the_more_windows_scatter_the_more_of_them_it_takes() {
        let counted = |scatter: f64| {
            let mut focal = SharedFocal::default();
            // Evenly over a range, which is 1.73 standard deviations to either side, in no order.
            let errors = (0..).map(|i: u32| f64::from(i * 19 % 48) / 24.0 - 1.0);
            for error in errors {
                if focal.has_converged() {
                    return focal.said.len();
                }
                focal.add(0.8 * (1.0 + 1.73 * scatter * error));
            }
            0
        };
        assert_eq!(counted(0.03), LEAST_WINDOWS);
        assert!((LEAST_WINDOWS + 1..MOST_WINDOWS).contains(&counted(0.06)), "{}", counted(0.06));
        assert_eq!(counted(0.4), MOST_WINDOWS);
    }
}
