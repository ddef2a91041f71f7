//! `recon replay` with a feed-forward model: which weights, which device, and what nonsense becomes.

use crate::support::{Recorded, assert_tells};

/// A recording, and tiny random weights in the folder `tiny`.
fn recorded(frames: usize, architecture: &str) -> Recorded {
    let recorded = Recorded::of(frames);
    recorded.success(&["weights", "random", "--arch", architecture, "tiny"]);
    recorded
}

const REPLAY: [&str; 5] = ["replay", "room", "--out", "out", "--model"];

fn replay<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [REPLAY.as_slice(), &["mapanything"], more].concat()
}

/// Random weights see nonsense, so every frame but the first of each attempt is lost: the run goes
/// to its end, says so, and does not claim what it has not found.
#[test]
fn a_run_with_random_weights_ends_in_good_order_and_is_lost() {
    for architecture in ["tiny-v1", "tiny-v1.1"] {
        let recorded = recorded(12, architecture);
        recorded.remove("room/depth.txt");
        let small = ["--weights", "tiny", "--set", "model.resolution_px=168"];
        let output = recorded.recon(&replay(&small)).output().unwrap();
        let metrics = recorded.metrics("out");
        let tracked = metrics["tracked"].as_u64().unwrap();
        assert_eq!(metrics["frames"], 12);
        assert!(tracked < 6, "{tracked} frames cannot have been placed");
        assert_eq!(output.status.success(), tracked > 0, "a run that placed nothing has failed");
        let table = String::from_utf8(output.stdout).unwrap();
        assert_tells(&table, &["lost", &(12 - tracked).to_string()]);
    }
}

/// Before, the first keyframe was what the model made of it, and nothing could be placed in that.
#[test]
fn random_weights_do_no_harm_beside_a_depth_sensor() {
    let recorded = recorded(12, "tiny-v1");
    let small = ["--weights", "tiny", "--set", "model.resolution_px=168"];
    for more in [&small[..], &[small.as_slice(), &["--set", "model.late_frames=3"]].concat()] {
        recorded.success(&replay(more));
        let metrics = recorded.metrics("out");
        assert_eq!(metrics["tracked"], 12, "{more:?}");
        assert_eq!(metrics["inference"]["merged"], 0, "{more:?}");
    }
}

/// The same with each network that sees pairs or sets: MASt3R's finds and matches places, too.
#[test]
fn a_run_with_a_network_of_the_other_family_ends_in_good_order() {
    let folder =
        |name: &str| format!("{}/tests/data/dust3r_family/{name}", env!("CARGO_MANIFEST_DIR"));
    for (model, weights) in
        [("mast3r", "mast3r"), ("dust3r", "dust3r_linear"), ("fast3r", "fast3r")]
    {
        let recorded = Recorded::of(6);
        let weights = folder(weights);
        let small = ["--weights", &weights, "--set", "model.resolution_px=96"];
        let arguments = [&REPLAY, [model].as_slice(), &small].concat();
        let output = recorded.recon(&arguments).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        let metrics = recorded.metrics("out");
        assert_eq!(metrics["frames"], 6, "{model}: {message}");
        let tracked = metrics["tracked"].as_u64().unwrap();
        assert_eq!(output.status.success(), tracked > 0, "{model}: {message}");
    }
}

#[test]
fn reduced_weights_and_other_types_run_as_well() {
    let recorded = recorded(2, "tiny-v1.1");
    recorded.success(&["weights", "quantize", "tiny", "--type", "q8_0", "small"]);
    for more in [["--weights", "small"], ["--dtype", "bf16"], ["--dtype", "f16"]] {
        // The option that comes later wins where it names other weights.
        let weights = if more[0] == "--weights" { more[1] } else { "tiny" };
        let dtype = if more[0] == "--dtype" { more[1] } else { "auto" };
        let settings = ["--set", "model.resolution_px=112", "--dtype", dtype];
        let arguments = replay(&[["--weights", weights].as_slice(), &settings].concat());
        let output = recorded.recon(&arguments).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.success() || message.contains("no frame could be placed"),
            "{message}"
        );
        assert_eq!(recorded.metrics("out")["frames"], 2, "{arguments:?}");
    }
}

#[test]
fn auto_goes_by_the_cameras_depth_where_there_are_no_weights_and_says_so() {
    let recorded = Recorded::of(6);
    let auto = |more: &[&str]| {
        let mut command = recorded.recon(&[REPLAY.as_slice(), &["auto"], more].concat());
        let output = command.env("HF_HUB_CACHE", recorded.path("empty")).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = auto(&[]);
    assert_eq!(code, Some(0), "{said}");
    assert_tells(&said, &["warning: ", "mapanything", "recon weights fetch"]);
    assert_eq!(recorded.metrics("out")["tracked"], 6);
    assert_tells(&recorded.read("out/config.yaml"), &["name: \"sensor-depth\""]);

    // The same camera without its depth.
    recorded.remove("room/depth.txt");
    let (code, said) = auto(&[]);
    assert_eq!(code, Some(2), "{said}");
    assert_tells(&said, &["error: ", "without depth", "recon weights fetch"]);

    recorded.success(&["weights", "random", "--arch", "tiny-v1", "tiny"]);
    auto(&["--weights", "tiny", "--set", "model.resolution_px=112"]);
    assert_tells(&recorded.read("out/config.yaml"), &["name: \"mapanything\""]);
}

/// Options, the exit status, and what the answer must name.
type Refused = (&'static [&'static str], i32, &'static [&'static str]);

const REFUSED: [Refused; 7] = [
    (&[], 1, &["map-anything-apache are not here", "recon weights fetch", "--weights DIR"]),
    (&["--weights", "map-anything"], 1, &["recon weights fetch facebook/map-anything'"]),
    (&["--weights", "nowhere"], 1, &["nowhere", "no such folder", "recon weights list"]),
    (&["--weights", "room"], 1, &["room", "no weights are in this folder"]),
    (&["--weights", "tiny", "--device", "abacus"], 2, &["abacus", "cpu"]),
    (&["--weights", "tiny", "--dtype", "f64"], 2, &["model.dtype", "f64", "auto, f32, bf16, f16"]),
    (
        &["--weights", "tiny", "--set", "model.resolution_px=200"],
        2,
        &["model.resolution_px", "196 or 210"],
    ),
];

#[test]
fn what_cannot_be_used_is_told_with_the_remedy_and_leaves_nothing() {
    let recorded = recorded(1, "tiny-v1");
    for (options, code, parts) in REFUSED {
        let mut command = recorded.recon(&replay(options));
        command.env("HF_HUB_CACHE", recorded.path("empty"));
        let output = command.output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{options:?}: {message}");
        assert_eq!(message.trim_end().lines().count(), 1, "more than a sentence: {message}");
        assert_tells(&message, parts);
        assert!(!recorded.path("out").exists(), "a run that cannot begin leaves nothing");
    }
}

#[test]
fn damaged_weights_are_named_and_not_used() {
    let recorded = recorded(1, "tiny-v1");
    recorded.truncate("tiny/model.safetensors", 0.9);
    let message = recorded.failure(&replay(&["--weights", "tiny"]), 1);
    assert_tells(&message, &["tiny/model.safetensors"]);
}
