//! Half a recording is mapped and saved; the other half is localised in it, or goes on with it.
//! Recordings are looked for as in `recordings`.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]
#![expect(clippy::print_stderr, reason = "figures beside the verdict")]

#[path = "shared/frames.rs"]
mod all;
mod shared;

use recon_node::config::Config;
use recon_node::dataset::read_trajectory;
use recon_node::evaluation::{DEFAULT_MAX_DIFFERENCE_SECS, evaluate_trajectory};
use recon_node::frame::Frame;
use recon_node::geometry::Se3;
use recon_node::model;
use recon_node::pipeline::Pipeline;
use recon_node::store::{self, ImageQuality};
use recon_node::trajectory::Trajectory;

use all::frames;
use shared::recording;

fn pipeline(localization_only: bool) -> Pipeline {
    let setting = format!("map.localization_only={localization_only}");
    let config = Config::from_sources(None, &[setting]).unwrap();
    let model = model::open(&config).unwrap();
    Pipeline::new(config, model)
}

/// A map of some frames, saved and loaded, and where the truth's world lies in its own.
struct Mapped {
    pipeline: Pipeline,
    truth_from_map: Se3,
}

impl Mapped {
    fn of(frames: &[Frame], truth: &Trajectory, localization_only: bool) -> Self {
        let mut first = pipeline(false);
        frames.iter().for_each(|frame| drop(first.process(frame).unwrap()));
        let found = first.trajectory();
        let evaluation =
            evaluate_trajectory(&found, truth, None, DEFAULT_MAX_DIFFERENCE_SECS).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("half.map");
        store::save(&path, &first.snapshot(), ImageQuality::Lossless).unwrap();
        let mut pipeline = pipeline(localization_only);
        pipeline.restore(store::load(&path).unwrap()).unwrap();
        let aligned = evaluation.reference_from_estimate_rigid;
        let truth_from_map = Se3::from_parts(aligned.translation.into(), aligned.rotation);
        Self { pipeline, truth_from_map }
    }

    /// Root mean square distance to the truth of this session's poses, in the map as it was aligned
    /// by the first session alone; and that of the worst.
    fn errors_m(&self, truth: &Trajectory) -> (f64, f64) {
        let mut squares = Vec::new();
        for pose in self.pipeline.trajectory().poses() {
            let Some(known) = truth.nearest(pose.stamp, DEFAULT_MAX_DIFFERENCE_SECS) else {
                continue;
            };
            let found = self.truth_from_map * pose.world_from_camera;
            let gap = known.world_from_camera.translation.vector - found.translation.vector;
            squares.push(gap.norm_squared());
        }
        let worst = squares.iter().fold(0.0f64, |a, &b| a.max(b)).sqrt();
        ((squares.iter().sum::<f64>() / squares.len().max(1) as f64).sqrt(), worst)
    }
}

#[test]
fn the_second_half_of_a_recording_is_localised_in_a_map_of_the_first() {
    let Some(folder) = recording("redkitchen_a", "localisation") else { return };
    let all = frames(&folder);
    let truth = read_trajectory(&folder.join("groundtruth_sfm.txt")).unwrap();
    let half = all.len() / 2;
    let mut mapped = Mapped::of(&all[..half], &truth, true);
    let keyframes = mapped.pipeline.map().len();
    let updates: Vec<_> =
        all[half..].iter().map(|frame| mapped.pipeline.process(frame).unwrap()).collect();
    let placed = updates.iter().filter(|u| u.state.has_pose()).count();
    let first = updates.iter().position(|u| u.state.has_pose());
    let to_first_secs = first.map(|i| updates[i].stamp.secs_since(updates[0].stamp));
    let (ate_m, worst_m) = mapped.errors_m(&truth);
    eprintln!(
        "{placed} of {} frames placed, the first after {to_first_secs:?} s; {:.1} cm off, at most {:.1} cm",
        updates.len(),
        100.0 * ate_m,
        100.0 * worst_m,
    );
    assert_eq!(mapped.pipeline.map().len(), keyframes, "the map has grown");
    assert!(to_first_secs.is_some_and(|secs| secs <= 1.0));
    assert!(placed * 100 >= updates.len() * MIN_PLACED_PERCENT);
    assert!(ate_m < 0.04 && worst_m < 0.15, "{ate_m} m, {worst_m} m");
}

/// The second half looks at what the first has not seen for part of the time.
const MIN_PLACED_PERCENT: usize = 60;

#[test]
fn a_second_session_goes_on_with_the_map_whichever_half_comes_first() {
    let Some(folder) = recording("redkitchen_a", "two sessions") else { return };
    let all = frames(&folder);
    let truth = read_trajectory(&folder.join("groundtruth_sfm.txt")).unwrap();
    let half = all.len() / 2;
    for (name, first, second) in
        [("in order", &all[..half], &all[half..]), ("reversed", &all[half..], &all[..half])]
    {
        let mut mapped = Mapped::of(first, &truth, false);
        let keyframes = mapped.pipeline.map().len();
        let updates: Vec<_> =
            second.iter().map(|frame| mapped.pipeline.process(frame).unwrap()).collect();
        let placed = updates.iter().filter(|u| u.state.has_pose()).count();
        let first_fix = updates.iter().position(|u| u.state.has_pose());
        let (ate_m, worst_m) = mapped.errors_m(&truth);
        eprintln!(
            "{name}: {placed} of {} frames placed, first frame {first_fix:?}; {keyframes} keyframes, \
             then {}; {:.1} cm off, at most {:.1} cm",
            updates.len(),
            mapped.pipeline.map().len(),
            100.0 * ate_m,
            100.0 * worst_m,
        );
        assert!(placed * 100 >= second.len() * 80, "{name}");
        assert!(ate_m < 0.05 && worst_m < 0.15, "{name}: {ate_m} m, {worst_m} m");
        assert_eq!(mapped.pipeline.snapshot().graph.sessions.len(), 2);
    }
}
