//! Consensus: what several keyframes measured of one surface, as one surface.
//!
//! Each keyframe's points move along their rays to the mean of what all keyframes that see them
//! measured, by inverse variances; points that others see through are left out. Fusion of depth
//! maps by agreement between views goes back to Merrell et al., "Real-time visibility-based fusion
//! of depth maps" (ICCV 2007).

use nalgebra::{Point3, Vector3};
use rayon::prelude::*;

use super::{GlobalMap, MapConfig};
use crate::geometry::Se3;
use crate::keyframe::{Keyframe, KeyframeId};
use crate::pointmap::Pointmap;
use crate::raster::Raster;

/// About how many points tell how much of a keyframe another sees.
const SAMPLES: usize = 100;
/// Depths that differ by less than this many standard deviations are of one surface …
const AGREEMENT_SIGMAS: f64 = 3.0;

/// Another keyframe, and how to get there.
struct Witness<'a> {
    keyframe: &'a Keyframe,
    witness_from_view: Se3,
}

impl GlobalMap {
    /// Returns the pointmap of a keyframe as the keyframes that see most of it agree on.
    pub fn agreed(&self, keyframe: &Keyframe, config: &MapConfig) -> Pointmap {
        let witnesses = self.witnesses(keyframe, config.max_witnesses);
        let view = &keyframe.pointmap;
        let (width, height) = (view.width(), view.height());
        let pixel = |i: usize| -> (Vector3<f32>, f32) {
            let (x, y) = (i % width, i / width);
            let Some(point) = view.point(x, y) else { return (Vector3::zeros(), 0.0) };
            agreed_point(&point, view.confidence(x, y), &witnesses, config)
        };
        let pixels: Vec<_> = (0..width * height).into_par_iter().map(pixel).collect();
        let points = Raster::new(width, height, pixels.iter().map(|p| p.0).collect());
        let confidence = Raster::new(width, height, pixels.iter().map(|p| p.1).collect());
        // Both have as many pixels as the view.
        let agreed = points.and_then(|points| Pointmap::new(points, confidence?));
        agreed.unwrap_or_else(|_| view.clone())
    }

    /// The pointmap of a keyframe with depth without points that fewer measurements bear out than `config`
    /// calls for.
    pub(super) fn borne_out(
        &self,
        keyframe: &Keyframe,
        pointmap: Pointmap,
        config: &MapConfig,
    ) -> Pointmap {
        let (Some(noise), Some(depth)) = (self.noise, &keyframe.frame.depth) else {
            return pointmap;
        };
        // A confidence is a sum of inverse variances.
        let measurements = |point: &Vector3<f32>, confidence: f32| {
            f64::from(confidence) * noise.sigma_m(f64::from(point.z)).powi(2)
        };
        let pixels =
            (0..pointmap.height()).flat_map(|y| (0..pointmap.width()).map(move |x| (x, y)));
        let is_measured =
            |&(x, y): &(usize, usize)| depth.raster().get(x as i64, y as i64) > Some(0.0);
        let counted =
            |(x, y)| Some(measurements(&pointmap.point(x, y)?, pointmap.confidence(x, y)));
        let mut counts: Vec<f64> = pixels.filter(is_measured).filter_map(counted).collect();
        if counts.is_empty() {
            return pointmap;
        }
        let middle = counts.len() / 2;
        let usual = *counts.select_nth_unstable_by(middle, f64::total_cmp).1;
        let least = config.min_measurements.min(0.5 * usual);
        pointmap.retained(|point, confidence| measurements(point, confidence) >= least)
    }

    /// The keyframes that see most of one, the most first.
    fn witnesses(&self, keyframe: &Keyframe, count: usize) -> Vec<Witness<'_>> {
        let points = sampled_points(&keyframe.pointmap);
        let mut seen: Vec<(usize, KeyframeId, Witness<'_>)> = self
            .keyframes()
            .filter(|other| other.id != keyframe.id)
            .map(|other| {
                let witness_from_view =
                    other.world_from_camera.inv_mul(&keyframe.world_from_camera);
                let witness = Witness { keyframe: other, witness_from_view };
                let shared = points.iter().filter(|p| witness.depths_m(p).is_some()).count();
                (shared, other.id, witness)
            })
            .filter(|(shared, ..)| 10 * shared >= points.len() && *shared > 0)
            .collect();
        seen.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        seen.into_iter().take(count).map(|(_, _, witness)| witness).collect()
    }
}

fn sampled_points(pointmap: &Pointmap) -> Vec<Vector3<f32>> {
    let pixels = pointmap.width() * pointmap.height();
    let stride = ((pixels as f64 / SAMPLES as f64).sqrt() as usize).max(1);
    let rows = (stride / 2..pointmap.height()).step_by(stride);
    rows.flat_map(|y| (stride / 2..pointmap.width()).step_by(stride).map(move |x| (x, y)))
        .filter_map(|(x, y)| pointmap.point(x, y))
        .collect()
}

/// What a witness has to say of a point.
struct Statement {
    /// Depth of the point in the witness, metres.
    expected_m: f64,
    /// What the witness measured there, and how sure of it.
    measured_m: f64,
    confidence: f32,
    /// The point in the witness.
    point: Vector3<f64>,
}

impl Witness<'_> {
    fn depths_m(&self, point_in_view: &Vector3<f32>) -> Option<Statement> {
        let point = self.witness_from_view * Point3::from(point_in_view.cast::<f64>());
        let pixel = self.keyframe.camera.project(&point)?;
        let map = &self.keyframe.pointmap;
        let (x, y) = (pixel.x.round(), pixel.y.round());
        let inside = x >= 0.0 && y >= 0.0 && x < map.width() as f64 && y < map.height() as f64;
        if !inside {
            return None;
        }
        let (x, y) = (x as usize, y as usize);
        let measured_m = f64::from(map.point(x, y)?.z);
        let confidence = map.confidence(x, y);
        Some(Statement { expected_m: point.z, measured_m, confidence, point: point.coords })
    }

    /// What was measured, as a depth in the view.
    fn in_view_m(&self, statement: &Statement) -> f64 {
        let measured = statement.point * (statement.measured_m / statement.expected_m);
        self.witness_from_view.inverse_transform_point(&Point3::from(measured)).z
    }
}

/// A point where the witnesses put it, with the sum of all confidence; confidence 0 where more of
/// them see through it than see it.
fn agreed_point(
    point: &Vector3<f32>,
    confidence: f32,
    witnesses: &[Witness<'_>],
    config: &MapConfig,
) -> (Vector3<f32>, f32) {
    let own = f64::from(confidence);
    let (mut weight, mut depth_m) = (own, own * f64::from(point.z));
    let (mut agreeing, mut against) = (1, 0);
    for witness in witnesses {
        let Some(statement) = witness.depths_m(point) else { continue };
        let variance_m2 = 1.0 / own + 1.0 / f64::from(statement.confidence);
        let gate_m = (AGREEMENT_SIGMAS * variance_m2.sqrt())
            .max(config.fusion_gate_frac * statement.expected_m);
        let behind_m = statement.measured_m - statement.expected_m;
        if behind_m.abs() <= gate_m {
            let confidence = f64::from(statement.confidence);
            depth_m += confidence * witness.in_view_m(&statement);
            weight += confidence;
            agreeing += 1;
        } else if behind_m > 0.0 {
            against += 1;
        }
    }
    let depth_m = depth_m / weight;
    if against >= agreeing || depth_m <= 0.0 {
        return (*point, 0.0);
    }
    (point * (depth_m as f32 / point.z), weight as f32)
}
