//! Layer 0: the mathematics of moving cameras. It knows nothing else of this crate.
//!
//! Transforms are named `destination_from_source` and multiply only a `source_…`; points are
//! `point_in_frame`. Camera frames are optical: x right, y down, z forward, metres. Pixel
//! coordinates have their origin at the centre of the top-left pixel.

mod camera;
mod distortion;
mod error;
pub mod focal;
mod group;
pub mod numeric;
pub mod robust;
pub mod se3;
mod sim3;
mod svd;
mod umeyama;
mod utm;

pub use camera::{Camera, Intrinsics};
pub use distortion::Distortion;
pub use error::GeometryError;
pub use group::{LieGroup, left_jacobian_inverse};
pub use se3::Se3;
pub use sim3::Sim3;
pub use svd::{NearestRotation, nearest_rotation};
pub use umeyama::{Alignment, align_rigid, align_similarity};
pub use utm::UtmPlace;
