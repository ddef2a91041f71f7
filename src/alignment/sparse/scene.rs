//! What sparse alignment is given: views with their own depths, and what ties them together.

use nalgebra::{Point2, Point3, Vector2, Vector3};

use crate::error::{Error, Result};
use crate::geometry::GeometryError;

/// A pixel of a view whose depth hangs on one of the view's depth anchors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Index of the anchor, row by row over the grid of 8-pixel cells.
    pub anchor: usize,
    /// Depth of the pixel over the depth of its anchor, as the view's own pointmap has it.
    pub depth_ratio: f64,
    /// Column and row in pixels.
    pub pixel: Point2<f64>,
}

/// An image with the geometry that a model gave it, in units of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct SparseView {
    /// Width and height in pixels.
    pub image_size_px: Vector2<f64>,
    /// The focal length that goes with `anchor_depths`.
    pub base_focal_px: f64,
    /// The principal point to start from.
    pub principal_point_px: Point2<f64>,
    /// Depth of the anchors at size one, one for each 8-pixel cell.
    pub anchor_depths: Vec<f64>,
    /// Mean confidence of the view's pointmap; weighs the views where they share intrinsics.
    pub confidence: f64,
    /// The pixels that pairs refer to.
    pub samples: Vec<Sample>,
}

/// Two samples that show the same point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    /// Index of the sample in each view of the pair.
    pub samples: [usize; 2],
    /// Confidence, at least zero.
    pub weight: f64,
}

/// Two views with what was matched between them.
#[derive(Debug, Clone, PartialEq)]
pub struct MatchedPair {
    /// Indices of the two views.
    pub views: [usize; 2],
    /// Their correspondences.
    pub matches: Vec<Match>,
}

/// A view's samples as a model saw them from another view: all that is left of a pair whose
/// matches cannot be trusted.
#[derive(Debug, Clone, PartialEq)]
pub struct PairPointmap {
    /// The view whose samples are given.
    pub view: usize,
    /// The view in whose camera frame they are given.
    pub seen_from: usize,
    /// One point for each sample of `view`, in the frame of `seen_from`.
    pub points: Vec<Point3<f64>>,
    /// Confidence of each point.
    pub weights: Vec<f64>,
}

/// All that sparse alignment goes by.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SparseScene {
    /// The views, in the order of the result.
    pub views: Vec<SparseView>,
    /// Correspondences, each pair of views once.
    pub pairs: Vec<MatchedPair>,
    /// Pointmaps of pairs, which count where the pair's matches do not.
    pub pointmaps: Vec<PairPointmap>,
    /// The view whose camera stays at the origin: the root of the pairs' tree.
    pub root: usize,
}

impl SparseView {
    /// Returns the median of the anchor depths, the lower of two.
    pub fn median_depth(&self) -> f64 {
        let mut depths = self.anchor_depths.clone();
        if depths.is_empty() {
            return f64::NAN;
        }
        let middle = (depths.len() - 1) / 2;
        *depths.select_nth_unstable_by(middle, f64::total_cmp).1
    }

    /// Returns the samples' points in the camera frame at size one and the base intrinsics.
    pub fn own_point(&self, sample: &Sample) -> Vector3<f64> {
        let depth = self.anchor_depths[sample.anchor] * sample.depth_ratio;
        let at = (sample.pixel - self.principal_point_px) / self.base_focal_px;
        Vector3::new(at.x, at.y, 1.0) * depth
    }

