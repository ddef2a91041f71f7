//! Lens distortion: how normalised image coordinates bend, with derivatives and inverse.
//!
//! Names and coefficient orders are those of `sensor_msgs/CameraInfo`; formulas are OpenCV's
//! (calib3d) for `plumb_bob` and `rational_polynomial`, and Kannala–Brandt's for `equidistant`.

use nalgebra::{Matrix2, Vector2};

use super::GeometryError;

/// A distortion model over normalised coordinates (x/z, y/z).
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distortion {
    /// A perfect pinhole.
    #[default]
    None,
    /// Brown–Conrady: k1 k2 p1 p2 k3.
    PlumbBob([f64; 5]),
    /// Brown–Conrady with a rational radial part: k1 k2 p1 p2 k3 k4 k5 k6.
    RationalPolynomial([f64; 8]),
    /// Fisheye: k1 k2 k3 k4 over the angle from the axis.
    Equidistant([f64; 4]),
}

impl Distortion {
    /// Returns the model that ROS and OpenCV call `name`; all-zero coefficients of the two
    /// polynomial models are [`Distortion::None`].
    ///
    /// # Errors
    /// [`GeometryError::UnknownDistortion`] for a name or a number of coefficients without meaning.
    pub fn from_ros(name: &str, coefficients: &[f64]) -> Result<Self, GeometryError> {
        let equidistant = matches!(name, "equidistant" | "fisheye");
        if !equidistant && coefficients.iter().all(|&k| k == 0.0) {
            return Ok(Self::None);
        }
        match (name, coefficients.len()) {
            ("plumb_bob" | "", 4 | 5) => Ok(Self::PlumbBob(padded(coefficients))),
            ("rational_polynomial" | "plumb_bob" | "", 8) => {
                Ok(Self::RationalPolynomial(padded(coefficients)))
            }
            ("equidistant" | "fisheye", 4) => Ok(Self::Equidistant(padded(coefficients))),
            _ => Err(GeometryError::UnknownDistortion {
                model: name.to_owned(),
                count: coefficients.len(),
            }),
        }
    }

    /// Returns the distorted normalised coordinates.
    #[inline]
    pub fn distort(&self, undistorted: &Vector2<f64>) -> Vector2<f64> {
        match self {
            Self::None => *undistorted,
            Self::Equidistant(k) => undistorted * equidistant_factor(k, undistorted.norm()),
            Self::PlumbBob(_) | Self::RationalPolynomial(_) => {
                let k = self.polynomial();
                let (x, y) = (undistorted.x, undistorted.y);
                let r2 = x * x + y * y;
                let radial = radial_factor(&k, r2);
                Vector2::new(
                    x * radial + 2.0 * k[2] * x * y + k[3] * (r2 + 2.0 * x * x),
                    y * radial + k[2] * (r2 + 2.0 * y * y) + 2.0 * k[3] * x * y,
                )
            }
        }
    }

    /// Returns the derivative of the distorted by the undistorted coordinates.
    pub fn jacobian(&self, undistorted: &Vector2<f64>) -> Matrix2<f64> {
        match self {
            Self::None => Matrix2::identity(),
            Self::Equidistant(k) => equidistant_jacobian(k, undistorted),
            Self::PlumbBob(_) | Self::RationalPolynomial(_) => {
                polynomial_jacobian(&self.polynomial(), undistorted)
            }
        }
    }

    /// Returns the undistorted coordinates by damped Newton steps, or `None` where no point of the
    /// model's valid disc (radius `max_radius`) lands on `distorted`.
    pub fn undistort(&self, distorted: &Vector2<f64>, max_radius: f64) -> Option<Vector2<f64>> {
        if let Self::None = self {
            return (distorted.norm() <= max_radius).then_some(*distorted);
        }
        self.undistort_from(self.first_guess(distorted), distorted, max_radius).or_else(|| {
            let guess = self.radial_guess(distorted, max_radius)?;
            self.undistort_from(guess, distorted, max_radius)
        })
    }

    /// Returns the radius of undistorted coordinates (tangent of the angle from the axis) up to
    /// which the radial part still grows; beyond it a polynomial folds back into the image.
    pub fn max_radius(&self) -> f64 {
        const STEP: f64 = 0.005;
        const LIMIT: f64 = 20.0;
        let mut radius = 0.0;
        while radius < LIMIT {
            if self.radial(radius + STEP) <= self.radial(radius) {
                return radius;
            }
            radius += STEP;
        }
        LIMIT
    }

    /// Returns the coefficients, none for a pinhole.
    pub fn coefficients(&self) -> &[f64] {
        match self {
            Self::None => &[],
            Self::PlumbBob(k) => k,
            Self::RationalPolynomial(k) => k,
            Self::Equidistant(k) => k,
        }
    }

