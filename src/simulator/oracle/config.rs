//! How far the oracle is from the truth, number by number.

use crate::error::{Error, Result};

/// The error statistics of an [`OracleModel`](super::OracleModel). Every length and depth error is a
/// share of the true value; windows are drawn independently of each other.
#[derive(Debug, Clone, PartialEq)]
pub struct OracleConfig {
    /// Seed of all draws.
    pub seed: u64,
    /// How many views the model looks at together.
    pub max_views: usize,
    /// Standard deviation of the logarithm of a window's scale, where no metric prior fixes it.
    pub scale_sigma: f64,
    /// Least and greatest root mean square of the warp of depth: a smooth error that differs from
    /// view to view. Each window draws its own between the two.
    pub warp_frac: [f64; 2],
    /// How many waves of the warp go across the image.
    pub warp_cells: f64,
    /// Share of the warp's variance that belongs to the image and returns in each window with it;
    /// the rest is new in each window.
    pub warp_of_image_share: f64,
    /// Standard deviation of the rotation of a view relative to the first, degrees about each axis.
    pub rotation_sigma_deg: f64,
    /// Standard deviation of the position of a view relative to the first along each axis, as a
    /// share of the distance between the two.
    pub translation_sigma_frac: f64,
    /// The same as a share of the mean depth of the view; the two add up as variances.
    pub translation_sigma_depths: f64,
    /// Radius of the blur of depth across edges, as a share of the image's width; at least one pixel
    /// unless zero.
    pub edge_blur_frac: f64,
    /// Share of pixels whose confidence is wrong: half of them are too sure of a depth that is far
    /// off, half too unsure of one that is as good as any.
    pub wrong_confidence_frac: f64,
    /// How many times too high or too low a wrong confidence is.
    pub wrong_confidence_factor: f64,
    /// Standard deviation of the depth error where the model is too sure.
    pub too_sure_sigma: f64,
    /// Standard deviation of the logarithm of the focal length of a window without intrinsics.
    pub focal_sigma: f64,
    /// Views that share less than this with all others of a window are put anywhere among them.
    pub min_shared_frac: f64,
    /// Share of such views that are taken for being of the place of the first one.
    pub mistaken_frac: f64,
    /// Share of windows that fail as a whole, with the confidence of all others.
    pub failure_frac: f64,
    /// What a failed window is like.
    pub failure: Failure,
    /// What priors do.
    pub priors: PriorEffects,
    /// Whether lengths are said to be metres though nothing metric was given, as the released
    /// models say.
    pub claims_metric: bool,
}

/// A window that fails as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// Standard deviation of the logarithm of its scale.
    pub scale_sigma: f64,
    /// Root mean square of its warp of depth.
    pub warp_frac: f64,
    /// Standard deviation of rotations, degrees about each axis.
    pub rotation_sigma_deg: f64,
    /// Standard deviation of positions along each axis, as a share of the distance to the first view
    /// and of the mean depth.
    pub translation_sigma: f64,
}

/// What priors do to a window. Factors apply to warp and pose noise; those of several priors
/// multiply.
#[derive(Debug, Clone, PartialEq)]
pub struct PriorEffects {
    /// Factor where the intrinsics of all views are given and right.
    pub intrinsics_factor: f64,
    /// Factor where depth is given and right.
    pub depth_factor: f64,
    /// Factor where poses are given and right.
    pub poses_factor: f64,
    /// Factor where a prior is quite wrong.
    pub wrong_factor: f64,
    /// The error at which a prior does as much harm as good: of the focal length, of depth after one
    /// factor for all, and of positions relative to their distance, shares each.
    pub half_wrong_frac: f64,
    /// How much of a depth prior is taken over, right or wrong: 0 nothing, 1 all.
    pub depth_trust: f64,
    /// How much of a pose prior is taken over, right or wrong.
    pub pose_trust: f64,
    /// How much of the scale of a metric prior is taken over, right or wrong.
    pub scale_trust: f64,
    /// Factor on the share of windows that fail where depth or poses are given and right.
    pub failure_factor: f64,
    /// Share of windows in which pose priors, right as they may be, do harm: it happens to the
    /// released models.
    pub upset_frac: f64,
    /// Factor in such a window, instead of that of the poses.
    pub upset_factor: f64,
}

impl Default for OracleConfig {
    /// About what feed-forward models of 2025 show on indoor recordings that they have not learned
    /// with.
    fn default() -> Self {
        Self {
            seed: 1,
            max_views: 8,
            scale_sigma: 0.15,
            warp_frac: [0.03, 0.10],
            warp_cells: 2.0,
            warp_of_image_share: 0.5,
            rotation_sigma_deg: 0.5,
            translation_sigma_frac: 0.03,
            translation_sigma_depths: 0.005,
            edge_blur_frac: 0.006,
            wrong_confidence_frac: 0.05,
            wrong_confidence_factor: 20.0,
            too_sure_sigma: 0.2,
            focal_sigma: 0.04,
            min_shared_frac: 0.1,
            mistaken_frac: 0.3,
            failure_frac: 0.02,
            failure: Failure::default(),
            priors: PriorEffects::default(),
            claims_metric: true,
        }
    }
}

