//! `recon replay` on bags: good ones, and such as are empty, cut off or full of odd depths.

use std::path::Path;

use recon_node::source::{FrameSource, SourceItem};

use crate::messages::{Image, camera_info};
use crate::support::{Recorded, assert_tells, depth_name, png, small_room};

const COLOR: &str = "/camera/color/image_raw";
const DEPTH: &str = "/camera/aligned_depth_to_color/image_raw";
const INFO: &str = "/camera/color/camera_info";
const FRAMES: usize = 12;
const START_NANOS: i64 = 1_700_000_000_000_000_000;

/// A writer of one bag, with a channel for each topic.
struct Bag {
    writer: mcap::Writer<std::io::BufWriter<std::fs::File>>,
    channels: Vec<(&'static str, u16)>,
}

impl Bag {
    fn create(path: &Path) -> Self {
        let file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
        let options = mcap::WriteOptions::new().chunk_size(Some(1 << 18)).compression(None);
        Self { writer: mcap::Writer::with_options(file, options).unwrap(), channels: Vec::new() }
    }

    fn add(&mut self, topic: &'static str, type_name: &str, nanos: i64, data: &[u8]) {
        let known = self.channels.iter().find(|(name, _)| *name == topic);
        let channel_id = known.map(|(_, id)| *id).unwrap_or_else(|| {
            let schema = self.writer.add_schema(type_name, "ros2msg", b"").unwrap();
            let metadata = std::collections::BTreeMap::new();
            let id = self.writer.add_channel(schema, topic, "cdr", &metadata).unwrap();
            self.channels.push((topic, id));
            id
        });
        let time = nanos as u64;
        let header = mcap::records::MessageHeader {
            channel_id,
            sequence: 0,
            log_time: time,
            publish_time: time,
        };
        self.writer.write_to_known_channel(&header, data).unwrap();
    }

    fn add_image(&mut self, topic: &'static str, nanos: i64, encoding: &str, data: &[u8]) {
        let (width, height) = (320, 240);
        let step = (data.len() / height) as u32;
        let (frame, height) = ("camera_optical", height as u32);
        let message = Image { nanos, frame, width, height, encoding, step, data };
        self.add(topic, "sensor_msgs/msg/Image", nanos, &message.cdr(false));
    }

