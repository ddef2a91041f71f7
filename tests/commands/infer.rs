//! `recon infer`: what it leaves for a few images, and what it refuses.

use recon_node::export::read_ply;
use serde_json::Value;

use crate::support::{Recorded, assert_tells, png, text};

/// Three images of a room with depth, camera and poses, and tiny random weights, which know
/// nothing: what is tested is all around them.
fn recorded() -> Recorded {
    let recorded = Recorded::of(3);
    recorded.success(&["weights", "random", "--arch", "tiny-v1", "tiny"]);
    recorded
}

/// The command with options of its own, and small and quick where they say nothing else.
fn masked<'a>(images: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    let defaults = [["--weights", "tiny"], ["--resolution", "84x56"], ["--out", "out"]];
    let open = defaults.iter().filter(|[name, _]| !more.contains(name)).flatten().copied();
    ["infer"]
        .into_iter()
        .chain(images.iter().copied())
        .chain(open)
        .chain(more.iter().copied())
        .collect()
}

/// The same with all points kept, since random weights may call everything ambiguous.
fn infer<'a>(images: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    masked(images, &[more, &["--no-mask"]].concat())
}

const EVERYTHING: [&str; 6] = [
    "--intrinsics",
    "room/calibration.yaml",
    "--depth=room/depth",
    "--poses",
    "room/groundtruth.txt",
    "--quiet",
];

#[test]
fn a_folder_of_images_becomes_clouds_depths_cameras_and_figures() {
    let recorded = recorded();
    let table = recorded.success(&infer(&["room/rgb"], &[]));
    assert_tells(
        &table,
        &["0000", "0002", "mean depth", "focal", "metric scale", "results in out"],
    );
    let metrics = recorded.metrics("out");
    let expected = 3 * 84 * 56;
    assert_eq!((&metrics["images"], &metrics["points"]), (&3.into(), &expected.into()));
    assert_eq!(metrics["views"][1]["file"], "room/rgb/0001.jpg");
    assert_eq!(metrics["views"][1]["known"], serde_json::json!([]));
    let cloud = read_ply(&recorded.path("out/points.ply")).unwrap();
    assert_eq!((cloud.points.len(), cloud.colors.len()), (expected, expected));
    assert!(cloud.points.iter().all(|p| p.iter().all(|c| c.is_finite())));
    assert_eq!(&recorded.bytes("out/points.glb")[..4], b"glTF");
    for file in ["cameras", "images", "points3D"] {
        assert!(recorded.path(&format!("out/colmap/{file}.bin")).exists());
    }
    // Depth is that of the image file, pixel by pixel.
    let depth = image::open(recorded.path("out/depth/0001.png")).unwrap();
    assert_eq!((depth.width(), depth.height()), (320, 240));
    assert!(depth.into_luma16().pixels().any(|pixel| pixel.0[0] > 0));
}

/// What is measured needs no network: depth along the rays of the camera, where it was.
#[test]
fn the_sensors_depth_is_a_model_like_the_others() {
    let recorded = Recorded::of(3);
    let measured = ["infer", "room/rgb", "--model", "sensor-depth", "--out", "out"];
    let table = recorded.success(&[measured.as_slice(), &EVERYTHING[..5]].concat());
    assert_tells(&table, &["0000", "0002", "mean depth", "results in out"]);
    let metrics = recorded.metrics("out");
    assert_eq!(metrics["views"][1]["known"], serde_json::json!(["intrinsics", "depth", "pose"]));
    let cloud = read_ply(&recorded.path("out/points.ply")).unwrap();
    assert_eq!(metrics["points"], cloud.points.len());
    assert!(cloud.points.len() > 3 * 320 * 240 / 2, "{}", cloud.points.len());
    let given = image::open(recorded.path("room/depth/0001.png")).unwrap().into_luma16();
    let found = image::open(recorded.path("out/depth/0001.png")).unwrap().into_luma16();
    let scale = metrics["depth_units_per_metre"].as_f64().unwrap() / 5000.0;
    let off = given.pixels().zip(found.pixels()).filter(|(_, found)| found.0[0] > 0);
    let off =
        off.map(|(given, found)| (f64::from(given.0[0]) * scale - f64::from(found.0[0])).abs());
    assert!(off.fold(0.0, f64::max) <= 1.0 + scale, "depth is not what was measured");
    for (arguments, told) in [
        (["--depth=room/depth", "--intrinsics", "room/calibration.yaml"].as_slice(), "--poses"),
        (["--poses", "room/groundtruth.txt"].as_slice(), "--intrinsics and --depth"),
    ] {
        let message = recorded.failure(&[measured.as_slice(), arguments].concat(), 2);
        assert_tells(&message, &["sensor-depth", "not known", told]);
    }
}

#[test]
fn one_image_is_enough_and_two_runs_are_equal() {
    let recorded = recorded();
    let files = ["points.ply", "points.glb", "depth/0001.png", "colmap/points3D.bin"];
    let run = || {
        recorded.success(&infer(&["room/rgb/0001.jpg"], &["--quiet"]));
        files.map(|file| recorded.bytes(&format!("out/{file}")))
    };
    assert!(run() == run());
}

