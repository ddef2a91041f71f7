//! The coarse stage: each view a rigid cloud of its own size.

use super::distance::PointDistance;
use super::evidence::{StageResult, ViewResidual, inliers};
use super::factor::{Factor, Softening};
use super::fine::Gauge;
use super::loss::GammaLoss;
use super::minimize::{Search, Told};
use super::normal::Term;
use super::placement::{matches_of, place};
use super::pointmap::PointmapDistance;
use super::reduced::Columns;
use super::scene::{MatchedPair, PairPointmap, SparseScene};
use super::state::{FOCAL, SIZE, SceneState};
use super::{LensFreedom, SparseConfig};
use crate::alignment::progress::{Stage, Watch};
use crate::error::{Error, Result};

/// The power of the loss of 3D distances.
const GAMMA: f64 = 1.5;
/// The power of the loss of distances to pointmaps, in both stages.
const POINTMAP_GAMMA: f64 = 1.1;
/// Fewer matches than this leave a view's seven unknowns open.
const MIN_MATCHES: usize = 4;
const MIN_GAIN: f64 = 1e-7;

/// The matches and pointmaps that count.
pub(super) struct Data<'a> {
    pub pairs: Vec<&'a MatchedPair>,
    pub pointmaps: Vec<&'a PairPointmap>,
    /// The sum of the matches' confidences.
    pub weight: f64,
}

impl<'a> Data<'a> {
    /// Returns what counts, or why there is too little.
    pub fn of(scene: &'a SparseScene, config: &SparseConfig) -> Result<Self> {
        scene.check()?;
        let pairs: Vec<_> = scene.trusted_pairs(config.min_pair_confidence).collect();
        let pointmaps = scene.fallback_pointmaps(config.min_pair_confidence);
        let weight = pairs.iter().flat_map(|p| &p.matches).map(|m| m.weight).sum::<f64>();
        let got: usize = pairs.iter().map(|p| p.matches.len()).sum();
        if got < MIN_MATCHES || scene.views.len() < 2 {
            let what = "aligning a scene";
            return Err(Error::TooFewCorrespondences { what, got, need: MIN_MATCHES });
        }
        Ok(Self { pairs, pointmaps, weight })
    }

    /// Returns the terms of the pointmaps, and what they are multiplied by.
    pub fn pointmap_terms(&self, scene: &SparseScene, weight: f64) -> (Vec<PointmapDistance>, f64) {
        let loss = GammaLoss::new(POINTMAP_GAMMA);
        let term = |map: &&PairPointmap| PointmapDistance::new(scene, map, loss);
        let total: f64 = self.pointmaps.iter().flat_map(|map| &map.weights).sum();
        let scale = if total > 0.0 { weight / total } else { 0.0 };
        (self.pointmaps.iter().map(term).collect(), scale)
    }
}

/// Returns the terms of all factors at their scales: matches, pointmaps, what is known beforehand.
pub(super) fn terms<'a, M: Factor>(
    matches: &'a [M],
    match_scale: f64,
    pointmaps: &'a (Vec<PointmapDistance>, f64),
    priors: &'a [&'a dyn Factor],
    prior_scale: f64,
) -> (Vec<Term<'a>>, usize) {
    let of_matches = matches.iter().map(|factor| Term { factor, scale: match_scale });
    let of_pointmaps = pointmaps.0.iter().map(|factor| Term { factor, scale: pointmaps.1 });
    let mut terms: Vec<Term<'a>> = of_matches.chain(of_pointmaps).collect();
    let data = terms.len();
    terms.extend(priors.iter().map(|factor| Term { factor: *factor, scale: prior_scale }));
    (terms, data)
}

/// Returns poses and sizes of all views at least 3D distance between matches (loss of power 1.5).
/// The root's camera is at the origin and the smallest size is one, unless `priors` know a frame
/// or a scale.
///
/// # Errors
/// [`Error::TooFewCorrespondences`] for a view that nothing ties to the others,
/// [`crate::geometry::GeometryError::Degenerate`] where what ties it lies on a line, and what
/// [`SparseScene::check`] finds.
pub fn align_coarse(
    scene: &SparseScene,
    priors: &[&dyn Factor],
    config: &SparseConfig,
) -> Result<StageResult> {
    align(scene, priors, config, &|_| ())
}

/// Does the same, and tells `watch` of each iteration.
pub(super) fn align(
    scene: &SparseScene,
    priors: &[&dyn Factor],
    config: &SparseConfig,
    watch: Watch<'_>,
) -> Result<StageResult> {
    let data = Data::of(scene, config)?;
    let mut state = SceneState::new(scene);
    let confidence: Vec<f64> = scene.views.iter().map(|view| view.confidence).collect();
    if config.focal_length == LensFreedom::Shared {
        state.share_focal_length(&confidence);
    }
    if config.principal_point == LensFreedom::Shared {
        state.share_principal_point(&confidence);
    }
    place(scene, &data.pairs, &data.pointmaps, &mut state)?;
    let gauge = Gauge::of(scene, priors);
    gauge.move_into_frame(&mut state);
    let loss = GammaLoss::new(GAMMA);
    let matches: Vec<PointDistance> =
        data.pairs.iter().map(|pair| PointDistance::new(scene, &state, pair, loss)).collect();
    let pointmaps = data.pointmap_terms(scene, config.pointmap_weight);
    let (terms, data_terms) =
        terms(&matches, data.weight.recip(), &pointmaps, priors, data.weight.recip());
    let free = |view: usize, unknown: usize| {
        (unknown < FOCAL && gauge.held_view != Some(view)) || unknown == SIZE
    };
    let search = Search {
        terms: &terms,
        columns: Columns::new(scene.views.len(), free, |_| false),
        with_depths: false,
        sizes_from_one: !gauge.known_scale,
        max_iterations: config.coarse_iterations,
        min_gain: MIN_GAIN,
        told: Told { stage: Stage::Coarse, most: config.coarse_iterations, watch },
    };
    let start = state.clone();
    let mut found = search.begin(state);
    search.run(&mut found, Softening::NONE, search.max_iterations);
    let residuals = residuals(&matches, &found.state, scene, config);
    StageResult::new(&search, &start, found, data_terms, data.weight, residuals)
}

fn residuals(
    matches: &[PointDistance],
    state: &SceneState,
    scene: &SparseScene,
    config: &SparseConfig,
) -> Vec<ViewResidual> {
    let mut lengths = vec![Vec::new(); scene.views.len()];
    for factor in matches {
        for (length, _) in factor.lengths(state) {
            for view in factor.views() {
                lengths[view].push(length);
            }
        }
    }
    let limit = |view: usize| {
        let view = &state.views[view];
        config.inlier_depth_frac * view.size * view.median_depth
    };
    lengths.iter_mut().enumerate().map(|(view, l)| inliers(l, limit(view))).collect()
}

/// Returns whether every view has matches enough for the fine stage.
pub(super) fn views_without_matches(scene: &SparseScene, pairs: &[&MatchedPair]) -> Vec<usize> {
    let counts = matches_of(&scene.views, pairs);
    (0..counts.len()).filter(|&view| counts[view] < MIN_MATCHES).collect()
}