    fn finish(mut self) {
        self.writer.finish().unwrap();
    }
}

/// Writes a bag of the simulated room with depth in metres, changed pixel by pixel.
fn write_bag(path: &Path, change_depth: impl Fn(usize, f32) -> f32) {
    let mut simulator = small_room(FRAMES);
    let mut bag = Bag::create(path);
    while let Some(SourceItem::Frame(frame)) = simulator.next_item().unwrap() {
        let nanos = START_NANOS + frame.stamp.nanos();
        bag.add_image(COLOR, nanos, "rgb8", frame.color.as_raw());
        let depth = frame.depth.as_ref().unwrap().raster().values().iter().enumerate();
        let bytes: Vec<u8> =
            depth.flat_map(|(pixel, &d)| change_depth(pixel, d).to_le_bytes()).collect();
        bag.add_image(DEPTH, nanos, "32FC1", &bytes);
        let focal = simulator.camera().intrinsics().fx;
        let info = camera_info(nanos, "camera_optical", focal, (320, 240));
        bag.add(INFO, "sensor_msgs/msg/CameraInfo", nanos, &info);
    }
    bag.finish();
}

#[test]
fn depth_that_is_not_a_number_or_infinite_is_no_depth() {
    let folder = Recorded::nothing();
    let odd = |pixel: usize, depth: f32| match pixel % 61 {
        0 => f32::NAN,
        1 => f32::INFINITY,
        2 => f32::NEG_INFINITY,
        3 => -depth,
        _ => depth,
    };
    write_bag(&folder.path("odd.mcap"), odd);
    folder.success(&["replay", "odd.mcap", "--out", "out"]);
    let metrics = folder.metrics("out");
    assert_eq!((&metrics["frames"], &metrics["tracked"]), (&FRAMES.into(), &FRAMES.into()));
    let poses = folder.read("out/trajectory.txt");
    assert!(!poses.contains("NaN") && !poses.contains("inf"), "{poses}");
    let cloud = recon_node::export::read_ply(&folder.path("out/map.ply")).unwrap();
    assert!(cloud.points.iter().all(|p| p.iter().all(|c| c.is_finite())));
}

#[test]
fn depth_that_is_never_a_number_is_no_map() {
    let folder = Recorded::nothing();
    write_bag(&folder.path("blind.mcap"), |_, _| f32::NAN);
    let message = folder.failure(&["replay", "blind.mcap", "--out", "out"], 1);
    assert_tells(&message, &["no frame could be placed", "needs depth"]);
    let cloud = recon_node::export::read_ply(&folder.path("out/map.ply")).unwrap();
    assert!(cloud.points.is_empty());
}

#[test]
fn the_map_begins_with_the_first_frame_that_has_depth() {
    let recorded = Recorded::of(6);
    let blank = || png(320, 240, vec![0; 320 * 240]);
    (0..2).for_each(|id| drop(recorded.write(&format!("room/{}", depth_name(id)), blank())));
    let metrics = recorded.figures(&[]);
    assert_eq!((&metrics["frames"], &metrics["tracked"]), (&6.into(), &4.into()));
}

#[test]
fn a_bag_cut_in_the_middle_gives_what_is_before_and_says_so() {
    let folder = Recorded::nothing();
    write_bag(&folder.path("whole.mcap"), |_, depth| depth);
    let whole = folder.bytes("whole.mcap");
    folder.write("cut.mcap", &whole[..whole.len() / 2]);
    let table = folder.success(&["replay", "cut.mcap", "--out", "out"]);
    let metrics = folder.metrics("out");
    let frames = metrics["frames"].as_u64().unwrap();
    assert!((2..FRAMES as u64).contains(&frames), "{frames} frames");
    assert_eq!(metrics["tracked"], frames);
    assert!(metrics["skipped"].as_u64().unwrap() >= 1);
    assert_tells(&table, &["left out", "cut.mcap", "cut off"]);
}

#[test]
fn a_bag_without_images_lists_what_it_has() {
    let folder = Recorded::nothing();
    let mut bag = Bag::create(&folder.path("imu.mcap"));
    bag.add("/imu", "sensor_msgs/msg/Imu", START_NANOS, &[0, 1, 0, 0]);
    bag.finish();
    let message = folder.failure(&["replay", "imu.mcap"], 1);
    assert_tells(&message, &["imu.mcap", "no colour images", "/imu"]);
}

#[test]
fn a_bag_without_messages_is_told() {
    let folder = Recorded::nothing();
    Bag::create(&folder.path("empty.mcap")).finish();
    assert_tells(&folder.failure(&["replay", "empty.mcap"], 1), &["empty.mcap", "empty"]);
}

#[test]
fn a_file_of_no_length_is_told() {
    let folder = Recorded::nothing();
    folder.write("nothing.mcap", "");
    let message = folder.failure(&["replay", "nothing.mcap"], 1);
    assert_tells(&message, &["nothing.mcap", "the file is empty", "record it again"]);
}

#[test]
fn a_file_with_only_the_name_of_a_bag_is_told() {
    let folder = Recorded::nothing();
    for name in ["text.mcap", "text.db3"] {
        folder.write(name, "this is not what a bag begins with");
        let message = folder.failure(&["replay", name], 1);
        assert_tells(&message, &[name, "does not begin like one", "again"]);
    }
}

#[test]
fn a_wrong_topic_is_told_which_there_are() {
    let folder = Recorded::nothing();
    write_bag(&folder.path("room.mcap"), |_, depth| depth);
    let message = folder.failure(&["replay", "room.mcap", "--image-topic", "/left"], 2);
    assert_tells(&message, &["/left", COLOR]);
}

#[test]
fn a_bag_without_depth_is_not_enough_for_sensor_depth() {
    let folder = Recorded::nothing();
    write_bag(&folder.path("room.mcap"), |_, depth| depth);
    let replay = ["replay", "room.mcap", "--depth-topic", "none", "--out", "out"];
    assert_tells(&folder.failure(&replay, 1), &["no frame could be placed", "needs depth"]);
}
