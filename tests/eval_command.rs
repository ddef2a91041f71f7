//! `recon eval` as its user meets it: what it prints, and what it says about bad input.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

use std::fmt::Write;
use std::path::{Path, PathBuf};

use assert_cmd::Command;

/// A folder with input for the command.
struct Input {
    folder: tempfile::TempDir,
}

impl Input {
    fn new() -> Self {
        let input = Self { folder: tempfile::tempdir().unwrap() };
        input.write("truth.txt", &helix(100.0, 60));
        input.write("estimate.txt", &helix(100.0, 60));
        input.write("frames.txt", "# a list\n100.0 a.png\n102.0 b.png\n200 c.png\n");
        input.write("map.ply", &ply("0 0 0\n1 0 0\n0 1 0\n0 0 1\n"));
        input
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Runs `recon eval` on the truth and the given files, in the folder.
    fn eval(&self, more: &[&str]) -> std::process::Output {
        let mut command = Command::cargo_bin("recon").unwrap();
        command.current_dir(&self.folder).args(["eval", "--reference", "truth.txt"]).args(more);
        command.output().unwrap()
    }

    fn failure(&self, more: &[&str]) -> String {
        let output = self.eval(more);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{more:?}: {message}");
        assert_eq!(message.trim_end().lines().count(), 1, "{message}");
        message
    }
}

fn helix(start_secs: f64, count: usize) -> String {
    (0..count).fold(String::new(), |mut text, i| {
        let t = i as f64 * 0.1;
        writeln!(text, "{:.6} {} {} {t} 0 0 0 1", start_secs + t, t.cos(), t.sin()).unwrap();
        text
    })
}

fn ply(rows: &str) -> String {
    let count = rows.lines().count();
    let xyz = "property float x\nproperty float y\nproperty float z\n";
    format!("ply\nformat ascii 1.0\nelement vertex {count}\n{xyz}end_header\n{rows}")
}

fn width_and_height(path: &Path) -> (u32, u32) {
    image::image_dimensions(path).unwrap()
}

#[test]
fn the_table_the_json_and_the_plots_appear() {
    let input = Input::new();
    let output = input.eval(&[
        "--estimate",
        "estimate.txt",
        "--frames",
        "frames.txt",
        "--map",
        "map.ply",
        "--surface",
        "map.ply",
        "--icp",
        "--json",
        "figures.json",
        "--plots",
        "plots/deep",
    ]);
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for text in ["ATE RMSE", "66.7 % of 3", "60 of 60", "F-score within 5 cm", "after ICP"] {
        assert!(table.contains(text), "{text} is not in\n{table}");
    }
    let json = std::fs::read_to_string(input.path("figures.json")).unwrap();
    let figures: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(figures["ate_se3"].as_f64().unwrap() < 1e-9);
    assert!((figures["scale"].as_f64().unwrap() - 1.0).abs() < 1e-9);
    assert_eq!(figures["map_align"], "se3");
    assert!(figures["fscore_icp"].as_f64().unwrap() > 0.999);
    assert_eq!(width_and_height(&input.path("plots/deep/trajectory.png")), (1200, 900));
    assert_eq!(width_and_height(&input.path("plots/deep/map.png")), (1400, 800));
}

#[test]
fn json_alone_can_be_printed() {
    let input = Input::new();
    let output = input.eval(&["--estimate", "estimate.txt", "--json", "-"]);
    let figures: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(figures["matched"], 60);
    assert!(figures.get("map_align").is_none());
}

#[test]
fn a_missing_estimate_is_named() {
    let message = Input::new().failure(&["--estimate", "nowhere.txt"]);
    assert!(message.contains("nowhere.txt"), "{message}");
}

#[test]
fn trajectories_of_different_times_are_told_both_spans() {
    let input = Input::new();
    input.write("late.txt", &helix(500.0, 30));
    let message = input.failure(&["--estimate", "late.txt"]);
    for text in ["late.txt", "500.000000 to 502.900000 s", "100.000000 to 105.900000 s"] {
        assert!(message.contains(text), "{text} is not in {message}");
    }
}

#[test]
fn fewer_than_three_poses_are_counted() {
    let input = Input::new();
    input.write("short.txt", &helix(100.0, 2));
    let message = input.failure(&["--estimate", "short.txt"]);
    assert!(
        message.contains("short.txt: has 2 poses; an evaluation needs at least 3"),
        "{message}"
    );
}

#[test]
fn fewer_than_three_pairs_are_counted() {
    let input = Input::new();
    input.write("beside.txt", &helix(105.8, 30));
    let message = input.failure(&["--estimate", "beside.txt"]);
    assert!(message.contains("2 correspondences, at least 3 are needed"), "{message}");
}

#[test]
fn a_trajectory_that_stands_still_cannot_be_aligned() {
    let input = Input::new();
    let still: String = (0..9).map(|i| format!("10{i} 1 2 3 0 0 0 1\n")).collect();
    input.write("still.txt", &still);
    let message = input.failure(&["--estimate", "still.txt", "--max-difference", "0.5"]);
    assert!(message.contains("still.txt") && message.contains("singular values"), "{message}");
}

/// Name of a map, its text, and what the message must say.
const BAD_MAPS: [(&str, &str, &str); 4] = [
    ("empty.ply", "", "not a PLY file"),
    ("text.ply", "hello\n", "not a PLY file"),
    (
        "none.ply",
        "ply\nformat ascii 1.0\nelement vertex 0\nproperty float x\nproperty float y\nproperty float z\nend_header\n",
        "no points",
    ),
    (
        "nan.ply",
        "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\nend_header\nnan nan nan\n",
        "no points",
    ),
];

#[test]
fn a_map_that_is_empty_or_no_ply_is_named() {
    let input = Input::new();
    for (name, text, expected) in BAD_MAPS {
        input.write(name, text);
        for (map, surface) in [(name, "map.ply"), ("map.ply", name)] {
            let more = ["--estimate", "estimate.txt", "--map", map, "--surface", surface];
            let message = input.failure(&more);
            assert!(message.contains(name) && message.contains(expected), "{message}");
        }
    }
}

#[test]
fn a_list_of_frames_without_stamps_is_named_with_its_line() {
    let input = Input::new();
    for (text, expected) in [("# none\n", "lists no frame"), ("1.0 a\nrgb/x.png\n", "line 2")] {
        input.write("bad.txt", text);
        let message = input.failure(&["--estimate", "estimate.txt", "--frames", "bad.txt"]);
        assert!(message.contains("bad.txt") && message.contains(expected), "{message}");
    }
}

#[test]
fn output_that_cannot_be_written_is_named_with_a_remedy() {
    let input = Input::new();
    for (option, place) in [("--json", "truth.txt/a.json"), ("--plots", "truth.txt/plots")] {
        let message = input.failure(&["--estimate", "estimate.txt", option, place]);
        assert!(message.contains(place) && message.contains("choose"), "{message}");
    }
}

#[test]
fn a_bad_command_line_exits_with_2() {
    let input = Input::new();
    let bad: [&[&str]; 5] = [
        &["--estimate", "estimate.txt", "--map", "map.ply"],
        &["--estimate", "estimate.txt", "--icp"],
        &["--estimate", "estimate.txt", "--max-difference", "-1"],
        &["--estimate", "estimate.txt", "--threshold-m", "nan"],
        &[],
    ];
    for more in bad {
        assert_eq!(input.eval(more).status.code(), Some(2), "{more:?}");
    }
}
