//! Coarse-to-fine matching (Leroy, Cabon and Revaud, "Grounding image matching in 3D with MASt3R",
//! ECCV 2024, section 3.4): what the network has matched in images brought to its size says which
//! windows of the images at their own size it should look at.

use std::borrow::Cow;

use image::{RgbImage, imageops};
use nalgebra::Vector2;

use super::super::pair::PairNetwork;
use super::super::preprocess::{FamilyFitting, planes};
use super::pairs::{PlacedMatch, SEED_STEP_PX, confident_map};
use crate::error::Result;
use crate::matching::{
    CoarseView, ImageSize, Window, WindowPair, one_order_matches, select_window_pairs,
};

/// Coarse matches this close to the edge of an image are left out.
const MARGIN_PX: f32 = 3.0;
/// How far a fine match may come back from where it began.
const TOLERANCE_PX: f32 = 5.0;

/// An image of a pair.
#[derive(Debug, Clone, Copy)]
pub struct LargeView<'a> {
    /// The image at its own size.
    pub image: &'a RgbImage,
    /// How it gets to the network's size.
    pub fitting: &'a FamilyFitting,
}

impl LargeView<'_> {
    /// Returns whether the image has more pixels than the network sees of it.
    pub fn is_large(&self) -> bool {
        let (width, height) = self.fitting.target();
        let size = [self.image.width() as usize, self.image.height() as usize];
        size[0] >= width && size[1] >= height && size != [width, height]
    }
}

