//! `recon demo`, and a run that is stopped.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use recon_node::dataset::read_trajectory;

use crate::support::{Recorded, assert_is_picture, assert_tells, text};

#[test]
fn a_short_demo_is_accurate_and_leaves_all_results() {
    let folder = Recorded::nothing();
    let table = folder.success(&["demo", "--duration", "1", "--out", "demo"]);
    assert_tells(&table, &["30 (100.0 %)", "ATE, SE(3)", "map accuracy", "results in demo"]);
    let metrics = folder.metrics("demo");
    assert_eq!((&metrics["frames"], &metrics["tracked"]), (&30.into(), &30.into()));
    assert!(metrics["trajectory"]["ate_se3"].as_f64().unwrap() < 0.015, "{metrics}");
    assert!(metrics["map"]["accuracy_cm"].as_f64().unwrap() < 1.5, "{metrics}");
    for name in ["trajectory.png", "map.png"] {
        assert_is_picture(&folder.path("demo").join(name));
    }
}

#[test]
fn other_scenes_can_be_shown() {
    let folder = Recorded::nothing();
    for scene in ["building", "corridor"] {
        let arguments = ["demo", "--scene", scene, "--duration", "0.5", "--out", scene];
        let table = folder.success(&arguments);
        assert_tells(&table, &["15 (100.0 %)", "ATE, SE(3)", "map accuracy"]);
        let metrics = folder.metrics(scene);
        assert!(metrics["trajectory"]["ate_se3"].as_f64().unwrap() < 0.015, "{metrics}");
    }
    let refused = Recorded::nothing().recon(&["demo", "--scene", "castle"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let message = String::from_utf8_lossy(&refused.stderr);
    assert_tells(&message, &["castle", "room", "moving-box", "corridor", "building"]);
}

#[test]
fn a_demo_of_no_length_is_refused() {
    let message = Recorded::nothing().failure(&["demo", "--duration", "0"], 2);
    assert_tells(&message, &["duration_secs", "choose"]);
}

/// Waits until `path` exists.
fn wait_for(path: &Path) {
    let started = Instant::now();
    while !path.exists() {
        assert!(started.elapsed() < Duration::from_secs(120), "{} is missing", path.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn interrupt(process: &Child) {
    let status = Command::new("kill").args(["-INT", &process.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Waits for the end; a process that goes on for too long is ended, and fails the test.
fn wait_for_end(mut process: Child) -> std::process::Output {
    let started = Instant::now();
    while process.try_wait().unwrap().is_none() {
        if started.elapsed() > Duration::from_secs(180) {
            process.kill().unwrap();
            panic!("the program does not stop");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    process.wait_with_output().unwrap()
}

#[test]
fn a_run_that_is_stopped_saves_what_it_has_and_says_so() {
    let folder = Recorded::nothing();
    let process = Command::new(env!("CARGO_BIN_EXE_recon"))
        .current_dir(&folder.folder)
        .args(["demo", "--duration", "600", "--out", "out"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(&folder.path("out/config.yaml"));
    // Long enough for some frames, on a busy machine too; the recording is far longer.
    std::thread::sleep(Duration::from_secs(4));
    interrupt(&process);
    let output = wait_for_end(process);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_tells(&text(&output.stdout), &["stopped early", "saved", "results in out"]);
    let metrics = folder.metrics("out");
    assert_eq!(metrics["interrupted"], true);
    let frames = metrics["frames"].as_u64().unwrap();
    assert!((1..18_000).contains(&frames), "{frames} frames");
    let trajectory = read_trajectory(&folder.path("out/trajectory.txt")).unwrap();
    assert_eq!(trajectory.poses().len() as u64, metrics["tracked"].as_u64().unwrap());
    assert!(folder.path("out/map.ply").exists() && folder.path("out/map.png").exists());
}
