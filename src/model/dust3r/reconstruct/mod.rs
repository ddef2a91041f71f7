//! From what networks say of pairs or of many views to one scene: cameras, depths, matches.

mod cleaning;
mod fine;
mod global;
mod many;
mod pairs;
mod seen;
mod sparse;

pub use cleaning::hide_behind;
pub use fine::{LargeView, fine_matches};
pub use global::reconstruct_global;
pub use many::{ManyOptions, aligned_local, first_focal_px, own_view, reconstruct_many};
pub use pairs::{OwnMaps, PairGeometry, PlacedMatch};
pub use seen::dense_tracks;
pub use sparse::{SparseOptions, reconstruct_sparse};

use nalgebra::Point3;

use crate::geometry::{Intrinsics, Se3};
use crate::raster::Raster;

/// A view of a reconstructed scene, at the size that the network saw.
#[derive(Debug, Clone, PartialEq)]
pub struct ReconstructedView {
    /// Depth along the optical axis.
    pub depth: Raster<f32>,
    /// Confidence of the depth, 0 for none.
    pub confidence: Raster<f32>,
    /// The pinhole that was found.
    pub intrinsics: Intrinsics,
    /// Where the view was taken.
    pub world_from_camera: Se3,
}

/// A point that several views were found to show.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    /// Its place.
    pub point_in_world: Point3<f64>,
    /// Views and places in what the network saw of them.
    pub observations: Vec<(usize, [f64; 2])>,
}

/// A scene; the first view's camera is the world.
#[derive(Debug, Clone, PartialEq)]
pub struct Reconstruction {
    /// The views in their order.
    pub views: Vec<ReconstructedView>,
    /// What was matched, from solvers that match.
    pub tracks: Vec<Track>,
    /// Whether lengths are metres.
    pub is_metric: bool,
    /// The solver's loss before and after, where it has one.
    pub loss: Option<[f64; 2]>,
}

impl Reconstruction {
    /// Returns the same scene with the first view's camera as the world.
    #[must_use]
    pub fn in_first_view(mut self) -> Self {
        let Some(first) = self.views.first().map(|view| view.world_from_camera.inverse()) else {
            return self;
        };
        for view in &mut self.views {
            view.world_from_camera = first * view.world_from_camera;
        }
        for track in &mut self.tracks {
            track.point_in_world = first * track.point_in_world;
        }
        self
    }

    /// Returns the same scene with all lengths multiplied.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        for view in &mut self.views {
            view.world_from_camera.translation.vector *= factor;
            view.depth.values_mut().iter_mut().for_each(|z| *z *= factor as f32);
        }
        for track in &mut self.tracks {
            track.point_in_world *= factor;
        }
        self
    }
}
