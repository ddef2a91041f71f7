//! `recon replay` on a good recording: what it leaves, what its options select.

use recon_node::config::Config;
use recon_node::dataset::read_trajectory;
use recon_node::export::read_ply;
use recon_node::stamp::Stamp;

use crate::support::{Recorded, assert_is_picture, assert_tells, text};

const FRAMES: usize = 30;

/// Files that a run leaves, and nothing else.
const RESULTS: [&str; 8] = [
    "config.yaml",
    "map.ply",
    "map.png",
    "metrics.json",
    "reference.txt",
    "timing.csv",
    "trajectory.png",
    "trajectory.txt",
];

fn stamp(index: usize) -> Stamp {
    Stamp::from_secs(index as f64 / 30.0).plus_secs(100.0)
}

#[test]
fn a_run_leaves_all_results_and_they_are_what_they_say() {
    let recorded = Recorded::of(FRAMES);
    let table = recorded.success(&["replay", "room"]);
    let out = recorded.path("results/room");
    let mut names: Vec<String> = std::fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, RESULTS);

    let trajectory = read_trajectory(&out.join("trajectory.txt")).unwrap();
    let stamps: Vec<Stamp> = trajectory.poses().iter().map(|pose| pose.stamp).collect();
    assert_eq!(stamps, (0..FRAMES).map(stamp).collect::<Vec<_>>());
    let cloud = read_ply(&out.join("map.ply")).unwrap();
    assert!(cloud.points.len() > 10_000 && cloud.colors.len() == cloud.points.len());
    assert!(cloud.points.iter().all(|p| p.iter().all(|c| c.abs() < 10.0)));
    let saved = recorded.read("results/room/config.yaml");
    assert_eq!(Config::from_sources(Some(&saved), &[]).unwrap(), Config::default());
    assert_is_picture(&out.join("trajectory.png"));
    assert_is_picture(&out.join("map.png"));

    let metrics = recorded.metrics("results/room");
    for (name, expected) in [("frames", FRAMES), ("tracked", FRAMES), ("skipped", 0)] {
        assert_eq!(metrics[name], expected, "{name}");
    }
    let ate_m = metrics["trajectory"]["ate_se3"].as_f64().unwrap();
    assert!(ate_m < 0.02, "ATE is {ate_m} m");
    assert!(metrics["fps"].as_f64().unwrap() > 0.0);
    let [p50, p95] = ["latency_p50_ms", "latency_p95_ms"].map(|n| metrics[n].as_f64().unwrap());
    assert!(0.0 < p50 && p50 <= p95, "{p50} ms, {p95} ms");
    let rows = ["frames", "tracked", "30 (100.0 %)", "keyframes", "loops", "ATE", "fps", "p95"];
    assert_tells(&table, &rows);
    assert_tells(&table, &["results in results/room"]);
}

/// Options, the index of the first frame that they select and its number, and how many follow.
const SELECTIONS: [(&[&str], usize, usize, usize); 6] = [
    (&["--every", "3"], 0, 3, 10),
    (&["--max-frames", "7"], 0, 1, 7),
    (&["--start", "0.5"], 15, 1, 15),
    (&["--duration", "0.4"], 0, 1, 12),
    (&["--start", "0.5", "--duration", "0.2"], 15, 1, 6),
    (&["--every", "2", "--start", "0.2", "--max-frames", "4"], 6, 2, 4),
];

#[test]
fn options_select_the_frames_that_they_say() {
    let recorded = Recorded::of(FRAMES);
    for (options, first, step, count) in SELECTIONS {
        let metrics = recorded.figures(options);
        assert_eq!(metrics["frames"], count, "{options:?}");
        assert_eq!(metrics["tracked"], count, "{options:?}");
        let trajectory = read_trajectory(&recorded.path("out/trajectory.txt")).unwrap();
        let stamps: Vec<Stamp> = trajectory.poses().iter().map(|pose| pose.stamp).collect();
        let expected: Vec<Stamp> = (0..count).map(|i| stamp(first + step * i)).collect();
        assert_eq!(stamps, expected, "{options:?}");
    }
}

#[test]
fn a_repeated_recording_is_one_long_one() {
    let recorded = Recorded::of(8);
    let metrics = recorded.figures(&["--repeat", "3"]);
    assert_eq!((&metrics["frames"], &metrics["tracked"]), (&24.into(), &24.into()));
    let trajectory = read_trajectory(&recorded.path("out/trajectory.txt")).unwrap();
    assert_eq!(trajectory.poses().len(), 24);
}

#[test]
fn a_quiet_run_prints_nothing() {
    let recorded = Recorded::of(3);
    let output = recorded.recon(&["replay", "room", "--quiet", "--out", "out"]).output().unwrap();
    assert!(output.status.success());
    assert_eq!((text(&output.stdout), text(&output.stderr)), (String::new(), String::new()));
    assert!(recorded.path("out/metrics.json").exists());
}

#[test]
fn two_runs_are_identical_with_any_number_of_threads() {
    let recorded = Recorded::of(FRAMES);
    let run = |out: &str, threads: Option<&str>| {
        let mut command = recorded.recon(&["replay", "room", "--quiet", "--out", out]);
        command.envs(threads.map(|count| ("RAYON_NUM_THREADS", count)));
        assert!(command.output().unwrap().status.success());
        ["trajectory.txt", "map.ply"].map(|name| recorded.bytes(&format!("{out}/{name}")))
    };
    let first = run("first", None);
    assert!(!first[0].is_empty() && !first[1].is_empty());
    for (out, threads) in [("second", None), ("one", Some("1")), ("three", Some("3"))] {
        assert!(run(out, threads) == first, "the run '{out}' differs");
    }
}

#[test]
fn a_second_run_replaces_the_results_of_the_first() {
    let recorded = Recorded::of(6);
    recorded.figures(&[]);
    let metrics = recorded.figures(&["--max-frames", "4"]);
    assert_eq!(metrics["frames"], 4);
    assert_eq!(read_trajectory(&recorded.path("out/trajectory.txt")).unwrap().poses().len(), 4);
}

#[test]
fn a_recording_without_ground_truth_has_no_errors_to_show() {
    let recorded = Recorded::of(4);
    recorded.remove("room/groundtruth.txt");
    let table = recorded.success(&["replay", "room", "--out", "out"]);
    assert!(!table.contains("ATE"), "{table}");
    assert!(recorded.metrics("out").get("trajectory").is_none());
    assert_is_picture(&recorded.path("out/trajectory.png"));
}

#[test]
fn the_results_can_be_judged_and_the_recording_described() {
    let recorded = Recorded::of(FRAMES);
    recorded.figures(&[]);
    let eval = ["eval", "--estimate", "out/trajectory.txt", "--reference", "room/groundtruth.txt"];
    let more = ["--frames", "room/rgb.txt", "--json", "-"];
    let figures: serde_json::Value =
        serde_json::from_str(&recorded.success(&[eval.as_slice(), &more].concat())).unwrap();
    assert_eq!(figures["tracked"], 1.0);
    let ate_m = recorded.metrics("out")["trajectory"]["ate_se3"].as_f64().unwrap();
    assert!((figures["ate_se3"].as_f64().unwrap() - ate_m).abs() < 1e-6);
    assert_tells(&recorded.success(&["info", "room"]), &["rgb.txt", "depth.txt", "30"]);
}
