//! What the model is asked of a window, and what its answer means in the map: question and answer
//! are plain data, so that the model may be asked wherever it is, and answer late.

use super::Pipeline;
use super::calibrating::focal_over_width;
use super::companions::Companions;
use super::inferring::Candidate;
use super::merging::{Alike, Shared, Window};
use super::working_size::at_working_size;
use crate::error::{Error, Result};
use crate::frame::{DepthImage, Frame};
use crate::geometry::{Camera, Se3};
use crate::inference::{Prediction, Priors, ReconstructionModel, View, ViewGeometry};
use crate::keyframe::{Keyframe, KeyframeId};
use crate::pointmap::Pointmap;

/// What a view is given to the model with.
struct Given {
    frame: Frame,
    camera: Option<Camera>,
    depth: Option<DepthImage>,
    world_from_camera: Option<Se3>,
}

impl Given {
    fn view(&self, is_metric: bool) -> View<'_> {
        let depth = self.depth.as_ref().filter(|_| self.camera.is_some());
        let (camera, world_from_camera) = (self.camera, self.world_from_camera);
        View { frame: &self.frame, priors: Priors { camera, depth, world_from_camera, is_metric } }
    }
}

/// What is told to the model beside images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    pub depth: bool,
    pub poses: bool,
}

/// A keyframe that a question shares with the map.
struct Known {
    id: KeyframeId,
    camera: Camera,
    /// Whether the model is given the map's depth of it.
    is_echo: bool,
    /// Whether it only looks like the newest view.
    is_alike: bool,
}

/// A window as the model is given it. The keyframe that shares most with the newest view fixes the
/// window's frame.
pub(super) struct Question {
    pub told: Told,
    given: Vec<Given>,
    others: Vec<Known>,
    is_metric: bool,
}

impl Question {
    /// Returns what the model says.
    ///
    /// # Errors
    /// As [`ReconstructionModel::infer`], and for an answer that is not about as many views.
    pub fn put(&self, model: &mut dyn ReconstructionModel) -> Result<Prediction> {
        let views: Vec<View<'_>> = self.given.iter().map(|g| g.view(self.is_metric)).collect();
        let prediction = model.infer(&views)?;
        match (views.len(), prediction.views.len()) {
            (expected, found) if found != expected => Err(wrong_count(expected, found)),
            _ => Ok(prediction),
        }
    }

    /// How many views there are.
    pub fn views(&self) -> usize {
        self.given.len()
    }

    /// Where the newest view stands among the others.
    fn place(&self) -> usize {
        self.others.len().min(1)
    }
}

impl Pipeline {
    /// What the model is to be asked of a view and of other keyframes.
    pub(super) fn question(
        &self,
        candidate: Candidate<'_>,
        companions: &Companions,
        told: Told,
    ) -> Question {
        let first = companions.covisible.first().copied();
        let is_alike = |id: KeyframeId| companions.alike.contains(&id);
        // Where the map has places that may be seen again, and how deep, is what is asked.
        let told_of = |k: &Keyframe| Told {
            poses: told.poses
                && !is_alike(k.id)
                && first.is_some_and(|first| self.is_pose_sure(first, k.id)),
            depth: told.depth && (!is_alike(k.id) || k.frame.depth.is_some()),
        };
        let ids = companions.covisible.iter().chain(&companions.alike);
        let known = ids.filter_map(|&id| self.map.get(id)).map(|keyframe| {
            let given = self.given(keyframe, told_of(keyframe));
            let (id, camera, is_echo) = (keyframe.id, keyframe.camera, given.depth.is_some());
            (given, Known { id, camera, is_echo, is_alike: is_alike(id) })
        });
        let (mut given, others): (Vec<Given>, Vec<Known>) = known.unzip();
        given.insert(others.len().min(1), self.given_candidate(candidate, told));
        Question { told, given, others, is_metric: self.inferring.is_metric }
    }

    /// What an answer says of a view and of the keyframes that the map still has, in the window's
    /// unit, at working size.
    pub(super) fn heard(
        &self,
        candidate: Candidate<'_>,
        question: &Question,
        answer: Prediction,
    ) -> Result<Window> {
        let mut geometry = answer.views;
        let focals = geometry.iter().map(|view| focal_over_width(&view.camera)).collect();
        let newest = geometry.remove(question.place());
        let window_from_newest = newest.window_from_camera;
        let is_calibrated = candidate.frame.frame.camera.is_some();
        let newest = on_pixels(newest, &candidate.frame.camera, is_calibrated)?;
        let focal_over_width = median(focals).unwrap_or(f64::NAN);
        let mut window = Window { newest, focal_over_width, others: vec![], alike: vec![] };
        for (known, geometry) in question.others.iter().zip(geometry) {
            let Known { id, camera, is_echo, is_alike } = *known;
            if self.map.get(id).is_none() {
                continue;
            }
            let poses = window_from_newest.zip(geometry.window_from_camera);
            let pointmap = on_pixels(geometry, &camera, is_calibrated)?;
            match (is_alike, poses) {
                (false, _) => window.others.push(Shared { id, pointmap, is_echo }),
                (true, Some((window_from_newest, window_from_keyframe))) => {
                    let keyframe_from_newest = window_from_keyframe.inv_mul(&window_from_newest);
                    window.alike.push(Alike { id, pointmap, keyframe_from_newest });
                }
                (true, None) => {}
            }
        }
        Ok(window)
    }

    fn given_candidate(&self, candidate: Candidate<'_>, told: Told) -> Given {
        let frame = &candidate.frame.frame;
        Given {
            frame: frame.clone(),
            camera: self.known_camera(frame, &candidate.frame.camera),
            depth: frame.depth.as_deref().filter(|_| told.depth).cloned(),
            world_from_camera: told.poses.then_some(candidate.world_from_camera),
        }
    }

    fn given(&self, keyframe: &Keyframe, told: Told) -> Given {
        let frame = &keyframe.frame;
        let measured = frame.depth.as_deref().cloned();
        let fused = || self.inferring.is_settled(keyframe.id).then(|| depth_of(&keyframe.pointmap));
        Given {
            frame: frame.clone(),
            camera: self.known_camera(frame, &keyframe.camera),
            depth: told.depth.then(|| measured.or_else(fused)).flatten(),
            world_from_camera: told.poses.then_some(keyframe.world_from_camera),
        }
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// A model's geometry on the pixels of a frame. Without a calibration the model has a camera of its
/// own; what it says is about pixels, and those stay where they are.
fn on_pixels(geometry: ViewGeometry, camera: &Camera, is_calibrated: bool) -> Result<Pointmap> {
    let (width, height) = (geometry.pointmap.width() as u32, geometry.pointmap.height() as u32);
    if is_calibrated {
        return at_working_size(geometry, camera);
    }
    let seen = camera.resized(width, height);
    let working = at_working_size(ViewGeometry { camera: seen, ..geometry }, camera)?;
    working.on_rays(&camera.rays())
}

/// The depth image of a pointmap.
pub(super) fn depth_of(pointmap: &Pointmap) -> DepthImage {
    DepthImage::new(pointmap.depths())
}

pub(super) fn wrong_count(expected: usize, found: usize) -> Error {
    let what = "views of a prediction";
    Error::ShapeMismatch { what, expected: expected.to_string(), found: found.to_string() }
}
