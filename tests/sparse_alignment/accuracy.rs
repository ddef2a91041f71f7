//! Against MASt3R-SfM's own results on its own inputs.

use std::path::{Path, PathBuf};

use nalgebra::Matrix3;
use recon_node::alignment::sparse::{
    LensFreedom, SceneState, SparseConfig, align_coarse, align_fine, align_sparse,
};
use safetensors::SafeTensors;

use crate::fixture::{
    Errors, Fixture, ReferenceRun, errors, poses, read_runs, read_scene, with_options,
};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sparse_ga").join(name)
}

fn load(scene: &str) -> (Fixture, Vec<ReferenceRun>) {
    let fixture = read_scene(&data(&format!("{scene}_levelB.safetensors"))).unwrap();
    (fixture, read_runs(&data(&format!("{scene}_results.safetensors"))).unwrap())
}

fn reference<'a>(runs: &'a [ReferenceRun], name: &str) -> &'a ReferenceRun {
    runs.iter().find(|run| run.name == name).unwrap()
}

/// Round-off of the reference's f32 losses.
const ROUNDING: f64 = 1.0 + 1e-6;

#[test]
fn losses_are_at_most_those_of_the_reference_with_all_its_options() {
    for (scene, options) in [
        ("small", &["default", "f64", "init_K", "nodepth", "nopp", "shared", "thr0"][..]),
        ("room", &["default", "f64", "long", "shared"][..]),
    ] {
        let (fixture, runs) = load(scene);
        for name in options {
            let run = reference(&runs, name);
            let (scene_of_run, config) = with_options(&fixture, name);
            let ours = align_sparse(&scene_of_run, &[], &config).unwrap();
            let losses = [&ours.coarse, &ours.fine].map(|stage| stage.evidence.loss[1]);
            for (stage, (ours, theirs)) in losses.iter().zip(run.loss).enumerate() {
                assert!(*ours <= theirs * ROUNDING, "{scene} {name} {stage}: {ours} {theirs}");
            }
        }
    }
}

/// Where lenses are the same for all views, least loss is also least error; with a principal point
/// of each view's own at low resolution it is not (see `whole_scenes`).
#[test]
fn the_room_is_as_accurate_as_the_references_longest_run() {
    let (fixture, runs) = load("room");
    for (name, against) in [("default", "long"), ("shared", "shared")] {
        let theirs = reference(&runs, against);
        let (scene, config) = with_options(&fixture, name);
        let ours = align_sparse(&scene, &[], &config).unwrap();
        for (stage, result) in [&ours.coarse, &ours.fine].into_iter().enumerate() {
            let of = |poses: &[_]| errors(poses, &fixture.world_from_camera).unwrap();
            let found: Errors = of(&poses(&result.state));
            let theirs = of(&theirs.world_from_camera[stage]);
            assert!(found.ate <= 1.1 * theirs.ate, "{name}: {found:?} {theirs:?}");
            assert!(
                found.rotation_deg <= 1.1 * theirs.rotation_deg,
                "{name}: {found:?} {theirs:?}"
            );
        }
    }
}

#[test]
fn the_small_scene_is_as_accurate_where_lenses_are_fixed() {
    let (fixture, runs) = load("small");
    let (scene, config) = with_options(&fixture, "nopp");
    let ours = align_sparse(&scene, &[], &config).unwrap();
    let found = errors(&poses(&ours.fine.state), &fixture.world_from_camera).unwrap();
    let theirs =
        errors(&reference(&runs, "nopp").world_from_camera[1], &fixture.world_from_camera).unwrap();
    assert!(found.ate <= 1.1 * theirs.ate, "{found:?} {theirs:?}");
    assert!(found.rotation_deg <= 1.1 * theirs.rotation_deg, "{found:?} {theirs:?}");
}

/// At the reference's own final parameters our loss is its own final loss.
#[test]
fn the_loss_is_the_references_number() {
    for scene in ["small", "room"] {
        let (fixture, runs) = load(scene);
        let state = state_of_reference(&fixture, scene);
        let config = SparseConfig { fine_iterations: 1, ..SparseConfig::default() };
        let result = align_fine(&fixture.scene, &state, &[], &config).unwrap();
        let (ours, theirs) = (result.evidence.loss[0], reference(&runs, "f64").loss[1]);
        assert!((ours / theirs - 1.0).abs() < 1e-6, "{scene}: {ours} {theirs}");
    }
}

/// The state that the reference's f64 run returned.
fn state_of_reference(fixture: &Fixture, scene: &str) -> SceneState {
    let bytes = std::fs::read(data(&format!("{scene}_results.safetensors"))).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let numbers = |name: &str| -> Vec<f64> {
        let tensor = file.tensor(&format!("f64.fine.{name}")).unwrap();
        let words = tensor.data().chunks_exact(8);
        words.map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
    };
    let (lenses, depths) = (numbers("intrinsics"), numbers("depthmaps"));
    let runs = read_runs(&data(&format!("{scene}_results.safetensors"))).unwrap();
    let poses = &reference(&runs, "f64").world_from_camera[1];
    let mut state = SceneState::new(&fixture.scene);
    for (i, view) in state.views.iter_mut().enumerate() {
        let lens = Matrix3::from_row_slice(&lenses[9 * i..9 * i + 9]);
        view.world_from_camera = poses[i];
        view.focal_px = lens[(0, 0)];
        view.principal_point_px = [lens[(0, 2)], lens[(1, 2)]].into();
        let shift = view.median_depth * (view.focal_px / view.base_focal_px - 1.0);
        let anchors = view.anchor_depths.len();
        let own = depths[i * anchors..(i + 1) * anchors].iter().map(|depth| depth - shift);
        view.anchor_depths = own.collect();
    }
    state
}

/// The coarse stage's unit: the smallest size is one, and the root is at the origin.
#[test]
fn the_gauge_is_the_references() {
    let (fixture, _) = load("small");
    let coarse = align_coarse(&fixture.scene, &[], &SparseConfig::default()).unwrap();
    let sizes = coarse.state.views.iter().map(|view| view.size);
    assert!((sizes.fold(f64::INFINITY, f64::min) - 1.0).abs() < 1e-12);
    let root = &coarse.state.views[fixture.scene.root].world_from_camera;
    assert!(root.translation.vector.norm() < 1e-12 && root.rotation.angle() < 1e-12);
}

#[test]
fn shared_lenses_are_the_same_in_all_views() {
    let (fixture, _) = load("small");
    let config = SparseConfig {
        focal_length: LensFreedom::Shared,
        principal_point: LensFreedom::Shared,
        ..SparseConfig::default()
    };
    let result = align_sparse(&fixture.scene, &[], &config).unwrap();
    let views = &result.fine.state.views;
    let first = &views[0];
    assert!((first.focal_px - fixture.scene.views[0].base_focal_px).abs() > 1e-3, "it moved");
    for view in views {
        assert!((view.focal_px - first.focal_px).abs() < 1e-9);
        assert!((view.principal_point_px - first.principal_point_px).norm() < 1e-9);
    }
}

/// The full fixtures are those of the repository, but for what alignment does not read.
#[test]
fn the_shared_fixtures_give_the_same() {
    let shared = std::env::var("RECON_SHARED")
        .map_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let full = shared.join("fixtures/dust3r-family/sparse_ga/small_levelB.safetensors");
    if !full.exists() {
        println!("skipped: no {}", full.display());
        return;
    }
    assert_eq!(read_scene(&full).unwrap().scene, load("small").0.scene);
}