#[test]
fn the_model_of_colmap_is_that_of_the_image_files() {
    let recorded = recorded();
    let more = ["--colmap", "text", "--colmap-points", "500", "--quiet"];
    recorded.success(&infer(&["room/rgb"], &more));
    let cameras = recorded.read("out/colmap/cameras.txt");
    assert_eq!(cameras.matches(" PINHOLE 320 240 ").count(), 3, "{cameras}");
    let images = recorded.read("out/colmap/images.txt");
    assert_tells(&images, &[" 1 0000.jpg", " 2 0001.jpg", " 3 0002.jpg"]);
    let points = recorded.read("out/colmap/points3D.txt");
    let points = points.lines().filter(|line| !line.starts_with('#')).count();
    assert!((400..=500).contains(&points), "{points}");
    // The camera of the figures is COLMAP's, half a pixel apart.
    let camera: Vec<f64> = cameras.lines().nth(1).unwrap().split(' ').skip(4).map(number).collect();
    let k = &recorded.metrics("out")["views"][0]["intrinsics"];
    assert!((k["cx"].as_f64().unwrap() + 0.5 - camera[2]).abs() < 1e-9);
    recorded.success(&infer(&["room/rgb"], &["--colmap", "none", "--quiet", "--out", "bare"]));
    assert!(!recorded.path("bare/colmap").exists());
}

fn number(word: &str) -> f64 {
    word.parse().unwrap()
}

/// The figures of the first view that tell one prediction from another.
fn told(metrics: &Value) -> Vec<String> {
    let view = &metrics["views"][0];
    [&view["mean_depth_m"], &view["intrinsics"]["fx"], &metrics["metric_scale"]]
        .map(ToString::to_string)
        .to_vec()
}

#[test]
fn what_is_known_is_used() {
    let recorded = recorded();
    recorded.success(&infer(&["room/rgb"], &EVERYTHING));
    let all = recorded.metrics("out");
    for view in all["views"].as_array().unwrap() {
        assert_eq!(view["known"], serde_json::json!(["intrinsics", "depth", "pose"]));
    }
    let mut seen = vec![told(&all)];
    let others = [vec!["--quiet"], EVERYTHING[..2].to_vec(), EVERYTHING[..3].to_vec()];
    let not_metric = [EVERYTHING.as_slice(), &["--not-metric"]].concat();
    for more in others.into_iter().chain([not_metric]) {
        recorded.success(&infer(&["room/rgb"], &more));
        let told = told(&recorded.metrics("out"));
        assert!(!seen.contains(&told), "{more:?} changes nothing: {told:?}");
        seen.push(told);
    }
}

#[test]
fn numbers_of_a_camera_do_what_its_file_does() {
    let recorded = recorded();
    let calibration = recorded.read("room/calibration.yaml");
    let value = |key: &str| {
        let line = calibration.lines().find(|line| line.starts_with(key)).unwrap();
        line.split(": ").nth(1).unwrap().to_owned()
    };
    let numbers = ["fx", "fy", "cx", "cy"].map(value).join(",");
    recorded.success(&infer(&["room/rgb"], &EVERYTHING[..2]));
    let by_file = told(&recorded.metrics("out"));
    recorded.success(&infer(&["room/rgb"], &["--intrinsics", &numbers]));
    assert_eq!(told(&recorded.metrics("out")), by_file);
}

#[test]
fn some_images_may_have_depth() {
    let recorded = recorded();
    recorded.remove("room/depth/0001.png");
    recorded.success(&infer(&["room/rgb"], &EVERYTHING));
    let views = &recorded.metrics("out")["views"];
    let depths = [0, 1, 2].map(|i| views[i]["known"].to_string().contains("depth"));
    assert_eq!(depths, [true, false, true]);
}

/// A JPEG that says of itself that it is to be turned by a quarter, clockwise.
fn turned(jpeg: &[u8]) -> Vec<u8> {
    let exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let length = (exif.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, exif, &jpeg[2..]].concat()
}

#[test]
fn a_photograph_that_is_stored_turned_is_put_upright() {
    let recorded = recorded();
    let jpeg = recorded.bytes("room/rgb/0000.jpg");
    recorded.write("phone/a.jpg", turned(&jpeg));
    let table = recorded.success(&infer(&["phone"], &["--resolution", "56x84"]));
    assert_tells(&table, &["phone/a.jpg is stored turned"]);
    let view = &recorded.metrics("out")["views"][0];
    assert_eq!((&view["width"], &view["height"]), (&240.into(), &320.into()));
    let depth = image::open(recorded.path("out/depth/a.png")).unwrap();
    assert_eq!((depth.width(), depth.height()), (240, 320));
    // The first row of the file is the last column of the upright image.
    let cloud = read_ply(&recorded.path("out/points.ply")).unwrap();
    let corner = image::load_from_memory(&jpeg).unwrap().to_rgb8().get_pixel(2, 2).0;
    let color = cloud.colors[83];
    for channel in 0..3 {
        let difference = i32::from(corner[channel]) - i32::from(color[channel]);
        assert!(difference.abs() < 25, "{corner:?} {color:?}");
    }
}

