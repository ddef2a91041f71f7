//! Back ends of the `ReconstructionModel` socket.

pub mod mapanything;
pub mod nn;
mod open;
mod sensor_depth;
pub mod weights;

pub use open::{BACK_ENDS, check_name, open, open_map_anything};
pub use sensor_depth::SensorDepth;
