//! Calibrated cameras: from points to pixels and from pixels to rays.

use nalgebra::{Matrix2, Matrix2x3, Point3, Vector2, Vector3};
use rayon::prelude::*;

use super::{Distortion, GeometryError};

/// Focal lengths and principal point in pixels.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Intrinsics {
    /// Horizontal focal length.
    pub fx: f64,
    /// Vertical focal length.
    pub fy: f64,
    /// Column of the principal point.
    pub cx: f64,
    /// Row of the principal point.
    pub cy: f64,
}

/// A camera: intrinsics, distortion and image size.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Camera {
    intrinsics: Intrinsics,
    distortion: Distortion,
    width: u32,
    height: u32,
    /// Where the distortion model stops being one-to-one, as radius in normalised coordinates.
    #[serde(skip)]
    max_radius: f64,
}

impl Camera {
    /// Returns a camera whose parameters can be used.
    ///
    /// # Errors
    /// [`GeometryError::InvalidCamera`] for focal lengths that are not positive, values that are
    /// not finite, or an empty image.
    pub fn new(
        intrinsics: Intrinsics,
        distortion: Distortion,
        width: u32,
        height: u32,
    ) -> Result<Self, GeometryError> {
        check_positive("fx", intrinsics.fx)?;
        check_positive("fy", intrinsics.fy)?;
        check_positive("width", f64::from(width))?;
        check_positive("height", f64::from(height))?;
        check_finite("cx", intrinsics.cx)?;
        check_finite("cy", intrinsics.cy)?;
        for &coefficient in distortion.coefficients() {
            check_finite("distortion", coefficient)?;
        }
        let max_radius = distortion.max_radius();
        Ok(Self { intrinsics, distortion, width, height, max_radius })
    }

    /// Returns a camera without distortion.
    ///
    /// # Errors
    /// As [`Camera::new`].
    pub fn pinhole(intrinsics: Intrinsics, width: u32, height: u32) -> Result<Self, GeometryError> {
        Self::new(intrinsics, Distortion::None, width, height)
    }

    /// Returns focal lengths and principal point in pixels.
    pub fn intrinsics(&self) -> &Intrinsics {
        &self.intrinsics
    }

    /// Returns the distortion model.
    pub fn distortion(&self) -> &Distortion {
        &self.distortion
    }

    /// Returns the image width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Returns the image height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Returns the pixel of a point, or `None` behind the camera or beyond the lens model. The
    /// pixel may lie outside the image.
    pub fn project(&self, point_in_camera: &Point3<f64>) -> Option<Vector2<f64>> {
        let normalized = self.normalize(point_in_camera)?;
        Some(self.pixel_at(&self.distortion.distort(&normalized)))
    }

    /// Returns the pixel of a point and its derivative by the point.
    #[inline]
    pub fn project_with_jacobian(
        &self,
        point_in_camera: &Point3<f64>,
    ) -> Option<(Vector2<f64>, Matrix2x3<f64>)> {
        let normalized = self.normalize(point_in_camera)?;
        let inverse_z = 1.0 / point_in_camera.z;
        let by_point = Matrix2x3::new(
            inverse_z,
            0.0,
            -normalized.x * inverse_z,
            0.0,
            inverse_z,
            -normalized.y * inverse_z,
        );
        let jacobian = match self.distortion {
            Distortion::None => by_point,
            _ => self.distortion.jacobian(&normalized) * by_point,
        };
        let focal = Matrix2::new(self.intrinsics.fx, 0.0, 0.0, self.intrinsics.fy);
        let pixel = self.pixel_at(&self.distortion.distort(&normalized));
        Some((pixel, focal * jacobian))
    }

    /// Returns the ray of a pixel, scaled to z = 1, or `None` where the lens model has none.
    pub fn ray(&self, pixel: &Vector2<f64>) -> Option<Vector3<f64>> {
        let k = &self.intrinsics;
        let distorted = Vector2::new((pixel.x - k.cx) / k.fx, (pixel.y - k.cy) / k.fy);
        let undistorted = self.distortion.undistort(&distorted, self.max_radius)?;
        Some(Vector3::new(undistorted.x, undistorted.y, 1.0))
    }

    /// Returns the rays of all pixels in row order, scaled to z = 1; NaN where there is none.
    pub fn rays(&self) -> Vec<Vector3<f32>> {
        let pixel = |i: u32| Vector2::new(f64::from(i % self.width), f64::from(i / self.width));
        (0..self.width * self.height)
            .into_par_iter()
            .map(|i| match self.ray(&pixel(i)) {
                Some(ray) => ray.cast(),
                None => Vector3::repeat(f32::NAN),
            })
            .collect()
    }

    /// Returns the camera of the same view at another image size.
    pub fn resized(&self, width: u32, height: u32) -> Self {
        let scale_x = f64::from(width) / f64::from(self.width);
        let scale_y = f64::from(height) / f64::from(self.height);
        Self { width, height, ..self.scaled(scale_x, scale_y) }
    }

    /// Returns the camera of an image in which each pixel is the mean of `factor` × `factor`;
    /// columns and rows that do not fill a pixel are cut off on the right and below.
    pub fn reduced(&self, factor: u32) -> Self {
        let scale = 1.0 / f64::from(factor);
        let (width, height) = (self.width / factor, self.height / factor);
        Self { width, height, ..self.scaled(scale, scale) }
    }

    fn scaled(&self, scale_x: f64, scale_y: f64) -> Self {
        let k = &self.intrinsics;
        let intrinsics = Intrinsics {
            fx: k.fx * scale_x,
            fy: k.fy * scale_y,
            // Pixel centres are at whole numbers, so image corners are at -0.5.
            cx: (k.cx + 0.5) * scale_x - 0.5,
            cy: (k.cy + 0.5) * scale_y - 0.5,
        };
        Self { intrinsics, ..*self }
    }

    #[inline]
    fn normalize(&self, point: &Point3<f64>) -> Option<Vector2<f64>> {
        if point.z.is_nan() || point.z <= 1e-6 {
            return None;
        }
        let normalized = Vector2::new(point.x / point.z, point.y / point.z);
        (normalized.norm_squared() <= self.max_radius * self.max_radius).then_some(normalized)
    }

    #[inline]
    fn pixel_at(&self, distorted: &Vector2<f64>) -> Vector2<f64> {
        let k = &self.intrinsics;
        Vector2::new(k.fx * distorted.x + k.cx, k.fy * distorted.y + k.cy)
    }
}

fn check_positive(field: &'static str, value: f64) -> Result<(), GeometryError> {
    let accepted = value.is_finite() && value > 0.0;
    let expected = "expected a positive number";
    if accepted { Ok(()) } else { Err(GeometryError::InvalidCamera { field, value, expected }) }
}

fn check_finite(field: &'static str, value: f64) -> Result<(), GeometryError> {
    let expected = "expected a finite number";
    if value.is_finite() {
        Ok(())
    } else {
        Err(GeometryError::InvalidCamera { field, value, expected })
    }
}
