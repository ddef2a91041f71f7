//! Back ends of the `ReconstructionModel` socket.

pub mod mapanything;
pub mod nn;
mod sensor_depth;

pub use sensor_depth::SensorDepth;
