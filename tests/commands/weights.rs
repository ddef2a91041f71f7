//! `recon weights`: each sub-command, as its user meets it, with tiny models and a hub of one's own.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::hub::{COMMIT, Hub, Server};
use crate::support::{Recorded, assert_tells, text};

/// A folder to run in, and a hub that has tiny weights.
struct Place {
    folder: Recorded,
    hub: Server,
    _storage: Server,
}

impl Place {
    fn new() -> Self {
        let folder = Recorded::nothing();
        folder.success(&["weights", "random", "--arch", "tiny-v1.1", "tiny"]);
        let hub = Hub {
            tensors: folder.bytes("tiny/model.safetensors"),
            config: folder.bytes("tiny/config.json"),
            ..Hub::new()
        };
        let (hub, _storage) = hub.start();
        Self { folder, hub, _storage }
    }

    /// Runs `recon weights` with the cache in the folder.
    fn weights(&self, arguments: &[&str]) -> Output {
        let mut command = self.folder.recon(&[&["weights"], arguments].concat());
        command.env("HF_ENDPOINT", &self.hub.address).env("HF_HOME", self.folder.path("hf"));
        for name in ["HF_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE"] {
            command.env_remove(name);
        }
        command.output().unwrap()
    }

    fn success(&self, arguments: &[&str]) -> String {
        let output = self.weights(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    fn failure(&self, arguments: &[&str], code: i32) -> String {
        let output = self.weights(arguments);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
        assert_eq!(message.trim_end().lines().count(), 1, "more than a sentence: {message}");
        message
    }
}

#[test]
fn weights_are_listed_fetched_found_and_checked() {
    let place = Place::new();
    let list = place.success(&["list"]);
    let models = ["map-anything-apache", "map-anything-apache-v1", "map-anything-v1"];
    assert_tells(&list, &models);
    assert_tells(&list, &["v1.1", "563 M", "1228 M", "2.25 GB", "4.91 GB", "cc-by-nc-4.0"]);
    assert_eq!(list.matches("not here").count(), 4, "{list}");
    assert_tells(&place.failure(&["path"], 1), &["recon weights fetch"]);

    let fetched = place.success(&["fetch"]);
    let folder = format!("hf/hub/models--facebook--map-anything-apache/snapshots/{COMMIT}");
    assert_tells(&fetched, &["apache-2.0", "commercially", &folder]);
    assert_eq!(place.success(&["list"]).matches("not here").count(), 3);
    let path = place.success(&["path", "map-anything-apache"]);
    assert_eq!(Path::new(path.trim()), place.folder.path(&folder));

    let summary = place.success(&["verify"]);
    assert_tells(&summary, &["tiny-v1.1", "F32", "1 compared", "all is well"]);
}

#[test]
fn a_licence_without_commercial_use_is_printed_and_must_be_accepted() {
    let place = Place::new();
    let message = place.failure(&["fetch", "facebook/map-anything"], 2);
    let parts = ["cc-by-nc-4.0", "no commercial use", "--accept-license", "map-anything-apache"];
    assert_tells(&message, &parts);
    assert!(place.hub.requests().is_empty(), "nothing may be asked for before");
    let accept = ["fetch", "facebook/map-anything", "--accept-license", "cc-by-nc-4.0"];
    assert_tells(&place.success(&accept), &["no commercial use", "snapshots"]);
}

#[test]
fn without_network_the_message_says_what_to_put_where() {
    let place = Place::new();
    let mut command = place.folder.recon(&["weights", "fetch"]);
    command.env("HF_HOME", place.folder.path("hf")).env("HF_HUB_OFFLINE", "1");
    let output = command.env_remove("HF_ENDPOINT").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let parts = [
        "snapshots/main",
        "https://huggingface.co/facebook/map-anything-apache/resolve/main/",
        "config.json and model.safetensors",
        "put them into this folder",
    ];
    assert_tells(&text(&output.stderr), &parts);
}

#[test]
fn bad_weights_are_told_by_name_and_exit_with_1() {
    let place = Place::new();
    let file = place.folder.path("tiny/model.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    // The last four bytes are of a value of the last tensor.
    let end = bytes.len() - 4;
    bytes[end..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&file, bytes).unwrap();
    let output = place.weights(&["verify", "tiny"]);
    assert_eq!(output.status.code(), Some(1));
    assert_tells(&text(&output.stdout), &["problem: tensor '", "1 values that are not finite"]);
    assert_tells(&text(&output.stderr), &["tiny: 1 problem"]);
    assert_tells(&place.failure(&["verify", "nowhere"], 1), &["nowhere", "recon weights list"]);
}

#[test]
fn weights_are_made_and_reduced_and_never_overwritten() {
    let place = Place::new();
    let random = ["random", "--arch", "tiny-v1", "--seed", "7", "--dtype", "bf16", "made"];
    assert_tells(&place.success(&random), &["tiny-v1", "made"]);
    assert_tells(&place.success(&["verify", "made"]), &["tiny-v1", "BF16", "all is well"]);
    // In q8_0 the matrices of the encoders of priors are reduced, too.
    for (kind, reduced) in
        [("q8_0", "57 matrices"), ("f16", "48 matrices"), ("bf16", "48 matrices")]
    {
        let out = format!("small-{kind}");
        let told = place.success(&["quantize", "made", "--type", kind, &out]);
        assert_tells(&told, &[reduced, kind, &out]);
        assert_tells(&place.success(&["verify", &out]), &["tiny-v1", "all is well"]);
    }
    let before = place.folder.bytes("made/model.safetensors");
    for arguments in [random.as_slice(), &["quantize", "tiny", "--type", "q8_0", "made"]] {
        let message = place.failure(arguments, 1);
        assert_tells(&message, &["made", "weights in this folder already", "choose another"]);
    }
    assert!(place.folder.bytes("made/model.safetensors") == before);
}

/// Command lines that mean nothing, and what the answer must name.
const BAD_USE: [(&[&str], &str); 6] = [
    (&[], "Usage"),
    (&["fetch", "facebook/map-nothing"], "facebook/map-anything-apache"),
    (&["path", "map-nothing"], "facebook/map-anything-v1"),
    (&["random", "--arch", "v2", "x"], "tiny-v1.1"),
    (&["random", "x"], "--arch"),
    (&["quantize", "x", "--type", "q3", "y"], "q8_0"),
];

#[test]
fn a_command_that_makes_no_sense_exits_with_2() {
    let folder = Recorded::nothing();
    for (arguments, part) in BAD_USE {
        let output = folder.recon(&[&["weights"], arguments].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_tells(&text(&output.stderr), &[part]);
    }
}
