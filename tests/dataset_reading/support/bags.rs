//! Bags in both storage formats.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mcap::records::MessageHeader;
use mcap::{Compression, WriteOptions, Writer};
use rusqlite::{Connection, params};

use super::messages::{Image, camera_info};
use super::{HEIGHT, WIDTH, color, depth_units};

pub const COLOR: &str = "/camera/color/image_raw";
pub const DEPTH: &str = "/camera/aligned_depth_to_color/image_raw";
pub const INFO: &str = "/camera/color/camera_info";
pub const OPTICAL: &str = "camera_color_optical_frame";

pub const IMAGE: &str = "sensor_msgs/msg/Image";
pub const COMPRESSED: &str = "sensor_msgs/msg/CompressedImage";
pub const CAMERA_INFO: &str = "sensor_msgs/msg/CameraInfo";
pub const ODOMETRY: &str = "nav_msgs/msg/Odometry";
pub const TF: &str = "tf2_msgs/msg/TFMessage";

/// Time of the first image.
pub const START: i64 = 1_700_000_000_000_000_000;

/// Returns the time of the image with this index, at 10 Hz.
pub fn time(index: i64) -> i64 {
    START + index * 100_000_000
}

#[derive(Clone)]
pub struct Recorded {
    pub nanos: i64,
    pub topic: String,
    pub type_name: String,
    pub data: Vec<u8>,
}

/// Messages in order of recording.
#[derive(Clone, Default)]
pub struct Recording(pub Vec<Recorded>);

impl Recording {
    /// Returns colour, depth and calibration of so many frames; depth arrives first.
    pub fn rgbd(frames: u8) -> Self {
        let mut recording = Self::default();
        for index in 0..frames {
            let nanos = time(index.into());
            recording.add(DEPTH, IMAGE, nanos, depth_message(index, nanos + 2_000_000));
            recording.add(COLOR, IMAGE, nanos, color_message(index, nanos));
            let info = camera_info(nanos, OPTICAL, 10.0, (WIDTH, HEIGHT));
            recording.add(INFO, CAMERA_INFO, nanos, info);
        }
        recording
    }

    pub fn add(&mut self, topic: &str, type_name: &str, nanos: i64, data: Vec<u8>) {
        let (topic, type_name) = (topic.to_owned(), type_name.to_owned());
        self.0.push(Recorded { nanos, topic, type_name, data });
    }

    pub fn without(mut self, topic: &str) -> Self {
        self.0.retain(|message| message.topic != topic);
        self
    }

    /// Changes the data of each message of a topic, by its index.
    pub fn change(mut self, topic: &str, change: impl Fn(usize, &mut Vec<u8>)) -> Self {
        let messages = self.0.iter_mut().filter(|message| message.topic == topic);
        messages.enumerate().for_each(|(index, message)| change(index, &mut message.data));
        self
    }

    fn topics(&self) -> BTreeMap<String, String> {
        self.0.iter().map(|m| (m.topic.clone(), m.type_name.clone())).collect()
    }

    pub fn mcap(&self, path: &Path) -> PathBuf {
        self.mcap_with(path, WriteOptions::new().chunk_size(Some(4096)).compression(None))
    }

    pub fn mcap_compressed(&self, path: &Path, compression: Compression) -> PathBuf {
        let options = WriteOptions::new().chunk_size(Some(4096)).compression(Some(compression));
        self.mcap_with(path, options)
    }

    pub fn mcap_with(&self, path: &Path, options: WriteOptions) -> PathBuf {
        let mut writer =
            Writer::with_options(std::fs::File::create(path).unwrap(), options).unwrap();
        let mut channels = BTreeMap::new();
        for (topic, type_name) in self.topics() {
            let schema = writer.add_schema(&type_name, "ros2msg", b"").unwrap();
            let channel = writer.add_channel(schema, &topic, "cdr", &BTreeMap::new()).unwrap();
            channels.insert(topic, channel);
        }
        for (sequence, message) in self.0.iter().enumerate() {
            let header = MessageHeader {
                channel_id: channels[&message.topic],
                sequence: sequence as u32,
                log_time: message.nanos as u64,
                publish_time: message.nanos as u64,
            };
            writer.write_to_known_channel(&header, &message.data).unwrap();
        }
        writer.finish().unwrap();
        path.to_owned()
    }

    pub fn sqlite(&self, path: &Path) -> PathBuf {
        let connection = Connection::open(path).unwrap();
        connection
            .execute_batch(
                "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL,
                 serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL);
                 CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL,
                 timestamp INTEGER NOT NULL, data BLOB NOT NULL);
                 CREATE INDEX timestamp_idx ON messages (timestamp ASC);
                 BEGIN;",
            )
            .unwrap();
        for (topic, type_name) in self.topics() {
            let insert = "INSERT INTO topics(name, type, serialization_format,
                          offered_qos_profiles) VALUES (?1, ?2, 'cdr', '')";
            connection.execute(insert, params![topic, type_name]).unwrap();
        }
        for message in &self.0 {
            let insert = "INSERT INTO messages(topic_id, timestamp, data)
                          SELECT id, ?2, ?3 FROM topics WHERE name = ?1";
            connection
                .execute(insert, params![message.topic, message.nanos, message.data])
                .unwrap();
        }
        connection.execute_batch("COMMIT").unwrap();
        path.to_owned()
    }
}

pub fn color_message(index: u8, nanos: i64) -> Vec<u8> {
    let data: Vec<u8> = color(index).pixels().flat_map(|p| [p.0[2], p.0[1], p.0[0]]).collect();
    image(nanos, "bgr8", WIDTH * 3, &data).cdr(false)
}

pub fn depth_message(index: u8, nanos: i64) -> Vec<u8> {
    let data: Vec<u8> = depth_units(index).iter().flat_map(|units| units.to_le_bytes()).collect();
    image(nanos, "16UC1", WIDTH * 2, &data).cdr(false)
}

pub fn image<'a>(nanos: i64, encoding: &'a str, step: u32, data: &'a [u8]) -> Image<'a> {
    Image { nanos, frame: OPTICAL, width: WIDTH, height: HEIGHT, encoding, step, data }
}

/// Writes `metadata.yaml` over files of a folder.
pub fn metadata(folder: &Path, storage: &str, files: &[&str], compression: &str) {
    let files: String = files.iter().map(|file| format!("    - {file}\n")).collect();
    let text = format!(
        "rosbag2_bagfile_information:\n  version: 5\n  storage_identifier: {storage}\n  duration:\n    \
         nanoseconds: 1\n  message_count: 1\n  compression_format: \"\"\n  compression_mode: \
         \"{compression}\"\n  relative_file_paths:\n{files}"
    );
    std::fs::write(folder.join("metadata.yaml"), text).unwrap();
}
