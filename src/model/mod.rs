//! Back ends of the `ReconstructionModel` socket.

pub mod dust3r;
pub mod mapanything;
pub mod nn;
mod open;
mod sensor_depth;
pub mod weights;
pub mod xfeat;

pub use open::{
    AUTO, BACK_ENDS, Resolved, check_name, family_side_px, open, open_family, open_features,
    open_geometry, open_map_anything, resolve,
};
pub use sensor_depth::SensorDepth;
