//! Pyramids: what is read between pixels, and that all levels see the same world.

use nalgebra::{Point3, Vector2};
use proptest::prelude::*;
use recon_node::frame::Frame;
use recon_node::pyramid::{Level, Pyramid};

use crate::support::{camera_of, frame_of};

const SIZE: (u32, u32) = (64, 48);
/// Single precision of values up to 255, blended from four.
const ROUNDING: f32 = 1e-3;

fn pyramid(frame: &Frame, levels: usize) -> Pyramid {
    Pyramid::new(frame, &frame.camera.unwrap(), levels)
}

fn finest(frame: &Frame) -> Level {
    pyramid(frame, 1).levels()[0].clone()
}

/// Grey values that rise evenly: by `slope` for each column and row.
fn ramp(slope: [u32; 2], depth_m: impl Fn(usize, usize) -> f32) -> Frame {
    frame_of(SIZE, |x, y| (slope[0] * x + slope[1] * y + 3) as u8, depth_m)
}

proptest! {
    #[test]
    fn a_ramp_is_read_exactly_between_pixels(
        x in 1.0f64..62.0, y in 1.0f64..46.0, a in 0u32..3, b in 0u32..3,
    ) {
        let sample = finest(&ramp([a, b], |_, _| 2.0)).sample(&Vector2::new(x, y)).unwrap();
        let expected = f64::from(a) * x + f64::from(b) * y + 3.0;
        prop_assert!((f64::from(sample.intensity) - expected).abs() < f64::from(ROUNDING));
        prop_assert!((sample.gradient - Vector2::new(a as f32, b as f32)).norm() < ROUNDING);
        prop_assert!((sample.depth_m.unwrap() - 2.0).abs() < 1e-6);
    }

    #[test]
    fn depth_is_read_where_the_surface_goes_on_and_nowhere_else(
        x in 0.0f64..62.9, y in 0.0f64..46.9, step_frac in 0.0f32..0.5,
    ) {
        let far = |column: usize| if column < 32 { 2.0 } else { 2.0 * (1.0 + step_frac) };
        let level = finest(&ramp([1, 1], |column, _| far(column)));
        let across = x.floor() as usize == 31;
        let depth = level.sample(&Vector2::new(x, y)).unwrap().depth_m;
        // Next to the limit of 5 % rounding decides.
        prop_assume!((step_frac - 0.05).abs() > 1e-4);
        prop_assert_eq!(depth.is_none(), across && step_frac > 0.05);
    }

    #[test]
    fn all_levels_see_a_point_in_the_same_place(
        x in -0.5f64..0.5, y in -0.4f64..0.4, z in 0.5f64..5.0,
    ) {
        let point = Point3::new(x * z, y * z, z);
        let pyramid = pyramid(&ramp([1, 1], |_, _| 2.0), 3);
        let fine = camera_of(SIZE).project(&point).unwrap();
        for (index, level) in pyramid.levels().iter().enumerate() {
            let scale = f64::from(1 << index);
            let expected = fine.add_scalar(0.5) / scale - Vector2::repeat(0.5);
            prop_assert!((level.camera.project(&point).unwrap() - expected).norm() < 1e-9);
        }
    }
}

#[test]
fn coarser_levels_are_averages_and_keep_their_edges() {
    let frame = ramp([2, 1], |x, _| if x < 32 { 1.0 } else { 3.0 });
    let pyramid = pyramid(&frame, 3);
    let sizes: Vec<_> = pyramid.levels().iter().map(|l| (l.width(), l.height())).collect();
    assert_eq!(sizes, [(64, 48), (32, 24), (16, 12)]);
    for level in pyramid.levels() {
        let camera = (level.camera.width() as usize, level.camera.height() as usize);
        assert_eq!(camera, (level.width(), level.height()));
        let depths = (0..level.width()).map(|x| level.depth_m(x, 3));
        assert!(depths.into_iter().all(|d| d == 1.0 || d == 3.0), "a depth floats");
    }
    // Four pixels of the ramp: columns 2 and 3, rows 4 and 5.
    assert_eq!(pyramid.levels()[1].intensity(1, 2), 2.0 * 2.5 + 4.5 + 3.0);
}