    fn check(&self, index: usize) -> Result<()> {
        let camera = |field, value, expected| {
            Err(GeometryError::InvalidCamera { field, value, expected }.into())
        };
        let usable = |v: f64| v.is_finite() && v > 0.0;
        let [width, height] = [self.image_size_px.x, self.image_size_px.y];
        if !(usable(width) && usable(height)) {
            return camera("image size", width.min(height), "expected a positive width and height");
        }
        if !usable(self.base_focal_px) {
            return camera("focal length", self.base_focal_px, "expected a positive number");
        }
        if !self.principal_point_px.coords.iter().all(|v| v.is_finite()) {
            return camera("principal point", f64::NAN, "expected finite coordinates");
        }
        if let Some(&depth) = self.anchor_depths.iter().find(|&&d| !usable(d)) {
            return camera("anchor depth", depth, "expected a positive number");
        }
        let known = self.samples.iter().all(|s| s.anchor < self.anchor_depths.len());
        if known && !self.anchor_depths.is_empty() && self.samples.iter().all(Sample::is_finite) {
            return Ok(());
        }
        let found = format!("one of view {index} outside or not finite");
        let expected = format!("samples on {} anchors", self.anchor_depths.len());
        Err(Error::ShapeMismatch { what: "samples of a view", expected, found })
    }
}

impl Sample {
    fn is_finite(&self) -> bool {
        self.depth_ratio.is_finite() && self.pixel.coords.iter().all(|v| v.is_finite())
    }
}

impl MatchedPair {
    /// Returns whether the pair's best match is confident enough for its matches to count.
    pub fn is_trusted(&self, min_confidence: f64) -> bool {
        self.matches.iter().any(|m| m.weight > min_confidence)
    }

    fn fits(&self, views: &[SparseView]) -> bool {
        let [first, second] = self.views;
        let (Some(a), Some(b)) = (views.get(first), views.get(second)) else { return false };
        first != second
            && self.matches.iter().all(|m| {
                m.samples[0] < a.samples.len()
                    && m.samples[1] < b.samples.len()
                    && m.weight.is_finite()
                    && m.weight >= 0.0
            })
    }
}

impl PairPointmap {
    fn fits(&self, views: &[SparseView]) -> bool {
        let Some(view) = views.get(self.view) else { return false };
        self.view != self.seen_from
            && self.seen_from < views.len()
            && self.points.len() == view.samples.len()
            && self.weights.len() == view.samples.len()
            && self.points.iter().all(|p| p.coords.iter().all(|v| v.is_finite()))
            && self.weights.iter().all(|w| w.is_finite() && *w >= 0.0)
    }
}

impl SparseScene {
    /// Returns the pairs whose matches count.
    pub fn trusted_pairs(&self, min_confidence: f64) -> impl Iterator<Item = &MatchedPair> {
        self.pairs.iter().filter(move |pair| pair.is_trusted(min_confidence))
    }

    /// Returns the pointmaps that count: those of pairs whose matches do not.
    pub fn fallback_pointmaps(&self, min_confidence: f64) -> Vec<&PairPointmap> {
        let trusted = |p: &PairPointmap| {
            self.trusted_pairs(min_confidence).any(|pair| {
                pair.views == [p.view, p.seen_from] || pair.views == [p.seen_from, p.view]
            })
        };
        self.pointmaps.iter().filter(|p| !trusted(p)).collect()
    }

    /// Returns whether all numbers are finite and all indices in range.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] and [`GeometryError::InvalidCamera`] with what is wrong.
    pub fn check(&self) -> Result<()> {
        for (index, view) in self.views.iter().enumerate() {
            view.check(index)?;
        }
        let mismatch = |what, found: String| {
            let expected = format!("finite numbers about {} views", self.views.len());
            Err(Error::ShapeMismatch { what, expected, found })
        };
        if let Some(pair) = self.pairs.iter().find(|pair| !pair.fits(&self.views)) {
            return mismatch("matches of a pair", format!("a bad one in {:?}", pair.views));
        }
        if let Some(p) = self.pointmaps.iter().find(|p| !p.fits(&self.views)) {
            let found = format!("a bad one of view {} from {}", p.view, p.seen_from);
            return mismatch("pointmaps of a pair", found);
        }
        if self.root < self.views.len() {
            return Ok(());
        }
        mismatch("root of a scene", format!("view {}", self.root))
    }
}
