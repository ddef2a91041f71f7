//! `recon sfm`: tiny networks know nothing, so that what is tested is all around them.

use std::path::Path;

use candle_core::Device::Cpu;
use recon_node::export::read_ply;

use crate::support::{Recorded, assert_tells, family, png, text};

fn weights(name: &str) -> String {
    family(name).display().to_string()
}

fn sfm<'a>(model: &'a str, weights: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let small = ["--resolution", "96", "--min-confidence", "0", "--out", "out"];
    [&["sfm", "room/rgb", "--model", model, "--weights", weights], small.as_slice(), more].concat()
}

#[test]
fn photographs_become_clouds_cameras_and_figures() {
    let recorded = Recorded::of(3);
    let weights = weights("dust3r_linear");
    let table = recorded.success(&sfm("dust3r", &weights, &["--colmap", "text"]));
    assert_tells(&table, &["0000", "focal length", "reconstructed in", "results in out"]);
    let metrics = recorded.metrics("out");
    assert_eq!((&metrics["images"], &metrics["model"]), (&3.into(), &"dust3r".into()));
    let cloud = read_ply(&recorded.path("out/points.ply")).unwrap();
    assert_eq!(metrics["points"], cloud.points.len());
    assert_eq!(&recorded.bytes("out/points.glb")[..4], b"glTF");
    for file in ["cameras", "images", "points3D"] {
        assert!(recorded.path(&format!("out/colmap/{file}.txt")).exists());
    }
}

/// Descriptors that know nothing match nothing: no scene is made up, and the pairs are kept.
#[test]
fn mast3r_matches_every_pair_and_makes_no_scene_of_noise() {
    let recorded = Recorded::of(3);
    let weights = weights("mast3r");
    let message = recorded.failure(&sfm("mast3r", &weights, &["--cache", "pairs"]), 1);
    assert_tells(&message, &["room/rgb: ", "0 of 3 pairs", "show the same things", "--pairs"]);
    assert_eq!(std::fs::read_dir(recorded.path("pairs")).unwrap().count(), 3);
}

/// These weights see nothing in front of the camera.
#[test]
fn a_run_without_a_point_has_failed_whatever_it_has_written() {
    let recorded = Recorded::of(3);
    let weights = weights("fast3r");
    let output = recorded.recon(&sfm("fast3r", &weights, &[])).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_tells(&text(&output.stderr), &["no point is confident enough", "--min-confidence"]);
    let metrics = recorded.metrics("out");
    assert_eq!((&metrics["points"], &metrics["images"]), (&0.into(), &3.into()));
    assert!(recorded.path("out/colmap/cameras.bin").exists());
}

#[test]
fn pairs_are_kept_and_used_again() {
    let recorded = Recorded::of(3);
    let weights = weights("dust3r_linear");
    let arguments = sfm("dust3r", &weights, &["--cache", "pairs", "--pairs", "swin-1-noncyclic"]);
    recorded.success(&arguments);
    let first = recorded.bytes("out/points.ply");
    let kept = || std::fs::read_dir(recorded.path("pairs")).unwrap().count();
    assert_eq!(kept(), 2);
    recorded.success(&arguments);
    assert_eq!((kept(), recorded.bytes("out/points.ply")), (2, first));
    assert_eq!(recorded.metrics("out")["pairs"], "swin-1-noncyclic");
}

/// Three photographs, of which each is tied to its likest by MASt3R's retrieval model as released.
#[test]
fn retrieval_chooses_the_pairs() {
    let recorded = Recorded::of(3);
    let (weights, file) = (weights("mast3r"), weights("retrieval/tiny_retrieval_trainingfree.pth"));
    let arguments = ["--pairs", "retrieval-2-1", "--retrieval", &file, "--cache", "pairs"];
    let message = recorded.failure(&sfm("mast3r", &weights, &arguments), 1);
    assert_tells(&message, &["of 2 pairs"]);
    // Two pairs, and the words of three photographs.
    assert_eq!(std::fs::read_dir(recorded.path("pairs")).unwrap().count(), 2 + 3);
    std::fs::write(recorded.path("file.pth"), b"no archive").unwrap();
    let arguments = ["--pairs", "retrieval-2-1", "--retrieval", "file.pth"];
    let output = recorded.recon(&sfm("mast3r", &weights, &arguments)).output().unwrap();
    assert_tells(&text(&output.stderr), &["file.pth", "no checkpoint that can be read"]);
}

