//! RGB-D recordings with models that look at several views: whatever those say, nothing gets worse than
//! by the sensor's depth alone.

use recon_node::config::Config;
use recon_node::dataset::{self, OpenOptions};
use recon_node::error::Result;
use recon_node::frame::Frame;
use recon_node::inference::{Models, Prediction, ReconstructionModel, View, ViewGeometry};
use recon_node::keyframe::Keyframe;
use recon_node::map::{GlobalMap, Source, rendered};
use recon_node::model;
use recon_node::pipeline::Pipeline;

use super::shared::recording;
use super::{BARS, Bar, Figure, Run, figures, judge};

/// By what a model's depth differs from the truth at a place in the image, both coordinates from 0 to
/// 1: a factor.
type Errs = fn(f32, f32) -> f32;

/// 15 % too far, and bent by up to 4 %, as models are.
fn nearly_right(x: f32, y: f32) -> f32 {
    1.15 * (1.0 + 0.04 * (5.0 * x).sin() * (4.0 * y).cos())
}

/// Waves that have nothing to do with what there is to see.
fn nonsense(x: f32, y: f32) -> f32 {
    2.0 + 1.5 * (9.0 * x).sin() * (7.0 * y).cos()
}

/// Knows what the whole of a recording has shown at each frame's place, so that it sees where the frame's
/// sensor saw nothing.
struct Remembering {
    pipeline: Pipeline,
    errs: Errs,
}

impl Remembering {
    fn view(&self, frame: &Frame) -> Result<ViewGeometry> {
        let camera = frame.camera.unwrap();
        let way = self.pipeline.trajectory();
        let seen = way.poses().iter().find(|pose| pose.stamp == frame.stamp).unwrap();
        let source = |keyframe: &Keyframe| Source {
            pointmap: &self.map().get(keyframe.id).unwrap().pointmap,
            view_from_source: seen.world_from_camera.inv_mul(&keyframe.world_from_camera),
        };
        let sources: Vec<Source<'_>> = self.map().keyframes().map(source).collect();
        let mut pointmap = rendered(&sources, &camera, 1)?;
        let (width, height) = (pointmap.width(), pointmap.height());
        let wrong: Vec<_> = (0..width * height)
            .filter_map(|i| {
                let (x, y) = (i % width, i / width);
                let factor = (self.errs)(x as f32 / width as f32, y as f32 / height as f32);
                let point = pointmap.point(x, y)? * factor;
                Some((x, y, point, (0.03 * point.z).powi(-2)))
            })
            .collect();
        pointmap.replace(&wrong);
        Ok(ViewGeometry { pointmap, camera, window_from_camera: None, descriptor: None })
    }

    fn map(&self) -> &GlobalMap {
        self.pipeline.map()
    }
}

impl ReconstructionModel for Remembering {
    fn name(&self) -> &'static str {
        "remembering"
    }

    fn max_views(&self) -> usize {
        8
    }

    fn infer(&mut self, views: &[View<'_>]) -> Result<Prediction> {
        let views = views.iter().map(|view| self.view(view.frame)).collect::<Result<_>>()?;
        Ok(Prediction { views, is_metric: true })
    }
}

/// The recording by the sensor alone, and by the sensor with a model that remembers the former.
fn runs(name: &str, errs: Errs) -> Option<[Run; 2]> {
    let folder = recording(name, "models beside the sensor")?;
    let run = |models: Models| {
        let mut source = dataset::open(&folder, &OpenOptions::default()).unwrap();
        Run::with(models, source.as_mut(), &mut [])
    };
    let models = || model::open(&Config::default()).unwrap();
    let [alone, remembered] = [(); 2].map(|()| run(models()));
    let geometry = Box::new(Remembering { pipeline: remembered.pipeline, errs });
    Some([alone, run(Models { geometry, ..models() })])
}

#[test]
fn a_model_that_is_nearly_right_keeps_the_bars_of_the_sensor_and_adds_to_the_map() {
    for name in ["redkitchen_a", "hololens_a"] {
        let Some([alone, mut with]) = runs(name, nearly_right) else { return };
        let points = |run: &Run| -> f64 {
            run.pipeline.map().keyframes().map(|k| k.pointmap.valid_frac()).sum()
        };
        let bars: Vec<&Bar> = BARS.iter().filter(|bar| bar.recording == name).collect();
        let mut all = Vec::from(with.counts(bars[0].frames));
        all.push(Figure::at_least("keyframes' points", points(&with), 1.05 * points(&alone)));
        with.refine();
        let folder = recording(name, "models beside the sensor").unwrap();
        all.extend(bars.iter().flat_map(|bar| figures(&with, &folder, bar)));
        judge(&format!("{name} with a model that is nearly right"), &all);
    }
}

#[test]
fn a_model_that_makes_no_sense_changes_nothing() {
    for name in ["fr1_rpy_a", "hololens_a"] {
        let Some([alone, with]) = runs(name, nonsense) else { return };
        assert_eq!(with.trajectory, alone.trajectory, "{name}");
        assert_eq!(with.cloud(), alone.cloud(), "{name}");
        let inference = with.pipeline.inference().unwrap();
        assert!(inference.merged == 0 && inference.refused > 0, "{name}: {inference:?}");
    }
}
