//! Point clouds with colour.

use nalgebra::{Point3, Vector3};

use crate::error::{Error, Result};

/// Points of one frame of reference with their colours, in a stable order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PointCloud {
    /// Positions in metres.
    pub points: Vec<Point3<f32>>,
    /// Colour of each point (red, green, blue), or nothing at all.
    pub colors: Vec<[u8; 3]>,
}

impl PointCloud {
    /// Returns the number of points.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Returns whether there is no point.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// Returns once it is known that all points have a colour, or none has.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where some have one and some have not.
    pub fn check_colors(&self) -> Result<()> {
        if self.colors.is_empty() || self.colors.len() == self.points.len() {
            return Ok(());
        }
        Err(Error::ShapeMismatch {
            what: "colours of a point cloud",
            expected: self.points.len().to_string(),
            found: self.colors.len().to_string(),
        })
    }
}

/// Points that know which way their surface faces, and how sure they are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SurfaceCloud {
    /// Where they are, and their colours.
    pub cloud: PointCloud,
    /// Unit normal of each point, towards where it was seen from; zero where it is not known.
    pub normals: Vec<Vector3<f32>>,
    /// Confidence of each point: inverse variance, 1/m².
    pub confidence: Vec<f32>,
}

impl SurfaceCloud {
    /// Returns the points for which `stays` is true; `stays` has one entry for each point.
    pub fn retained(&self, stays: &[bool]) -> Self {
        fn kept<T: Copy>(values: &[T], stays: &[bool]) -> Vec<T> {
            values.iter().zip(stays).filter(|(_, stays)| **stays).map(|(value, _)| *value).collect()
        }
        Self {
            cloud: PointCloud {
                points: kept(&self.cloud.points, stays),
                colors: kept(&self.cloud.colors, stays),
            },
            normals: kept(&self.normals, stays),
            confidence: kept(&self.confidence, stays),
        }
    }

    /// Returns once it is known that all points have a normal and a confidence, and colours or none.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where that is not so.
    pub fn check(&self) -> Result<()> {
        self.cloud.check_colors()?;
        let counts = [self.normals.len(), self.confidence.len()];
        if counts == [self.cloud.len(); 2] {
            return Ok(());
        }
        Err(Error::ShapeMismatch {
            what: "normals and confidences of a point cloud",
            expected: self.cloud.len().to_string(),
            found: format!("{} and {}", counts[0], counts[1]),
        })
    }
}
