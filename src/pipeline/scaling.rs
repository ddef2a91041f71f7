//! How long the map's unit is.
//!
//! Without a sensor of depth each window has a scale of its own, which is right on average only.
//! The map begins with that of the first window; what the others say in the map's unit tells, with
//! growing certainty, how far off that was, and from time to time the whole map is brought to it.
//! Odometry tells the same, and better.

use std::collections::BTreeMap;

use super::Pipeline;
use super::merging::set_pointmap;
use crate::geometry::Se3;
use crate::keyframe::KeyframeId;
use crate::observer::MapScale;

/// Standard deviation of the logarithm of a window's scale before any is known.
const WINDOW_SIGMA: f64 = 0.15;
/// The same for odometry between two keyframes.
const ODOMETRY_SIGMA: f64 = 0.05;
/// Ways shorter than this tell nothing of scale, metres.
const MIN_WAY_M: f64 = 0.05;
/// Values further from the mean than this many standard deviations are drawn in.
const MAX_SIGMAS: f64 = 2.5;

/// A mean of independent values with its standard error.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct RunningMean {
    count: f64,
    mean: f64,
    squares: f64,
}

impl RunningMean {
    /// Takes note of a value; one far out counts as one at the border.
    pub fn add(&mut self, value: f64, prior_sigma: f64) {
        let reach = MAX_SIGMAS * self.sigma(prior_sigma);
        let value = match self.count > 2.0 {
            true => value.clamp(self.mean - reach, self.mean + reach),
            false => value,
        };
        self.count += 1.0;
        let step = value - self.mean;
        self.mean += step / self.count;
        self.squares += step * (value - self.mean);
    }

    pub fn count(&self) -> f64 {
        self.count
    }

    /// The mean of all values, 0 without one.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Standard deviation of a value; a prior counts as one value.
    pub fn sigma(&self, prior_sigma: f64) -> f64 {
        ((self.squares + prior_sigma * prior_sigma) / self.count.max(1.0)).sqrt()
    }

    /// Standard deviation of the mean; infinite without a value.
    pub fn standard_error(&self, prior_sigma: f64) -> f64 {
        self.variance(prior_sigma).sqrt()
    }

    /// Variance of the mean; infinite without a value.
    fn variance(&self, prior_sigma: f64) -> f64 {
        self.sigma(prior_sigma).powi(2) / self.count
    }
}

/// What is known of the map's unit.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct ScaleEvidence {
    windows: RunningMean,
    odometry: RunningMean,
}

impl ScaleEvidence {
    /// Returns what windows and odometry say as numbers: count, mean and summed squared deviations.
    pub(super) fn numbers(&self) -> [[f64; 3]; 2] {
        [self.windows, self.odometry].map(|mean| [mean.count, mean.mean, mean.squares])
    }

    /// Returns what such numbers stand for.
    pub(super) fn of(numbers: [[f64; 3]; 2]) -> Self {
        let [windows, odometry] =
            numbers.map(|[count, mean, squares]| RunningMean { count, mean, squares });
        Self { windows, odometry }
    }

    /// Takes note of the logarithm of what a window was multiplied by.
    pub fn add_window(&mut self, log_scale: f64) {
        self.windows.add(-log_scale, WINDOW_SIGMA);
    }

    fn add_way(&mut self, by_odometry_m: f64, in_map: f64) {
        if by_odometry_m > MIN_WAY_M && in_map > 0.0 {
            self.odometry.add((by_odometry_m / in_map).ln(), ODOMETRY_SIGMA);
        }
    }

    /// Logarithm of metres in a unit, and its standard deviation; infinite where nothing is known.
    fn estimate(&self) -> (f64, f64) {
        let parts = [(self.windows, WINDOW_SIGMA), (self.odometry, ODOMETRY_SIGMA)];
        let known = parts.iter().filter(|(mean, _)| mean.count > 0.0);
        let (mut weights, mut sum) = (0.0, 0.0);
        for (mean, prior_sigma) in known {
            let weight = mean.variance(*prior_sigma).recip();
            weights += weight;
            sum += weight * mean.mean;
        }
        if weights > 0.0 { (sum / weights, weights.sqrt().recip()) } else { (0.0, f64::INFINITY) }
    }

    /// What is known once the map's lengths have been multiplied by `exp(log_factor)`.
    fn rescaled(mut self, log_factor: f64) -> Self {
        self.windows.mean -= log_factor;
        self.odometry.mean -= log_factor;
        self
    }
}