#[test]
fn outside_the_image_there_is_nothing() {
    let level = finest(&ramp([1, 1], |_, _| 2.0));
    let outside = [
        [-1e-9, 5.0],
        [5.0, -0.1],
        [63.0, 5.0],
        [5.0, 47.0],
        [1e18, 5.0],
        [f64::NAN, 5.0],
        [5.0, f64::NAN],
        [f64::INFINITY, 5.0],
    ];
    for [x, y] in outside {
        assert_eq!(level.sample(&Vector2::new(x, y)), None, "({x}, {y})");
    }
    assert!(level.sample(&Vector2::new(0.0, 0.0)).is_some());
}

#[test]
fn a_hole_in_the_depth_is_no_depth_around_it() {
    let level = finest(&ramp([1, 1], |x, y| if (x, y) == (10, 10) { f32::NAN } else { 2.0 }));
    let depth = |x: f64, y: f64| level.sample(&Vector2::new(x, y)).unwrap().depth_m;
    assert_eq!((depth(9.5, 9.5), depth(10.5, 10.5)), (None, None));
    assert_eq!(depth(11.5, 10.5), Some(2.0));
    let blind = Frame { depth: None, ..ramp([1, 1], |_, _| 2.0) };
    assert_eq!(finest(&blind).sample(&Vector2::new(5.5, 5.5)).unwrap().depth_m, None);
}

#[test]
fn small_images_have_few_levels_and_no_gradient_beyond_their_border() {
    for (size, levels) in [((1, 1), 1), ((23, 40), 1), ((24, 24), 2), ((64, 48), 3)] {
        let frame = frame_of(size, |_, _| 7, |_, _| 1.0);
        assert_eq!(pyramid(&frame, 8).levels().len(), levels, "{size:?}");
        assert_eq!(finest(&frame).gradient_squared(0, 0), 0.0);
    }
}

/// All that a pyramid says.
fn content(pyramid: &Pyramid) -> Vec<[f32; 3]> {
    let pixels = |level: &Level| {
        let (width, height) = (level.width(), level.height());
        (0..width * height).map(move |i| (i % width, i / width)).collect::<Vec<_>>()
    };
    let value = |level: &Level, (x, y): (usize, usize)| {
        [level.intensity(x, y), level.gradient_squared(x, y), level.depth_m(x, y)]
    };
    let levels = pyramid.levels().iter();
    levels
        .flat_map(|level| pixels(level).into_iter().map(move |pixel| value(level, pixel)))
        .collect()
}

#[test]
fn a_pyramid_that_is_made_later_or_forgotten_says_the_same() {
    let frame = ramp([2, 1], |x, y| 1.0 + 0.01 * (x + y) as f32);
    let camera = frame.camera.unwrap();
    let known = pyramid(&frame, 3);
    let mut later = Pyramid::later(&frame, &camera, 3);
    assert!(known.is_made() && !later.is_made());
    assert_eq!(content(&later), content(&known));
    // What was looked at is kept until nobody has looked at it from one time to the next.
    later.forget_unless_used();
    assert!(later.is_made());
    let clone = later.clone();
    later.forget_unless_used();
    assert!(!later.is_made() && clone.is_made());
    assert_eq!(content(&later), content(&known));
    assert_eq!(later.levels()[2].camera, known.levels()[2].camera);
}

#[test]
fn the_coarsest_level_alone_is_the_coarsest_of_all() {
    for size in [(64, 48), (23, 40), (1, 1)] {
        let frame = frame_of(size, |x, y| (3 * x + y) as u8, |_, _| 1.0);
        let pyramid = Pyramid::later(&frame, &frame.camera.unwrap(), 3);
        let coarsest = pyramid.coarsest().clone();
        assert!(!pyramid.is_made());
        let level = pyramid.levels().last().unwrap();
        let values: Vec<f32> = (0..level.width() * level.height())
            .map(|i| level.intensity(i % level.width(), i / level.width()))
            .collect();
        assert_eq!(coarsest.values(), values);
    }
}

#[test]
fn other_depths_reach_all_levels() {
    let frame = ramp([1, 2], |_, _| 2.0);
    let nearer = frame.clone().with_depth_offset(-0.5);
    let pyramid = pyramid(&frame, 3).with_depth_of(&nearer);
    for level in pyramid.levels() {
        assert_eq!(level.depth_m(3, 3), 1.5);
    }
}
