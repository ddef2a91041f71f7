//! The pose of a camera that sees three known points.

use nalgebra::{Matrix4, Point3, Vector3};

use crate::geometry::{Se3, align_rigid};

/// Returns the poses `camera_from_points` (at most four) from which three points are seen along
/// these directions: Grunert's equations as given by Haralick, Lee, Ottenberg and Nölle, "Review
/// and analysis of solutions of the three point perspective pose estimation problem" (IJCV 1994).
pub(in crate::matching) fn p3p(
    points: &[Point3<f64>; 3],
    directions: &[Vector3<f64>; 3],
) -> Vec<Se3> {
    let unit = directions.map(|d| d / d.norm());
    let side = |i: usize, j: usize| (points[i] - points[j]).norm_squared();
    let triangle = Triangle {
        sides: [side(1, 2), side(0, 2), side(0, 1)],
        cosines: [unit[1].dot(&unit[2]), unit[0].dot(&unit[2]), unit[0].dot(&unit[1])],
    };
    if triangle.sides.iter().any(|&side| side < 1e-12) {
        return Vec::new();
    }
    let ratios = real_roots(triangle.quartic());
    ratios
        .into_iter()
        .filter_map(|ratio| triangle.distances(ratio))
        .filter_map(|distances| {
            let seen: [_; 3] = std::array::from_fn(|i| Point3::from(unit[i] * distances[i]));
            Some(align_rigid(points, &seen, None).ok()?.transform.rigid())
        })
        .collect()
}

/// Newton steps at most: two are the rule.
const MAX_NEWTON_STEPS: usize = 12;

/// Squared sides opposite to each point, and the cosines of the angles under which they are seen.
struct Triangle {
    sides: [f64; 3],
    cosines: [f64; 3],
}

impl Triangle {
    /// Coefficients, of the highest power first, of the equation for the ratio of the third
    /// distance to the first.
    fn quartic(&self) -> [f64; 5] {
        let [a, b, c] = self.sides;
        let [cos_a, cos_b, cos_c] = self.cosines;
        let (difference, sum) = ((a - c) / b, (a + c) / b);
        [
            (difference - 1.0).powi(2) - 4.0 * c / b * cos_a * cos_a,
            4.0 * (difference * (1.0 - difference) * cos_b - (1.0 - sum) * cos_a * cos_c
                + 2.0 * c / b * cos_a * cos_a * cos_b),
            2.0 * (difference * difference - 1.0
                + 2.0 * difference * difference * cos_b * cos_b
                + 2.0 * (b - c) / b * cos_a * cos_a
                - 4.0 * sum * cos_a * cos_b * cos_c
                + 2.0 * (b - a) / b * cos_c * cos_c),
            4.0 * (-difference * (1.0 + difference) * cos_b + 2.0 * a / b * cos_c * cos_c * cos_b
                - (1.0 - sum) * cos_a * cos_c),
            (1.0 + difference).powi(2) - 4.0 * a / b * cos_c * cos_c,
        ]
    }

    /// Distances of the three points for a root of [`Triangle::quartic`], if they are in front.
    fn distances(&self, v: f64) -> Option<[f64; 3]> {
        let [a, b, c] = self.sides;
        let [cos_a, cos_b, cos_c] = self.cosines;
        let difference = (a - c) / b;
        let top = (difference - 1.0) * v * v - 2.0 * difference * cos_b * v + 1.0 + difference;
        let u = top / (2.0 * (cos_c - v * cos_a));
        let first = (b / (1.0 + v * v - 2.0 * v * cos_b)).sqrt();
        let distances = self.polished([first, first * u, first * v]);
        distances.iter().all(|d| d.is_finite() && *d > 0.0).then_some(distances)
    }

