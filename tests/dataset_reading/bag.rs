//! Reading rosbag2: formats, encodings, choice of topics, odometry.

use std::path::Path;

use crate::support::bags::{
    CAMERA_INFO, COLOR, COMPRESSED, DEPTH, IMAGE, INFO, ODOMETRY, OPTICAL, Recording, START,
    color_message, depth_message, image, metadata, time,
};
use crate::support::messages::{Image, camera_info, compressed, odometry};
use crate::support::{
    CALIBRATION, HEIGHT, WIDTH, assert_tells, color, depth_metres, depth_png, depth_units, encoded,
    error_of, png, read,
};
use image::ImageFormat;
use mcap::{Compression, WriteOptions};
use recon_node::dataset::{OpenOptions, Selection, TopicNames, describe, open};
use recon_node::error::Error;

fn options() -> OpenOptions {
    OpenOptions::default()
}

fn with_topics(topics: TopicNames) -> OpenOptions {
    OpenOptions { topics, ..options() }
}

fn some(name: &str) -> Option<String> {
    Some(name.to_owned())
}

/// Writes a recording as MCAP and returns its path within a folder that lives as long as needed.
fn mcap(recording: &Recording) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = recording.mcap(&folder.path().join("bag.mcap"));
    (folder, path)
}

fn assert_rgbd(path: &Path, frames: u8) {
    let delivered = read(path, &options());
    assert!(delivered.error.is_none(), "{:?}", delivered.error);
    assert_eq!(delivered.reasons(), Vec::<&str>::new());
    assert_eq!(delivered.frames.len(), usize::from(frames));
    for (index, frame) in delivered.frames.iter().enumerate() {
        let depth = frame.depth.as_ref().expect("depth").raster();
        assert_eq!(frame.stamp.nanos(), time(index as i64));
        assert_eq!(*frame.color, color(index as u8));
        assert_eq!(depth.values()[..2], [0.0, depth_metres(index as u8)]);
        assert_eq!(frame.camera.unwrap().intrinsics().fx.to_bits(), 10f64.to_bits());
    }
}

#[test]
fn every_storage_gives_the_same_frames() {
    let recording = Recording::rgbd(7);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let unchunked = WriteOptions::new().use_chunks(false);
    let unindexed = WriteOptions::new().emit_summary_records(false).chunk_size(Some(2048));
    let paths = [
        recording.mcap(&at("plain.mcap")),
        recording.mcap_compressed(&at("zstd.mcap"), Compression::Zstd),
        recording.mcap_compressed(&at("lz4.mcap"), Compression::Lz4),
        recording.mcap_with(&at("unchunked.mcap"), unchunked),
        recording.mcap_with(&at("unindexed.mcap"), unindexed),
        recording.sqlite(&at("a file #1 100%.db3")),
    ];
    for path in paths {
        assert_rgbd(&path, 7);
    }
}

#[test]
fn a_bag_folder_is_read_file_by_file() {
    for storage in ["mcap", "sqlite3"] {
        let folder = tempfile::tempdir().unwrap();
        let whole = Recording::rgbd(6);
        let (first, second) = whole.0.split_at(9);
        for (name, part) in [("part_10", second), ("part_9", first)] {
            let part = Recording(part.to_vec());
            let path = folder.path().join(name);
            if storage == "mcap" {
                part.mcap(&path)
            } else {
                part.sqlite(&path)
            };
        }
        metadata(folder.path(), storage, &["part_9", "part_10"], "");
        assert_rgbd(folder.path(), 6);
    }
}

#[test]
fn a_bag_folder_without_metadata_is_read_in_order_of_names() {
    let folder = tempfile::tempdir().unwrap();
    let whole = Recording::rgbd(6);
    let (first, second) = whole.0.split_at(9);
    Recording(second.to_vec()).mcap(&folder.path().join("b_10.mcap"));
    Recording(first.to_vec()).mcap(&folder.path().join("b_9.mcap"));
    assert_rgbd(folder.path(), 6);
}

