//! Frames and rasters: sizes, averages, and what counts as depth.

use std::sync::Arc;

use nalgebra::Point3;
use proptest::prelude::*;
use recon_node::error::Error;
use recon_node::frame::{DepthImage, Frame, mean_of_nearest_surface};
use recon_node::raster::Raster;

use crate::support::{camera_of, frame_of};

/// A frame of arbitrary pixels; one depth in four is missing.
fn any_frame(size: (u32, u32), seed: u32) -> Frame {
    let chance =
        move |x: u32, y: u32| (x * 7919 + y * 104_729 + seed).wrapping_mul(0x9E37_79B1) >> 16;
    let depth_m = move |x: usize, y: usize| match chance(x as u32, y as u32) % 4 {
        0 => 0.0,
        step => 1.0 + step as f32,
    };
    frame_of(size, move |x, y| chance(x, y) as u8, depth_m)
}

/// The pixels that a pixel of the reduced image stands for.
fn block(x: usize, y: usize, factor: usize) -> impl Iterator<Item = (usize, usize)> {
    (y * factor..(y + 1) * factor)
        .flat_map(move |row| (x * factor..(x + 1) * factor).map(move |column| (column, row)))
}

proptest! {
    #[test]
    fn a_reduced_pixel_is_the_rounded_mean_of_its_block(
        width in 1u32..40, height in 1u32..40, factor in 1u32..6, seed in 0u32..1000,
    ) {
        let frame = any_frame((width, height), seed);
        let reduced = frame.reduced(factor);
        prop_assert_eq!(reduced.color.dimensions(), (width / factor, height / factor));
        for (x, y, pixel) in reduced.color.enumerate_pixels() {
            let pixels = block(x as usize, y as usize, factor as usize);
            let sum: f64 =
                pixels.map(|(x, y)| f64::from(frame.color.get_pixel(x as u32, y as u32)[0])).sum();
            let mean = sum / f64::from(factor * factor);
            // Half a grey value is what rounding may take.
            prop_assert!((f64::from(pixel[0]) - mean).abs() <= 0.5);
        }
    }

    #[test]
    fn a_reduced_depth_lies_on_the_nearest_surface_of_its_block(
        width in 4u32..40, height in 4u32..40, factor in 2u32..5, seed in 0u32..1000,
    ) {
        let frame = any_frame((width, height), seed);
        let (fine, reduced) = (frame.depth.clone().unwrap(), frame.reduced(factor));
        let coarse = reduced.depth.unwrap();
        for (x, y) in block(0, 0, coarse.raster().width().min(coarse.raster().height())) {
            let depths = block(x, y, factor as usize).map(|(x, y)| fine.raster().at(x, y));
            let nearest = depths.filter(|&d| d > 0.0).fold(f32::INFINITY, f32::min);
            let expected = if nearest.is_finite() { nearest } else { 0.0 };
            prop_assert_eq!(coarse.raster().at(x, y), expected);
        }
    }

    #[test]
    fn a_point_projects_to_the_scaled_pixel_of_the_reduced_frame(
        x in -0.5f64..0.5, y in -0.4f64..0.4, z in 0.5f64..5.0, factor in 1u32..5,
    ) {
        let frame = frame_of((64, 48), |_, _| 0, |_, _| 1.0);
        let point = Point3::new(x * z, y * z, z);
        let fine = frame.camera.unwrap().project(&point).unwrap();
        let coarse = frame.reduced(factor).camera.unwrap().project(&point).unwrap();
        // Pixel centres are at whole numbers, image corners at -0.5.
        let scaled = fine.add_scalar(0.5) / f64::from(factor) - nalgebra::Vector2::repeat(0.5);
        prop_assert!((coarse - scaled).norm() < 1e-9);
    }

    #[test]
    fn the_mean_of_the_nearest_surface_floats_nowhere(
        depths in prop::collection::vec(prop_oneof![Just(0.0f32), 0.2f32..10.0], 0..16),
    ) {
        let mean = mean_of_nearest_surface(&depths);
        let nearest = depths.iter().filter(|&&d| d > 0.0).fold(f32::INFINITY, |n, &d| n.min(d));
        if nearest.is_finite() {
            // Rounding of a sum of sixteen values may cost a few units of the last place.
            prop_assert!(mean >= nearest * (1.0 - 1e-6) && mean <= nearest * (1.05 + 1e-6));
        } else {
            prop_assert_eq!(mean, 0.0);
        }
    }

    #[test]
    fn clipping_leaves_what_is_near_and_nothing_else(limit_m in 0.0f64..6.0, seed in 0u32..1000) {
        let frame = any_frame((12, 9), seed);
        let clipped = frame.clone().clipped(limit_m).depth.unwrap();
        let both = frame.depth.as_ref().unwrap().raster().values().iter().zip(clipped.raster().values());
        for (&before, &after) in both {
            prop_assert_eq!(after, if f64::from(before) <= limit_m { before } else { 0.0 });
        }
    }
}

#[test]
fn reducing_by_one_or_zero_changes_nothing() {
    let frame = any_frame((13, 7), 5);
    for factor in [0, 1] {
        let same = frame.reduced(factor);
        assert_eq!((&same.color, &same.depth), (&frame.color, &frame.depth));
        assert_eq!(same.camera, frame.camera);
    }
}

#[test]
fn what_is_no_depth_is_none() {
    let bad = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0, -0.0, 0.0];
    let depth = DepthImage::new(Raster::new(7, 1, [bad.as_slice(), &[2.5]].concat()).unwrap());
    assert_eq!(depth.raster().values(), [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.5]);
    assert_eq!(depth.valid_frac(), 1.0 / 7.0);
}

#[test]
fn an_empty_depth_image_has_nothing_valid() {
    let empty = DepthImage::new(Raster::new(0, 0, Vec::new()).unwrap());
    assert_eq!(empty.valid_frac(), 0.0);
    assert_eq!(mean_of_nearest_surface(&[]), 0.0);
}

#[test]
fn parts_of_different_sizes_are_refused_with_both_sizes() {
    let good = frame_of((8, 6), |_, _| 0, |_, _| 1.0);
    let small_depth = DepthImage::new(Raster::filled(4, 3, 1.0f32));
    let cases = [
        (Frame { depth: Some(Arc::new(small_depth)), ..good.clone() }, "depth image", "4x3"),
        (Frame { camera: Some(camera_of((16, 6))), ..good.clone() }, "calibration", "16x6"),
    ];
    assert!(good.checked().is_ok());
    for (frame, what, found) in cases {
        let refused = frame.checked().unwrap_err();
        let text = refused.to_string();
        assert!(matches!(refused, Error::ShapeMismatch { .. }));
        assert!(text.contains(what) && text.contains("8x6") && text.contains(found), "{text}");
    }
}

#[test]
fn a_raster_needs_as_many_values_as_pixels() {
    for count in [0, 5, 7] {
        assert!(Raster::new(3, 2, vec![1u8; count]).is_err(), "{count} values for 3x2");
    }
    let raster = Raster::from_fn(3, 2, |x, y| 10 * y + x);
    assert_eq!(raster, Raster::new(3, 2, vec![0, 1, 2, 10, 11, 12]).unwrap());
    assert_eq!((raster.get(2, 1), raster.get(3, 1), raster.get(0, -1)), (Some(12), None, None));
    assert_eq!(raster.map(|v| v * 2).at(1, 1), 22);
}
