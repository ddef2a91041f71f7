//! Help, `recon config`, and what configurations are accepted.

use crate::support::{Recorded, assert_tells, text};

#[test]
fn the_printed_configuration_is_accepted_and_is_the_default() {
    let recorded = Recorded::of(2);
    let printed = recorded.success(&["config"]);
    recorded.write("mine.yaml", &printed);
    recorded.success(&["replay", "room", "--config", "mine.yaml", "--out", "with"]);
    recorded.success(&["replay", "room", "--out", "without"]);
    assert_eq!(recorded.read("with/config.yaml"), printed);
    assert_eq!(recorded.read("without/config.yaml"), printed);
    let comments = printed.lines().filter(|line| line.trim_start().starts_with('#')).count();
    assert!(comments >= printed.lines().count() / 2, "{printed}");
}

#[test]
fn a_saved_configuration_gives_the_same_run_again() {
    let recorded = Recorded::of(4);
    let settings = ["--set", "tracking.max_points=3000", "--set", "map.voxel_size_m=0.05"];
    let replay = ["replay", "room", "--out", "first"];
    recorded.success(&[replay.as_slice(), settings.as_slice()].concat());
    recorded.success(&["replay", "room", "--config", "first/config.yaml", "--out", "second"]);
    for name in ["config.yaml", "trajectory.txt", "map.ply"] {
        let [first, second] =
            ["first", "second"].map(|out| recorded.bytes(&format!("{out}/{name}")));
        assert!(first == second, "{name} differs");
    }
    let saved = recorded.read("second/config.yaml");
    assert_tells(&saved, &["max_points: 3000", "voxel_size_m: 0.05"]);
}

#[test]
fn a_setting_wins_over_the_file() {
    let recorded = Recorded::of(1);
    recorded.write("mine.yaml", "tracking:\n  max_points: 2000\n  max_iterations: 7\n");
    let set = ["--config", "mine.yaml", "--set", "tracking.max_points=3000"];
    recorded.success(&[["replay", "room", "--out", "out"].as_slice(), &set].concat());
    assert_tells(&recorded.read("out/config.yaml"), &["max_points: 3000", "max_iterations: 7"]);
}

#[test]
fn a_larger_voxel_leaves_fewer_points() {
    let recorded = Recorded::of(1);
    recorded.figures(&["--set", "map.voxel_size_m=0.02"]);
    let fine = recorded.bytes("out/map.ply").len();
    recorded.figures(&["--set", "map.voxel_size_m=0.10"]);
    let coarse = recorded.bytes("out/map.ply").len();
    assert!(coarse * 4 < fine, "{coarse} and {fine} bytes");
}

/// A sub-command, and the options that its help must teach.
const HELP: [(&[&str], &[&str]); 7] = [
    (&[], &["demo", "replay", "eval", "info", "weights", "config", "recon demo", "--version"]),
    (&["weights"], &["list", "fetch", "verify", "path", "random", "quantize"]),
    (
        &["replay"],
        &[
            "PATH",
            "--config",
            "--out",
            "--model",
            "--weights",
            "--device",
            "--dtype",
            "--every",
            "--start",
            "--duration",
            "--max-frames",
            "--repeat",
            "--set",
            "--quiet",
            "--calibration",
            "--image-topic",
            "--depth-topic",
            "--camera-info-topic",
            "--odom-topic",
            "--rate",
            "sensor-depth",
            "TUM",
        ],
    ),
    (
        &["demo"],
        &["--scene", "--duration", "--seed", "--config", "--out", "--set", "--model", "--quiet"],
    ),
    (&["eval"], &["--estimate", "--reference", "--map", "--surface", "--icp", "--json", "--plots"]),
    (&["info"], &["PATH", "--json", "--image-topic", "--calibration"]),
    (&["config"], &["default configuration"]),
];

#[test]
fn help_names_what_there_is() {
    let folder = Recorded::nothing();
    for (command, parts) in HELP {
        let help = folder.success(&[command, &["--help"]].concat());
        assert_tells(&help, parts);
    }
}

