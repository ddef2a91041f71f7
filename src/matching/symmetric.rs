//! Matches of an image pair from both directions, with confidences.

use super::nearest::DescriptorMap;
use super::reciprocal::{MapPair, PixelMatch, Seeds};
use crate::error::{Error, Result};

/// Descriptors of a view with the confidence of each.
#[derive(Debug, Clone, Copy)]
pub struct ConfidentMap<'a> {
    map: DescriptorMap<'a>,
    confidence: &'a [f32],
}

impl<'a> ConfidentMap<'a> {
    /// Returns the map with its confidences, one for each pixel in row order.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for another number of confidences.
    pub fn new(map: DescriptorMap<'a>, confidence: &'a [f32]) -> Result<Self> {
        if confidence.len() == map.len() {
            return Ok(Self { map, confidence });
        }
        Err(Error::ShapeMismatch {
            what: "confidences of a descriptor map",
            expected: map.len().to_string(),
            found: confidence.len().to_string(),
        })
    }

    fn confidence_at(&self, pixel: [u32; 2]) -> f32 {
        self.confidence[pixel[1] as usize * self.map.width() + pixel[0] as usize]
    }
}

/// A match and how far it can be trusted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConfidentMatch {
    /// The two pixels.
    pub pixels: PixelMatch,
    /// Confidence, in the units of the maps'.
    pub confidence: f32,
}

/// Returns the matches of two views that a model has seen in both orders: `orders` are the
/// descriptors of the first and second view from either. Both are matched both ways on a grid of
/// `step`; a match that is found more than once has the confidence of the first find, the
/// geometric mean of its two pixels'. Ordered by pixel of the first view, then of the second.
///
/// # Errors
/// [`Error::ShapeMismatch`] where descriptors differ in length.
pub fn symmetric_matches(
    orders: [[ConfidentMap<'_>; 2]; 2],
    step: usize,
) -> Result<Vec<ConfidentMatch>> {
    let mut all = Vec::new();
    for [a, b] in orders {
        let confidence = |m: &PixelMatch| (a.confidence_at(m.a) * b.confidence_at(m.b)).sqrt();
        let seeds = [Seeds::Grid { step }, Seeds::Grid { step }];
        all.extend(both_ways(&a.map, &b.map, &seeds)?.into_iter().map(|m| with(m, confidence(&m))));
    }
    Ok(first_of_each(all))
}

/// Returns the matches of two views that a model has seen in one order only, from both sides, on
/// a grid of `step`; confidence is the smaller of the two pixels'. With `tolerance_px` one round
/// trip is made that may miss its seed by less than that. Ordered as [`symmetric_matches`].
///
/// # Errors
/// [`Error::ShapeMismatch`] where descriptors differ in length.
pub fn one_order_matches(
    a: ConfidentMap<'_>,
    b: ConfidentMap<'_>,
    step: usize,
    tolerance_px: Option<f32>,
) -> Result<Vec<ConfidentMatch>> {
    let seeds = |map: &DescriptorMap<'_>| match tolerance_px {
        None => Seeds::Grid { step },
        Some(tolerance_px) => Seeds::Near { pixels: Seeds::grid_pixels(map, step), tolerance_px },
    };
    let matches = both_ways(&a.map, &b.map, &[seeds(&a.map), seeds(&b.map)])?;
    let confidence = |m: &PixelMatch| a.confidence_at(m.a).min(b.confidence_at(m.b));
    Ok(first_of_each(matches.into_iter().map(|m| with(m, confidence(&m))).collect()))
}

/// Returns the matches whose pixels both are `margin_px` or further inside their images.
pub fn inside_border(
    matches: Vec<PixelMatch>,
    a: &DescriptorMap<'_>,
    b: &DescriptorMap<'_>,
    margin_px: u32,
) -> Vec<PixelMatch> {
    let within = |p: [u32; 2], map: &DescriptorMap<'_>| {
        let inside = |v: u32, size: usize| v >= margin_px && v + margin_px < size as u32;
        inside(p[0], map.width()) && inside(p[1], map.height())
    };
    matches.into_iter().filter(|m| within(m.a, a) && within(m.b, b)).collect()
}

/// Matches from seeds in the first map, then those from seeds in the second.
fn both_ways(
    a: &DescriptorMap<'_>,
    b: &DescriptorMap<'_>,
    seeds: &[Seeds; 2],
) -> Result<Vec<PixelMatch>> {
    let mut pair = MapPair::new(*a, *b);
    let mut matches = pair.matches(&seeds[0])?;
    matches.extend(pair.matches_backward(&seeds[1])?);
    Ok(matches)
}

fn with(pixels: PixelMatch, confidence: f32) -> ConfidentMatch {
    ConfidentMatch { pixels, confidence }
}

/// Matches in order of their pixels (row order), of equal ones the first.
fn first_of_each(mut matches: Vec<ConfidentMatch>) -> Vec<ConfidentMatch> {
    let key = |m: &ConfidentMatch| (m.pixels.a[1], m.pixels.a[0], m.pixels.b[1], m.pixels.b[0]);
    matches.sort_by_key(key);
    matches.dedup_by_key(|m| key(m));
    matches
}
