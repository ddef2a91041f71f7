//! A map without metres whose lengths have drifted by the time that a loop closes.

use std::collections::BTreeMap;

use nalgebra::{Matrix6, Vector6};
use recon_node::config::Config;
use recon_node::evaluation::{DEFAULT_MAX_DIFFERENCE_SECS, evaluate_trajectory};
use recon_node::frame::Frame;
use recon_node::geometry::Se3;
use recon_node::inference::Models;
use recon_node::keyframe::KeyframeId;
use recon_node::model::open_features;
use recon_node::pipeline::{MapSnapshot, Pipeline};
use recon_node::raster::Raster;
use recon_node::simulator::{OracleConfig, OracleModel, Simulator, SimulatorConfig, World};
use recon_node::trajectory::{StampedPose, Trajectory};

use super::support::deviation;

/// By how much lengths have grown at the end of the way, as a logarithm: windows are held against the
/// map so closely that they drift by a tenth of it themselves.
const DRIFT_LOG: f64 = 0.1;

fn round() -> SimulatorConfig {
    let round = SimulatorConfig::round_of(World::Building { side_m: 8.0 });
    let duration_secs = round.loop_secs + 6.0;
    SimulatorConfig { width: 160, height: 120, rate_hz: 15.0, duration_secs, ..round }
}

fn pipeline(simulated: &SimulatorConfig) -> Pipeline {
    let config = Config::default();
    let oracle = OracleModel::new(simulated, OracleConfig::default()).unwrap();
    let features = open_features(&config).unwrap();
    Pipeline::new(config, Models { geometry: Box::new(oracle), features })
}

fn lengthened(pose: &Se3, factor: f64) -> Se3 {
    Se3::from_parts((pose.translation.vector * factor).into(), pose.rotation)
}

/// The map as if each keyframe had been a little longer than the one before.
fn drifted(mut map: MapSnapshot) -> MapSnapshot {
    let last = f64::from(map.graph.next_keyframe.0);
    let factor = |id: KeyframeId| (DRIFT_LOG * f64::from(id.0) / last).exp();
    let mut poses: BTreeMap<KeyframeId, Se3> = BTreeMap::new();
    let mut before: Option<(KeyframeId, Se3)> = None;
    for (&id, pose) in &map.graph.poses {
        let moved = match before {
            Some((other, was)) => {
                let step = was.inv_mul(pose);
                poses[&other] * lengthened(&step, (factor(other) * factor(id)).sqrt())
            }
            None => *pose,
        };
        poses.insert(id, moved);
        before = Some((id, *pose));
    }
    map.graph.poses = poses;
    map.keyframes.iter_mut().for_each(|k| k.pointmap = k.pointmap.scaled(factor(k.id)));
    for stored in &mut map.graph.constraints {
        let constraint = &mut stored.constraint;
        let factor = (factor(constraint.target) * factor(constraint.source)).sqrt();
        let way = factor.recip();
        let inverse = Matrix6::from_diagonal(&Vector6::new(1.0, 1.0, 1.0, way, way, way));
        constraint.target_from_source = lengthened(&constraint.target_from_source, factor);
        constraint.information = inverse * constraint.information * inverse;
    }
    for record in map.graph.sessions.iter_mut().flatten() {
        let factor = factor(record.keyframe);
        record.keyframe_from_camera = lengthened(&record.keyframe_from_camera, factor);
    }
    map
}

/// How wrong a map is.
#[derive(Debug)]
struct Wrong {
    /// Standard deviation of the logarithms of the keyframes' scales.
    scales: f64,
    /// Of the keyframes' places, metres.
    ate_m: f64,
}

fn judged(
    pipeline: &Pipeline,
    simulator: &Simulator,
    truths: &mut BTreeMap<KeyframeId, Raster<f32>>,
) -> Wrong {
    let (mut scales, mut found, mut truth) = (Vec::new(), Vec::new(), Vec::new());
    for keyframe in pipeline.map().keyframes() {
        let index = keyframe.frame.id as usize;
        let depth =
            truths.entry(keyframe.id).or_insert_with(|| simulator.true_depth(index).unwrap());
        let pixels = (0..depth.width() * depth.height()).step_by(7);
        let mut logs: Vec<f64> = pixels
            .filter_map(|i| {
                let (x, y) = (i % depth.width(), i / depth.width());
                Some(f64::from(keyframe.pointmap.point(x, y)?.z / depth.at(x, y)).ln())
            })
            .collect();
        logs.sort_by(f64::total_cmp);
        scales.push(logs[logs.len() / 2]);
        let stamp = keyframe.frame.stamp;
        found.push(StampedPose { stamp, world_from_camera: keyframe.world_from_camera });
        truth.push(StampedPose { stamp, world_from_camera: simulator.true_pose(index) });
    }
    let (found, truth) = (Trajectory::new(found), Trajectory::new(truth));
    let evaluation =
        evaluate_trajectory(&found, &truth, None, DEFAULT_MAX_DIFFERENCE_SECS).unwrap();
    Wrong { scales: deviation(&scales), ate_m: evaluation.metrics.ate_sim3 }
}

#[test]
fn a_closed_loop_takes_the_drift_of_scale_away() {
    let simulated = round();
    let mut simulator = Simulator::new(simulated.clone()).unwrap();
    let mut truths = BTreeMap::new();
    let mut first = pipeline(&simulated);
    let most = (0.8 * simulated.loop_secs * simulated.rate_hz) as usize;
    for index in 0..most {
        let frame = Frame { depth: None, ..simulator.render(index).unwrap() };
        let update = first.process(&frame).unwrap();
        assert!(update.state.has_pose() && update.loops_closed == 0, "frame {index}");
    }
    println!("as mapped: {:?}", judged(&first, &simulator, &mut truths));
    let mut second = pipeline(&simulated);
    second.restore(drifted(first.snapshot())).unwrap();
    let mut before = judged(&second, &simulator, &mut truths);
    println!("drifted: {before:?}");
    for index in most..simulated.frame_count() {
        let frame = Frame { depth: None, ..simulator.render(index).unwrap() };
        let update = second.process(&frame).unwrap();
        assert!(update.state.has_pose(), "frame {index}: {:?}", update.state);
        let now = judged(&second, &simulator, &mut truths);
        if update.loops_closed > 0 {
            println!("frame {index}: {before:?} before the loop, {now:?} after it");
            assert!(now.scales < 0.5 * before.scales, "{now:?} after {before:?}");
            assert!(now.ate_m < 0.8 * before.ate_m, "{now:?} after {before:?}");
            return;
        }
        before = now;
    }
    panic!("no loop was closed: {before:?}");
}
