//! Fast reciprocal matching of dense descriptor maps (Leroy, Cabon and Revaud, "Grounding image
//! matching in 3D with MASt3R", ECCV 2024, section 3.3): from a sparse grid of pixels, hop to the
//! nearest descriptor of the other image and back until the hops go in a circle of two.

use super::nearest::{DescriptorIndex, DescriptorMap};
use crate::error::Result;

/// Round trips after which a pixel that still moves is given up.
const MAX_ROUNDS: usize = 10;
/// No pixel yet.
const NONE: u32 = u32::MAX;

/// Two pixels that see the same point, as columns and rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PixelMatch {
    /// Column and row in the first image.
    pub a: [u32; 2],
    /// Column and row in the second image.
    pub b: [u32; 2],
}

/// Where the search begins in the first image, and what counts as coming back.
#[derive(Debug, Clone, PartialEq)]
pub enum Seeds {
    /// Every `step` pixels, beginning at half of it; round trips are repeated until they arrive
    /// where they began. Matches can end beside the grid.
    Grid {
        /// Distance of neighbours in pixels.
        step: usize,
    },
    /// These columns and rows, and one round trip: a match is what comes back to where it began.
    Pixels(Vec<[u32; 2]>),
    /// These columns and rows, and one round trip that ends less than `tolerance_px` from where
    /// it began; the match has the pixel where it began.
    Near {
        /// Columns and rows.
        pixels: Vec<[u32; 2]>,
        /// Largest distance, exclusive, in pixels.
        tolerance_px: f32,
    },
}

impl Seeds {
    /// Returns the pixels of a grid of `step` over a map, in row order.
    pub fn grid_pixels(map: &DescriptorMap<'_>, step: usize) -> Vec<[u32; 2]> {
        let step = step.max(1);
        let columns = || (step / 2..map.width()).step_by(step);
        let rows = (step / 2..map.height()).step_by(step);
        rows.flat_map(|y| columns().map(move |x| [x as u32, y as u32])).collect()
    }

    /// Indices of the pixels where the search begins, ascending, each once.
    fn indices(&self, map: &DescriptorMap<'_>) -> Vec<u32> {
        let grid;
        let pixels = match self {
            Self::Grid { step } => {
                grid = Self::grid_pixels(map, *step);
                &grid
            }
            Self::Pixels(pixels) | Self::Near { pixels, .. } => pixels,
        };
        let width = map.width() as u32;
        let inside = |p: &&[u32; 2]| p[0] < width && (p[1] as usize) < map.height();
        let mut indices: Vec<u32> =
            pixels.iter().filter(inside).map(|p| p[1] * width + p[0]).collect();
        indices.sort_unstable();
        indices.dedup();
        indices
    }
}

/// Two descriptor maps laid out for matching in both directions. What is nearest to a pixel is
/// looked up once, whichever match asks for it.
#[derive(Debug)]
pub struct MapPair<'a> {
    a: Side<'a>,
    b: Side<'a>,
}

impl<'a> MapPair<'a> {
    /// Returns the pair of two maps.
    pub fn new(a: DescriptorMap<'a>, b: DescriptorMap<'a>) -> Self {
        Self { a: Side::new(a), b: Side::new(b) }
    }

    /// Returns the reciprocal matches from seeds in the first map, ordered by pixel of the first
    /// map, then of the second, each once.
    ///
    /// # Errors
    /// [`crate::error::Error::ShapeMismatch`] where the descriptors differ in length.
    pub fn matches(&mut self, seeds: &Seeds) -> Result<Vec<PixelMatch>> {
        let walk = Walk::run(&mut self.a, &mut self.b, seeds, None)?;
        Ok(walk.matches(&self.a.map, &self.b.map, seeds))
    }

    /// Returns the reciprocal matches from seeds in the second map, which is still the second of
    /// each match, in the order of the second map.
    ///
    /// # Errors
    /// As [`MapPair::matches`].
    pub fn matches_backward(&mut self, seeds: &Seeds) -> Result<Vec<PixelMatch>> {
        let walk = Walk::run(&mut self.b, &mut self.a, seeds, None)?;
        let matches = walk.matches(&self.b.map, &self.a.map, seeds);
        Ok(matches.into_iter().map(|m| PixelMatch { a: m.b, b: m.a }).collect())
    }

    /// Returns [`MapPair::matches`] and the basins: for each pixel of the first map where a round
    /// trip began, the pixel where it ended, else -1; one entry more than there are pixels.
    ///
    /// # Errors
    /// As [`MapPair::matches`].
    pub fn matches_with_basins(&mut self, seeds: &Seeds) -> Result<(Vec<PixelMatch>, Vec<i32>)> {
        let mut basins = vec![-1; self.a.map.len() + 1];
        let walk = Walk::run(&mut self.a, &mut self.b, seeds, Some(&mut basins))?;
        Ok((walk.matches(&self.a.map, &self.b.map, seeds), basins))
    }
}

