//! Reading recordings in TUM RGB-D layout and image folders.

use std::path::PathBuf;

use crate::support::{
    CALIBRATION, TumFolder, assert_tells, color, depth_metres, depth_png, encoded, error_of, png,
    read,
};
use image::ImageFormat;
use recon_node::dataset::{OpenOptions, Selection, describe, open};
use recon_node::error::Error;

fn options() -> OpenOptions {
    OpenOptions::default()
}

#[test]
fn frames_come_with_depth_calibration_and_reference() {
    let tum = TumFolder::of(4);
    tum.write("groundtruth.txt", "100 0 0 0 0 0 0 1\n100.1 1 0 0 0 0 0 1\n");
    let source = open(tum.path(), &options()).unwrap();
    assert_eq!(source.info().frame_count, Some(4));
    assert_eq!(source.info().reference.as_ref().unwrap().poses().len(), 2);
    let delivered = read(tum.path(), &options());
    assert_eq!(delivered.stamps(), ["100.000000", "100.100000", "100.200000", "100.300000"]);
    assert!(delivered.skips.is_empty());
    for (index, frame) in delivered.frames.iter().enumerate() {
        let depth = frame.depth.as_ref().unwrap().raster();
        assert_eq!(*frame.color, color(index as u8));
        assert_eq!(depth.values()[..2], [0.0, depth_metres(index as u8)]);
        assert_eq!(frame.camera.unwrap().width(), 8);
    }
}

#[test]
fn selections_are_applied_before_reading() {
    let tum = TumFolder::of(6);
    tum.remove("rgb/0.png");
    let selection =
        Selection { every: 2, start_secs: 0.1, duration_secs: Some(0.4), max_frames: None };
    let delivered = read(tum.path(), &OpenOptions { selection, ..options() });
    assert_eq!(delivered.stamps(), ["100.100000", "100.300000"]);
    assert!(delivered.skips.is_empty());
}

#[test]
fn a_selection_without_frames_is_bad_use() {
    let selection = Selection { start_secs: 60.0, ..Selection::default() };
    let error = open(TumFolder::of(2).path(), &OpenOptions { selection, ..options() }).err();
    assert!(matches!(&error, Some(Error::Usage(text)) if text.contains("--start")), "{error:?}");
}

#[test]
fn one_frame_is_a_recording() {
    assert_eq!(read(TumFolder::of(1).path(), &options()).frames.len(), 1);
}

#[test]
fn no_frame_is_an_error() {
    let error = error_of(TumFolder::of(0).path(), &options());
    assert_tells(&error, &["rgb.txt", "lists no image"]);
}

#[test]
fn depth_without_calibration_names_the_file_and_its_keys() {
    let tum = TumFolder::of(2);
    tum.remove("calibration.yaml");
    let error = error_of(tum.path(), &options());
    assert_tells(&error, &["calibration.yaml", "fx, fy, cx, cy, width, height", "--calibration"]);
    let file = tum.write("elsewhere.yaml", CALIBRATION);
    let with_option = OpenOptions { calibration: Some(file), ..options() };
    assert_eq!(read(tum.path(), &with_option).frames.len(), 2);
}

#[test]
fn colour_without_depth_needs_no_calibration() {
    let tum = TumFolder::of(2);
    tum.remove("calibration.yaml");
    tum.remove("depth.txt");
    let delivered = read(tum.path(), &options());
    assert_eq!(delivered.frames.len(), 2);
    assert!(delivered.frames.iter().all(|f| f.depth.is_none() && f.camera.is_none()));
}

#[test]
fn a_missing_depth_scale_is_an_error_and_zero_means_no_depth() {
    let tum = TumFolder::of(2);
    tum.write("calibration.yaml", CALIBRATION.replace("depth_scale: 1000", ""));
    assert_tells(&error_of(tum.path(), &options()), &["calibration.yaml", "no depth_scale"]);
    tum.write("calibration.yaml", CALIBRATION.replace("1000", "0"));
    assert!(read(tum.path(), &options()).frames.iter().all(|frame| frame.depth.is_none()));
}

#[test]
fn a_colour_image_that_cannot_be_read_is_left_out() {
    type Spoil = fn(&TumFolder);
    let spoil: [(&str, Spoil); 4] = [
        ("cannot read it", |tum| tum.remove("rgb/1.png")),
        ("rgb/1.png", |tum| tum.truncate("rgb/1.png", 0.7)),
        ("neither JPEG nor PNG", |tum| drop(tum.write("rgb/1.png", "no image"))),
        ("cut off", |tum| {
            let jpeg = encoded(color(1), ImageFormat::Jpeg);
            tum.write("rgb/1.png", &jpeg[..jpeg.len() - 20]);
        }),
    ];
    for (expected, spoil) in spoil {
        let tum = TumFolder::of(3);
        spoil(&tum);
        let delivered = read(tum.path(), &options());
        assert_eq!(delivered.stamps(), ["100.000000", "100.200000"]);
        assert_tells(delivered.reasons()[0], &["rgb/1.png", expected]);
    }
}