#[cfg(unix)]
#[test]
fn a_bag_on_a_read_only_medium_is_read() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = Recording::rgbd(2).sqlite(&folder.path().join("bag.db3"));
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "journal_mode", "wal").unwrap();
    drop(connection);
    let set = |mode| {
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    set(0o555);
    assert_rgbd(&path, 2);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was written");
    set(0o755);
}

#[test]
fn messages_in_the_other_byte_order_are_read() {
    let mut recording = Recording::default();
    for index in 0..2u8 {
        let rgb: Vec<u8> = color(index).into_raw();
        let message = image(time(index.into()), "rgb8", WIDTH * 3, &rgb).cdr(true);
        recording.add(COLOR, IMAGE, time(index.into()), message);
        let depth: Vec<u8> = depth_units(index).iter().flat_map(|u| u.to_be_bytes()).collect();
        let message = image(time(index.into()), "16UC1", WIDTH * 2, &depth).cdr(true);
        recording.add(DEPTH, IMAGE, time(index.into()), message);
        let info = camera_info(time(index.into()), OPTICAL, 10.0, (WIDTH, HEIGHT));
        recording.add(INFO, CAMERA_INFO, time(index.into()), info);
    }
    assert_rgbd(&mcap(&recording).1, 2);
}

#[test]
fn compressed_topics_are_read() {
    let mut recording = Recording::default();
    for index in 0..3u8 {
        let nanos = time(index.into());
        let file = png(color(index));
        let message = compressed(nanos, OPTICAL, "bgr8; png compressed bgr8", &file);
        recording.add("/camera/color/image_raw/compressed", COMPRESSED, nanos, message);
        let payload = [vec![0; 12], depth_png(depth_units(index), WIDTH, HEIGHT)].concat();
        let message = compressed(nanos, OPTICAL, "16UC1; compressedDepth png", &payload);
        recording.add(&format!("{DEPTH}/compressedDepth"), COMPRESSED, nanos, message);
        let info = camera_info(nanos, OPTICAL, 10.0, (WIDTH, HEIGHT));
        recording.add(INFO, CAMERA_INFO, nanos, info);
    }
    assert_rgbd(&mcap(&recording).1, 3);
}

#[test]
fn jpeg_is_read() {
    let mut recording = Recording::default();
    let file = encoded(color(1), ImageFormat::Jpeg);
    let message = compressed(START, OPTICAL, "rgb8; jpeg compressed bgr8", &file);
    recording.add("/cam/image_raw/compressed", COMPRESSED, START, message);
    let delivered = read(&mcap(&recording).1, &options());
    assert_eq!(delivered.frames.len(), 1);
    assert_eq!(delivered.frames[0].color.dimensions(), (WIDTH, HEIGHT));
    assert!(delivered.frames[0].camera.is_none());
}

#[test]
fn float_depth_with_nan_is_read() {
    let depth: Vec<u8> = (0..WIDTH * HEIGHT)
        .map(|i| if i == 0 { f32::NAN } else { 1.5 })
        .flat_map(f32::to_le_bytes)
        .collect();
    let message = image(START, "32FC1", WIDTH * 4, &depth).cdr(false);
    let mut recording = Recording::rgbd(1).without(DEPTH);
    recording.add(DEPTH, IMAGE, START, message);
    let delivered = read(&mcap(&recording).1, &options());
    let depth = delivered.frames[0].depth.as_ref().unwrap().raster();
    assert_eq!(depth.values()[..2], [0.0, 1.5]);
}

#[test]
fn a_calibration_file_goes_before_the_bag() {
    let (folder, path) = mcap(&Recording::rgbd(1));
    let file = folder.path().join("calibration.yaml");
    let text = CALIBRATION.replace("fx: 10", "fx: 77").replace("1000", "500");
    std::fs::write(&file, text).unwrap();
    let delivered = read(&path, &OpenOptions { calibration: Some(file), ..options() });
    let frame = &delivered.frames[0];
    assert_eq!(frame.camera.unwrap().intrinsics().fx.to_bits(), 77f64.to_bits());
    assert_eq!(frame.depth.as_ref().unwrap().raster().values()[1].to_bits(), 2f32.to_bits());
}

