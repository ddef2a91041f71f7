//! The fine stage: matches reprojected into each other's images.

use nalgebra::Vector3;

use super::coarse::{Data, terms, views_without_matches};
use super::evidence::{StageResult, ViewResidual, inliers};
use super::factor::{Factor, Softening};
use super::loss::GammaLoss;
use super::minimize::{Found, Search, Told};
use super::normal::{Term, objective};
use super::placement::place;
use super::reduced::Columns;
use super::reprojection::Reprojection;
use super::scene::SparseScene;
use super::state::{CENTRE, FOCAL, PRINCIPAL_POINT, SIZE, SceneState};
use super::{LensFreedom, SparseConfig};
use crate::alignment::progress::{Stage, Watch};
use crate::error::{Error, Result};
use crate::geometry::Se3;

/// The power of the loss of reprojections: far-off matches hardly pull.
const GAMMA: f64 = 0.5;
const MIN_GAIN: f64 = 1e-6;
/// The loss has many minima; rounded off by about the median residual it leads past most of them.
/// Far off, the median falls from round to round, and what it is rounded off by with it.
const MAX_ROUNDS: usize = 8;
const SETTLED: f64 = 0.8;
/// Iterations of a round, and of the next to last one.
const ROUND: usize = 3;
const LAST_ROUND: usize = 6;
/// Iterations before those that the configuration counts, at most.
const ROUNDED_OFF: usize = (MAX_ROUNDS + 1) * ROUND + LAST_ROUND;
/// A depth may sit in a minimum of its own, beside a better one at these multiples.
const DEPTH_FACTORS: [f64; 18] = [
    0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.94, 0.97, 0.985, 1.015, 1.03, 1.06, 1.1, 1.18, 1.25, 1.4, 1.6,
    2.0,
];

/// What fixes the frame and the scale of the world.
pub(super) struct Gauge {
    /// The view that stands still.
    pub held_view: Option<usize>,
    /// Whether the scale is known, so that the smallest size need not be one.
    pub known_scale: bool,
    frame: (usize, Se3),
}

impl Gauge {
    /// Returns what the scene and the priors fix.
    pub fn of(scene: &SparseScene, priors: &[&dyn Factor]) -> Self {
        let known = priors.iter().find_map(|prior| prior.fixes_frame());
        Self {
            held_view: known.is_none().then_some(scene.root),
            known_scale: priors.iter().any(|prior| prior.fixes_scale()),
            frame: known.unwrap_or((scene.root, Se3::identity())),
        }
    }

    /// Moves the world into the frame that is known.
    pub fn move_into_frame(&self, state: &mut SceneState) {
        let (view, world_from_camera) = self.frame;
        state.move_to(view, &world_from_camera);
    }
}

/// Returns poses, depths and lenses of all views at least reprojection error (loss of power 0.5),
/// from where the coarse stage left them. What may move is `config`'s choice.
///
/// # Errors
/// As [`super::align_coarse`].
pub fn align_fine(
    scene: &SparseScene,
    start: &SceneState,
    priors: &[&dyn Factor],
    config: &SparseConfig,
) -> Result<StageResult> {
    align(scene, start, priors, config, &|_| ())
}

/// Does the same, and tells `watch` of each iteration.
pub(super) fn align(
    scene: &SparseScene,
    start: &SceneState,
    priors: &[&dyn Factor],
    config: &SparseConfig,
    watch: Watch<'_>,
) -> Result<StageResult> {
    let data = Data::of(scene, config)?;
    check_start(scene, start)?;
    let loss = GammaLoss::new(GAMMA);
    let matches: Vec<Reprojection> =
        data.pairs.iter().flat_map(|pair| Reprojection::both_ways(scene, pair, loss)).collect();
    let pointmaps = data.pointmap_terms(scene, config.pointmap_weight);
    // Each match counts in both images.
    let (terms, data_terms) =
        terms(&matches, 0.5 / data.weight, &pointmaps, priors, 0.5 / data.weight);
    let gauge = Gauge::of(scene, priors);
    let scale_matters = gauge.known_scale || !data.pointmaps.is_empty();
    let unit = (!scale_matters).then(|| baseline(start, scene.root)).flatten();
    let idle = views_without_matches(scene, &data.pairs);
    let free = |view: usize, unknown: usize| match unknown {
        _ if unknown < FOCAL => gauge.held_view != Some(view) && unit != Some((view, unknown)),
        FOCAL => config.focal_length != LensFreedom::Fixed && !idle.contains(&view),
        SIZE => !config.free_depths,
        _ => config.principal_point != LensFreedom::Fixed && !idle.contains(&view),
    };
    let shared = |unknown: usize| match unknown {
        FOCAL => config.focal_length == LensFreedom::Shared,
        PRINCIPAL_POINT..SIZE => config.principal_point == LensFreedom::Shared,
        _ => false,
    };
    let search = Search {
        terms: &terms,
        columns: Columns::new(scene.views.len(), free, shared),
        with_depths: config.free_depths,
        sizes_from_one: !config.free_depths && !gauge.known_scale && scale_matters,
        min_gain: MIN_GAIN,
        max_iterations: config.fine_iterations,
        told: Told { stage: Stage::Fine, most: ROUNDED_OFF + config.fine_iterations, watch },
    };
    let begin = better_start(scene, start, &data, &gauge, &terms)?;
    let found = descend(&search, &matches, begin);
    let residuals = residuals(&matches, &found.state, scene, config);
    StageResult::new(&search, start, found, data_terms, data.weight, residuals)
}

