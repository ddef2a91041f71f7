//! The focal length that a pointmap shows.

use nalgebra::{Vector2, Vector3};

/// Where a point is seen: its pixel's offset from the principal point, and its slopes x/z and y/z.
pub type Sighting = (Vector2<f64>, Vector2<f64>);

/// Returns the sighting of a point; one without slopes says nothing, as in the reference.
pub fn sighting(offset_px: Vector2<f64>, point_in_camera: &Vector3<f64>) -> Sighting {
    let slope = |value: f64| {
        let slope = value / point_in_camera.z;
        if slope.is_finite() { slope } else { 0.0 }
    };
    (offset_px, Vector2::new(slope(point_in_camera.x), slope(point_in_camera.y)))
}

/// Returns the focal length in pixels of least summed distance between pixels and the images of
/// their points, by Weiszfeld's iteration (1937); `None` where nothing can be seen of it.
pub fn focal_from_sightings(sightings: &[Sighting], iterations: usize) -> Option<f64> {
    let ratio = |weight: &dyn Fn(&Sighting) -> f64| {
        let (mut products, mut squares) = (0.0, 0.0);
        for seen in sightings {
            let (pixel, slope) = seen;
            let weight = weight(seen);
            products += weight * pixel.dot(slope);
            squares += weight * slope.norm_squared();
        }
        products / squares
    };
    let mut focal_px = ratio(&|_| 1.0);
    for _ in 0..iterations {
        let guess = focal_px;
        focal_px = ratio(&|(pixel, slope)| (pixel - slope * guess).norm().max(1e-8).recip());
    }
    (focal_px.is_finite() && focal_px > 0.0).then_some(focal_px)
}

/// Returns the focal length in pixels at which the longer side is seen under 60 degrees: what
/// guesses are measured by.
pub fn ordinary_focal_px(width: usize, height: usize) -> f64 {
    width.max(height) as f64 / (2.0 * 30.0_f64.to_radians().tan())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sightings(focal_px: f64, wrong: usize) -> Vec<Sighting> {
        let of = |i: usize| {
            let at = Vector2::new((i % 20) as f64 - 9.5, (i / 20) as f64 - 7.5);
            let z = 2.0 + (i % 7) as f64;
            let focal_px = if i % 300 < wrong { 3.0 * focal_px } else { focal_px };
            sighting(at, &Vector3::new(at.x / focal_px * z, at.y / focal_px * z, z))
        };
        (0..300).map(of).collect()
    }

    #[test]
    fn a_focal_length_is_found_among_outliers() {
        let found = focal_from_sightings(&sightings(70.0, 60), 50);
        assert!(found.is_some_and(|f| (f - 70.0).abs() < 0.1), "{found:?}");
    }

    #[test]
    fn points_without_slopes_show_none() {
        let nowhere = sighting(Vector2::new(1.0, 2.0), &Vector3::new(1.0, 1.0, 0.0));
        assert_eq!(nowhere.1, Vector2::zeros());
        assert_eq!(focal_from_sightings(&[nowhere], 10), None);
        assert_eq!(focal_from_sightings(&[], 10), None);
    }
}
