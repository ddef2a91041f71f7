//! Saved maps: what is in them, and what can be made of them.

use recon_node::store;

use crate::support::{Recorded, assert_tells};

const FRAMES: usize = 60;

/// A folder with two maps of one room, of frames that both show in part.
fn two_maps() -> Recorded {
    let recorded = Recorded::of(FRAMES);
    for (map, more) in [("a.map", ["--duration", "1.4"]), ("b.map", ["--start", "0.6"])] {
        // More keyframes than such a short way would make.
        let dense =
            ["--set", "keyframe.max_rotation_deg=4", "--set", "keyframe.reuse_overlap_frac=1"];
        let arguments = ["replay", "room", "--out", "out", "--save-map", map];
        recorded.success(&[&arguments[..], &more, &dense].concat());
    }
    recorded
}

/// Arguments after `recon map`, and what is said.
const SAID: [(&[&str], &[&str]); 10] = [
    (
        &["info", "a.map"],
        &["keyframes", "session 1", "42 frames", "320x240", "z up", "sensor-depth"],
    ),
    (&["copy", "a.map", "copy.map"], &[]),
    (&["info", "copy.map", "--recover"], &["42 frames", "z up"]),
    (&["prune", "a.map", "small.map", "--max-keyframes", "2"], &["keyframes removed, 2 left"]),
    (&["info", "small.map"], &["keyframes", "42 frames"]),
    (
        &[
            "georeference",
            "a.map",
            "placed.map",
            "--latitude",
            "48.137",
            "--longitude",
            "-11.575",
            "--altitude",
            "519",
            "--heading",
            "90",
        ],
        &[],
    ),
    (&["info", "placed.map"], &["48.137° N, -11.575° E, 519 m, y axis 90° from north"]),
    (
        &["export", "placed.map", "--format", "ply,tum,las", "--out", "export"],
        &[
            "exported export/cloud.ply",
            "exported export/trajectory.tum",
            "exported export/cloud.las",
        ],
    ),
    (&["merge", "a.map", "b.map", "both.map"], &["keyframes joined by", "pairs", "degrees off"]),
    (&["info", "both.map"], &["session 1", "session 2", "42 frames"]),
];

/// The same, and what is wrong with it.
const REFUSED: [(&[&str], i32, &[&str]); 8] = [
    (&["info", "nowhere.map"], 1, &["nowhere.map", "cannot be read as a map"]),
    (&["info", "room/calibration.yaml"], 1, &["calibration.yaml", "no SQLite database"]),
    (&["copy", "a.map", "nowhere/copy.map"], 1, &["nowhere/copy.map", "cannot be written"]),
    (&["prune", "nowhere.map", "small.map"], 1, &["nowhere.map"]),
    (
        &["georeference", "a.map", "c.map", "--latitude", "91", "--longitude", "0"],
        2,
        &["no place on Earth", "--latitude"],
    ),
    (&["export", "a.map", "--format", "ply", "--voxel", "0"], 2, &["--voxel 0"]),
    (&["export", "polar.map", "--format", "las"], 1, &["cloud.las", "UTM"]),
    (&["merge", "a.map", "nowhere.map", "c.map"], 1, &["nowhere.map"]),
];

#[test]
fn maps_are_looked_into_thinned_placed_handed_on_and_joined() {
    let recorded = two_maps();
    for (arguments, said) in SAID {
        assert_tells(&recorded.success(&[&["map"], arguments].concat()), said);
    }
    let maps = ["a.map", "b.map", "both.map"].map(|map| store::load(&recorded.path(map)).unwrap());
    let [first, second, both] = maps.each_ref().map(|map| map.keyframes.len());
    assert!(first > 3 && first + second == both, "{first} and {second} keyframes became {both}");
    // A copy is the same map, and a thinned one keeps where every frame was.
    assert!(recorded.bytes("copy.map") == recorded.bytes("a.map"));
    let small = store::load(&recorded.path("small.map")).unwrap();
    assert_eq!(small.trajectories()[0].poses().len(), maps[0].trajectories()[0].poses().len());
    // What lies on Earth is in the coordinates of its zone.
    let mut las = las::Reader::from_path(recorded.path("export/cloud.las")).unwrap();
    let point = las.read_all().unwrap().points().next().unwrap().unwrap();
    assert!((5_300_000.0..5_400_000.0).contains(&point.y) && point.z > 500.0, "{point:?}");
}

#[test]
fn what_is_no_map_or_cannot_be_made_is_said_in_a_sentence() {
    let recorded = Recorded::of(3);
    recorded.success(&["replay", "room", "--out", "out", "--save-map", "a.map"]);
    let polar = ["georeference", "a.map", "polar.map", "--latitude", "-89", "--longitude", "0"];
    recorded.success(&[&["map"], &polar[..]].concat());
    for (arguments, code, said) in REFUSED {
        assert_tells(&recorded.failure(&[&["map"], arguments].concat(), code), said);
        assert!(!recorded.path("c.map").exists(), "{arguments:?} leaves a map");
    }
}
