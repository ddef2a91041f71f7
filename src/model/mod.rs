//! Back ends of the `ReconstructionModel` socket.

mod sensor_depth;

pub use sensor_depth::SensorDepth;
