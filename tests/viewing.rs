//! A run in rerun's viewer: the recording is written, read back with rerun's own reader, and held
//! against the map that it shows.

#![cfg(feature = "viz")]
#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use nalgebra::{Isometry3, Point3, Quaternion, Translation3, UnitQuaternion};
use recon_node::config::Config;
use recon_node::geometry::Se3;
use recon_node::keyframe::KeyframeId;
use recon_node::model::SensorDepth;
use recon_node::observer::Observer;
use recon_node::pipeline::Pipeline;
use recon_node::runtime::{RunReport, replay};
use recon_node::simulator::{Simulator, SimulatorConfig};
use recon_node::source::{FrameSource, SourceInfo};
use recon_node::viz::rerun::{Destination, Viewer};
use rerun::StoreKind;
use rerun::external::re_log_encoding::DecoderApp;
use rerun::log::{Chunk, LogMsg};

/// A viewer leaves what has moved by less where it is.
const LEAST_MOVE_M: f64 = 0.0011;

/// A room that is gone round in part, quickly.
fn room() -> Simulator {
    let config =
        SimulatorConfig { duration_secs: 4.0, width: 160, height: 120, ..Default::default() };
    Simulator::new(config).unwrap()
}

fn watched(path: &Path) -> (Pipeline, RunReport) {
    let config = Config::default();
    let model = SensorDepth::new(config.sensor.clone());
    let mut pipeline = Pipeline::new(config, Box::new(model));
    let mut source = room();
    let mut viewer = Viewer::open(&Destination::Save(path.to_owned()), source.info()).unwrap();
    let observers: &mut [&mut dyn Observer] = &mut [&mut viewer];
    let report = replay(&mut source, &mut pipeline, observers, &AtomicBool::new(false)).unwrap();
    viewer.finish(&pipeline.view()).unwrap();
    (pipeline, report)
}

/// What a recording holds: the chunks of the run by entity, and how many belong to a blueprint.
struct Recording {
    chunks: BTreeMap<String, Vec<Chunk>>,
    blueprint: usize,
}

impl Recording {
    fn read(path: &Path) -> Self {
        let mut recording = Self { chunks: BTreeMap::new(), blueprint: 0 };
        let file = BufReader::new(File::open(path).unwrap());
        for message in DecoderApp::decode_eager(file).unwrap() {
            let LogMsg::ArrowMsg(store, arrow) = message.unwrap() else { continue };
            let chunk = Chunk::from_arrow_msg(&arrow).unwrap();
            match store.kind() {
                StoreKind::Blueprint => recording.blueprint += 1,
                StoreKind::Recording => {
                    let path = chunk.entity_path().to_string();
                    recording.chunks.entry(path).or_default().push(chunk);
                }
            }
        }
        recording
    }

    fn of(&self, path: &str) -> &[Chunk] {
        self.chunks.get(path).map_or(&[], Vec::as_slice)
    }

    /// Rows of an entity that have a component.
    fn rows(&self, path: &str, component: &'static str) -> usize {
        let has =
            |chunk: &&Chunk| chunk.components_identifiers().any(|id| id.as_str() == component);
        self.of(path).iter().filter(has).map(Chunk::num_rows).sum()
    }

    /// The last value of a component, whatever it has of them.
    fn last<const N: usize>(&self, path: &str, component: &'static str) -> Vec<[f32; N]> {
        let timeline = "stamp".into();
        let values = self.of(path).iter().flat_map(|chunk| {
            let at = chunk.iter_component_indices(timeline, component.into());
            let values = chunk.iter_slices::<[f32; N]>(component.into());
            at.zip(values).map(|(at, value)| (at, value.to_vec())).collect::<Vec<_>>()
        });
        values.max_by_key(|(at, _)| *at).map(|(_, value)| value).unwrap_or_default()
    }

    fn last_pose(&self, path: &str) -> Se3 {
        let [x, y, z] = self.last::<3>(path, "Transform3D:translation")[0].map(f64::from);
        let [i, j, k, w] = self.last::<4>(path, "Transform3D:quaternion")[0].map(f64::from);
        let rotation = UnitQuaternion::from_quaternion(Quaternion::new(w, i, j, k));
        Isometry3::from_parts(Translation3::new(x, y, z), rotation)
    }
}

fn keyframe_path(id: KeyframeId) -> String {
    format!("/world/map/keyframes/{id}")
}