    /// Newton steps on the laws of cosines until they are small, since the quartic is
    /// ill-conditioned, and the second distance is not told by its root where two roots almost meet.
    fn polished(&self, mut d: [f64; 3]) -> [f64; 3] {
        const PAIRS: [(usize, usize); 3] = [(1, 2), (0, 2), (0, 1)];
        for _ in 0..MAX_NEWTON_STEPS {
            let mut jacobian = nalgebra::Matrix3::zeros();
            let mut residual = Vector3::zeros();
            for (k, (i, j)) in PAIRS.into_iter().enumerate() {
                let cosine = self.cosines[k];
                residual[k] =
                    d[i] * d[i] + d[j] * d[j] - 2.0 * d[i] * d[j] * cosine - self.sides[k];
                jacobian[(k, i)] = 2.0 * (d[i] - d[j] * cosine);
                jacobian[(k, j)] = 2.0 * (d[j] - d[i] * cosine);
            }
            let Some(step) = jacobian.lu().solve(&residual) else { return d };
            d = std::array::from_fn(|i| d[i] - step[i]);
            if step.amax() < 1e-12 * d[0].abs() {
                break;
            }
        }
        d
    }
}

/// The real roots of a quartic, whose coefficients are given from the highest power on: the
/// eigenvalues of its companion matrix.
fn real_roots(coefficients: [f64; 5]) -> Vec<f64> {
    let lead = coefficients[0];
    let monic = [1, 2, 3, 4].map(|i| coefficients[i] / lead);
    if !monic.iter().all(|v| v.is_finite() && v.abs() < 1e12) {
        return Vec::new();
    }
    let mut companion = Matrix4::zeros();
    for (i, &coefficient) in monic.iter().enumerate() {
        companion[(0, i)] = -coefficient;
    }
    (0..3).for_each(|i| companion[(i + 1, i)] = 1.0);
    let Some(schur) = nalgebra::Schur::try_new(companion, 1e-14, 200) else { return Vec::new() };
    // Double roots come out as pairs with a small imaginary part.
    let eigenvalues = schur.complex_eigenvalues();
    eigenvalues.iter().filter(|v| v.im.abs() < 1e-4 * (1.0 + v.re.abs())).map(|v| v.re).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::se3;
    use nalgebra::Vector6;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_true_pose_is_among_the_solutions(
            points in prop::array::uniform3(prop::array::uniform3(-1.0..1.0f64)),
            tangent in prop::array::uniform6(-1.0..1.0f64),
        ) {
            let points = points.map(Point3::from);
            let area = (points[1] - points[0]).cross(&(points[2] - points[0])).norm();
            prop_assume!(area > 0.1);
            let best = error_of_best(&points, tangent);
            prop_assert!(best < 1e-4, "{best}");
        }
    }

    fn error_of_best(points: &[Point3<f64>; 3], tangent: [f64; 6]) -> f64 {
        let mut camera_from_points = se3::exp(&Vector6::from(tangent));
        camera_from_points.translation.z += 4.0;
        let directions = points.map(|p| (camera_from_points * p).coords);
        let error = |pose: &Se3| se3::log(&(pose * camera_from_points.inverse())).norm();
        p3p(points, &directions).iter().map(error).fold(f64::INFINITY, f64::min)
    }

    /// Two roots that differ by 3e-6 put the second point a third of a metre off at first.
    #[test]
    fn a_pose_is_found_where_two_roots_almost_meet() {
        let points = [
            Point3::new(0.14460014942407284, -0.31948408990934746, 0.7386907806408598),
            Point3::new(-0.440076483119381, 0.5553302123423177, 0.158117556328851),
            Point3::new(0.18358484465335273, -0.13035603979660923, 0.6025453891070509),
        ];
        let tangent = [
            -0.340263213390394,
            -0.9090660476596214,
            -0.5402286239164524,
            0.48417273198199734,
            0.10898527682238106,
            -0.6834713681919907,
        ];
        assert!(error_of_best(&points, tangent) < 1e-6);
    }

    #[test]
    fn points_in_one_place_have_no_solution() {
        let points = [Point3::new(1.0, 2.0, 3.0); 3];
        assert!(p3p(&points, &points.map(|p| p.coords)).is_empty());
    }
}
