//! From what the network predicts to what can be used: cameras from rays, and masks without the
//! points that hang between surfaces.

mod confidence;
mod edges;
mod frustum;
mod intrinsics;
mod mask;
mod normals;

pub use confidence::{AgreementThresholds, PlacedDepth, multi_view_confidence, quantile};
pub use edges::{depth_edge, normal_edge};
pub use frustum::Frustum;
pub use intrinsics::intrinsics_from_rays;
pub use mask::{EdgeThresholds, MaskInput, MaskOptions, apply_mask, edge_mask, final_mask};
pub use normals::{Normals, normals};
