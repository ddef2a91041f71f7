//! One view of a window, as wrong as the window is.

use nalgebra::{UnitQuaternion, Vector3};

use super::config::{Failure, OracleConfig};
use super::draws::{ViewDraws, WindowDraws};
use super::judgement::Judgement;
use super::truth::TrueView;
use crate::error::Result;
use crate::geometry::{Camera, Se3};
use crate::inference::{View, ViewGeometry};
use crate::pointmap::Pointmap;
use crate::raster::Raster;

/// Neighbours whose inverse depths differ by more than this share are on two sides of an edge.
const EDGE_STEP_FRAC: f32 = 0.05;
/// Share of the confidence that is left where depth is blurred: models know their edges to be bad.
const EDGE_CONFIDENCE: f64 = 0.25;
/// How near to the first view one is put that is taken for it: radians, and mean depths.
const MISTAKEN_REACH: f64 = 0.1;

/// How wrong a window is.
pub(super) struct Errors {
    pub(super) log_scale: f64,
    /// Root mean square of the warp.
    pub(super) warp: f64,
    pub(super) rotation_rad: f64,
    pub(super) translation_frac: f64,
    pub(super) translation_depths: f64,
    pub(super) depth_trust: f64,
    pub(super) pose_trust: f64,
}

impl Errors {
    /// A window that fails heeds no prior.
    pub(super) fn of_failure(failure: &Failure, draws: &WindowDraws) -> Self {
        Self {
            log_scale: failure.scale_sigma * draws.scale(),
            warp: failure.warp_frac,
            rotation_rad: failure.rotation_sigma_deg.to_radians(),
            translation_frac: failure.translation_sigma,
            translation_depths: failure.translation_sigma,
            depth_trust: 0.0,
            pose_trust: 0.0,
        }
    }
}

/// What the views of a window share.
pub(super) struct Window<'a> {
    pub(super) config: &'a OracleConfig,
    pub(super) errors: &'a Errors,
    pub(super) judgement: &'a Judgement,
    /// The standard deviation of depth, as a share, that the model expects of itself.
    pub(super) sigma: f64,
    pub(super) truth: &'a [TrueView],
    /// Which views have a place among the others.
    pub(super) is_placed: &'a [bool],
}

impl Window<'_> {
    /// Returns what the model says of a view.
    pub(super) fn geometry(
        &self,
        index: usize,
        view: &View<'_>,
        camera: &Camera,
        draws: &ViewDraws,
    ) -> Result<ViewGeometry> {
        Ok(ViewGeometry {
            pointmap: self.pointmap(view, &self.truth[index], camera, draws)?,
            camera: *camera,
            window_from_camera: Some(self.pose(index, draws)),
            descriptor: None,
        })
    }

    fn pose(&self, index: usize, draws: &ViewDraws) -> Se3 {
        if index == 0 {
            return Se3::identity();
        }
        let (first, view, errors) = (&self.truth[0], &self.truth[index], self.errors);
        if !self.is_placed[index] {
            return self.misplaced(view, draws);
        }
        let right = first.world_from_camera.inv_mul(&view.world_from_camera);
        let distance_m = right.translation.vector.norm();
        let sigma_m = (errors.translation_frac * distance_m)
            .hypot(errors.translation_depths * view.mean_depth_m);
        let turn = UnitQuaternion::from_scaled_axis(draws.rotation() * errors.rotation_rad);
        let mut translation = right.translation.vector + draws.translation() * sigma_m;
        let mut rotation = turn * right.rotation;
        if let Some(prior) = self.judgement.first_from_camera[index] {
            let prior_m = prior.translation.vector / self.judgement.log_scale.exp();
            translation = translation.lerp(&prior_m, errors.pose_trust);
            rotation = rotation.nlerp(&prior.rotation, errors.pose_trust);
        }
        Se3::from_parts((translation * errors.log_scale.exp()).into(), rotation)
    }

    /// Anywhere, or where the first view is.
    fn misplaced(&self, view: &TrueView, draws: &ViewDraws) -> Se3 {
        let reach = match draws.mistaken() < self.config.mistaken_frac {
            true => MISTAKEN_REACH,
            false => 1.0,
        };
        let turn = UnitQuaternion::from_scaled_axis(draws.rotation() * reach);
        let depth = view.mean_depth_m * self.errors.log_scale.exp();
        Se3::from_parts((draws.translation() * depth * reach).into(), turn)
    }

    fn pointmap(
        &self,
        view: &View<'_>,
        truth: &TrueView,
        camera: &Camera,
        draws: &ViewDraws,
    ) -> Result<Pointmap> {
        let (width, height) = (camera.width() as usize, camera.height() as usize);
        let radius = blur_radius_px(self.config.edge_blur_frac, width);
        let blurred = blurred_edges(&truth.inverse_depth, width, radius);
        let given = view.priors.depth.filter(|_| view.priors.camera.is_some());
        let pixel = |i: usize| {
            let (inverse_depth, is_edge) = blurred[i];
            let given_m = given.map_or(0.0, |depth| depth.raster().values()[i]);
            let uv = [i % width, i / width].map(|x| x as f32 / width as f32);
            self.depth_and_confidence((inverse_depth, is_edge), given_m, (i, uv), draws)
        };
        let pixels: Vec<(f32, f32)> = (0..width * height).map(pixel).collect();
        let rays = camera.rays().into_iter();
        let points: Vec<Vector3<f32>> = rays.zip(&pixels).map(|(ray, p)| ray * p.0).collect();
        let confidence = pixels.iter().map(|p| p.1).collect();
        Pointmap::new(Raster::new(width, height, points)?, Raster::new(width, height, confidence)?)
    }

    /// What the model says of a pixel of which `given_m` is the depth prior, 0 for none.
    fn depth_and_confidence(
        &self,
        (inverse_depth, is_edge): (f32, bool),
        given_m: f32,
        (index, uv): (usize, [f32; 2]),
        draws: &ViewDraws,
    ) -> (f32, f32) {
        if inverse_depth <= 0.0 {
            return (0.0, 0.0);
        }
        let errors = self.errors;
        let own = errors.warp * f64::from(draws.warp(uv)) - f64::from(inverse_depth).ln();
        let (mut log_depth, mut sigma) = (own, self.sigma);
        if given_m > 0.0 {
            let prior = f64::from(given_m).ln() - self.judgement.log_scale;
            log_depth += errors.depth_trust * (prior - own);
            sigma *= 1.0 - self.config.priors.depth_trust;
        }
        let (too_sure, factor) = self.wrong_confidence(index, draws);
        log_depth += errors.log_scale + too_sure;
        let edge = if is_edge { EDGE_CONFIDENCE } else { 1.0 };
        let depth = log_depth.exp();
        let confidence = edge * factor / (sigma.max(1e-3) * depth).powi(2);
        (depth as f32, confidence as f32)
    }

    /// Error of the logarithm of depth, and factor on the confidence, where the latter is wrong.
    fn wrong_confidence(&self, index: usize, draws: &ViewDraws) -> (f64, f64) {
        let (config, chance) = (self.config, draws.confidence(index));
        if chance < 0.5 * config.wrong_confidence_frac {
            return (config.too_sure_sigma * draws.too_sure(index), config.wrong_confidence_factor);
        }
        let too_unsure = chance < config.wrong_confidence_frac;
        (0.0, if too_unsure { 1.0 / config.wrong_confidence_factor } else { 1.0 })
    }
}