#[test]
fn selections_and_counts_fit() {
    let path = mcap(&Recording::rgbd(10));
    let every = Selection { every: 3, ..Selection::default() };
    let few = Selection { max_frames: Some(2), ..Selection::default() };
    let span = Selection { start_secs: 0.25, duration_secs: Some(0.3), ..Selection::default() };
    let cases = [
        (every, Some(4), vec![0, 3, 6, 9]),
        (few, Some(2), vec![0, 1]),
        (span, None, vec![3, 4, 5]),
    ];
    for (selection, count, expected) in cases {
        let options = OpenOptions { selection, ..options() };
        assert_eq!(open(&path.1, &options).unwrap().info().frame_count, count);
        let frames = read(&path.1, &options).frames;
        assert!(frames.iter().all(|frame| frame.depth.is_some()));
        let indexes: Vec<i64> =
            frames.iter().map(|f| (f.stamp.nanos() - START) / 100_000_000).collect();
        assert_eq!(indexes, expected);
    }
}

#[test]
fn the_best_topics_are_found_among_many() {
    let mut recording = Recording::rgbd(2);
    for index in 0..2u8 {
        let nanos = time(index.into());
        let grey = vec![0; (WIDTH * HEIGHT) as usize];
        let infra = image(nanos, "mono8", WIDTH, &grey).cdr(false);
        recording.add("/camera/infra1/image_rect_raw", IMAGE, nanos, infra.clone());
        recording.add("/camera/depth/visualised", IMAGE, nanos, infra);
        let raw_depth = Image {
            frame: "camera_depth_optical_frame",
            ..image(nanos, "16UC1", WIDTH * 2, &[0; 96])
        };
        recording.add("/camera/depth/image_rect_raw", IMAGE, nanos, raw_depth.cdr(false));
        let jpeg = encoded(color(index), ImageFormat::Jpeg);
        let message = compressed(nanos, OPTICAL, "rgb8; jpeg compressed bgr8", &jpeg);
        recording.add("/camera/color/image_raw/compressed", COMPRESSED, nanos, message);
    }
    let (_folder, path) = mcap(&recording);
    assert_rgbd(&path, 2);
    let used = describe(&path, &options()).unwrap().used;
    let names: Vec<&str> = used.iter().map(|used| used.name.as_str()).collect();
    assert_eq!(names, [COLOR, DEPTH, INFO]);
}

#[test]
fn equally_good_topics_are_listed_with_the_option() {
    let mut recording = Recording::default();
    for topic in ["/left/image_raw", "/right/image_raw"] {
        recording.add(topic, IMAGE, START, color_message(0, START));
    }
    let (_folder, path) = mcap(&recording);
    let error = open(&path, &options()).err().unwrap();
    assert!(matches!(error, Error::Usage(_)));
    assert_tells(&error.to_string(), &["/left/image_raw", "/right/image_raw", "--image-topic"]);
    let chosen = TopicNames { image: some("/right/image_raw"), ..TopicNames::default() };
    assert_eq!(read(&path, &with_topics(chosen)).frames.len(), 1);
    let info = describe(&path, &options()).unwrap();
    assert_tells(&info.notes.join("; "), &["--image-topic"]);
}

