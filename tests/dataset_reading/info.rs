//! `recon info` as a user sees it.

use crate::support::bags::{COLOR, DEPTH, IMAGE, Recording, START, color_message};
use crate::support::{TumFolder, assert_tells};
use assert_cmd::Command;

fn info(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::cargo_bin("recon").unwrap().arg("info").args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn tables_and_json_tell_the_same() {
    let tum = TumFolder::of(5);
    let path = tum.path().to_str().unwrap();
    let (code, text, _) = info(&[path]);
    assert_eq!(code, Some(0));
    assert_tells(&text, &["rgb.txt", "10.0 Hz", "8x6 pixels", "5 of 5 colour images"]);
    let (code, json, _) = info(&[path, "--json"]);
    assert_eq!(code, Some(0));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["streams"][0]["count"], 5);
    assert_eq!(json["camera"]["width"], 8);
    assert_eq!(json["depth_scale"], 1000.0);
}

#[test]
fn options_reach_the_choice_of_topics() {
    let folder = tempfile::tempdir().unwrap();
    let mut recording = Recording::rgbd(2);
    recording.add("/other/color/image_raw", IMAGE, START, color_message(0, START));
    let path = recording.mcap(&folder.path().join("bag.mcap"));
    let path = path.to_str().unwrap();
    let (_, text, _) = info(&[path]);
    assert_tells(&text, &[COLOR, DEPTH, "calibration: 8x6"]);
    let (code, text, _) = info(&[path, "--image-topic", "/other/color/image_raw"]);
    assert_eq!(code, Some(0));
    assert_tells(&text, &["named by an option"]);
}

#[test]
fn failure_is_1_and_bad_use_is_2() {
    let (code, _, error) = info(&["/nowhere/at/all"]);
    assert_eq!(code, Some(1));
    assert_tells(&error, &["error: /nowhere/at/all: cannot open the recording"]);
    let tum = TumFolder::of(1);
    let (code, _, error) = info(&[tum.path().to_str().unwrap(), "--rate", "0"]);
    assert_eq!(code, Some(2));
    assert_tells(&error, &["rate"]);
    assert_eq!(info(&["--no-such-option"]).0, Some(2));
}
