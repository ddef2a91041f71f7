//! Rendering: what a camera sees of pointmaps from elsewhere, and what may be where none is seen.

use nalgebra::{Point3, Vector3};
use rayon::prelude::*;

use crate::error::Result;
use crate::geometry::{Camera, Se3};
use crate::pointmap::Pointmap;
use crate::raster::Raster;

/// Depths within this share of the nearest one are of the same surface.
const SURFACE_FRAC: f32 = 0.05;

/// A pointmap, and how to get from it to the view that is rendered.
pub struct Source<'a> {
    /// The pointmap.
    pub pointmap: &'a Pointmap,
    /// Pose of its camera in the view.
    pub view_from_source: Se3,
}

/// Where a point of a source falls in the view.
#[derive(Clone, Copy)]
struct Hit {
    index: usize,
    depth_m: f32,
    confidence: f32,
}

/// What the hits of a pixel come to.
#[derive(Clone, Copy, Default)]
struct Pixel {
    weight: f32,
    weighted_depth_m: f32,
    sources: usize,
    /// One more than the number of the last source that hit it.
    last: usize,
}

/// Returns what `camera` sees of all sources: at each pixel the nearest surface, as the mean of those
/// that put it there by their confidence. What fewer than `least` sources agree on is left out.
///
/// # Errors
/// None for a camera with pixels.
pub fn rendered(sources: &[Source<'_>], camera: &Camera, least: usize) -> Result<Pointmap> {
    let (width, height) = (camera.width() as usize, camera.height() as usize);
    let hits: Vec<Vec<Hit>> = sources.par_iter().map(|source| hits(source, camera)).collect();
    let mut nearest_m = vec![f32::INFINITY; width * height];
    for hit in hits.iter().flatten() {
        nearest_m[hit.index] = nearest_m[hit.index].min(hit.depth_m);
    }
    let mut pixels = vec![Pixel::default(); width * height];
    for (number, hits) in hits.iter().enumerate() {
        let is_front = |hit: &&Hit| hit.depth_m <= (1.0 + SURFACE_FRAC) * nearest_m[hit.index];
        hits.iter().filter(is_front).for_each(|hit| pixels[hit.index].add(hit, number));
    }
    let seen = |pixel: &Pixel| pixel.sources >= least.max(1);
    let rays = camera.rays().into_iter().zip(&pixels);
    let points = rays.map(|(ray, pixel)| ray * if seen(pixel) { pixel.depth_m() } else { 0.0 });
    let points = Raster::new(width, height, points.collect())?;
    let confidence = pixels.iter().map(|p| if seen(p) { p.weight / p.sources as f32 } else { 0.0 });
    Pointmap::new(points, Raster::new(width, height, confidence.collect())?)
}

impl Pixel {
    fn add(&mut self, hit: &Hit, source: usize) {
        self.weight += hit.confidence;
        self.weighted_depth_m += hit.confidence * hit.depth_m;
        self.sources += usize::from(self.last != source + 1);
        self.last = source + 1;
    }

    fn depth_m(&self) -> f32 {
        self.weighted_depth_m / self.weight.max(f32::MIN_POSITIVE)
    }
}

fn hits(source: &Source<'_>, camera: &Camera) -> Vec<Hit> {
    let pointmap = source.pointmap;
    let (width, height) = (pointmap.width(), pointmap.height());
    let hit = |i: usize| {
        let (x, y) = (i % width, i / width);
        let point = source.view_from_source * Point3::from(pointmap.point(x, y)?.cast::<f64>());
        let pixel = camera.project(&point)?;
        let (column, row) = (pixel.x.round(), pixel.y.round());
        let size = (f64::from(camera.width()), f64::from(camera.height()));
        let is_inside = column >= 0.0 && row >= 0.0 && column < size.0 && row < size.1;
        let index = row as usize * camera.width() as usize + column as usize;
        let confidence = pointmap.confidence(x, y);
        (is_inside && point.z > 0.0).then_some(Hit { index, depth_m: point.z as f32, confidence })
    };
    (0..width * height).filter_map(hit).collect()
}

/// Returns the pointmap with what another of the same view knows where it has no point.
pub fn completed(known: &Pointmap, other: &Pointmap) -> Pointmap {
    let pixels = (0..known.height()).flat_map(|y| (0..known.width()).map(move |x| (x, y)));
    let missing = pixels.filter(|&(x, y)| known.confidence(x, y) <= 0.0);
    let added: Vec<_> = missing
        .filter_map(|(x, y)| Some((x, y, other.point(x, y)?, other.confidence(x, y))))
        .collect();
    let mut completed = known.clone();
    completed.replace(&added);
    completed
}

/// Returns the pointmap (on `rays`) with a guess where it has no point: the depth around, as if what
/// is seen went on at the same distance, off by `sigma_frac` of it.
pub fn guessed(known: &Pointmap, rays: &[Vector3<f32>], sigma_frac: f32) -> Pointmap {
    let (width, height) = (known.width(), known.height());
    let inverse = known.depths().map(|z| if z > 0.0 { (1.0, 1.0 / z) } else { (0.0, 0.0) });
    let around = spread(inverse);
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let guess = |(x, y): (usize, usize)| {
        let depth_m = around.at(x, y).recip();
        let confidence = (sigma_frac * depth_m).powi(-2);
        depth_m.is_finite().then(|| (x, y, rays[y * width + x] * depth_m, confidence))
    };
    let missing = pixels.filter(|&(x, y)| known.confidence(x, y) <= 0.0);
    let guesses: Vec<_> = missing.filter_map(guess).collect();
    let mut guessed = known.clone();
    guessed.replace(&guesses);
    guessed
}

/// Values for all pixels, given how many there are at each, and their sum: where there is none, the
/// mean of the smallest block around that has some.
fn spread(known: Raster<(f32, f32)>) -> Raster<f32> {
    let mean = |(count, sum): (f32, f32)| sum / count;
    if known.width().max(known.height()) <= 1 {
        return known.map(mean);
    }
    let (width, height) = (known.width().div_ceil(2), known.height().div_ceil(2));
    let block = Raster::from_fn(width, height, |x, y| {
        let members = [(0, 0), (1, 0), (0, 1), (1, 1)];
        let found = members.map(|(dx, dy)| known.get((2 * x + dx) as i64, (2 * y + dy) as i64));
        found.iter().flatten().fold((0.0, 0.0), |sum, v| (sum.0 + v.0, sum.1 + v.1))
    });
    let coarse = spread(block);
    Raster::from_fn(known.width(), known.height(), |x, y| match known.at(x, y) {
        (count, sum) if count > 0.0 => sum / count,
        _ => coarse.at(x / 2, y / 2),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{Intrinsics, se3};
    use nalgebra::Vector6;

    fn camera() -> Camera {
        let k = Intrinsics { fx: 40.0, fy: 40.0, cx: 19.5, cy: 14.5 };
        Camera::pinhole(k, 40, 30).unwrap()
    }

    fn plane(depth_m: f32, confidence: f32) -> Pointmap {
        let points = camera().rays().into_iter().map(|ray| ray * depth_m).collect();
        let points = Raster::new(40, 30, points).unwrap();
        Pointmap::new(points, Raster::filled(40, 30, confidence)).unwrap()
    }

    fn at(pointmap: &Pointmap, shift_m: [f64; 3]) -> Source<'_> {
        let [x, y, z] = shift_m;
        Source { pointmap, view_from_source: se3::exp(&Vector6::new(0.0, 0.0, 0.0, x, y, z)) }
    }

    #[test]
    fn the_nearest_surface_is_seen_as_its_sources_agree() {
        let (near, as_near, far) = (plane(2.0, 1.0), plane(2.04, 3.0), plane(4.0, 9.0));
        let sources = [at(&far, [0.0; 3]), at(&near, [0.0; 3]), at(&as_near, [0.0; 3])];
        let seen = rendered(&sources, &camera(), 1).unwrap();
        let point = seen.point(20, 15).unwrap();
        assert!((point.z - 2.03).abs() < 1e-5, "{point}");
        assert!((seen.confidence(20, 15) - 2.0).abs() < 1e-5);
        let agreed = rendered(&sources[..2], &camera(), 2).unwrap();
        assert!(agreed.valid_frac() < 1e-9, "nobody else speaks for the nearer one");
    }

    #[test]
    fn what_is_beside_the_sources_is_guessed_to_go_on_as_far_away() {
        // Half a metre to the left at two metres: ten pixels.
        let known = plane(2.0, 1.0);
        let seen = rendered(&[at(&known, [-0.5, 0.0, 0.0])], &camera(), 1).unwrap();
        assert!(seen.point(29, 15).is_some() && seen.point(30, 15).is_none());
        let guessed = guessed(&seen, &camera().rays(), 0.3);
        assert!(guessed.valid_frac() > 1.0 - 1e-9);
        assert!((guessed.point(39, 15).unwrap().z - 2.0).abs() < 1e-4);
        assert!((guessed.confidence(39, 15) - (0.6f32).powi(-2)).abs() < 1e-3);
        assert_eq!(guessed.point(20, 15), seen.point(20, 15));
    }

    #[test]
    fn what_one_knows_stands_above_what_another_adds() {
        let known = plane(2.0, 1.0);
        let seen = rendered(&[at(&known, [-0.5, 0.0, 0.0])], &camera(), 1).unwrap();
        let whole = completed(&seen, &plane(3.0, 1.0));
        for (x, depth_m) in [(10, 2.0), (35, 3.0)] {
            let found_m = whole.point(x, 15).unwrap().z;
            assert!((found_m - depth_m).abs() < 1e-6, "{found_m} m at {x}");
        }
    }

    #[test]
    fn of_nothing_nothing_is_guessed() {
        let nothing = rendered(&[], &camera(), 1).unwrap();
        assert!(guessed(&nothing, &camera().rays(), 0.3).valid_frac() < 1e-9);
    }
}
