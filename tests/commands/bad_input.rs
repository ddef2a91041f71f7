//! `recon replay` on folders with something wrong: one sentence, or a warning that is counted.

use recon_node::dataset::read_trajectory;

use crate::support::{Recorded, assert_tells, color_name, depth_name, png, text};

const FRAMES: usize = 6;

fn poses(recorded: &Recorded) -> usize {
    read_trajectory(&recorded.path("out/trajectory.txt")).unwrap().poses().len()
}

/// Asserts how many frames came and how many inputs were left out, and that the sentence about the
/// first of these holds all of `parts`, in the file of figures and on the screen.
fn assert_leaves_out(recorded: &Recorded, (frames, skipped): (usize, usize), parts: &[&str]) {
    let table = recorded.success(&["replay", "room", "--out", "out"]);
    let metrics = recorded.metrics("out");
    assert_eq!(metrics["skipped"], skipped, "{}", metrics["skips"]);
    assert_eq!((&metrics["frames"], &metrics["tracked"]), (&frames.into(), &frames.into()));
    assert_eq!(poses(recorded), frames);
    assert_tells(metrics["skips"][0].as_str().unwrap(), parts);
    assert_tells(&table, &["left out"]);
    assert_tells(&table, parts);
}

#[test]
fn a_missing_recording_is_named() {
    let folder = Recorded::nothing();
    assert_tells(&folder.failure(&["replay", "nowhere"], 1), &["nowhere", "open the recording"]);
    assert!(!folder.path("results").exists());
}

#[test]
fn a_folder_without_a_recording_is_told_what_one_is() {
    let folder = Recorded::nothing();
    folder.write("cellar/notes.md", "nothing here");
    let message = folder.failure(&["replay", "cellar"], 1);
    assert_tells(&message, &["cellar", "holds no recording", "rgb.txt", ".mcap"]);
}

#[test]
fn a_file_that_is_no_recording_is_told_what_one_is() {
    let folder = Recorded::nothing();
    folder.write("notes.md", "nothing here, and at some length");
    assert_tells(&folder.failure(&["replay", "notes.md"], 1), &["notes.md", "no recording"]);
}

#[test]
fn an_output_folder_that_cannot_be_made_is_named_with_a_remedy() {
    let recorded = Recorded::of(1);
    recorded.write("taken", "a file");
    for out in ["taken", "taken/below"] {
        let message = recorded.failure(&["replay", "room", "--out", out], 1);
        assert_tells(&message, &[out, "choose"]);
    }
    assert_eq!(recorded.read("taken"), "a file");
}

#[test]
fn a_recording_without_frames_is_told() {
    let recorded = Recorded::of(1);
    recorded.write("room/rgb.txt", "# timestamp filename\n");
    let message = recorded.failure(&["replay", "room"], 1);
    assert_tells(&message, &["rgb.txt", "lists no image", "record"]);
}

#[test]
fn one_frame_is_a_map_with_one_pose_and_no_error() {
    let recorded = Recorded::of(1);
    let table = recorded.success(&["replay", "room", "--out", "out"]);
    assert!(!table.contains("ATE"), "{table}");
    assert_eq!(poses(&recorded), 1);
    let metrics = recorded.metrics("out");
    assert_eq!((&metrics["frames"], &metrics["keyframes"]), (&1.into(), &1.into()));
    assert!(metrics.get("trajectory").is_none());
    assert!(recorded.path("out/map.png").exists() && recorded.path("out/trajectory.png").exists());
}

#[test]
fn depth_without_calibration_is_told_what_is_missing() {
    let recorded = Recorded::of(2);
    let calibration = recorded.read("room/calibration.yaml");
    recorded.remove("room/calibration.yaml");
    let message = recorded.failure(&["replay", "room"], 1);
    assert_tells(&message, &["calibration.yaml", "depth_scale", "--calibration"]);
    recorded.write("elsewhere.yaml", calibration);
    let metrics = recorded.figures(&["--calibration", "elsewhere.yaml"]);
    assert_eq!(metrics["tracked"], 2);
}

#[test]
fn a_bad_calibration_is_named_with_its_key() {
    let recorded = Recorded::of(1);
    recorded.edit("room/calibration.yaml", |_, line| line.replace("fx:", "fz:"));
    assert_tells(&recorded.failure(&["replay", "room"], 1), &["calibration.yaml", "fz"]);
}

#[test]
fn colour_alone_is_not_enough_for_sensor_depth() {
    let recorded = Recorded::of(3);
    recorded.remove("room/depth.txt");
    let message = recorded.failure(&["replay", "room", "--out", "out"], 1);
    assert_tells(&message, &["no frame could be placed", "sensor-depth", "needs depth", "give"]);
    let metrics = recorded.metrics("out");
    assert_eq!((&metrics["frames"], &metrics["tracked"]), (&3.into(), &0.into()));
}

