//! Matching: which pixels of two views show the same point, which pose that makes, and which
//! views are worth comparing.

pub mod absolute_pose;
mod coarse_to_fine;
mod lanes;
mod mutual;
mod nearest;
mod reciprocal;
pub mod retrieval;
pub mod scene_graph;
mod symmetric;
pub mod two_view;
mod windows;

pub use coarse_to_fine::{CoarseView, WindowPair, greedy_cover, select_window_pairs, window_pairs};
pub use mutual::mutual_nearest;
pub use nearest::{DescriptorIndex, DescriptorMap};
pub use reciprocal::{MapPair, PixelMatch, Seeds};
pub use symmetric::{
    ConfidentMap, ConfidentMatch, inside_border, one_order_matches, symmetric_matches,
};
pub use windows::{ImageSize, Window, fit_window, pixel_in_full, window_grid};