/// The best state downhill of `start`, past minima on the way.
fn descend(search: &Search<'_>, matches: &[Reprojection], start: SceneState) -> Found {
    let mut median = median_length(matches, &start);
    let mut found = search.begin(start);
    for _ in 0..MAX_ROUNDS {
        search.run(&mut found, Softening(median), ROUND);
        let before = std::mem::replace(&mut median, median_length(matches, &found.state));
        if median > SETTLED * before {
            break;
        }
    }
    search.run(&mut found, Softening(0.3 * median), ROUND);
    search.run(&mut found, Softening::NONE, LAST_ROUND);
    if search.with_depths {
        search.search_depths(&mut found, &DEPTH_FACTORS);
    }
    search.run(&mut found, Softening::NONE, search.max_iterations);
    found
}

/// Returns `start`, or the views as their strongest pairs alone place them if that costs less: the
/// coarse loss grows faster than the distance, so that many wrong matches spoil it; placement
/// drops them pair by pair.
fn better_start(
    scene: &SparseScene,
    start: &SceneState,
    data: &Data<'_>,
    gauge: &Gauge,
    terms: &[Term<'_>],
) -> Result<SceneState> {
    let mut placed = start.clone();
    place(scene, &data.pairs, &data.pointmaps, &mut placed)?;
    gauge.move_into_frame(&mut placed);
    let cost = |state| objective(terms, state, Softening::NONE);
    Ok(if cost(&placed) < cost(start) { placed } else { start.clone() })
}

fn check_start(scene: &SparseScene, start: &SceneState) -> Result<()> {
    let what = "views to start from";
    let fits = |(view, state): (&super::SparseView, &super::ViewState)| {
        view.anchor_depths.len() == state.anchor_depths.len()
    };
    if start.views.len() == scene.views.len() && scene.views.iter().zip(&start.views).all(fits) {
        return Ok(());
    }
    let expected = format!("{} views with their anchors", scene.views.len());
    Err(Error::ShapeMismatch { what, expected, found: format!("{}", start.views.len()) })
}

/// The coordinate that serves as the unit of length where nothing else does: the largest one of
/// the camera farthest from the root.
fn baseline(state: &SceneState, root: usize) -> Option<(usize, usize)> {
    let centre = |view: usize| state.views[view].world_from_camera.translation.vector;
    let off: Vec<Vector3<f64>> =
        (0..state.views.len()).map(|view| centre(view) - centre(root)).collect();
    let farthest = (0..off.len()).max_by(|a, b| off[*a].norm().total_cmp(&off[*b].norm()))?;
    (off[farthest].norm() > 0.0).then(|| (farthest, CENTRE + off[farthest].iamax()))
}

fn median_length(matches: &[Reprojection], state: &SceneState) -> f64 {
    let lengths = matches.iter().flat_map(|factor| factor.lengths(state));
    let mut lengths: Vec<f64> = lengths.map(|(length, _)| length).collect();
    inliers(&mut lengths, 0.0).median
}

fn residuals(
    matches: &[Reprojection],
    state: &SceneState,
    scene: &SparseScene,
    config: &SparseConfig,
) -> Vec<ViewResidual> {
    let mut lengths = vec![Vec::new(); scene.views.len()];
    for factor in matches {
        lengths[factor.views()[1]].extend(factor.lengths(state).map(|(length, _)| length));
    }
    lengths.iter_mut().map(|l| inliers(l, config.inlier_px)).collect()
}
