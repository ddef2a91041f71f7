//! A model with a stopwatch: the pipeline knows no clock, and does not know that it is measured.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::error::Result;
use crate::inference::{Prediction, ReconstructionModel, View};

/// What was asked of a model, and what its newest answer took.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct InferenceFigures {
    /// Windows that it was given.
    pub windows: u64,
    /// Views in the newest one.
    pub views: usize,
    /// Time that it took for the newest one, seconds.
    pub secs: f64,
    /// Windows in which the camera of a view was given.
    pub with_camera: u64,
    /// Windows in which the depth of a view was given.
    pub with_depth: u64,
    /// Windows in which the pose of a view was given.
    pub with_poses: u64,
}

/// Where the figures of a model are read while somebody else uses it.
#[derive(Debug, Clone, Default)]
pub struct Stopwatch(Arc<Mutex<InferenceFigures>>);

impl Stopwatch {
    /// Returns the figures up to now.
    pub fn figures(&self) -> InferenceFigures {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the same model with this stopwatch on it.
    pub fn on(&self, model: Box<dyn ReconstructionModel>) -> Box<dyn ReconstructionModel> {
        Box::new(Metered { model, stopwatch: self.clone() })
    }

    fn note(&self, views: &[View<'_>], secs: f64) {
        let mut figures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let any = |given: fn(&View<'_>) -> bool| u64::from(views.iter().any(given));
        figures.windows += 1;
        (figures.views, figures.secs) = (views.len(), secs);
        figures.with_camera += any(|view| view.priors.camera.is_some());
        figures.with_depth += any(|view| view.priors.depth.is_some());
        figures.with_poses += any(|view| view.priors.world_from_camera.is_some());
    }
}

struct Metered {
    model: Box<dyn ReconstructionModel>,
    stopwatch: Stopwatch,
}

impl ReconstructionModel for Metered {
    fn name(&self) -> &'static str {
        self.model.name()
    }

    fn max_views(&self) -> usize {
        self.model.max_views()
    }

    fn set_side_frac(&mut self, side_frac: f64) -> bool {
        self.model.set_side_frac(side_frac)
    }

    fn infer(&mut self, views: &[View<'_>]) -> Result<Prediction> {
        let started = Instant::now();
        let answer = self.model.infer(views);
        self.stopwatch.note(views, started.elapsed().as_secs_f64());
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use image::RgbImage;

    use super::*;
    use crate::error::Error;
    use crate::frame::Frame;
    use crate::geometry::Se3;
    use crate::stamp::Stamp;

    const SECS: f64 = 0.02;

    struct Sleeper;

    impl ReconstructionModel for Sleeper {
        fn name(&self) -> &'static str {
            "sleeper"
        }

        fn max_views(&self) -> usize {
            5
        }

        fn infer(&mut self, _: &[View<'_>]) -> Result<Prediction> {
            std::thread::sleep(Duration::from_secs_f64(SECS));
            Err(Error::Usage("asleep".to_owned()))
        }
    }

    #[test]
    fn a_stopwatch_tells_time_views_and_priors_and_changes_nothing() {
        let stopwatch = Stopwatch::default();
        let mut model = stopwatch.on(Box::new(Sleeper));
        assert_eq!((model.name(), model.max_views()), ("sleeper", 5));
        let frame = Frame {
            id: 0,
            stamp: Stamp::from_nanos(0),
            color: Arc::new(RgbImage::new(4, 3)),
            depth: None,
            camera: None,
            odometry: None,
        };
        let (bare, placed) = (View::new(&frame), View::new(&frame).at(Se3::identity()));
        assert!(model.infer(&[bare]).is_err(), "the model's own answer is passed on");
        assert!(model.infer(&[bare, placed, bare]).is_err());
        let found = stopwatch.figures();
        assert!(found.secs >= SECS && found.secs < 100.0 * SECS, "{found:?}");
        assert_eq!((found.windows, found.views), (2, 3));
        assert_eq!((found.with_camera, found.with_depth, found.with_poses), (0, 0, 1));
    }
}