/// One map of a pair.
#[derive(Debug)]
struct Side<'a> {
    map: DescriptorMap<'a>,
    index: DescriptorIndex,
    /// For each pixel the nearest of the other map, [`NONE`] where nobody has asked yet.
    nearest: Vec<u32>,
}

impl<'a> Side<'a> {
    fn new(map: DescriptorMap<'a>) -> Self {
        Self { map, index: DescriptorIndex::new(&map), nearest: vec![NONE; map.len()] }
    }

    /// What is nearest in `other` to each of these pixels of this map.
    fn nearest_in(&mut self, other: &Side<'_>, pixels: &[u32]) -> Result<Vec<u32>> {
        let mut unknown: Vec<u32> =
            pixels.iter().copied().filter(|&p| self.nearest[p as usize] == NONE).collect();
        unknown.sort_unstable();
        unknown.dedup();
        let found = other.index.nearest(&self.map, &unknown)?;
        for (&pixel, nearest) in unknown.iter().zip(found) {
            self.nearest[pixel as usize] = nearest;
        }
        Ok(pixels.iter().map(|&p| self.nearest[p as usize]).collect())
    }
}

/// Where every seed is after the round trips.
struct Walk {
    /// Where the last round trip of each seed began.
    start: Vec<u32>,
    here: Vec<u32>,
    there: Vec<u32>,
    arrived: Vec<bool>,
}

impl Walk {
    fn run(
        from: &mut Side<'_>,
        to: &mut Side<'_>,
        seeds: &Seeds,
        mut basins: Option<&mut Vec<i32>>,
    ) -> Result<Self> {
        let here = seeds.indices(&from.map);
        let count = here.len();
        let mut walk = Self {
            start: here.clone(),
            here,
            there: vec![NONE; count],
            arrived: vec![false; count],
        };
        let rounds = if matches!(seeds, Seeds::Grid { .. }) { MAX_ROUNDS } else { 1 };
        for _ in 0..rounds {
            if walk.arrived.iter().all(|&arrived| arrived) {
                break;
            }
            walk.start.copy_from_slice(&walk.here);
            walk.round_trip(from, to, basins.as_deref_mut())?;
        }
        Ok(walk)
    }

    /// One hop to the other map and back for every seed that has not arrived.
    fn round_trip(
        &mut self,
        from: &mut Side<'_>,
        to: &mut Side<'_>,
        basins: Option<&mut Vec<i32>>,
    ) -> Result<()> {
        let active = self.active();
        let pixels: Vec<u32> = active.iter().map(|&i| self.here[i]).collect();
        for (&i, there) in active.iter().zip(from.nearest_in(to, &pixels)?) {
            // Whoever asks for basins wants every round trip to be made.
            self.arrived[i] = basins.is_none() && self.there[i] == there;
            self.there[i] = there;
        }
        let active = self.active();
        let pixels: Vec<u32> = active.iter().map(|&i| self.there[i]).collect();
        for (&i, here) in active.iter().zip(to.nearest_in(from, &pixels)?) {
            self.arrived[i] = self.here[i] == here;
            self.here[i] = here;
        }
        if let Some(basins) = basins {
            for i in active {
                basins[self.start[i] as usize] = self.here[i] as i32;
            }
        }
        Ok(())
    }

    fn active(&self) -> Vec<usize> {
        (0..self.here.len()).filter(|&i| !self.arrived[i]).collect()
    }

    fn matches(
        &self,
        from: &DescriptorMap<'_>,
        to: &DescriptorMap<'_>,
        seeds: &Seeds,
    ) -> Vec<PixelMatch> {
        let mut pairs: Vec<(u32, u32)> = (0..self.here.len())
            .filter_map(|i| match seeds {
                Seeds::Near { tolerance_px, .. } => {
                    let returned = distance_px(from.width(), self.start[i], self.here[i]);
                    (returned < *tolerance_px).then_some((self.start[i], self.there[i]))
                }
                _ => self.arrived[i].then_some((self.here[i], self.there[i])),
            })
            .collect();
        pairs.sort_unstable();
        pairs.dedup();
        let pixel = |index: u32, width: usize| [index % width as u32, index / width as u32];
        let matches = pairs.into_iter();
        matches
            .map(|(a, b)| PixelMatch { a: pixel(a, from.width()), b: pixel(b, to.width()) })
            .collect()
    }
}

/// Euclidean distance of two pixels given as indices.
fn distance_px(width: usize, a: u32, b: u32) -> f32 {
    let width = width as u32;
    let dx = (a % width).abs_diff(b % width) as f32;
    let dy = (a / width).abs_diff(b / width) as f32;
    dx.hypot(dy)
}