#[test]
fn a_recording_holds_the_run_and_shows_the_map_as_it_is_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.rrd");
    let (pipeline, report) = watched(&path);
    let recording = Recording::read(&path);

    assert!(pipeline.map().len() > 2, "{} keyframes", pipeline.map().len());
    assert!(recording.blueprint > 5, "{} messages of a blueprint", recording.blueprint);
    assert_eq!(recording.rows("/figures/latency", "Scalars:scalars"), report.frames);
    assert_eq!(recording.rows("/figures/tracking/overlap", "Scalars:scalars"), report.tracked);
    assert_eq!(recording.rows("/world/map/camera", "Transform3D:translation"), report.tracked);
    assert_eq!(recording.rows("/world", "ViewCoordinates:xyz"), 1);
    let images = recording.rows("/world/map/camera/image", "EncodedImage:blob");
    assert!((6..=9).contains(&images), "{images} images in four seconds");
    assert_eq!(recording.rows("/depth", "DepthImage:buffer"), images);
    assert!(recording.rows("/confidence", "DepthImage:buffer") >= pipeline.map().len());
    assert!(recording.rows("/notes", "TextLog:text") >= 1);
    for path in ["/world/map/edges/covisibility", "/world/map/edges/window"] {
        assert!(recording.rows(path, "LineStrips3D:strips") >= 1, "{path}");
    }

    for keyframe in pipeline.map().keyframes() {
        let path = keyframe_path(keyframe.id);
        let error = recording.last_pose(&path).inv_mul(&keyframe.world_from_camera);
        assert!(error.translation.vector.norm() < LEAST_MOVE_M, "{path}: {error}");
        assert!(error.rotation.angle() < LEAST_MOVE_M, "{path}: {error}");
        assert_eq!(recording.rows(&format!("{path}/view"), "EncodedImage:blob"), 1);
    }
}

/// Points and poses are written apart from one another, so that they have to be put together right.
#[test]
fn points_stand_on_the_surfaces_of_the_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.rrd");
    let (pipeline, _) = watched(&path);
    let recording = Recording::read(&path);
    let truth = room();
    let truth_from_world = truth.true_pose(0);
    let mut distances_m = Vec::new();
    for keyframe in pipeline.map().keyframes() {
        let path = keyframe_path(keyframe.id);
        let truth_from_keyframe = truth_from_world * recording.last_pose(&path);
        let points = recording.last::<3>(&format!("{path}/points"), "Points3D:positions");
        assert!(points.len() > 1000, "{path}: {} points", points.len());
        distances_m.extend(points.iter().step_by(50).map(|point| {
            let point = truth_from_keyframe * Point3::from(point.map(f64::from));
            truth.distance_to_surface_m(&point)
        }));
    }
    distances_m.sort_by(f64::total_cmp);
    let median_m = distances_m[distances_m.len() / 2];
    assert!(median_m < 0.01, "half of the points are further than {median_m} m from the room");
}

#[test]
fn the_world_stands_upright_and_the_truth_lies_over_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.rrd");
    watched(&path);
    let recording = Recording::read(&path);
    // The simulator's world has z up, and its truth is the camera's pose in there.
    let map_from_world = recording.last_pose("/world/map");
    let first_in_truth = room().true_pose(0);
    let up = map_from_world.rotation * first_in_truth.rotation.inverse() * nalgebra::Vector3::z();
    assert!(up.z > 3f64.to_radians().cos(), "up is {up}");
    let world_from_truth = recording.last_pose("/world/map/truth");
    let error = world_from_truth * first_in_truth;
    assert!(error.translation.vector.norm() < 0.03, "{error}");
    assert_eq!(recording.rows("/world/map/truth", "LineStrips3D:strips"), 1);
}

fn refused(destination: &Destination) -> String {
    match Viewer::open(destination, &SourceInfo::default()) {
        Ok(_) => "it was opened".to_owned(),
        Err(problem) => problem.to_string(),
    }
}

#[test]
fn what_cannot_be_opened_is_said_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("rerun+http://127.0.0.1:{silent}/proxy");
    let cases = [
        (
            Destination::Save(folder.path().join("none/run.rrd")),
            "none/run.rrd",
            "cannot write the rec",
        ),
        (Destination::Save(folder.path().to_owned()), "cannot", "write the rec"),
        (Destination::Serve(([127, 0, 0, 1], port).into()), "cannot serve", "give another"),
        (Destination::Connect(url), "no viewer answers", "start the viewer"),
        (Destination::Connect("127.0.0.1:9876".to_owned()), "no URL", "rerun+http://"),
    ];
    for (destination, problem, remedy) in cases {
        let message = refused(&destination);
        assert!(message.contains(problem) && message.contains(remedy), "{message}");
    }
}

/// What is served reaches a viewer that comes late; read as any client would.
#[test]
fn what_is_served_is_found_at_its_address() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let destination = Destination::Serve(([127, 0, 0, 1], port).into());
    let viewer = Viewer::open(&destination, &SourceInfo::default()).unwrap();
    let address = viewer.address().unwrap().to_owned();
    assert_eq!(address, format!("rerun+http://127.0.0.1:{port}/proxy"));
    // A second run finds a viewer at that address.
    let second = Viewer::open(&Destination::Connect(address), &SourceInfo::default());
    assert!(second.is_ok());
}
