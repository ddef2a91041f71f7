//! Back ends of the `ReconstructionModel` socket.

pub mod nn;
mod sensor_depth;
pub mod xfeat;

pub use sensor_depth::SensorDepth;
