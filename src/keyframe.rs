//! Keyframes: the views that the map hangs on.

use std::fmt;

use crate::frame::Frame;
use crate::geometry::{Camera, Se3};
use crate::pointmap::Pointmap;
use crate::pyramid::Pyramid;

/// Number of a keyframe, counted from zero in order of creation; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct KeyframeId(pub u32);

impl fmt::Display for KeyframeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A view with its geometry and its place in the world.
#[derive(Debug, Clone)]
pub struct Keyframe {
    /// Its number.
    pub id: KeyframeId,
    /// The frame at working size.
    pub frame: Frame,
    /// Camera of the frame at working size.
    pub camera: Camera,
    /// The frame's image pyramid.
    pub pyramid: Pyramid,
    /// Its geometry, refined by every view that saw the same surface.
    pub pointmap: Pointmap,
    /// Where it stands; moves when the map is aligned anew.
    pub world_from_camera: Se3,
}
