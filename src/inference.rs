//! The socket for geometry: whatever turns a window of views into pointmaps.

use crate::error::Result;
use crate::features::FeatureExtractor;
use crate::frame::Frame;
use crate::geometry::{Camera, Se3};
use crate::pointmap::Pointmap;

/// A view given to a model, with what is known of it.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Image, and depth and calibration where there are any.
    pub frame: &'a Frame,
    /// Where the map believes the view to be; a prior, not a truth.
    pub world_from_camera: Option<Se3>,
}

/// What a model says about one view.
#[derive(Debug, Clone)]
pub struct ViewGeometry {
    /// Geometry of the view in its own optical frame.
    pub pointmap: Pointmap,
    /// Camera of the pointmap's size: the one that was given, resized and cropped as the image
    /// was; the model's estimate only where none was given.
    pub camera: Camera,
    /// Pose in the frame of the window's first view, from models that see several views at once.
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

/// Regresses geometry from views. Implemented by the back ends in `model`.
pub trait ReconstructionModel: Send {
    /// Returns the name by which users choose it.
    fn name(&self) -> &'static str;

    /// Returns how many views of a window it makes use of at once; 1 for a model to which each
    /// view is a case of its own.
    fn max_views(&self) -> usize;

    /// Returns the geometry of `views`, newest first.
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