impl Pipeline {
    /// Returns how long the map's unit is.
    pub fn scale(&self) -> MapScale {
        if self.inferring.is_metric || self.model.max_views() < 2 {
            return MapScale::METRIC;
        }
        let (log_scale, sigma) = self.inferring.scale.estimate();
        MapScale { metres_per_unit: log_scale.exp(), sigma_log: sigma }
    }

    /// Brings the map to metres as they are known by now, each time that twice as much is known.
    pub(super) fn settle_scale(&mut self, newest: KeyframeId) {
        if self.inferring.is_metric {
            return;
        }
        self.note_odometry(newest);
        if !self.inferring.is_rescaling_due() {
            return;
        }
        let (log_scale, _) = self.inferring.scale.estimate();
        self.inferring.scale = self.inferring.scale.rescaled(log_scale);
        self.rescale(log_scale.exp());
    }

    /// Compares the way from the keyframe before with odometry.
    fn note_odometry(&mut self, newest: KeyframeId) {
        let before = newest.0.checked_sub(1).and_then(|id| self.map.get(KeyframeId(id)));
        let (Some(before), Some(keyframe)) = (before, self.map.get(newest)) else { return };
        let odometry = (before.frame.odometry, keyframe.frame.odometry);
        let (Some(then), Some(now)) = odometry else { return };
        let way = |a: &Se3, b: &Se3| a.inv_mul(b).translation.vector.norm();
        let by_odometry_m = way(&then.odom_from_camera, &now.odom_from_camera);
        let in_map = way(&before.world_from_camera, &keyframe.world_from_camera);
        self.inferring.scale.add_way(by_odometry_m, in_map);
    }

    /// Multiplies all lengths of the map.
    pub(super) fn rescale(&mut self, factor: f64) {
        let ids: Vec<KeyframeId> = self.map.keyframes().map(|k| k.id).collect();
        let mut poses = BTreeMap::new();
        for id in ids {
            let Some(keyframe) = self.map.get_mut(id) else { continue };
            let pointmap = keyframe.pointmap.scaled(factor);
            set_pointmap(keyframe, pointmap);
            poses.insert(id, scaled(keyframe.world_from_camera, factor));
        }
        self.move_keyframes(&poses);
        self.inferring.unit *= factor;
        self.pose_graph.rescale(factor);
        for record in &mut self.records {
            record.keyframe_from_camera = scaled(record.keyframe_from_camera, factor);
        }
        self.scale_motion(factor);
        self.travel.metres *= factor;
        self.suspected.clear();
        self.inferring.challenger = None;
        self.renew_anchor(factor);
    }

    /// Multiplies the lengths of the camera's motion.
    pub(super) fn scale_motion(&mut self, factor: f64) {
        if let Some(motion) = &mut self.motion {
            motion.view.target_from_reference = scaled(motion.view.target_from_reference, factor);
            motion.velocity.fixed_rows_mut::<3>(3).scale_mut(factor);
        }
    }
}

/// A pose with its lengths multiplied.
pub(super) fn scaled(mut pose: Se3, factor: f64) -> Se3 {
    pose.translation.vector *= factor;
    pose
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_windows_the_surer_the_scale() {
        let mut evidence = ScaleEvidence::default();
        assert!(evidence.estimate().1.is_infinite());
        let mut before = f64::INFINITY;
        for i in 0..16 {
            evidence.add_window(if i % 2 == 0 { 0.3 } else { 0.1 });
            let sigma = evidence.estimate().1;
            assert!(sigma < before, "{i}: {sigma}");
            before = sigma;
        }
        assert!((evidence.estimate().0 + 0.2).abs() < 1e-9);
        // Values that differ by 0.1 from their mean, sixteen of them.
        assert!((0.02..0.04).contains(&before), "{before}");
    }

    #[test]
    fn a_window_far_off_hardly_counts() {
        let mut evidence = ScaleEvidence::default();
        for i in 0..20 {
            evidence.add_window(if i == 10 { 5.0 } else { 0.01 * f64::from(i % 3) });
        }
        assert!(evidence.estimate().0.abs() < 0.06, "{:?}", evidence.estimate());
    }

    #[test]
    fn odometry_outweighs_windows() {
        let mut evidence = ScaleEvidence::default();
        for _ in 0..4 {
            evidence.add_window(0.0);
            evidence.add_way(0.2, 0.1);
        }
        assert!((evidence.estimate().0.exp() - 2.0).abs() < 0.2);
        let rescaled = evidence.rescaled(evidence.estimate().0);
        assert!(rescaled.estimate().0.abs() < 1e-12);
    }
}
