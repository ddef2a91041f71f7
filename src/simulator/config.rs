//! What can be chosen about a simulated recording.

use super::world::World;
use crate::error::{Error, Result};
use crate::geometry::{Camera, Intrinsics};

/// Focal length of the simulated camera for an image 640 pixels wide, in pixels.
const FOCAL_PX_AT_640: f64 = 525.0;

/// What to record, and how badly the camera measures.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulatorConfig {
    /// Where the camera is, and where it goes.
    pub world: World,
    /// Length of the recording in seconds.
    pub duration_secs: f64,
    /// Time of one round in seconds; a longer recording goes round again.
    pub loop_secs: f64,
    /// Frames per second.
    pub rate_hz: f64,
    /// Image width in pixels.
    pub width: u32,
    /// Image height in pixels.
    pub height: u32,
    /// Seed of all textures and all noise.
    pub seed: u64,
    /// Whether depth is quantised, noisy and incomplete like a structured-light camera's; exact
    /// depth without range limits otherwise.
    pub depth_noise: bool,
    /// Standard deviation of the noise of colour values, in steps of 1/255.
    pub color_noise_levels: f32,
    /// Share of brightness that the corners of the image lose.
    pub vignetting_frac: f32,
    /// Largest change of displayed brightness by automatic exposure, as a share.
    pub exposure_change_frac: f64,
    /// Time in seconds for which the shutter is open: motion within it blurs the colour image.
    pub shutter_secs: f64,
    /// By which share of its true value the focal length that frames say is too large: turns are
    /// then measured too small, and a tracked round does not close.
    pub focal_error_frac: f64,
    /// By which share depth is measured too large.
    pub depth_error_frac: f64,
}

impl Default for SimulatorConfig {
    fn default() -> Self {
        Self {
            world: World::Room,
            duration_secs: 20.0,
            loop_secs: 20.0,
            rate_hz: 30.0,
            width: 640,
            height: 480,
            seed: 1,
            depth_noise: true,
            color_noise_levels: 2.0,
            vignetting_frac: 0.12,
            exposure_change_frac: 0.25,
            shutter_secs: 0.010,
            focal_error_frac: 0.0,
            depth_error_frac: 0.0,
        }
    }
}

impl SimulatorConfig {
    /// Returns one round through a world at its usual pace, with the usual camera.
    pub fn round_of(world: World) -> Self {
        let loop_secs = world.loop_secs();
        Self { world, duration_secs: loop_secs, loop_secs, ..Self::default() }
    }

    /// Returns this recording from a perfect camera: no noise, no blur, constant exposure.
    pub fn noise_free(self) -> Self {
        Self {
            depth_noise: false,
            color_noise_levels: 0.0,
            vignetting_frac: 0.0,
            exposure_change_frac: 0.0,
            shutter_secs: 0.0,
            ..self
        }
    }

    /// Returns how many frames the recording has, at least one.
    pub fn frame_count(&self) -> usize {
        ((self.duration_secs * self.rate_hz).round() as usize).max(1)
    }

    /// Returns when frame `index` is taken, in seconds from the start.
    pub fn time_secs(&self, index: usize) -> f64 {
        index as f64 / self.rate_hz
    }

    /// Refuses values that cannot be simulated.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] that names the field and what is accepted.
    pub fn validate(&self) -> Result<()> {
        within("duration_secs", self.duration_secs, 1e-3, 36_000.0)?;
        within("loop_secs", self.loop_secs, 5.0, 3600.0)?;
        within("rate_hz", self.rate_hz, 0.1, 1000.0)?;
        within("width", f64::from(self.width), 32.0, 4096.0)?;
        within("height", f64::from(self.height), 32.0, 4096.0)?;
        within("color_noise_levels", f64::from(self.color_noise_levels), 0.0, 100.0)?;
        within("vignetting_frac", f64::from(self.vignetting_frac), 0.0, 0.9)?;
        within("exposure_change_frac", self.exposure_change_frac, 0.0, 0.9)?;
        within("shutter_secs", self.shutter_secs, 0.0, 0.1)?;
        within("focal_error_frac", self.focal_error_frac, -0.5, 1.0)?;
        within("depth_error_frac", self.depth_error_frac, -0.5, 1.0)?;
        match self.world {
            World::Room | World::MovingBox => Ok(()),
            World::Corridor { rooms } => within("world.rooms", rooms as f64, 1.0, 50.0),
            World::Building { side_m } => within("world.side_m", side_m, 6.0, 500.0),
        }
    }

    /// Returns the true calibration: a pinhole whose principal point is the image centre.
    ///
    /// # Errors
    /// As [`Camera::pinhole`].
    pub(super) fn camera(&self) -> Result<Camera> {
        self.pinhole(1.0)
    }

    /// Returns the calibration that frames say.
    ///
    /// # Errors
    /// As [`Camera::pinhole`].
    pub(super) fn stated_camera(&self) -> Result<Camera> {
        self.pinhole(1.0 + self.focal_error_frac)
    }

    fn pinhole(&self, factor: f64) -> Result<Camera> {
        let (width, height) = (f64::from(self.width), f64::from(self.height));
        let focal = FOCAL_PX_AT_640 * width / 640.0 * factor;
        let intrinsics =
            Intrinsics { fx: focal, fy: focal, cx: (width - 1.0) / 2.0, cy: (height - 1.0) / 2.0 };
        Ok(Camera::pinhole(intrinsics, self.width, self.height)?)
    }
}

fn within(field: &str, value: f64, low: f64, high: f64) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    let reason = format!("{value} is outside {low} to {high}: choose a value within");
    Err(Error::config(format!("simulator.{field}"), reason))
}