impl Default for Failure {
    fn default() -> Self {
        Self { scale_sigma: 0.7, warp_frac: 0.4, rotation_sigma_deg: 15.0, translation_sigma: 0.3 }
    }
}

impl Default for PriorEffects {
    fn default() -> Self {
        Self {
            intrinsics_factor: 0.85,
            depth_factor: 0.6,
            poses_factor: 0.7,
            wrong_factor: 2.0,
            half_wrong_frac: 0.15,
            depth_trust: 0.8,
            pose_trust: 0.8,
            scale_trust: 0.95,
            failure_factor: 0.5,
            upset_frac: 0.03,
            upset_factor: 2.5,
        }
    }
}

impl OracleConfig {
    /// Returns a model that is always right, from which single errors can be switched on.
    pub fn exact() -> Self {
        Self {
            scale_sigma: 0.0,
            warp_frac: [0.0; 2],
            rotation_sigma_deg: 0.0,
            translation_sigma_frac: 0.0,
            translation_sigma_depths: 0.0,
            edge_blur_frac: 0.0,
            wrong_confidence_frac: 0.0,
            focal_sigma: 0.0,
            min_shared_frac: 0.0,
            failure_frac: 0.0,
            ..Self::default()
        }
    }

    /// Refuses values that describe no model.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] that names the field and what is accepted.
    pub fn validate(&self) -> Result<()> {
        within("max_views", self.max_views as f64, 1.0, 256.0)?;
        within("warp_frac[0]", self.warp_frac[0], 0.0, self.warp_frac[1])?;
        within("warp_cells", self.warp_cells, 0.5, 32.0)?;
        within("edge_blur_frac", self.edge_blur_frac, 0.0, 0.1)?;
        within("wrong_confidence_factor", self.wrong_confidence_factor, 1.0, 1e6)?;
        within("rotation_sigma_deg", self.rotation_sigma_deg, 0.0, 30.0)?;
        within("failure.rotation_sigma_deg", self.failure.rotation_sigma_deg, 0.0, 30.0)?;
        within("priors.half_wrong_frac", self.priors.half_wrong_frac, 1e-3, 10.0)?;
        for (field, value) in self.shares() {
            within(field, value, 0.0, 1.0)?;
        }
        for (field, value) in self.priors.factors() {
            within(field, value, 0.0, 100.0)?;
        }
        Ok(())
    }

    fn shares(&self) -> [(&'static str, f64); 17] {
        let priors = &self.priors;
        [
            ("scale_sigma", self.scale_sigma),
            ("warp_frac[1]", self.warp_frac[1]),
            ("warp_of_image_share", self.warp_of_image_share),
            ("translation_sigma_frac", self.translation_sigma_frac),
            ("translation_sigma_depths", self.translation_sigma_depths),
            ("wrong_confidence_frac", self.wrong_confidence_frac),
            ("too_sure_sigma", self.too_sure_sigma),
            ("focal_sigma", self.focal_sigma),
            ("min_shared_frac", self.min_shared_frac),
            ("mistaken_frac", self.mistaken_frac),
            ("failure_frac", self.failure_frac),
            ("failure.scale_sigma", self.failure.scale_sigma),
            ("failure.warp_frac", self.failure.warp_frac),
            ("failure.translation_sigma", self.failure.translation_sigma),
            ("priors.depth_trust", priors.depth_trust),
            ("priors.pose_trust", priors.pose_trust),
            ("priors.scale_trust", priors.scale_trust),
        ]
    }
}

impl PriorEffects {
    fn factors(&self) -> [(&'static str, f64); 7] {
        [
            ("priors.intrinsics_factor", self.intrinsics_factor),
            ("priors.depth_factor", self.depth_factor),
            ("priors.poses_factor", self.poses_factor),
            ("priors.wrong_factor", self.wrong_factor),
            ("priors.failure_factor", self.failure_factor),
            ("priors.upset_frac", self.upset_frac),
            ("priors.upset_factor", self.upset_factor),
        ]
    }
}

fn within(field: &str, value: f64, low: f64, high: f64) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    let reason = format!("{value} is outside {low} to {high}: choose a value within");
    Err(Error::config(format!("oracle.{field}"), reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_describe_no_model_are_refused_by_name() {
        let ordinary = OracleConfig::default;
        let cases = [
            (OracleConfig { max_views: 0, ..ordinary() }, "max_views"),
            (OracleConfig { scale_sigma: -0.1, ..ordinary() }, "scale_sigma"),
            (OracleConfig { warp_frac: [0.2, 0.1], ..ordinary() }, "warp_frac[0]"),
            (OracleConfig { failure_frac: f64::NAN, ..ordinary() }, "failure_frac"),
            (OracleConfig { warp_cells: 0.0, ..ordinary() }, "warp_cells"),
        ];
        for (config, field) in cases {
            let message = config.validate().unwrap_err().to_string();
            assert!(message.contains(&format!("oracle.{field}")), "{message}");
        }
        assert!(ordinary().validate().is_ok() && OracleConfig::exact().validate().is_ok());
    }
}