#[test]
fn depth_of_another_size_is_left_out_and_counted() {
    let recorded = Recorded::of(FRAMES);
    recorded.write(&format!("room/{}", depth_name(2)), png(160, 120, vec![5000; 160 * 120]));
    assert_leaves_out(&recorded, (FRAMES - 1, 1), &["depth/0002.png", "160x120", "320x240"]);
}

#[test]
fn a_recording_whose_sizes_never_fit_is_told_both() {
    let recorded = Recorded::of(2);
    (0..2).for_each(|id| {
        recorded.write(&format!("room/{}", depth_name(id)), png(160, 120, vec![5000; 160 * 120]));
    });
    let message = recorded.failure(&["replay", "room"], 1);
    assert_tells(&message, &["room", "not one frame", "160x120", "320x240", "recon info"]);
}

#[test]
fn stamps_that_repeat_are_left_out_and_counted() {
    let recorded = Recorded::of(FRAMES);
    let lines = recorded.read("room/rgb.txt");
    let second: Vec<&str> = lines.lines().nth(1).unwrap().split(' ').collect();
    let repeat = |index, line: &str| match index {
        2 => format!("{} {}", second[0], line.split(' ').nth(1).unwrap()),
        _ => line.to_owned(),
    };
    recorded.edit("room/rgb.txt", repeat);
    assert_leaves_out(&recorded, (FRAMES - 1, 1), &["rgb/0002.jpg", "repeats"]);
}

#[test]
fn stamps_that_jump_back_are_left_out_and_counted() {
    let recorded = Recorded::of(FRAMES);
    let jump = |index, line: &str| match index {
        3 => format!("50.000000 {}", line.split(' ').nth(1).unwrap()),
        _ => line.to_owned(),
    };
    recorded.edit("room/rgb.txt", jump);
    assert_leaves_out(&recorded, (FRAMES - 1, 1), &["rgb/0003.jpg", "goes back", "50.000000"]);
}

#[test]
fn a_truncated_image_in_the_middle_is_left_out_and_counted() {
    let recorded = Recorded::of(FRAMES);
    recorded.truncate(&format!("room/{}", color_name(3)), 0.5);
    assert_leaves_out(&recorded, (FRAMES - 1, 1), &["rgb/0003.jpg"]);
}

#[test]
fn an_image_that_is_not_there_is_left_out_and_counted() {
    let recorded = Recorded::of(FRAMES);
    recorded.remove(&format!("room/{}", color_name(4)));
    assert_leaves_out(&recorded, (FRAMES - 1, 1), &["rgb/0004.jpg", "cannot read"]);
}

#[test]
fn a_frame_whose_depth_is_truncated_is_placed_all_the_same() {
    let recorded = Recorded::of(FRAMES);
    recorded.truncate(&format!("room/{}", depth_name(3)), 0.5);
    assert_leaves_out(&recorded, (FRAMES, 1), &["depth/0003.png", "without depth"]);
}

#[test]
fn more_than_a_few_reasons_are_counted_on_the_screen_and_kept_in_the_figures() {
    let recorded = Recorded::of(9);
    (1..9).for_each(|id| recorded.remove(&format!("room/{}", color_name(id))));
    let table = recorded.success(&["replay", "room", "--out", "out"]);
    assert_tells(&table, &["3 more", "metrics.json"]);
    assert_eq!(recorded.metrics("out")["skips"].as_array().unwrap().len(), 8);
}

#[test]
fn a_recording_without_one_good_image_is_told_the_last_reason() {
    let recorded = Recorded::of(2);
    (0..2).for_each(|id| recorded.truncate(&format!("room/{}", color_name(id)), 0.3));
    let message = recorded.failure(&["replay", "room"], 1);
    assert_tells(&message, &["not one frame", "rgb/0001.jpg", "recon info"]);
}

#[test]
fn an_image_folder_goes_the_same_way() {
    let recorded = Recorded::of(3);
    let message = recorded.failure(&["replay", "room/rgb", "--out", "out"], 1);
    assert_tells(&message, &["no frame could be placed", "calibrat"]);
    let options = ["--calibration", "room/calibration.yaml", "--out", "out"];
    let message = recorded.failure(&[["replay", "room/rgb"].as_slice(), &options].concat(), 1);
    assert_tells(&message, &["no frame could be placed", "needs depth"]);
}

#[test]
fn info_says_what_is_wrong_in_one_sentence_too() {
    let folder = Recorded::nothing();
    let output = folder.recon(&["info", "nowhere"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_tells(&text(&output.stderr), &["error: nowhere"]);
}
