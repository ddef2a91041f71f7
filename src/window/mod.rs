//! Windows: which keyframes are looked at together.

mod covisibility;
mod overlap;
mod places;
mod sampling;

pub use covisibility::CovisibilityGraph;
pub use overlap::{overlap_frac, seen_frac};
pub use places::Places;
pub use sampling::{WindowConfig, sample_window};
