//! How long the stages take, each alone, on the simulated room at 640×480 and with the default
//! configuration. `benches/RECORD.md` keeps the figures.

#![expect(clippy::unwrap_used, reason = "a bench that fails says where")]
#![expect(clippy::print_stderr, reason = "accuracy is told beside speed")]
#![allow(missing_docs, reason = "criterion makes functions without documentation")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use recon_node::alignment::align_window;
use recon_node::config::Config;
use recon_node::dense_residual::RelativeView;
use recon_node::frame::Frame;
use recon_node::geometry::Se3;
use recon_node::inference::{ReconstructionModel, View};
use recon_node::keyframe::{Keyframe, KeyframeId};
use recon_node::map::fuse;
use recon_node::model::SensorDepth;
use recon_node::pipeline::{PreparedFrame, prepare};
use recon_node::reference::Reference;
use recon_node::simulator::{Simulator, SimulatorConfig};
use recon_node::source::{FrameSource, SourceItem};
use recon_node::tracking::{Tracker, Verdict};

/// Keyframes of the window, and the frames between two of them.
const WINDOW: usize = 8;
const KEYFRAME_STEP: usize = 5;

/// A piece of the recording, with its truth.
struct Input {
    config: Config,
    frames: Vec<Frame>,
    prepared: Vec<PreparedFrame>,
    truth: Vec<Se3>,
}

impl Input {
    fn new() -> Self {
        let config = Config::default();
        let count = (WINDOW - 1) * KEYFRAME_STEP + 1;
        let duration_secs = count as f64 / 30.0;
        let room = SimulatorConfig { duration_secs, ..SimulatorConfig::default() };
        let mut simulator = Simulator::new(room).unwrap();
        let mut frames = Vec::new();
        while let Some(SourceItem::Frame(frame)) = simulator.next_item().unwrap() {
            frames.push(*frame);
        }
        let prepared = frames.iter().map(|frame| prepare(frame, &config).unwrap()).collect();
        let truth = (0..frames.len()).map(|index| simulator.true_pose(index)).collect();
        Self { config, frames, prepared, truth }
    }

    fn keyframe(&self, index: usize) -> Keyframe {
        let prepared = &self.prepared[index];
        let mut model = SensorDepth::new(self.config.sensor.clone());
        let view = View::measured(&prepared.frame);
        let geometry = model.infer(&[view]).unwrap().views.remove(0);
        Keyframe {
            id: KeyframeId(index as u32),
            frame: prepared.frame.clone(),
            camera: geometry.camera,
            pyramid: prepared.pyramid.clone(),
            pointmap: geometry.pointmap,
            world_from_camera: self.truth[index],
        }
    }

    fn reference(&self, keyframe: &Keyframe) -> Reference {
        Reference::new(&keyframe.pyramid, &keyframe.pointmap, self.config.tracking.max_points)
    }

    /// Pose of frame `to` relative to frame `from`.
    fn motion(&self, to: usize, from: usize) -> Se3 {
        self.truth[to].inv_mul(&self.truth[from])
    }
}

/// Frame 3 against keyframe 0, from where frame 2 was: one frame of the pipeline's every day.
fn track(criterion: &mut Criterion, input: &Input) {
    let tracker = Tracker::new(input.config.tracking.clone(), input.config.sensor.noise());
    let reference = input.reference(&input.keyframe(0));
    let last = RelativeView::at(input.motion(2, 0));
    let predicted = RelativeView::at(input.motion(2, 1) * last.target_from_reference);
    let prior = tracker.motion_prior(predicted.target_from_reference, 1.0 / 30.0);
    let pyramid = &input.prepared[3].pyramid;
    let run = || tracker.track(&reference, pyramid, &[predicted, last], Some(&prior));
    let tracked = run();
    let error = tracked.view.target_from_reference.inv_mul(&input.motion(3, 0));
    let error_m = error.translation.vector.norm();
    assert!(tracked.verdict == Verdict::Tracked && error_m < 0.01, "off by {error_m} m");
    eprintln!("track one frame: off by {:.2} mm", 1e3 * error_m);
    criterion.bench_function("track one frame", |b| b.iter(|| black_box(run())));
}

/// Eight keyframes, each put 1 cm off its place, but the first.
fn align(criterion: &mut Criterion, input: &Input) {
    let mut keyframes: Vec<Keyframe> =
        (0..WINDOW).map(|index| input.keyframe(index * KEYFRAME_STEP)).collect();
    for (index, keyframe) in keyframes.iter_mut().enumerate().skip(1) {
        keyframe.world_from_camera.translation.vector[index % 3] += 0.01;
    }
    let window: Vec<&Keyframe> = keyframes.iter().collect();
    let run = || align_window(&window, input.config.sensor.noise(), &input.config.alignment);
    let aligned = run().unwrap();
    let error_m = |keyframe: &Keyframe| {
        let truth = &input.truth[keyframe.id.0 as usize];
        let found = &aligned.world_from_camera[&keyframe.id];
        (found.translation.vector - truth.translation.vector).norm()
    };
    let mean_m = keyframes.iter().map(error_m).sum::<f64>() / WINDOW as f64;
    assert!(mean_m < 0.01, "the window is off by {mean_m} m, as it was before");
    let pairs = aligned.constraints.len();
    eprintln!("align a window of 8 keyframes: off by {:.2} mm, {pairs} pairs", 1e3 * mean_m);
    criterion
        .bench_function("align a window of 8 keyframes", |b| b.iter(|| black_box(run().is_ok())));
}

fn fuse_frame(criterion: &mut Criterion, input: &Input) {
    let keyframe = input.keyframe(0);
    let level = &input.prepared[3].pyramid.levels()[0];
    let motion = input.motion(3, 0);
    let (noise, map) = (input.config.sensor.noise(), &input.config.map);
    let fused = fuse(&mut keyframe.clone(), level, &motion, noise, map);
    assert!(fused > 10_000, "only {fused} points are fused");
    eprintln!("fuse a frame into a keyframe: {fused} points");
    criterion.bench_function("fuse a frame into a keyframe", |b| {
        let run = |mut keyframe: Keyframe| {
            black_box(fuse(&mut keyframe, level, &motion, noise, map));
            keyframe
        };
        b.iter_batched(|| keyframe.clone(), run, BatchSize::LargeInput);
    });
}

fn make_keyframe(criterion: &mut Criterion, input: &Input) {
    let keyframe = input.keyframe(0);
    let mut model = SensorDepth::new(input.config.sensor.clone());
    criterion.bench_function("pointmap of a keyframe", |b| {
        let view = View::measured(&keyframe.frame);
        b.iter(|| black_box(model.infer(&[view]).unwrap()));
    });
    criterion.bench_function("reference of a keyframe", |b| {
        b.iter(|| black_box(input.reference(&keyframe)));
    });
}

fn prepare_frame(criterion: &mut Criterion, input: &Input) {
    criterion.bench_function("prepare a frame", |b| {
        b.iter(|| black_box(prepare(&input.frames[3], &input.config).unwrap()));
    });
}

fn stages(criterion: &mut Criterion) {
    let input = Input::new();
    prepare_frame(criterion, &input);
    track(criterion, &input);
    fuse_frame(criterion, &input);
    make_keyframe(criterion, &input);
    align(criterion, &input);
}

criterion_group!(benches, stages);
criterion_main!(benches);
