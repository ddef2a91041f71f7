//! Watching a session in rerun's viewer.

use crate::support::{Recorded, assert_tells};

#[test]
fn what_to_watch_with_is_checked_before_anything_is_read() {
    let recorded = Recorded::nothing();
    let failure = |how: &[&str]| {
        let arguments = [&["replay", "nowhere", "--rerun"], how].concat();
        recorded.failure(&arguments, 2)
    };
    assert_tells(&failure(&["save"]), &["rerun", "save needs a file"]);
    assert_tells(&failure(&["watch"]), &["'watch' is unknown", "save FILE.rrd"]);
    assert_tells(&failure(&["serve", "room"]), &["'room' is no address", "before --rerun"]);
}

#[cfg(not(feature = "viz"))]
#[test]
fn a_program_without_the_viewer_says_how_to_build_one_with_it() {
    let recorded = Recorded::of(2);
    let arguments = ["replay", "room", "--out", "out", "--rerun", "save", "run.rrd"];
    assert_tells(&recorded.failure(&arguments, 2), &["rerun", "--features viz"]);
}

#[cfg(feature = "viz")]
#[test]
fn a_replay_leaves_a_recording_for_the_viewer() {
    let recorded = Recorded::of(20);
    recorded.success(&["replay", "room", "--out", "out", "--rerun", "save", "run.rrd"]);
    let bytes = recorded.bytes("run.rrd");
    assert!(bytes.starts_with(b"RRF2") && bytes.len() > 10_000, "{} bytes", bytes.len());
    assert_eq!(recorded.read("out/timing.csv").lines().count(), 21);
    let arguments = ["replay", "room", "--out", "out", "--rerun", "save", "nowhere/run.rrd"];
    assert_tells(
        &recorded.failure(&arguments, 1),
        &["nowhere/run.rrd", "cannot write the recording"],
    );
}