/// Command lines that mean nothing, and what the answer must name.
const BAD_USE: [(&[&str], &str); 8] = [
    (&[], "Usage"),
    (&["rplay"], "replay"),
    (&["replay"], "PATH"),
    (&["replay", "room", "--evry", "2"], "--every"),
    (&["replay", "room", "--every", "two"], "two"),
    (&["replay", "room", "--max-frames", "-3"], "-3"),
    (&["demo", "--duration", "long"], "long"),
    (&["config", "--all"], "--all"),
];

#[test]
fn a_bad_command_line_exits_with_2_and_names_what_is_wrong() {
    let folder = Recorded::nothing();
    for (arguments, part) in BAD_USE {
        let output = folder.recon(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_tells(&text(&output.stderr), &[part]);
    }
}

/// Options that clap lets through and that have no meaning, and what the answer must name.
const BAD_OPTIONS: [(&[&str], &[&str]); 7] = [
    (&["--every", "0"], &["--every", "at least 1"]),
    (&["--max-frames", "0"], &["--max-frames", "at least 1"]),
    (&["--repeat", "0"], &["--repeat", "at least 1"]),
    (&["--duration", "0"], &["--duration", "more than zero"]),
    (&["--start", "nan"], &["--start", "zero or more"]),
    (&["--start", "1000"], &["room", "--start", "2 frames"]),
    (&["--rate", "0"], &["rate", "more than zero"]),
];

#[test]
fn an_option_without_meaning_exits_with_2() {
    let recorded = Recorded::of(2);
    for (options, parts) in BAD_OPTIONS {
        let message = recorded.failure(&[&["replay", "room"], options].concat(), 2);
        assert_tells(&message, parts);
    }
}

/// What `--set` may not say, and what the answer must name.
const BAD_SETTINGS: [(&str, &[&str]); 6] = [
    ("map.voxel_size_m", &["map.voxel_size_m", "key=value"]),
    ("map.voxel=1", &["map.voxel", "did you mean 'voxel_size_m'", "recon config"]),
    ("map.voxel_size_m=-1", &["map.voxel_size_m", "at least 0.001"]),
    ("map.voxel_size_m=small", &["map.voxel_size_m", "a number"]),
    ("map=1", &["'map'", "mapping"]),
    ("=", &["there is no such key"]),
];

#[test]
fn a_bad_setting_exits_with_2() {
    let recorded = Recorded::of(1);
    for (setting, parts) in BAD_SETTINGS {
        let message = recorded.failure(&["replay", "room", "--set", setting], 2);
        assert_tells(&message, parts);
    }
}

#[test]
fn a_wrong_key_or_value_in_the_file_exits_with_2() {
    let recorded = Recorded::of(1);
    let cases = [
        ("trackin:\n  max_points: 1\n", "did you mean 'tracking'"),
        ("tracking:\n  max_points: many\n", "tracking.max_points"),
        ("tracking:\n  max_points: 3\n", "at least 200"),
        ("tracking: [\n", "not valid YAML"),
    ];
    for (yaml, part) in cases {
        recorded.write("mine.yaml", yaml);
        let message = recorded.failure(&["replay", "room", "--config", "mine.yaml"], 2);
        assert_tells(&message, &[part]);
    }
}

#[test]
fn a_missing_configuration_file_is_named() {
    let recorded = Recorded::of(1);
    let message = recorded.failure(&["replay", "room", "--config", "nowhere.yaml"], 1);
    assert_tells(&message, &["nowhere.yaml", "read the configuration"]);
}

#[test]
fn an_unknown_model_exits_with_2_and_lists_the_known_ones() {
    let recorded = Recorded::of(1);
    let message = recorded.failure(&["replay", "room", "--model", "oracle"], 2);
    assert_tells(&message, &["'oracle'", "available", "sensor-depth", "mapanything"]);
    assert!(!recorded.path("results").exists(), "a run that cannot begin leaves nothing");
    recorded.figures(&["--model", "sensor-depth"]);
}

#[test]
fn the_configuration_is_checked_before_the_recording_is_opened() {
    let folder = Recorded::nothing();
    for option in [["--set", "map.voxel=1"], ["--model", "oracle"]] {
        let message = folder.failure(&[&["replay", "nowhere"], option.as_slice()].concat(), 2);
        assert!(!message.contains("nowhere"), "{message}");
    }
}