#[test]
fn equally_good_depth_and_odometry_are_listed_with_the_option() {
    let mut recording = Recording::rgbd(1);
    let twin = "/camera/aligned_depth_to_color/image_rect";
    recording.add(twin, IMAGE, START, depth_message(0, START));
    let error = error_of(&mcap(&recording).1, &options());
    assert_tells(&error, &[DEPTH, twin, "--depth-topic"]);
    let mut recording = Recording::rgbd(1);
    for topic in ["/a/odom", "/b/odom"] {
        recording.add(topic, ODOMETRY, START, odometry(START, "base_link", 0.0, 0.0));
    }
    let error = error_of(&mcap(&recording).1, &options());
    assert_tells(&error, &["/a/odom", "/b/odom", "--odom-topic"]);
}

#[test]
fn an_option_that_names_no_topic_lists_what_is_there() {
    let (_folder, path) = mcap(&Recording::rgbd(1));
    let wrong = || some("/nothing");
    let none = TopicNames::default;
    let cases = [
        (TopicNames { image: wrong(), ..none() }, "--image-topic", COLOR),
        (TopicNames { depth: wrong(), ..none() }, "--depth-topic", DEPTH),
        (TopicNames { camera_info: wrong(), ..none() }, "--camera-info-topic", INFO),
        (TopicNames { odom: wrong(), ..none() }, "--odom-topic", "none"),
    ];
    for (topics, option, there) in cases {
        let error = open(&path, &with_topics(topics)).err().unwrap();
        assert!(matches!(error, Error::Usage(_)));
        assert_tells(&error.to_string(), &[option, "/nothing", there]);
    }
}

#[test]
fn depth_of_another_frame_needs_a_word() {
    let mut recording = Recording::rgbd(1).without(DEPTH);
    let data: Vec<u8> = depth_units(0).iter().flat_map(|u| u.to_le_bytes()).collect();
    let topic = "/camera/depth/image_rect_raw";
    let depth = Image { frame: "depth_optical", ..image(START, "16UC1", WIDTH * 2, &data) };
    recording.add(topic, IMAGE, START, depth.cdr(false));
    let (_folder, path) = mcap(&recording);
    assert_tells(&error_of(&path, &options()), &["not registered", topic, "depth_optical"]);
    for (name, has_depth) in [(topic, true), ("none", false)] {
        let topics = TopicNames { depth: some(name), ..TopicNames::default() };
        let frames = read(&path, &with_topics(topics)).frames;
        assert_eq!(frames[0].depth.is_some(), has_depth);
    }
}

#[test]
fn depth_without_calibration_is_told() {
    let missing = Recording::rgbd(2).without(INFO);
    let mut uncalibrated = missing.clone();
    uncalibrated.add(INFO, CAMERA_INFO, START, camera_info(START, OPTICAL, 0.0, (WIDTH, HEIGHT)));
    for recording in [missing, uncalibrated] {
        let error = error_of(&mcap(&recording).1, &options());
        assert_tells(&error, &["no calibration", "--calibration", "--camera-info-topic"]);
    }
}

#[test]
fn info_tells_topics_rates_and_gaps() {
    let folder = tempfile::tempdir().unwrap();
    let mut recording = Recording::rgbd(12);
    recording.0.retain(|message| !(time(4)..time(8)).contains(&message.nanos));
    let paths = [
        recording.mcap(&folder.path().join("a.mcap")),
        recording.mcap_with(
            &folder.path().join("b.mcap"),
            WriteOptions::new().emit_summary_records(false),
        ),
        recording.sqlite(&folder.path().join("c.db3")),
    ];
    for path in paths {
        let info = describe(&path, &options()).unwrap();
        let color = info.streams.iter().find(|stream| stream.name == COLOR).unwrap();
        assert_eq!((color.count, color.content.as_str()), (8, "sensor_msgs/Image"));
        assert!((color.rate_hz.unwrap() - 10.0).abs() < 1e-6);
        assert_eq!(color.gaps.len(), 1);
        assert!((color.gaps[0].length_secs - 0.5).abs() < 1e-6);
        assert!((info.duration_secs - 1.1).abs() < 1e-6);
        assert_eq!(info.camera.unwrap().width(), WIDTH);
        assert!(info.notes.is_empty(), "{:?}", info.notes);
    }
}