/// Results of pairs that were looked at closer are others, and kept by themselves.
#[test]
fn large_photographs_are_looked_at_closer() {
    let recorded = Recorded::of(2);
    let weights = weights("mast3r");
    let matches = |more: &[&str], folder: &str| {
        let arguments = ["sfm", "room/rgb", "--weights", &weights, "--resolution", "160"];
        let arguments = [&arguments[..], &["--out", "out", "--cache", folder], more].concat();
        recorded.failure(&arguments, 1);
        let mut kept = std::fs::read_dir(recorded.path(folder)).unwrap();
        let pair = candle_core::safetensors::load(kept.next().unwrap().unwrap().path(), &Cpu);
        pair.unwrap()["matches.places"].flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    let coarse = matches(&[], "coarse");
    let fine = matches(&["--coarse-to-fine"], "fine");
    assert!(coarse.iter().all(|v| v.fract() == 0.0));
    assert!(fine.iter().any(|v| v.fract() != 0.0), "{} places", fine.len());
    assert_eq!(fine, matches(&["--coarse-to-fine"], "fine"));
}

#[test]
fn what_cannot_be_done_is_refused_with_the_remedy() {
    let recorded = Recorded::of(2);
    let (mast3r, dust3r) = (weights("mast3r"), weights("dust3r_linear"));
    for (arguments, told) in [
        (sfm("mast3r", &dust3r, &[]), "those of dust3r, not of mast3r"),
        (sfm("mast3r", &mast3r, &["--pairs", "all"]), "swin-N"),
        (sfm("mast3r", &mast3r, &["--pairs", "oneref-2"]), "counted from 0"),
        (sfm("mast3r", &mast3r, &["--pairs", "retrieval-3-2"]), "_retrieval_trainingfree.pth"),
        (sfm("dust3r", &dust3r, &["--pairs", "retrieval-3-2"]), "needs mast3r"),
        (sfm("fast3r", &mast3r, &["--pairs", "swin-2"]), "leave out --pairs"),
        (sfm("dust3r", &dust3r, &["--coarse-to-fine"]), "needs mast3r"),
        (["sfm", "room/rgb/0000.jpg", "--weights", &mast3r].to_vec(), "two photographs"),
        (["infer", "room/rgb", "--model", "mast3r"].to_vec(), "mast3r needs --weights"),
    ] {
        let output = recorded.recon(&arguments).output().unwrap();
        assert!(!output.status.success());
        assert_tells(&text(&output.stderr), &[told]);
    }
}

/// What is given instead of photographs or weights, exit status, and what the sentence must name:
/// what is wrong, where, and what to do.
type Refused = (&'static [&'static str], i32, &'static [&'static str]);

const REFUSED: [Refused; 11] = [
    (&["nowhere"], 1, &["nowhere", "cannot read the image"]),
    (&["empty"], 1, &["empty", "no png or jpg or jpeg file", "give a folder"]),
    (&["phone"], 1, &["phone", "2 of another kind", "convert them"]),
    (&["room/rgb", "notes.png"], 1, &["notes.png", "give a PNG or JPEG"]),
    (&["room/rgb/0000.jpg", "cut.jpg"], 1, &["cut.jpg", "give a PNG or JPEG"]),
    (&["room/rgb", "thin.png"], 1, &["thin.png", "900x9", "leave it out"]),
    (&["room/rgb", "room/rgb/0001.jpg"], 2, &["0001.jpg", "named twice"]),
    (&["room/rgb", "--resolution", "100"], 2, &["--resolution", "take 96 or 112"]),
    (&["room/rgb", "--weights", "nowhere"], 1, &["nowhere", "no such file", "use the files"]),
    (&["room/rgb", "--weights", "empty"], 1, &["empty", "neither model.safetensors", "use the"]),
    (&["room/rgb", "--weights", "other"], 1, &["other", "no network of this family", "use the"]),
];

#[test]
fn bad_input_is_told_by_every_model_in_one_sentence_with_what_to_do() {
    let recorded = Recorded::of(2);
    recorded.write("notes.png", "no image at all");
    recorded.write("empty/notes.txt", "nothing here");
    recorded.write("phone/a.HEIC", "a picture");
    recorded.write("phone/b.heic", "a picture");
    recorded.write("cut.jpg", recorded.bytes("room/rgb/0001.jpg"));
    recorded.truncate("cut.jpg", 0.3);
    recorded.write("thin.png", png(900, 9, vec![9; 8100]));
    let other = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/mapanything/v1");
    for file in ["config.json", "model.safetensors"] {
        recorded.write(&format!("other/{file}"), std::fs::read(other.join(file)).unwrap());
    }
    for (command, model) in
        [("sfm", "mast3r"), ("infer", "mast3r"), ("infer", "dust3r_linear"), ("infer", "fast3r")]
    {
        let weights = weights(model);
        let model = model.trim_end_matches("_linear");
        for (given, code, told) in REFUSED {
            let mut arguments = [&[command, "--model", model, "--out", "out"], given].concat();
            for usual in [["--weights", &weights], ["--resolution", "96"]] {
                if !given.contains(&usual[0]) {
                    arguments.extend(usual);
                }
            }
            assert_tells(&recorded.failure(&arguments, code), told);
            assert!(!recorded.path("out/points.ply").exists(), "{arguments:?}");
        }
    }
}

/// Photographs of several cameras, upright ones among them.
#[test]
fn photographs_of_different_sizes_go_together() {
    let recorded = Recorded::of(3);
    let photograph = image::open(recorded.path("room/rgb/0002.jpg")).unwrap();
    photograph.crop_imm(90, 0, 140, 240).save(recorded.path("room/rgb/0002.jpg")).unwrap();
    for (model, name) in [("dust3r", "dust3r_linear"), ("fast3r", "fast3r")] {
        let weights = weights(name);
        recorded.recon(&sfm(model, &weights, &["--colmap", "text"])).output().unwrap();
        let sizes: Vec<[u64; 2]> = recorded.metrics("out")["views"]
            .as_array()
            .unwrap()
            .iter()
            .map(|view| ["width", "height"].map(|side| view[side].as_u64().unwrap()))
            .collect();
        assert_eq!(sizes, [[320, 240], [320, 240], [140, 240]], "{model}");
    }
}