#[test]
fn a_depth_image_that_cannot_be_read_leaves_a_frame_without_depth() {
    let tum = TumFolder::of(3);
    tum.truncate("depth/1.png", 0.6);
    let delivered = read(tum.path(), &options());
    let with_depth: Vec<bool> = delivered.frames.iter().map(|f| f.depth.is_some()).collect();
    assert_eq!(with_depth, [true, false, true]);
    assert_eq!(delivered.skips.len(), 1);
    assert_tells(delivered.reasons()[0], &["depth/1.png", "without depth"]);
}

#[test]
fn depth_of_another_size_is_told_with_both_sizes() {
    let tum = TumFolder::of(2);
    tum.write("depth/1.png", depth_png(vec![1000; 12], 4, 3));
    let delivered = read(tum.path(), &options());
    assert_eq!(delivered.frames.len(), 1);
    assert_tells(delivered.reasons()[0], &["depth/1.png", "4x3", "8x6"]);
}

#[test]
fn a_calibration_of_another_size_ends_in_an_error() {
    let tum = TumFolder::of(2);
    tum.write("calibration.yaml", CALIBRATION.replace("width: 8", "width: 16"));
    assert_tells(&error_of(tum.path(), &options()), &["8x6", "16x6", "not one frame"]);
}

#[test]
fn stamps_that_repeat_or_go_back_are_left_out() {
    let tum = TumFolder::of(4);
    tum.write("rgb.txt", "1 rgb/0.png\n1 rgb/1.png\n3 rgb/2.png\n2 rgb/3.png\n4 rgb/1.png\n");
    let delivered = read(tum.path(), &options());
    assert_eq!(delivered.stamps(), ["1.000000", "3.000000", "4.000000"]);
    assert_tells(delivered.reasons()[0], &["rgb/1.png", "repeats"]);
    assert_tells(delivered.reasons()[1], &["rgb/3.png", "goes back"]);
}

#[test]
fn colour_without_partner_comes_without_depth() {
    let tum = TumFolder::of(3);
    tum.write("depth.txt", "100.201\tdepth/2.png\n");
    let delivered = read(tum.path(), &options());
    let with_depth: Vec<bool> = delivered.frames.iter().map(|f| f.depth.is_some()).collect();
    assert_eq!(with_depth, [false, false, true]);
}

#[test]
fn bad_lines_are_told_with_file_and_number() {
    let cases = [
        ("rgb.txt", "1 rgb/0.png\nhello", "line 2: 'hello' has no file name"),
        ("depth.txt", "x depth/0.png", "line 1: 'x' is not a time"),
        ("groundtruth.txt", "1 2 3", "line 1: 8 numbers are needed"),
        ("calibration.yaml", "fx: [", "calibration.yaml"),
    ];
    for (file, content, expected) in cases {
        let tum = TumFolder::of(1);
        tum.write(file, content);
        assert_tells(&error_of(tum.path(), &options()), &[file, expected]);
    }
}

#[test]
fn all_images_missing_is_one_error() {
    let tum = TumFolder::of(3);
    std::fs::remove_dir_all(tum.path().join("rgb")).unwrap();
    let error = error_of(tum.path(), &options());
    assert_tells(&error, &["not one frame can be used", "rgb/2.png"]);
}

#[test]
fn an_image_folder_is_read_in_natural_order() {
    let tum = TumFolder::of(0);
    tum.remove("rgb.txt");
    for index in [1, 9, 10] {
        tum.write(&format!("frame{index}.png"), png(color(index)));
    }
    tum.write("frame11.jpg", encoded(color(11), ImageFormat::Jpeg));
    let delivered = read(tum.path(), &OpenOptions { rate_hz: 20.0, ..options() });
    assert_eq!(delivered.stamps(), ["0.000000", "0.050000", "0.100000", "0.150000"]);
    let reds: Vec<u8> =
        delivered.frames[..3].iter().map(|f| f.color.get_pixel(0, 0).0[0]).collect();
    assert_eq!(reds, [1, 9, 10]);
    assert!(delivered.frames[0].camera.is_some(), "calibration.yaml lies beside the images");
}

#[test]
fn info_tells_counts_pairs_and_what_is_missing() {
    let tum = TumFolder::of(5);
    tum.remove("rgb/3.png");
    let info = describe(tum.path(), &options()).unwrap();
    let counts: Vec<usize> = info.streams.iter().map(|stream| stream.count).collect();
    assert_eq!(counts, [5, 5]);
    assert_tells(&info.notes.join("; "), &["1 listed files are missing", "rgb/3.png"]);
    assert!(info.used.iter().any(|used| used.why.contains("5 of 5 colour images")));
    tum.remove("calibration.yaml");
    let info = describe(tum.path(), &options()).unwrap();
    assert_tells(&info.notes.join("; "), &["there is depth, but no calibration"]);
}

#[test]
fn the_real_recordings_are_read_whole() {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    for (name, frames) in [("redkitchen_a", 370), ("fr1_rpy_a", 59), ("hololens_a", 60)] {
        let path = data.join(name);
        if !path.exists() {
            println!("skipped: {} is not there", path.display());
            continue;
        }
        let delivered = read(&path, &options());
        assert_eq!((delivered.frames.len(), delivered.skips.len()), (frames, 0), "{name}");
        assert!(delivered.frames.iter().all(|f| f.depth.as_ref().unwrap().valid_frac() > 0.2));
    }
}