fn blur_radius_px(frac: f64, width: usize) -> usize {
    if frac > 0.0 { ((frac * width as f64).round() as usize).max(1) } else { 0 }
}

/// Inverse depths, those near an edge replaced by the mean around them, and which those are. The
/// mean of inverse depths leaves planes as they are.
fn blurred_edges(inverse_depth: &[f32], width: usize, radius: usize) -> Vec<(f32, bool)> {
    let height = inverse_depth.len() / width.max(1);
    let around = |index: usize| {
        let (x, y) = (index % width, index / width);
        let rows = y.saturating_sub(radius)..(y + radius + 1).min(height);
        let columns = x.saturating_sub(radius)..(x + radius + 1).min(width);
        rows.flat_map(move |y| columns.clone().map(move |x| inverse_depth[y * width + x]))
    };
    let is_step = |a: f32, b: f32| (a - b).abs() > EDGE_STEP_FRAC * a.max(b);
    let pixel = |(index, &own): (usize, &f32)| {
        let is_edge = radius > 0 && own > 0.0 && around(index).any(|w| w > 0.0 && is_step(w, own));
        if !is_edge {
            return (own, false);
        }
        let seen = around(index).filter(|&w| w > 0.0);
        let (sum, count) = seen.fold((0.0, 0.0), |(sum, count), w| (sum + w, count + 1.0));
        (sum / count, true)
    };
    inverse_depth.iter().enumerate().map(pixel).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_edges_are_blurred() {
        // Two planes, of which the left one recedes slowly.
        let row: Vec<f32> =
            (0..20).map(|x| if x < 10 { 0.5 - 0.005 * x as f32 } else { 1.0 }).collect();
        let image: Vec<f32> = (0..20).flat_map(|_| row.clone()).collect();
        for radius in [0, 1, 2] {
            let blurred = blurred_edges(&image, 20, radius);
            for (i, (value, is_edge)) in blurred.into_iter().enumerate() {
                let x = i % 20;
                assert_eq!(is_edge, x + radius >= 10 && x < 10 + radius, "{radius} {x}");
                assert!(is_edge || value.to_bits() == image[i].to_bits());
                assert!(!is_edge || (0.46..0.99).contains(&value), "{value}");
            }
        }
    }
}
