//! MASt3R-SfM (Duisterhof et al., 2024, arXiv:2409.19152): pairs, canonical views, two-stage
//! alignment.

use std::collections::BTreeMap;

use nalgebra::{DMatrix, Point2, Point3};
use rayon::prelude::*;

use super::cleaning::hide_behind;
use super::{OwnMaps, PairGeometry, PlacedMatch, ReconstructedView, Reconstruction, Track};
use crate::alignment::Watch;
use crate::alignment::sparse::{
    CELL_PX, CanonicalBuilder, CanonicalView, Match, MatchedPair, PairPointmap, Sample, SceneState,
    SparseConfig, SparseScene, TreeRule, align_sparse_watched, kinematic_tree,
};
use crate::error::{Error, Result};
use crate::geometry::Intrinsics;
use crate::raster::Raster;

/// Places of one track that differ by more than this share of the depth are not one point.
const TRACK_SPREAD_FRAC: f64 = 0.05;

/// How a scene is put together.
#[derive(Debug, Clone, PartialEq)]
pub struct SparseOptions {
    /// The two stages.
    pub alignment: SparseConfig,
    /// Whether points in front of what other views see are left out.
    pub clean: bool,
    /// Whether the network's lengths are metres.
    pub is_metric: bool,
}

impl Default for SparseOptions {
    fn default() -> Self {
        Self { alignment: SparseConfig::default(), clean: true, is_metric: true }
    }
}

/// What is kept of a pair until all pairs are known.
struct Kept {
    views: [usize; 2],
    matches: Vec<PlacedMatch>,
    second_in_first: OwnMaps,
    first_in_second: OwnMaps,
}

/// Returns the scene of views of these sizes from all pairs, which are taken one by one, so that
/// those of a large collection need not be in memory together; `watch` is told of the iterations of
/// their alignment.
///
/// # Errors
/// Where a pair cannot be had or has no matches, a view is in no pair, or the pairs do not tie all
/// views together.
pub fn reconstruct_sparse(
    sizes: &[(usize, usize)],
    pairs: impl IntoIterator<Item = Result<([usize; 2], PairGeometry)>>,
    options: &SparseOptions,
    watch: Watch<'_>,
) -> Result<Reconstruction> {
    let mut builders = sizes
        .iter()
        .map(|(width, height)| CanonicalBuilder::new(*width, *height))
        .collect::<Result<Vec<_>>>()?;
    let mut kept = Vec::new();
    for pair in pairs {
        let (views, pair) = pair?;
        for (view, maps) in views.into_iter().zip([&pair.first, &pair.second]) {
            builders[view].add(&maps.points, &maps.confidence)?;
        }
        kept.push(Kept {
            views,
            matches: pair.matches.unwrap_or_default(),
            second_in_first: pair.second_in_first,
            first_in_second: pair.first_in_second,
        });
    }
    let canonical = builders.into_iter().enumerate().map(|(view, builder)| {
        builder.finish().ok_or_else(|| Error::Usage(format!(
            "image {view} (from 0) is in no pair; choose a rule for pairs that takes in all images"
        )))
    });
    let canonical = canonical.collect::<Result<Vec<_>>>()?;
    let scene = scene(&canonical, &kept);
    let aligned = align_sparse_watched(&scene, &[], &options.alignment, watch)?.fine;
    let state = aligned.state;
    let views = dense_views(&canonical, &state, options.clean);
    let reconstruction = Reconstruction {
        tracks: tracks(&scene, &state),
        views,
        is_metric: options.is_metric,
        loss: Some(aligned.evidence.loss),
    };
    Ok(reconstruction.scaled(1.0 / median_size(&state)).in_first_view())
}

/// World units for one unit of a view's own depths, in the middle of all views.
fn median_size(state: &SceneState) -> f64 {
    let mut sizes: Vec<f64> = state.views.iter().map(|view| view.size).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.get(sizes.len() / 2).copied().filter(|size| *size > 0.0).unwrap_or(1.0)
}

fn scene(canonical: &[CanonicalView], kept: &[Kept]) -> SparseScene {
    let mut samples: Vec<Samples> = canonical.iter().map(Samples::new).collect();
    let pairs: Vec<MatchedPair> = kept
        .iter()
        .map(|pair| {
            let matches = pair.matches.iter().map(|m| {
                let [a, b] = pair.views;
                let samples = [samples[a].at(m.places[0]), samples[b].at(m.places[1])];
                Match { samples, weight: f64::from(m.confidence) }
            });
            MatchedPair { matches: matches.collect(), views: pair.views }
        })
        .collect();
    let pointmaps = kept.iter().flat_map(|pair| {
        let [a, b] = pair.views;
        [
            samples[b].pointmap(&pair.second_in_first, [b, a]),
            samples[a].pointmap(&pair.first_in_second, [a, b]),
        ]
    });
    let pointmaps = pointmaps.collect();
    SparseScene {
        root: root(canonical, &pairs),
        views: samples.into_iter().map(|s| s.canonical.sparse_view(s.list)).collect(),
        pairs,
        pointmaps,
    }
}

fn root(canonical: &[CanonicalView], pairs: &[MatchedPair]) -> usize {
    let count = canonical.len();
    let mut scores = DMatrix::zeros(count, count);
    for pair in pairs {
        let [a, b] = pair.views;
        scores[(a, b)] += pair.matches.len() as f64;
        scores[(b, a)] = scores[(a, b)];
    }
    let anchors: Vec<usize> =
        canonical.iter().map(|view| view.points.values().len() / (CELL_PX * CELL_PX)).collect();
    kinematic_tree(&scores, &anchors, TreeRule::Ward).map_or(0, |tree| tree.root)
}

