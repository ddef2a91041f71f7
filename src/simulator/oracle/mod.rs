//! A stand-in for a feed-forward model: answers from the simulator's exact geometry, as wrong as a
//! real model is. What it shows is whether the pipeline can live with such answers; what a real
//! model is like, it cannot show.

mod config;
mod draws;
mod judgement;
mod truth;
mod view;

pub use config::{Failure, OracleConfig, PriorEffects};

use super::config::SimulatorConfig;
use crate::error::{Error, Result};
use crate::geometry::{Camera, Intrinsics};
use crate::inference::{Prediction, ReconstructionModel, View};

use draws::WindowDraws;
use judgement::Judgement;
use truth::{TrueView, Truth, placed};
use view::Errors;

/// Knows the truth about each frame of a simulated recording by its stamp, and says something like
/// it.
pub struct OracleModel {
    truth: Truth,
    config: OracleConfig,
}

impl OracleModel {
    /// Returns the model for the recording that `simulator` describes.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`](crate::error::Error::InvalidConfig) for either configuration.
    pub fn new(simulator: &SimulatorConfig, config: OracleConfig) -> Result<Self> {
        config.validate()?;
        Ok(Self { truth: Truth::new(simulator)?, config })
    }

    /// How wrong the window is.
    fn errors(&self, judgement: &Judgement, draws: &WindowDraws) -> Errors {
        let config = &self.config;
        if draws.failure() < config.failure_frac * judgement.failure_factor {
            return Errors::of_failure(&config.failure, draws);
        }
        let [low, high] = config.warp_frac;
        let priors = &config.priors;
        let scale_trust = if judgement.is_metric { priors.scale_trust } else { 0.0 };
        let own = config.scale_sigma * draws.scale();
        Errors {
            log_scale: (1.0 - scale_trust) * own + scale_trust * judgement.log_scale,
            warp: judgement.error_factor * (low + (high - low) * draws.warp()),
            rotation_rad: judgement.error_factor * config.rotation_sigma_deg.to_radians(),
            translation_frac: judgement.error_factor * config.translation_sigma_frac,
            translation_depths: judgement.error_factor * config.translation_sigma_depths,
            depth_trust: priors.depth_trust,
            pose_trust: priors.pose_trust,
        }
    }

    /// The standard deviation of depth, as a share, that the model expects of itself.
    fn expected_sigma(&self, judgement: &Judgement) -> f64 {
        let [low, high] = self.config.warp_frac;
        (judgement.error_factor * 0.5 * (low + high)).max(1e-3)
    }

    /// The camera that the model believes in: the prior, or what it makes of the image and the
    /// other views.
    fn camera(
        &self,
        view: &View<'_>,
        truth: &TrueView,
        judgement: &Judgement,
        draws: &WindowDraws,
    ) -> Result<Camera> {
        if let Some(camera) = view.priors.camera {
            return Ok(camera);
        }
        let own = self.config.focal_sigma * draws.focal();
        let factor = judgement.log_focal.unwrap_or(own).exp();
        let k = *truth.camera.intrinsics();
        let intrinsics = Intrinsics { fx: factor * k.fx, fy: factor * k.fy, ..k };
        Ok(Camera::pinhole(intrinsics, truth.camera.width(), truth.camera.height())?)
    }
}

impl ReconstructionModel for OracleModel {
    fn name(&self) -> &'static str {
        "oracle"
    }

    fn max_views(&self) -> usize {
        self.config.max_views
    }

    fn infer(&mut self, views: &[View<'_>]) -> Result<Prediction> {
        let truth: Vec<TrueView> =
            views.iter().map(|view| self.truth.view(view.frame)).collect::<Result<_>>()?;
        views.iter().zip(&truth).try_for_each(|(view, truth)| check_priors(view, truth))?;
        let draws = WindowDraws::new(&self.config, &truth);
        let judgement = Judgement::new(&self.config.priors, views, &truth, &draws);
        let errors = self.errors(&judgement, &draws);
        let window = view::Window {
            config: &self.config,
            errors: &errors,
            judgement: &judgement,
            sigma: self.expected_sigma(&judgement),
            truth: &truth,
            is_placed: &placed(&truth, self.config.min_shared_frac),
        };
        let geometry = views.iter().enumerate().map(|(index, view)| {
            let camera = self.camera(view, &truth[index], &judgement, &draws)?;
            let draws = draws.view(&self.config, index, &truth[index]);
            window.geometry(index, view, &camera, &draws)
        });
        Ok(Prediction {
            views: geometry.collect::<Result<_>>()?,
            is_metric: self.config.claims_metric || judgement.is_metric,
        })
    }
}

/// Priors are pixel for pixel of the frame's image.
fn check_priors(view: &View<'_>, truth: &TrueView) -> Result<()> {
    let size = |width: u32, height: u32| format!("{width}x{height}");
    let expected = size(truth.camera.width(), truth.camera.height());
    let camera = view.priors.camera.map(|camera| size(camera.width(), camera.height()));
    let depth = view.priors.depth.map(|depth| depth.raster());
    let depth = depth.map(|depth| size(depth.width() as u32, depth.height() as u32));
    for (what, found) in [("camera prior", camera), ("depth prior", depth)] {
        if let Some(found) = found.filter(|found| *found != expected) {
            return Err(Error::ShapeMismatch { what, expected, found });
        }
    }
    Ok(())
}