#[test]
fn masks_leave_fewer_points() {
    let recorded = recorded();
    let points = |more: &[&str]| {
        let output = recorded.recon(&masked(&["room/rgb"], more)).output().unwrap();
        let metrics = recorded.metrics("out");
        let points = metrics["points"].as_u64().unwrap();
        // Where all is masked, the run has failed, and says so.
        assert_eq!(output.status.success(), points > 0, "{}", text(&output.stderr));
        points
    };
    let all = points(&["--no-mask"]);
    let unambiguous = points(&["--no-edge-mask"]);
    let confident = points(&["--no-edge-mask", "--conf-percentile", "60"]);
    // Which pixels a network of random weights calls ambiguous is left to chance.
    assert!(all >= unambiguous && unambiguous > confident, "{all} {unambiguous} {confident}");
}

/// Images, options, exit status, and what the sentence must name.
type Refused = (&'static [&'static str], &'static [&'static str], i32, &'static [&'static str]);

const REFUSED: [Refused; 19] = [
    (&["nowhere.png"], &[], 1, &["nowhere.png", "read the image"]),
    (&["notes.png"], &[], 1, &["notes.png", "give a PNG or JPEG"]),
    (&["empty"], &[], 1, &["empty", "no png or jpg or jpeg file"]),
    (&["room/rgb", "room/rgb/0001.jpg"], &[], 2, &["0001.jpg", "named twice"]),
    (&["room/rgb"], &["--depth=room/depth"], 2, &["--depth needs --intrinsics", "fx,fy,cx,cy"]),
    (&["room/rgb"], &["--intrinsics", "1,2,3"], 2, &["'1,2,3'", "fx,fy,cx,cy"]),
    (&["room/rgb"], &["--intrinsics", "0,2,3,4"], 2, &["'0,2,3,4'", "positive"]),
    (&["room/rgb"], &["--intrinsics", "none.yaml"], 1, &["none.yaml", "calibration"]),
    (&["room/rgb"], &["--intrinsics", "bent.yaml"], 1, &["bent.yaml", "distorted", "undistort"]),
    (
        &["small.png"],
        &["--intrinsics", "room/calibration.yaml"],
        2,
        &["small.png", "40x30", "320x240"],
    ),
    (
        &["room/rgb", "small.png"],
        &["--intrinsics", "9,9,9,9"],
        2,
        &["small.png", "40x30", "one camera"],
    ),
    (
        &["room/rgb"],
        &["--intrinsics", "9,9,9,9", "--depth=odd"],
        2,
        &["1 files for 3 images", "has an image's name", "same order"],
    ),
    (
        &["room/rgb/0000.jpg"],
        &["--intrinsics", "9,9,9,9", "--depth=odd"],
        1,
        &["odd/depth.png", "40x30", "320x240", "registered"],
    ),
    (
        &["room/rgb"],
        &["--intrinsics", "9,9,9,9", "--depth=room/depth", "--depth-scale", "0"],
        2,
        &["--depth-scale is 0", "units per metre"],
    ),
    (&["room/rgb/0000.jpg"], &["--poses", "room/groundtruth.txt"], 1, &["3 poses for 1 images"]),
    (&["times"], &["--poses", "late.txt"], 1, &["late.txt", "first image", "times/100.000.jpg"]),
    (&["room/rgb"], &["--resolution", "100"], 2, &["100x", "multiples of 14"]),
    (&["room/rgb"], &["--weights", "room"], 1, &["room", "no weights"]),
    (&["room/rgb"], &["--device", "abacus"], 2, &["abacus", "cpu"]),
];

#[test]
fn what_does_not_go_together_is_refused_in_one_sentence() {
    let recorded = recorded();
    recorded.write("notes.png", "no image at all");
    recorded.write("empty/notes.txt", "nothing here");
    recorded.write("small.png", png(40, 30, vec![9; 1200]));
    recorded.write("odd/depth.png", png(40, 30, vec![9; 1200]));
    let bent = recorded.read("room/calibration.yaml") + "distortion: [0.1, 0, 0, 0]\n";
    recorded.write("bent.yaml", bent);
    for name in ["100.000", "100.500"] {
        recorded.write(&format!("times/{name}.jpg"), recorded.bytes("room/rgb/0000.jpg"));
    }
    recorded.write("late.txt", "100.5 0 0 0 0 0 0 1\n101 0 0 0 0 0 0 1\n");
    for (images, more, code, parts) in REFUSED {
        let arguments = masked(images, more);
        assert_tells(&recorded.failure(&arguments, code), parts);
        assert!(!recorded.path("out/points.ply").exists(), "{arguments:?}");
    }
}

#[test]
fn a_percentile_beyond_hundred_is_refused_before_anything_is_read() {
    let message = Recorded::nothing().failure(&["infer", "nowhere", "--conf-percentile", "101"], 2);
    assert_tells(&message, &["--conf-percentile", "0 and 100"]);
}
