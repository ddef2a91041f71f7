//! The socket for geometry: whatever turns a window of views into pointmaps.

use crate::error::Result;
use crate::features::FeatureExtractor;
use crate::frame::{DepthImage, Frame};
use crate::geometry::{Camera, Se3};
use crate::pointmap::Pointmap;

/// What is known of a view before a model looks at it: priors, not truths.
#[derive(Debug, Clone, Copy, Default)]
pub struct Priors<'a> {
    /// Camera of the frame's image.
    pub camera: Option<Camera>,
    /// Depth along the optical axis of each pixel of the frame's image, 0 where there is none; a
    /// model may need the camera to make use of it.
    pub depth: Option<&'a DepthImage>,
    /// Pose in a frame that all views of the window share.
    pub world_from_camera: Option<Se3>,
    /// Whether the lengths of depth and pose are metres; otherwise they are right up to one factor,
    /// the same for all views of the window.
    pub is_metric: bool,
}

/// A view given to a model, with what is known of it.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The image. Of all else that the frame holds, only the priors are meant for feed-forward
    /// models; a model that is nothing but the sensor's depth takes it from here.
    pub frame: &'a Frame,
    /// What is known of it.
    pub priors: Priors<'a>,
}

impl<'a> View<'a> {
    /// Returns the view of a frame of which nothing is known.
    pub fn new(frame: &'a Frame) -> Self {
        Self { frame, priors: Priors::default() }
    }

    /// Returns the view with the calibration and the depth that the frame itself came with, in
    /// metres.
    pub fn measured(frame: &'a Frame) -> Self {
        let (camera, depth) = (frame.camera, frame.depth.as_deref());
        Self { frame, priors: Priors { camera, depth, world_from_camera: None, is_metric: true } }
    }

    /// Returns the view with a pose prior.
    pub fn at(self, world_from_camera: Se3) -> Self {
        let priors = Priors { world_from_camera: Some(world_from_camera), ..self.priors };
        Self { priors, ..self }
    }
}

/// What a model says about one view.
#[derive(Debug, Clone)]
pub struct ViewGeometry {
    /// Geometry of the view in its own optical frame; confidence 0 where the model masks it.
    pub pointmap: Pointmap,
    /// Camera of the pointmap's size: the prior's, resized and cropped as the image was; the model's
    /// estimate only where none was given.
    pub camera: Camera,
    /// Pose in the frame of the window's first view (whose own is the identity), in the unit of the
    /// pointmaps; from models that see several views at once.
    pub window_from_camera: Option<Se3>,
    /// A vector of length one that is alike for views of one place (scalar product), from models
    /// that have such; any two of one model can be compared.
    pub descriptor: Option<Vec<f32>>,
}

/// What a model says about a window of views, in the order of the views.
#[derive(Debug, Clone)]
pub struct Prediction {
    /// One entry for each view.
    pub views: Vec<ViewGeometry>,
    /// Whether lengths are metres; otherwise they are right up to one factor.
    pub is_metric: bool,
}

/// The name of the back end whose geometry is the depth sensor's own.
pub const SENSOR_DEPTH: &str = "sensor-depth";

/// Regresses geometry from views. Implemented by the back ends in `model`.
pub trait ReconstructionModel: Send {
    /// Returns the name by which users choose it.
    fn name(&self) -> &'static str;

    /// Returns how many views of a window it makes use of at once; 1 for a model to which each
    /// view is a case of its own.
    fn max_views(&self) -> usize;

    /// Chooses by how much smaller than usual it sees images from now on: sides of `side_frac` times
    /// the usual length, as nearly as it can. Returns whether it can at all.
    fn set_side_frac(&mut self, _side_frac: f64) -> bool {
        false
    }

    /// Returns the geometry of `views`, in their order; the first one's frame is the window's. The
    /// same views give the same answer, bit for bit, whatever was asked before.
    ///
    /// # Errors
    /// Where a view lacks what the model cannot do without; the message says what.
    fn infer(&mut self, views: &[View<'_>]) -> Result<Prediction>;
}

/// The networks that a pipeline works with.
pub struct Models {
    /// Where geometry comes from.
    pub geometry: Box<dyn ReconstructionModel>,
    /// What places are recognised by; without it, only from where they were seen before.
    pub features: Option<Box<dyn FeatureExtractor>>,
}

impl<M: ReconstructionModel + 'static> From<Box<M>> for Models {
    fn from(geometry: Box<M>) -> Self {
        Self { geometry, features: None }
    }
}

impl From<Box<dyn ReconstructionModel>> for Models {
    fn from(geometry: Box<dyn ReconstructionModel>) -> Self {
        Self { geometry, features: None }
    }
}
