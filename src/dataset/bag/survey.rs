//! A first look at a bag: one message of each topic that may matter, and all fixed transforms.

use std::collections::BTreeMap;

use super::storage::{Bag, StorageItem, Topic};
use crate::decode::is_depth_encoding;
use crate::messages::cdr::{self, CameraInfo, TfMessage};
use crate::messages::decoding::{ImageFormat, ImageTopic};
use crate::messages::tf::TfBuffer;

/// How many messages of fixed transforms are looked at; they come at the beginning.
const MAX_STATIC_MESSAGES: usize = 10_000;

/// What a first look found.
#[derive(Debug, Default)]
pub struct Survey {
    pub images: Vec<ImageTopic>,
    /// The first calibration of each topic that has them.
    pub infos: BTreeMap<String, CameraInfo>,
    pub odometry: Vec<String>,
    pub has_tf: bool,
    pub tf: TfBuffer,
}

impl Survey {
    /// Returns the first look at a bag.
    pub fn of(bag: &Bag) -> Self {
        let mut survey = Self::default();
        let readable = |topic: &&Topic| topic.serialization == "cdr" && topic.count != Some(0);
        for topic in bag.topics.iter().filter(readable) {
            survey.look_at(bag, topic);
        }
        survey.collect_fixed_transforms(bag);
        survey
    }

    /// Takes in all fixed transforms, or the first message of them where finding all would mean
    /// reading the whole bag.
    fn collect_fixed_transforms(&mut self, bag: &Bag) {
        const TOPIC: &str = "/tf_static";
        let most = if bag.is_indexed() { MAX_STATIC_MESSAGES } else { 1 };
        if bag.topic(TOPIC).is_none() {
            return;
        }
        for item in bag.messages(vec![TOPIC.to_owned()]).take(most) {
            if let StorageItem::Message(message) = item
                && let Ok(message) = cdr::decode::<TfMessage>(&message.data)
            {
                self.tf.insert(message, true);
            }
        }
    }

    fn look_at(&mut self, bag: &Bag, topic: &Topic) {
        let first = || bag.first(&topic.name).map(|message| message.data);
        match topic.type_name.as_str() {
            "sensor_msgs/Image" => self.images.push(raw_topic(&topic.name, first())),
            "sensor_msgs/CompressedImage" => {
                self.images.push(compressed_topic(&topic.name, first()));
            }
            "sensor_msgs/CameraInfo" => {
                if let Some(info) = first().and_then(|data| cdr::decode(&data).ok()) {
                    self.infos.insert(topic.name.clone(), info);
                }
            }
            "nav_msgs/Odometry" => self.odometry.push(topic.name.clone()),
            "tf2_msgs/TFMessage" => self.has_tf |= topic.name == "/tf",
            _ => {}
        }
    }
}

fn raw_topic(name: &str, first: Option<Vec<u8>>) -> ImageTopic {
    let image = first.as_ref().and_then(|data| cdr::decode::<cdr::Image>(data).ok());
    let is_depth = image
        .as_ref()
        .map_or_else(|| name.contains("depth"), |image| is_depth_encoding(&image.encoding));
    ImageTopic {
        name: name.to_owned(),
        format: ImageFormat::Raw,
        is_depth,
        frame_id: image.map(|image| image.header.frame_id),
    }
}

fn compressed_topic(name: &str, first: Option<Vec<u8>>) -> ImageTopic {
    let image = first.as_ref().and_then(|data| cdr::decode::<cdr::CompressedImage>(data).ok());
    let text = image.as_ref().map_or("", |image| image.format.as_str());
    let compressed_depth = text.contains("compressedDepth") || name.ends_with("/compressedDepth");
    let encoding = text.split(';').next().unwrap_or("").trim();
    ImageTopic {
        name: name.to_owned(),
        format: if compressed_depth { ImageFormat::CompressedDepth } else { ImageFormat::File },
        is_depth: compressed_depth || is_depth_encoding(encoding),
        frame_id: image.map(|image| image.header.frame_id),
    }
}
