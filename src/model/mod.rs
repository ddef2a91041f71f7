//! Back ends of the `ReconstructionModel` socket.

pub mod mapanything;
pub mod nn;
mod open;
mod sensor_depth;
pub mod weights;
pub mod xfeat;

pub use open::{
    BACK_ENDS, check_name, open, open_features, open_geometry, open_map_anything,
};
pub use sensor_depth::SensorDepth;
