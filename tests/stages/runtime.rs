//! Replay: every frame once, in order, and an end in good order whatever happens.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use recon_node::error::{Error, Result};
use recon_node::frame::Frame;
use recon_node::observer::{Observation, Observer};
use recon_node::runtime::{Outlet, RunReport, replay};
use recon_node::source::{FrameSource, Skip, SourceInfo, SourceItem};

use crate::pipeline::{pipeline, process, swaying};

/// A source that delivers what it was given.
struct Script {
    info: SourceInfo,
    items: VecDeque<Result<SourceItem>>,
}

impl Script {
    fn new(items: impl IntoIterator<Item = Result<SourceItem>>) -> Self {
        Self { info: SourceInfo::default(), items: items.into_iter().collect() }
    }

    fn of_frames(count: usize) -> Self {
        Self::new(swaying(count).into_iter().map(frame))
    }
}

impl FrameSource for Script {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn next_item(&mut self) -> Result<Option<SourceItem>> {
        self.items.pop_front().transpose()
    }
}

fn frame(frame: Frame) -> Result<SourceItem> {
    Ok(SourceItem::Frame(Box::new(frame)))
}

fn broken() -> Error {
    Error::input(Path::new("the.bag"), "it ends in the middle of a message", "record it again")
}

/// Remembers what it is told, and may do something at one frame.
struct Witness<F: FnMut(u64) -> Result<()>> {
    seen: Vec<(u64, usize)>,
    act: F,
}

impl<F: FnMut(u64) -> Result<()>> Witness<F> {
    fn new(act: F) -> Self {
        Self { seen: Vec::new(), act }
    }
}

impl<F: FnMut(u64) -> Result<()>> Observer for Witness<F> {
    fn observe(&mut self, seen: &Observation<'_>) -> Result<()> {
        self.seen.push((seen.update.frame_id, seen.view.map.len()));
        (self.act)(seen.update.frame_id)
    }
}

fn run(mut source: Script, observers: &mut [&mut dyn Observer]) -> Result<RunReport> {
    replay(&mut source, &mut pipeline(), observers, &AtomicBool::new(false))
}

#[test]
fn a_replay_is_what_the_pipeline_makes_of_each_frame() {
    let frames = swaying(20);
    let (mut by_hand, mut replayed) = (pipeline(), pipeline());
    process(&mut by_hand, &frames);
    let stop = AtomicBool::new(false);
    let report = replay(&mut Script::of_frames(20), &mut replayed, &mut [], &stop).unwrap();
    assert_eq!(by_hand.trajectory(), replayed.trajectory());
    assert_eq!((report.frames, report.tracked, report.interrupted), (20, 20, false));
    let stamps: Vec<_> = frames.iter().map(|f| f.stamp).collect();
    assert_eq!((report.stamps, report.latencies_secs.len()), (stamps, 20));
    assert!(report.wall_secs > 0.0 && report.not_begun.is_none());
}

