//! Where alignment starts: clouds put together along a tree of the surest pairs.

use nalgebra::{Point3, Vector2};

use super::PairwiseMaps;
use super::state::{GlobalState, GlobalView};
use crate::error::{Error, Result};
use crate::geometry::focal::{focal_from_sightings, ordinary_focal_px, sighting};
use crate::geometry::{Sim3, align_similarity};
use crate::raster::Raster;

/// Points that decide on a similarity.
const POINTS: usize = 20_000;
const FOCAL_ITERATIONS: usize = 10;
/// The nearest that a point may start from its camera, as a share of the median depth.
const MIN_DEPTH_SHARE: f64 = 1e-2;

/// Returns the unknowns to start from.
pub(super) fn start(sizes: &[(usize, usize)], pairs: &[PairwiseMaps<'_>]) -> Result<GlobalState> {
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    let scores: Vec<f64> = pairs.iter().map(score).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
    let clouds = clouds(sizes.len(), pairs, &order)?;
    let views = (0..sizes.len()).map(|view| {
        let own = order.iter().find(|&&pair| pairs[pair].views[0] == view);
        let own = own.map(|&pair| &pairs[pair]).ok_or_else(loose)?;
        start_view(own, &clouds[view])
    });
    let views = views.collect::<Result<Vec<_>>>()?;
    let world_from_pairs = pairs.iter().map(|pair| similarity(pair, 0, &clouds[pair.views[0]]));
    let world_from_pairs = world_from_pairs.collect::<Result<Vec<_>>>()?;
    let mut state = GlobalState { views, world_from_pairs };
    state.normalize();
    Ok(state)
}

fn score(pair: &PairwiseMaps<'_>) -> f64 {
    let mean = |map: &Raster<f32>| {
        map.values().iter().map(|c| f64::from(*c)).sum::<f64>() / map.values().len().max(1) as f64
    };
    mean(pair.confidence[0]) * mean(pair.confidence[1])
}

fn loose() -> Error {
    let what = "tying all views together";
    Error::TooFewCorrespondences { what, got: 0, need: 1 }
}

type Cloud = Raster<Point3<f64>>;

/// The points of each view in one world: those of the surest pair, then along the surest pair that
/// leads on.
fn clouds(views: usize, pairs: &[PairwiseMaps<'_>], order: &[usize]) -> Result<Vec<Cloud>> {
    let mut clouds: Vec<Option<Cloud>> = vec![None; views];
    for side in 0..2 {
        let first = order.first().map(|&pair| &pairs[pair]).ok_or_else(loose)?;
        clouds[first.views[side]] = Some(moved(first, side, &Sim3::identity()));
    }
    loop {
        let leads_on = |&&pair: &&usize| {
            let [a, b] = pairs[pair].views;
            clouds[a].is_some() != clouds[b].is_some()
        };
        let Some(pair) = order.iter().find(leads_on).map(|&pair| &pairs[pair]) else { break };
        let known = usize::from(clouds[pair.views[0]].is_none());
        let Some(cloud) = &clouds[pair.views[known]] else { break };
        let world_from_pair = similarity(pair, known, cloud)?;
        clouds[pair.views[1 - known]] = Some(moved(pair, 1 - known, &world_from_pair));
    }
    clouds.into_iter().map(|cloud| cloud.ok_or_else(loose)).collect()
}

fn moved(pair: &PairwiseMaps<'_>, side: usize, world_from_pair: &Sim3) -> Cloud {
    let point =
        |p: nalgebra::Vector3<f32>| world_from_pair.transform_point(&Point3::from(p.cast::<f64>()));
    pair.points[side].map(point)
}

/// The similarity that puts one side of a pair onto a view's cloud.
fn similarity(pair: &PairwiseMaps<'_>, side: usize, cloud: &Cloud) -> Result<Sim3> {
    let step = cloud.values().len().div_ceil(POINTS).max(1);
    let said = pair.points[side].values().iter().step_by(step);
    let said: Vec<Point3<f64>> = said.map(|p| Point3::from(p.cast::<f64>())).collect();
    let cloud: Vec<Point3<f64>> = cloud.values().iter().step_by(step).copied().collect();
    let confidence = pair.confidence[side].values().iter().step_by(step);
    let weights: Vec<f64> = confidence.map(|c| f64::from(*c)).collect();
    Ok(align_similarity(&said, &cloud, Some(&weights))?.transform)
}

/// A view where its cloud is, with the focal length that its own pointmap shows.
fn start_view(own: &PairwiseMaps<'_>, cloud: &Cloud) -> Result<GlobalView> {
    let (width, height) = (cloud.width(), cloud.height());
    let centre = Vector2::new(width as f64, height as f64) / 2.0;
    let seen = own.points[0].values().iter().enumerate().map(|(i, point)| {
        let pixel = Vector2::new((i % width) as f64, (i / width) as f64);
        sighting(pixel - centre, &point.cast::<f64>())
    });
    let focal_px = focal_from_sightings(&seen.collect::<Vec<_>>(), FOCAL_ITERATIONS);
    let focal_px = focal_px.unwrap_or_else(|| ordinary_focal_px(width, height));
    let world_from_camera = similarity(own, 0, cloud)?.rigid();
    let camera_from_world = world_from_camera.inverse();
    let mut depth = cloud.map(|point| (camera_from_world * point).z);
    let mut sorted: Vec<f64> = depth.values().iter().copied().filter(|z| *z > 0.0).collect();
    sorted.sort_by(f64::total_cmp);
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or(1.0);
    for z in depth.values_mut() {
        *z = if z.is_finite() { z.max(MIN_DEPTH_SHARE * median) } else { median };
    }
    Ok(GlobalView { world_from_camera, focal_px, depth })
}
