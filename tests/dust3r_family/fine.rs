//! Coarse-to-fine matching: a tiny network knows nothing, but it must look at the right windows, and
//! what it matches must be pixels of the images at their own size.

use candle_core::{DType, Device};
use image::{Rgb, RgbImage};
use recon_node::model::dust3r::PairNetwork;
use recon_node::model::dust3r::preprocess::FamilyFitting;
use recon_node::model::dust3r::reconstruct::{LargeView, PlacedMatch, fine_matches};

use crate::support::data;

const SIDE_PX: usize = 96;

fn image(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([(x * 7 % 256) as u8, (y * 5 % 256) as u8, (x * y % 251) as u8])
    })
}

fn fitting(image: &RgbImage) -> FamilyFitting {
    FamilyFitting::new(image.width() as usize, image.height() as usize, SIDE_PX).unwrap()
}

/// As if every fourth pixel of the network's size were matched with the same place.
fn coarse(fitting: &FamilyFitting) -> Vec<PlacedMatch> {
    let (width, height) = fitting.target();
    let pixels = (0..height).step_by(4).flat_map(|y| (0..width).step_by(4).map(move |x| [x, y]));
    let found =
        |pixel: [usize; 2]| PlacedMatch { places: [pixel.map(|v| v as f32); 2], confidence: 2.0 };
    pixels.map(found).collect()
}

fn network() -> PairNetwork {
    PairNetwork::open(&data("mast3r"), &Device::Cpu, DType::F32).unwrap()
}

#[test]
fn windows_of_large_images_give_matches_at_their_own_pixels() {
    let (large, larger) = (image(256, 192), image(320, 240));
    let fittings = [fitting(&large), fitting(&larger)];
    let view = |image, i: usize| LargeView { image, fitting: &fittings[i] };
    let views = [view(&large, 0), view(&larger, 1)];
    let mut told = Vec::new();
    let network = network();
    let find = |told: &mut Vec<(usize, usize)>| {
        let mut progress = |done: usize, count: usize| told.push((done, count));
        fine_matches(&network, views, &coarse(&fittings[0]), &mut progress).unwrap().unwrap()
    };
    let found = find(&mut told);
    // Several windows are needed: each covers a seventh of the smaller image.
    assert!(told.len() > 3 && told.iter().all(|(done, count)| done < count), "{told:?}");
    assert!(found.len() > 10, "{}", found.len());
    let mut farthest = 0.0_f64;
    for m in &found {
        for (place, fitting) in m.places.iter().zip(&fittings) {
            let pixel = fitting.original_pixel(place.map(f64::from));
            assert!(pixel.iter().all(|v| (v - v.round()).abs() < 1e-3), "{pixel:?}");
        }
        let pixels = [0, 1].map(|i| fittings[i].original_pixel(m.places[i].map(f64::from)));
        assert!((-0.1..255.1).contains(&pixels[0][0]) && (-0.1..319.1).contains(&pixels[1][0]));
        // Windows of both images are about the same places.
        farthest = farthest.max((pixels[0][0] / 256.0 - pixels[1][0] / 320.0).abs());
    }
    assert!(farthest < 0.6, "{farthest}");
    // No match is there twice, and all come back the same.
    let bits = |m: &PlacedMatch| m.places.map(|place| place.map(f32::to_bits));
    let places: std::collections::BTreeSet<_> = found.iter().map(bits).collect();
    assert_eq!(places.len(), found.len());
    assert_eq!(find(&mut Vec::new()), found);
}

#[test]
fn a_small_image_is_looked_at_as_a_whole_and_two_not_at_all() {
    let (large, small) = (image(256, 192), image(80, 60));
    let fittings = [fitting(&large), fitting(&small)];
    let view = |image, i: usize| LargeView { image, fitting: &fittings[i] };
    let network = network();
    let coarse = coarse(&fittings[0]);
    let find = |views, coarse: &[PlacedMatch]| {
        fine_matches(&network, views, coarse, &mut |_, _| ()).unwrap()
    };
    let found = find([view(&large, 0), view(&small, 1)], &coarse).unwrap();
    // What the network sees of the small image is an enlargement: places are its whole pixels.
    assert!(found.iter().all(|m| m.places[1].iter().all(|v| v.fract() == 0.0)));
    assert!(found.iter().any(|m| m.places[0].iter().any(|v| v.fract() != 0.0)));
    assert_eq!(find([view(&small, 1), view(&small, 1)], &coarse), None);
    assert_eq!(find([view(&large, 0), view(&small, 1)], &coarse[..5]), None);
}