    fn undistort_from(
        &self,
        mut guess: Vector2<f64>,
        distorted: &Vector2<f64>,
        max_radius: f64,
    ) -> Option<Vector2<f64>> {
        for _ in 0..30 {
            let error = self.distort(&guess) - distorted;
            if error.norm_squared() < 1e-24 {
                break;
            }
            let step = self.jacobian(&guess).lu().solve(&error)?;
            guess -= step * (0.5 / step.norm()).min(1.0);
        }
        let error = (self.distort(&guess) - distorted).norm();
        // Far out a pixel's coordinates are large, and so is what rounding leaves of them.
        let tolerance = 1e-9 * (1.0 + distorted.norm());
        (error < tolerance && guess.norm() <= max_radius).then_some(guess)
    }

    /// The radius that a point keeps without the tangential part.
    fn radial(&self, radius: f64) -> f64 {
        match self {
            Self::None => radius,
            Self::Equidistant(k) => radius * equidistant_factor(k, radius),
            _ => radius * radial_factor(&self.polynomial(), radius * radius),
        }
    }

    /// A start for steep lenses, where Newton from the distorted point itself starts too far out:
    /// the radius by halving the disc in which the radial part grows.
    fn radial_guess(&self, distorted: &Vector2<f64>, max_radius: f64) -> Option<Vector2<f64>> {
        let wanted = distorted.norm();
        let (mut low, mut high) = (0.0, max_radius);
        for _ in 0..40 {
            let middle = 0.5 * (low + high);
            if self.radial(middle) < wanted { low = middle } else { high = middle }
        }
        (wanted.is_finite() && wanted > 0.0).then(|| distorted * (low / wanted))
    }

    /// The fisheye compresses the whole half space into a disc, where Newton from the distorted
    /// point itself would start too far out; the angle gives a start that converges.
    fn first_guess(&self, distorted: &Vector2<f64>) -> Vector2<f64> {
        match self {
            Self::Equidistant(_) => {
                let angle = distorted.norm().min(1.5);
                if angle < 1e-9 { *distorted } else { distorted * (angle.tan() / distorted.norm()) }
            }
            _ => *distorted,
        }
    }

    fn polynomial(&self) -> [f64; 8] {
        match self {
            Self::PlumbBob(k) => padded(k),
            Self::RationalPolynomial(k) => *k,
            _ => [0.0; 8],
        }
    }
}

fn padded<const N: usize>(coefficients: &[f64]) -> [f64; N] {
    std::array::from_fn(|i| coefficients.get(i).copied().unwrap_or(0.0))
}

fn radial_factor(k: &[f64; 8], r2: f64) -> f64 {
    let numerator = 1.0 + r2 * (k[0] + r2 * (k[1] + r2 * k[4]));
    let denominator = 1.0 + r2 * (k[5] + r2 * (k[6] + r2 * k[7]));
    numerator / denominator
}

/// Derivative of [`radial_factor`] by `r2`, given its value there.
fn radial_slope(k: &[f64; 8], r2: f64, factor: f64) -> f64 {
    let denominator = 1.0 + r2 * (k[5] + r2 * (k[6] + r2 * k[7]));
    let numerator_slope = k[0] + r2 * (2.0 * k[1] + r2 * 3.0 * k[4]);
    let denominator_slope = k[5] + r2 * (2.0 * k[6] + r2 * 3.0 * k[7]);
    (numerator_slope - factor * denominator_slope) / denominator
}

fn polynomial_jacobian(k: &[f64; 8], undistorted: &Vector2<f64>) -> Matrix2<f64> {
    let (x, y) = (undistorted.x, undistorted.y);
    let r2 = x * x + y * y;
    let radial = radial_factor(k, r2);
    let slope = 2.0 * radial_slope(k, r2, radial);
    let cross = x * y * slope + 2.0 * k[2] * x + 2.0 * k[3] * y;
    Matrix2::new(
        radial + x * x * slope + 2.0 * k[2] * y + 6.0 * k[3] * x,
        cross,
        cross,
        radial + y * y * slope + 6.0 * k[2] * y + 2.0 * k[3] * x,
    )
}

/// `theta_d / r` with `theta = atan(r)` and `theta_d` the odd polynomial of the fisheye model.
fn equidistant_factor(k: &[f64; 4], r: f64) -> f64 {
    if r < 1e-8 { 1.0 } else { equidistant_angle(k, r.atan()) / r }
}

fn equidistant_angle(k: &[f64; 4], theta: f64) -> f64 {
    let t2 = theta * theta;
    theta * (1.0 + t2 * (k[0] + t2 * (k[1] + t2 * (k[2] + t2 * k[3]))))
}

fn equidistant_jacobian(k: &[f64; 4], undistorted: &Vector2<f64>) -> Matrix2<f64> {
    let r = undistorted.norm();
    if r < 1e-8 {
        return Matrix2::identity();
    }
    let t2 = r.atan().powi(2);
    let angle_slope =
        1.0 + t2 * (3.0 * k[0] + t2 * (5.0 * k[1] + t2 * (7.0 * k[2] + t2 * 9.0 * k[3])));
    let factor = equidistant_factor(k, r);
    let factor_slope = (angle_slope / (1.0 + r * r) - factor) / r;
    let direction = undistorted / r;
    Matrix2::identity() * factor + undistorted * direction.transpose() * factor_slope
}