/// Returns matches of two images to the pixel of their own size, in the places that the network
/// sees, with the smaller of both pixels' confidences: ordered, each once. `progress` is told how
/// many pairs of windows are done, and of how many. `None` where neither image is large, or the
/// coarse matches fill no window.
///
/// # Errors
/// Where the network fails, or has no descriptors.
pub fn fine_matches(
    network: &PairNetwork,
    views: [LargeView<'_>; 2],
    coarse: &[PlacedMatch],
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Option<Vec<PlacedMatch>>> {
    if !views.iter().any(LargeView::is_large) {
        return Ok(None);
    }
    let sides = [Side::new(&views[0])?, Side::new(&views[1])?];
    let windows = windows(&sides, coarse);
    if windows.is_empty() {
        return Ok(None);
    }
    let mut found = Vec::new();
    for (done, pair) in windows.iter().enumerate() {
        progress(done, windows.len());
        found.extend(matches_of_windows(network, &sides, pair)?);
    }
    let key = |m: &PlacedMatch| m.places.map(|[x, y]| [y.to_bits(), x.to_bits()]);
    // Of a match in several windows the surest counts.
    found.sort_by(|a, b| key(a).cmp(&key(b)).then(b.confidence.total_cmp(&a.confidence)));
    found.dedup_by_key(|m| key(m));
    Ok(Some(found))
}

/// Windows of both images by the coarse matches.
fn windows(sides: &[Side<'_>; 2], coarse: &[PlacedMatch]) -> Vec<WindowPair> {
    let inside = |m: &&PlacedMatch| {
        m.places.iter().zip(sides).all(|(place, side)| side.is_within(place, MARGIN_PX))
    };
    let kept: Vec<&PlacedMatch> = coarse.iter().filter(inside).collect();
    let pixels = |i: usize| kept.iter().map(|m| sides[i].pixel(m.places[i])).collect::<Vec<_>>();
    let pixels = [pixels(0), pixels(1)];
    let view = |i: usize| {
        let Side { image, resolution, .. } = &sides[i];
        let size = ImageSize { width: image.width() as usize, height: image.height() as usize };
        CoarseView { size, resolution: *resolution, pixels: &pixels[i] }
    };
    select_window_pairs(&view(0), &view(1))
}

fn matches_of_windows(
    network: &PairNetwork,
    sides: &[Side<'_>; 2],
    pair: &WindowPair,
) -> Result<Vec<PlacedMatch>> {
    let crop = |side: &Side<'_>, window: &Window| network.encode(&[&planes(&side.crop(window))?]);
    let (a, b) = (crop(&sides[0], &pair.a)?, crop(&sides[1], &pair.b)?);
    let maps = network.pair(&a, &b)?;
    let both = [&maps.first, &maps.second].map(confident_map);
    let [Some(a), Some(b)] = both else { return Ok(Vec::new()) };
    let found = one_order_matches(a?, b?, SEED_STEP_PX, Some(TOLERANCE_PX))?;
    let placed = found.iter().filter_map(|m| {
        let first = sides[0].place(m.pixels.a, &pair.a)?;
        let second = sides[1].place(m.pixels.b, &pair.b)?;
        Some(PlacedMatch { places: [first, second], confidence: m.confidence })
    });
    Ok(placed.collect())
}

/// What windows of one image are cut from: the image itself, or what the network sees of it where
/// that has more pixels.
struct Side<'a> {
    image: Cow<'a, RgbImage>,
    /// From the image to what the network sees, if they differ.
    fitting: Option<&'a FamilyFitting>,
    resolution: ImageSize,
}

impl<'a> Side<'a> {
    fn new(view: &LargeView<'a>) -> Result<Self> {
        let (width, height) = view.fitting.target();
        let resolution = ImageSize { width, height };
        let (image, fitting) = if view.is_large() {
            (Cow::Borrowed(view.image), Some(view.fitting))
        } else {
            (Cow::Owned(view.fitting.image(view.image)?), None)
        };
        Ok(Self { image, fitting, resolution })
    }

    /// Whether a place is this far or further inside of what the network sees.
    fn is_within(&self, [x, y]: &[f32; 2], margin: f32) -> bool {
        let inside = |v: f32, size: usize| v >= margin && v <= size as f32 - 1.0 - margin;
        inside(*x, self.resolution.width) && inside(*y, self.resolution.height)
    }

    /// The pixel of the image where the network sees a place.
    fn pixel(&self, place: [f32; 2]) -> Vector2<f64> {
        let place = place.map(f64::from);
        self.fitting.map_or(place, |fitting| fitting.original_pixel(place)).into()
    }

    /// Where the network sees a pixel of a window, if it does: the edges of images are cut off.
    fn place(&self, pixel: [u32; 2], window: &Window) -> Option<[f32; 2]> {
        let corner = [window.left, window.top];
        let pixel = [0, 1].map(|axis| f64::from(pixel[axis]) + corner[axis] as f64);
        let place = self.fitting.map_or(pixel, |fitting| fitting.network_pixel(pixel));
        Some(place.map(|v| v as f32)).filter(|place| self.is_within(place, -0.5))
    }

    fn crop(&self, window: &Window) -> RgbImage {
        let [left, top, right, bottom] =
            [window.left, window.top, window.right, window.bottom].map(|v| v.max(0) as u32);
        imageops::crop_imm(&*self.image, left, top, right - left, bottom - top).to_image()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_windows_are_pixels_of_the_whole_image() {
        let image = RgbImage::new(1024, 640);
        let fitting = FamilyFitting::new(1024, 640, 512).expect("it fits");
        let view = LargeView { image: &image, fitting: &fitting };
        assert!(view.is_large());
        let side = Side::new(&view).expect("made");
        assert_eq!((side.resolution.width, side.resolution.height), (512, 320));
        let window = Window { left: 256, top: 100, right: 768, bottom: 420 };
        let crop = side.crop(&window);
        assert_eq!(crop.dimensions(), (512, 320));
        let place = side.place([11, 7], &window).expect("seen");
        assert!((side.pixel(place) - Vector2::new(267.0, 107.0)).norm() < 1e-3);
    }

    #[test]
    fn small_images_are_taken_as_the_network_sees_them() {
        let image = RgbImage::new(300, 200);
        let fitting = FamilyFitting::new(300, 200, 512).expect("it fits");
        let view = LargeView { image: &image, fitting: &fitting };
        assert!(!view.is_large());
        let side = Side::new(&view).expect("made");
        let window = Window { left: 0, top: 0, right: 512, bottom: 336 };
        assert_eq!(side.place([40, 30], &window), Some([40.0, 30.0]));
        assert_eq!(side.crop(&window).dimensions(), (512, 336));
    }
}
