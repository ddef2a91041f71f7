//! Views of the simulated room without images: the oracle goes by the stamps.

use std::sync::Arc;

use image::RgbImage;
use recon_node::frame::Frame;
use recon_node::geometry::{Camera, Se3};
use recon_node::inference::{Prediction, ReconstructionModel, View};
use recon_node::raster::Raster;
use recon_node::simulator::{OracleConfig, OracleModel, Simulator, SimulatorConfig};
use recon_node::stamp::Stamp;

pub const SIZE: (u32, u32) = (64, 48);

/// The recording that everything here is about: 30 frames a second, 20 s a round.
pub fn recording() -> SimulatorConfig {
    SimulatorConfig { width: SIZE.0, height: SIZE.1, ..SimulatorConfig::default() }.noise_free()
}

/// The truth, and a model that errs as it is told to.
pub struct Case {
    pub simulator: Simulator,
    pub model: OracleModel,
}

impl Case {
    pub fn new(config: OracleConfig) -> Self {
        let model = OracleModel::new(&recording(), config).unwrap();
        Self { simulator: Simulator::new(recording()).unwrap(), model }
    }

    /// What the model says of a window of which it knows nothing.
    pub fn ask(&mut self, indices: &[usize]) -> Prediction {
        let frames = frames(indices);
        let views: Vec<View<'_>> = frames.iter().map(View::new).collect();
        self.model.infer(&views).unwrap()
    }

    pub fn camera(&self) -> Camera {
        *self.simulator.camera()
    }

    pub fn pose(&self, index: usize) -> Se3 {
        self.simulator.true_pose(index)
    }

    /// Logarithms of said over true depth at each pixel of the views of a window, in their order.
    pub fn log_ratios(&self, indices: &[usize], prediction: &Prediction) -> Vec<Vec<f64>> {
        let of_view = |(view, &index): (_, &usize)| {
            let view: &recon_node::inference::ViewGeometry = view;
            let truth = self.simulator.true_depth(index).unwrap();
            let pixels = pixels(&truth);
            pixels.map(|(x, y)| log_ratio(view, &truth, (x, y))).collect()
        };
        prediction.views.iter().zip(indices).map(of_view).collect()
    }
}

fn pixels(raster: &Raster<f32>) -> impl Iterator<Item = (usize, usize)> + use<> {
    let (width, height) = (raster.width(), raster.height());
    (0..width * height).map(move |i| (i % width, i / width))
}

fn log_ratio(
    view: &recon_node::inference::ViewGeometry,
    truth: &Raster<f32>,
    (x, y): (usize, usize),
) -> f64 {
    f64::from(view.pointmap.point(x, y).unwrap().z / truth.at(x, y)).ln()
}

/// Frames without any content.
pub fn frames(indices: &[usize]) -> Vec<Frame> {
    let frame = |&index: &usize| Frame {
        id: index as u64,
        stamp: Stamp::from_secs(recording().time_secs(index)),
        color: Arc::new(RgbImage::new(SIZE.0, SIZE.1)),
        depth: None,
        camera: None,
        odometry: None,
    };
    indices.iter().map(frame).collect()
}

pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Root mean square about zero.
pub fn rms(values: &[f64]) -> f64 {
    (values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64).sqrt()
}

/// Standard deviation about the mean.
pub fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    rms(&values.iter().map(|v| v - mean).collect::<Vec<_>>())
}

#[track_caller]
pub fn assert_near(what: &str, found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{what}: {found}, expected {expected}");
}