#[test]
fn observers_see_every_frame_in_order() {
    let (mut first, mut second) = (Witness::new(|_| Ok(())), Witness::new(|_| Ok(())));
    run(Script::of_frames(10), &mut [&mut first, &mut second]).unwrap();
    assert_eq!(first.seen.iter().map(|s| s.0).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    assert!(first.seen.iter().all(|s| s.1 >= 1), "the map comes along");
    assert_eq!(first.seen, second.seen);
}

#[test]
fn an_observers_error_ends_the_run() {
    let mut witness = Witness::new(|id| if id == 4 { Err(broken()) } else { Ok(()) });
    let error = run(Script::of_frames(30), &mut [&mut witness]).unwrap_err();
    assert!(error.to_string().contains("the.bag"), "{error}");
    assert_eq!(witness.seen.len(), 5);
}

#[test]
fn a_stop_ends_the_run_with_what_there_is() {
    let stop = AtomicBool::new(false);
    let mut witness = Witness::new(|id| {
        stop.store(id == 5, Ordering::Relaxed);
        Ok(())
    });
    let mut pipeline = pipeline();
    let mut source = Script::of_frames(30);
    let report = replay(&mut source, &mut pipeline, &mut [&mut witness], &stop).unwrap();
    assert_eq!((report.frames, report.interrupted), (6, true));
    assert_eq!(pipeline.trajectory().poses().len(), 6);
    assert!(!source.items.is_empty(), "it was read to its end all the same");
}

#[test]
fn a_source_that_fails_ends_the_run_with_its_error() {
    for good in [0, 1, 12] {
        let items = swaying(good).into_iter().map(frame).chain([Err(broken())]);
        let later = swaying(8).into_iter().map(frame);
        let error = run(Script::new(items.chain(later)), &mut []).unwrap_err();
        assert!(error.to_string().contains("record it again"), "{error}");
    }
}

#[test]
fn skips_are_counted_with_their_reasons() {
    let skip = |reason: &str| SourceItem::Skipped(Skip { stamp: None, reason: reason.to_owned() });
    let mut items: Vec<_> = swaying(4).into_iter().map(frame).collect();
    items.insert(2, Ok(skip("depth/7.png: not a PNG")));
    items.insert(0, Ok(skip("depth/0.png: missing")));
    let report = run(Script::new(items), &mut []).unwrap();
    let reasons: Vec<_> = report.skips.iter().map(|s| s.reason.as_str()).collect();
    assert_eq!(reasons, ["depth/0.png: missing", "depth/7.png: not a PNG"]);
    assert_eq!((report.frames, report.tracked), (4, 4));
}

#[test]
fn a_run_without_depth_says_why_it_never_began() {
    let blind = swaying(5).into_iter().map(|f| frame(Frame { depth: None, ..f }));
    let report = run(Script::new(blind), &mut []).unwrap();
    assert_eq!((report.frames, report.tracked), (5, 0));
    assert!(report.not_begun.unwrap().contains("depth"));
}

#[test]
fn a_run_without_calibration_says_so() {
    let uncalibrated = swaying(3).into_iter().map(|f| frame(Frame { camera: None, ..f }));
    let report = run(Script::new(uncalibrated), &mut []).unwrap();
    assert_eq!(report.tracked, 0);
    assert!(report.not_begun.unwrap().contains("calibration"));
}

#[test]
fn an_empty_source_is_an_empty_run() {
    let report = run(Script::new([]), &mut []).unwrap();
    assert_eq!((report.frames, report.tracked, report.skips.len()), (0, 0, 0));
    assert_eq!(report.latency_quantile_secs(0.5), None);
}

#[test]
fn quantiles_are_those_of_the_sorted_latencies() {
    let latencies_secs = vec![0.4, 0.1, 0.3, 0.2, 0.5];
    let report = RunReport { latencies_secs, ..RunReport::default() };
    let cases = [(0.0, 0.1), (0.5, 0.3), (0.75, 0.4), (1.0, 0.5), (7.0, 0.5), (-1.0, 0.1)];
    for (frac, expected) in cases {
        assert_eq!(report.latency_quantile_secs(frac), Some(expected), "{frac}");
    }
}

#[test]
fn an_outlet_never_lets_anyone_wait_and_works_off_all_in_order() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel::<usize>();
    let outlet = Outlet::start(2, move |item| {
        wait.recv().unwrap();
        tell.send(item).unwrap();
    });
    // The first is taken at once or waits with two others; sooner or later there is no room.
    let refused = (0..9).find_map(|item| outlet.offer(item).err()).unwrap();
    assert!((2..=3).contains(&refused), "{refused}");
    (0..20).for_each(|_| go.send(()).unwrap());
    assert!(outlet.finish(refused..10));
    assert_eq!(told.iter().collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
}

#[test]
fn an_outlet_whose_work_panics_says_so() {
    let outlet = Outlet::start(1, |item: usize| assert_eq!(item, 0));
    assert!(!outlet.finish([0, 1, 2, 3]));
}
