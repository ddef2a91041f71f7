//! A run as it goes on, for rerun's viewer: what [`Viewer`] sees is written into a file, served to
//! viewers, or sent to one.
//!
//! The pipeline's thread only notes what has changed, and hands it over at the pace of a few times a
//! second of the data; another thread makes images and rows of it. Where that one does not keep up,
//! what has changed meanwhile is told together later: nobody waits for the viewer.
//!
//! Each keyframe is a coordinate frame (`world/map/keyframes/7`), and its points, its image and the
//! way of the frames tracked against it are in there: a correction of the map is one row for each
//! keyframe that moves.

mod destination;

#[cfg(not(feature = "viz"))]
mod absent;
#[cfg(feature = "viz")]
mod event;
#[cfg(feature = "viz")]
mod figures;
#[cfg(feature = "viz")]
mod keyframes;
#[cfg(feature = "viz")]
mod layout;
#[cfg(feature = "viz")]
mod pictures;
#[cfg(feature = "viz")]
mod scribe;
#[cfg(feature = "viz")]
mod stream;
#[cfg(feature = "viz")]
mod viewer;
#[cfg(feature = "viz")]
mod way;

#[cfg(not(feature = "viz"))]
pub use absent::Viewer;
pub use destination::Destination;
#[cfg(feature = "viz")]
pub use viewer::Viewer;
