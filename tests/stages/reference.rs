//! References: which points of a view are compared with others.

use nalgebra::{Point3, Vector2};
use proptest::prelude::*;
use recon_node::dense_residual::ReferencePoint;
use recon_node::geometry::Se3;
use recon_node::keyframe::Keyframe;
use recon_node::reference::{Reference, select_points};

use crate::support::{Room, frame_of, keyframe_of};

/// A wall two metres ahead, painted at random.
fn painted_wall(size: (u32, u32), seed: u32) -> Keyframe {
    let paint = |x: u32, y: u32| ((x * 31 + y * 17 + seed).wrapping_mul(0x9E37_79B1) >> 24) as u8;
    keyframe_of(0, &frame_of(size, paint, |_, _| 2.0), Se3::identity())
}

/// The pixel that a point was taken from.
fn pixel(keyframe: &Keyframe, point: &ReferencePoint) -> Vector2<f64> {
    let point = Point3::from(point.point_in_reference.cast::<f64>());
    keyframe.camera.project(&point).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn there_are_about_as_many_points_as_asked_for(
        width in 8u32..80, height in 8u32..80, max_points in 1usize..500, seed in 0u32..1000,
    ) {
        let keyframe = painted_wall((width, height), seed);
        let level = &keyframe.pyramid.levels()[0];
        let points = select_points(level, &keyframe.pointmap, max_points);
        // One for each cell of a grid; the cells at the right and lower border may be cut.
        let cell = (f64::from(width * height) / max_points as f64).sqrt().max(1.0);
        let cut = f64::from(width + height) / cell + 1.0;
        prop_assert!(points.len() as f64 <= max_points as f64 + cut);
        prop_assert!(!points.is_empty());
    }
}

#[test]
fn the_strongest_gradient_of_each_cell_is_taken() {
    let (side, cells) = (8, 8);
    let keyframe = painted_wall((64, 64), 3);
    let level = &keyframe.pyramid.levels()[0];
    let points = select_points(level, &keyframe.pointmap, cells * cells);
    assert_eq!(points.len(), cells * cells);
    for (index, point) in points.iter().enumerate() {
        let (left, top) = (side * (index % cells), side * (index / cells));
        let all = (0..side * side).map(|i| (left + i % side, top + i / side));
        // Corners of the image are left out: SensorDepth has no normal for them.
        let valid = all.filter(|&(x, y)| keyframe.pointmap.confidence(x, y) > 0.0);
        let strongest = valid.map(|(x, y)| level.gradient_squared(x, y)).fold(0.0, f32::max);
        let taken = pixel(&keyframe, point).map(|v| v.round() as usize);
        assert_eq!(level.gradient_squared(taken.x, taken.y), strongest, "cell {index}");
        assert_eq!(level.intensity(taken.x, taken.y), point.intensity);
    }
}

#[test]
fn every_part_of_the_view_is_covered() {
    let keyframe = Room::new().keyframe(0, &Se3::identity());
    let reference = Reference::new(&keyframe.pyramid, &keyframe.pointmap, 2000);
    let points = &reference.levels()[0];
    let mut count = [0usize; 16];
    for point in points {
        let pixel = pixel(&keyframe, point);
        let (column, row) = ((pixel.x / 60.0) as usize, (pixel.y / 45.0) as usize);
        count[4 * row.min(3) + column.min(3)] += 1;
    }
    let even = points.len() / 16;
    // Edges have no points, so no part has all of its share.
    assert!(count.iter().all(|&c| c > even / 2 && c < even * 3 / 2), "{count:?} of {even}");
}

#[test]
fn coarser_levels_have_half_the_points_but_a_tenth_at_least() {
    let keyframe = Room::new().keyframe(0, &Se3::identity());
    let reference = Reference::new(&keyframe.pyramid, &keyframe.pointmap, 4000);
    let counts: Vec<usize> = reference.levels().iter().map(Vec::len).collect();
    assert_eq!(counts.len(), keyframe.pyramid.levels().len());
    assert!(counts.windows(2).all(|pair| pair[1] <= pair[0]), "{counts:?}");
    // Cells are whole pixels wide, so up to three quarters of the points are missing where a cell
    // of little more than one pixel would be right.
    for (count, asked) in counts.iter().zip([4000, 2000, 1000, 500]) {
        assert!((asked / 4..=asked + asked / 4).contains(count), "{count} of {asked}");
    }
}

#[test]
fn a_view_without_depth_has_no_points() {
    let blind = keyframe_of(0, &frame_of((64, 48), |x, _| x as u8, |_, _| 0.0), Se3::identity());
    let reference = Reference::new(&blind.pyramid, &blind.pointmap, 1000);
    assert!(reference.levels().iter().all(Vec::is_empty));
    assert!(select_points(&blind.pyramid.levels()[0], &blind.pointmap, 0).is_empty());
}
