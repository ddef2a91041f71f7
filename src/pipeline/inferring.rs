//! The model in the loop: the keyframes around a view go through the model together with it, with
//! what the map knows of them.

use nalgebra::Point3;

use super::calibrating::focal_over_width;
use super::merging::{Shared, Window};
use super::working_size::at_working_size;
use super::{Pipeline, PreparedFrame};
use crate::error::{Error, Result};
use crate::frame::{DepthImage, Frame};
use crate::geometry::{Camera, Se3};
use crate::inference::{Priors, View, ViewGeometry};
use crate::keyframe::{Keyframe, KeyframeId};
use crate::pointmap::Pointmap;
use crate::window::{CovisibilityGraph, WindowConfig, sample_window};

/// A view with geometry in less than this share of its pixels is no keyframe: nothing could be
/// tracked against it.
const MIN_VALID_FRAC: f64 = 0.02;

/// A view that is to become a keyframe.
#[derive(Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub frame: &'a PreparedFrame,
    pub world_from_camera: Se3,
}

/// What a view is given to the model with.
pub(super) struct Given {
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

impl Pipeline {
    /// Returns the geometry of a view that is to become a keyframe, in the map's unit; what the
    /// window says of older keyframes sharpens those.
    pub(super) fn infer_geometry(&mut self, candidate: Candidate<'_>) -> Result<Pointmap> {
        let pointmap = match self.model.max_views() {
            0 | 1 => self.infer_alone(candidate)?,
            _ => self.infer_together(candidate)?,
        };
        if pointmap.valid_frac() < MIN_VALID_FRAC {
            return Err(Error::MissingInput {
                model: self.model.name(),
                missing: "depth in more than a few pixels of a frame",
                remedy: "look at the images, the depth images and sensor.max_range_m",
            });
        }
        Ok(pointmap)
    }

    fn infer_alone(&mut self, candidate: Candidate<'_>) -> Result<Pointmap> {
        let Candidate { frame, world_from_camera } = candidate;
        let view = View::measured(&frame.frame).at(world_from_camera);
        let prediction = self.model.infer(&[view])?;
        let geometry = prediction.views.into_iter().next().ok_or_else(|| wrong_count(1, 0))?;
        at_working_size(geometry, &frame.camera)
    }

    /// Asks the model about the first keyframe once more, together with a frame beside it: until a
    /// second window agrees, the first one may have failed.
    pub(super) fn confirm_first(&mut self, frame: &PreparedFrame) -> Result<()> {
        let is_due = self.model.max_views() > 1
            && self.map.len() == 1
            && frame.mean_depth_m.is_none()
            && self.inferring.is_unconfirmed();
        let (Some(world_from_camera), true) = (self.last_pose(), is_due) else { return Ok(()) };
        let candidate = Candidate { frame, world_from_camera };
        let first: Vec<KeyframeId> = self.map.keyframes().map(|k| k.id).collect();
        let window = match self.infer_window(candidate, &first, self.told()) {
            // What the model can make nothing of confirms nothing.
            Err(Error::MissingInput { .. }) => return Ok(()),
            window => window?,
        };
        if self.merge(candidate, window).is_some()
            && let Some(&first) = first.first()
        {
            self.set_anchor(first);
        }
        Ok(())
    }

    /// A window that contradicts the map is asked once more, with one view less.
    fn infer_together(&mut self, candidate: Candidate<'_>) -> Result<Pointmap> {
        let mut others = self.window_around(&candidate);
        for _ in 0..2 {
            let window = self.infer_gated(candidate, &others)?;
            if let Some(pointmap) = self.merge(candidate, window) {
                return Ok(pointmap);
            }
            others.pop();
        }
        Err(Error::MissingInput {
            model: self.model.name(),
            missing: "geometry that agrees with the map",
            remedy: "go on: the next frame is asked instead",
        })
    }

    /// The keyframes that go through the model with a view, the one that shares most with it first.
    fn window_around(&self, candidate: &Candidate<'_>) -> Vec<KeyframeId> {
        let newest = KeyframeId(u32::MAX);
        let mut graph = CovisibilityGraph::default();
        graph.insert(newest);
        for (id, overlap) in self.overlaps(candidate.frame, &candidate.world_from_camera) {
            graph.connect(newest, id, overlap);
        }
        let max_keyframes = self.config.window.max_keyframes.min(self.model.max_views());
        let config = WindowConfig { max_keyframes, ..self.config.window.clone() };
        let ahead = |pose: &Se3| pose * Point3::new(0.0, 0.0, 2.0);
        let looks_at = |id| match self.map.get(id) {
            Some(keyframe) => ahead(&keyframe.world_from_camera),
            None => ahead(&candidate.world_from_camera),
        };
        sample_window(&graph, newest, looks_at, &config).split_off(1)
    }

    /// What the model says of a view and of other keyframes, in its own unit, at working size. The
    /// keyframe that shares most with the view fixes the window's frame.
    pub(super) fn infer_window(
        &mut self,
        candidate: Candidate<'_>,
        others: &[KeyframeId],
        told: Told,
    ) -> Result<Window> {
        let newest = self.given_candidate(candidate, told);
        let others: Vec<&Keyframe> = others.iter().filter_map(|&id| self.map.get(id)).collect();
        let first = others.first().map(|k| k.id);
        let told_of = |k: &Keyframe| Told {
            poses: told.poses && first.is_some_and(|first| self.is_pose_sure(first, k.id)),
            ..told
        };
        let mut given: Vec<Given> = others.iter().map(|k| self.given(k, told_of(k))).collect();
        let echoes: Vec<bool> = given.iter().map(|given| given.depth.is_some()).collect();
        let place = given.len().min(1);
        given.insert(place, newest);
        let is_metric = self.inferring.is_metric;
        let views: Vec<View<'_>> = given.iter().map(|given| given.view(is_metric)).collect();
        let prediction = self.model.infer(&views)?;
        let (expected, found) = (views.len(), prediction.views.len());
        if found != expected {
            return Err(wrong_count(expected, found));
        }
        let cameras = others.iter().map(|k| (k.id, k.camera)).zip(echoes);
        let mut geometry = prediction.views;
        let focals = geometry.iter().map(|view| focal_over_width(&view.camera)).collect();
        let newest = geometry.remove(place);
        let is_calibrated = candidate.frame.frame.camera.is_some();
        let newest = on_pixels(newest, &candidate.frame.camera, is_calibrated)?;
        let focal_over_width = median(focals).unwrap_or(f64::NAN);
        let mut window = Window { newest, focal_over_width, others: Vec::new() };
        for (((id, camera), is_echo), geometry) in cameras.zip(geometry) {
            let pointmap = on_pixels(geometry, &camera, is_calibrated)?;
            window.others.push(Shared { id, pointmap, is_echo });
        }
        Ok(window)
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

impl Pipeline {
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

/// The depth image of a pointmap.
pub(super) fn depth_of(pointmap: &Pointmap) -> DepthImage {
    DepthImage::new(pointmap.depths())
}

fn wrong_count(expected: usize, found: usize) -> Error {
    let what = "views of a prediction";
    Error::ShapeMismatch { what, expected: expected.to_string(), found: found.to_string() }
}