/// The samples of a view, each place once.
struct Samples<'a> {
    canonical: &'a CanonicalView,
    list: Vec<Sample>,
    /// By the bits of column and row.
    places: BTreeMap<[u32; 2], usize>,
}

impl<'a> Samples<'a> {
    fn new(canonical: &'a CanonicalView) -> Self {
        Self { canonical, list: Vec::new(), places: BTreeMap::new() }
    }

    /// The sample at a place: with the depth of the pixel that it lies in.
    fn at(&mut self, place: [f32; 2]) -> usize {
        *self.places.entry(place.map(f32::to_bits)).or_insert_with(|| {
            let size = [self.canonical.points.width(), self.canonical.points.height()];
            let pixel = [0, 1].map(|i| (place[i].round().max(0.0) as usize).min(size[i] - 1));
            let pixel_sample = self.canonical.sample(pixel[0], pixel[1]);
            let place = Point2::from(place.map(f64::from));
            self.list.push(Sample { pixel: place, ..pixel_sample });
            self.list.len() - 1
        })
    }

    /// All samples as another view saw them, one point for each cell.
    fn pointmap(&self, maps: &OwnMaps, [view, seen_from]: [usize; 2]) -> PairPointmap {
        let cell = |sample: &Sample| {
            let columns = maps.points.width();
            (sample.anchor % columns, sample.anchor / columns)
        };
        let point = |sample: &Sample| {
            let (x, y) = cell(sample);
            Point3::from(maps.points.at(x, y).cast::<f64>())
        };
        let weight = |sample: &Sample| {
            let (x, y) = cell(sample);
            f64::from(maps.confidence.at(x, y))
        };
        PairPointmap {
            view,
            seen_from,
            points: self.list.iter().map(point).collect(),
            weights: self.list.iter().map(weight).collect(),
        }
    }
}

fn dense_views(
    canonical: &[CanonicalView],
    state: &SceneState,
    clean: bool,
) -> Vec<ReconstructedView> {
    let dense = |(canonical, state): (&CanonicalView, &crate::alignment::sparse::ViewState)| {
        let (width, height) = (canonical.points.width(), canonical.points.height());
        let depth = |x: usize, y: usize| state.point(&canonical.sample(x, y)).z as f32;
        ReconstructedView {
            depth: Raster::from_fn(width, height, depth),
            confidence: canonical.confidence.map(|c| c as f32),
            intrinsics: Intrinsics {
                fx: state.focal_px,
                fy: state.focal_px,
                cx: state.principal_point_px.x,
                cy: state.principal_point_px.y,
            },
            world_from_camera: state.world_from_camera,
        }
    };
    let mut views: Vec<ReconstructedView> =
        canonical.par_iter().zip(state.views.par_iter()).map(dense).collect();
    if clean {
        hide_behind(&mut views);
    }
    views
}

/// Matches put together to points that several views show.
fn tracks(scene: &SparseScene, state: &SceneState) -> Vec<Track> {
    let starts: Vec<usize> = scene
        .views
        .iter()
        .scan(0, |next, view| {
            let start = *next;
            *next += view.samples.len();
            Some(start)
        })
        .collect();
    let total = scene.views.iter().map(|view| view.samples.len()).sum();
    let mut sets = DisjointSets((0..total).collect());
    for pair in &scene.pairs {
        let [a, b] = pair.views;
        for m in &pair.matches {
            sets.join(starts[a] + m.samples[0], starts[b] + m.samples[1]);
        }
    }
    let mut members: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
    for (view, &start) in starts.iter().enumerate() {
        for sample in 0..scene.views[view].samples.len() {
            members.entry(sets.find(start + sample)).or_default().push((view, sample));
        }
    }
    members.into_values().filter_map(|seen| track(&seen, scene, state)).collect()
}

/// The point of samples that belong together, if they are of several views and in one place.
fn track(seen: &[(usize, usize)], scene: &SparseScene, state: &SceneState) -> Option<Track> {
    let is_once = seen.windows(2).all(|two| two[0].0 != two[1].0);
    if seen.len() < 2 || !is_once {
        return None;
    }
    let place = |&(view, sample): &(usize, usize)| {
        let view_state = &state.views[view];
        let point = view_state.point(&scene.views[view].samples[sample]);
        (view_state.world_from_camera * Point3::from(point), point.z)
    };
    let places: Vec<(Point3<f64>, f64)> = seen.iter().map(place).collect();
    let sum = places.iter().fold(nalgebra::Vector3::zeros(), |sum, (p, _)| sum + p.coords);
    let mean = Point3::from(sum / places.len() as f64);
    let is_one = places.iter().all(|(p, z)| (p - mean).norm() <= TRACK_SPREAD_FRAC * z);
    let pixel = |&(view, sample): &(usize, usize)| {
        let pixel = scene.views[view].samples[sample].pixel;
        (view, [pixel.x, pixel.y])
    };
    let observations = seen.iter().map(pixel).collect();
    is_one.then_some(Track { point_in_world: mean, observations })
}

/// Which samples belong together.
struct DisjointSets(Vec<usize>);

impl DisjointSets {
    fn find(&mut self, mut i: usize) -> usize {
        while self.0[i] != i {
            self.0[i] = self.0[self.0[i]];
            i = self.0[i];
        }
        i
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        self.0[a.max(b)] = a.min(b);
    }
}
