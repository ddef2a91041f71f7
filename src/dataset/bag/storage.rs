//! The socket between a bag and the two formats of its files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::mcap_file::McapFile;
use super::sqlite_file::SqliteFile;
use crate::dataset::kind::{BagAt, detect_file, is_mcap, storage_files};
use crate::dataset::text::read_text;
use crate::error::{Error, Result};
use crate::stamp::Stamp;

/// A topic of a bag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    /// Without the `msg` in the middle: `sensor_msgs/Image`.
    pub type_name: String,
    /// How its messages are written; `cdr` is what can be read.
    pub serialization: String,
    /// How many messages there are, where the file says so.
    pub count: Option<u64>,
}

/// A message as it lies in the bag.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Index in the list of topics that were asked for.
    pub topic: usize,
    pub data: Vec<u8>,
}

/// What comes next from a file.
#[derive(Debug)]
pub enum StorageItem {
    Message(Message),
    /// The file cannot be read further: a sentence.
    Damage(String),
}

/// Delivers messages.
pub type Messages = Box<dyn Iterator<Item = StorageItem> + Send>;

/// When each topic's messages were recorded, in order, and what stood in the way.
#[derive(Debug, Default)]
pub struct Times {
    pub by_topic: BTreeMap<String, Vec<Stamp>>,
    pub damage: Option<String>,
}

/// One file of a bag.
pub trait StorageFile: Send + Sync {
    /// Returns its topics.
    fn topics(&self) -> Result<Vec<Topic>>;

    /// Returns the messages of the topics `wanted` in order of recording.
    fn messages(&self, wanted: &[String]) -> Result<Messages>;

    /// Returns the first message of a topic.
    fn first(&self, topic: &str) -> Result<Option<Message>> {
        let mut messages = self.messages(&[topic.to_owned()])?;
        Ok(messages.find_map(|item| match item {
            StorageItem::Message(message) => Some(message),
            StorageItem::Damage(_) => None,
        }))
    }

    /// Returns whether the messages of a topic are found without reading all others.
    fn is_indexed(&self) -> bool;

    /// Returns when the messages of all topics were recorded.
    fn times(&self) -> Result<Times>;
}

/// A bag: one file, or several in order.
pub struct Bag {
    pub path: PathBuf,
    pub topics: Vec<Topic>,
    files: Vec<Arc<dyn StorageFile>>,
    /// Sentences about files that cannot be read at all.
    pub damaged: Vec<String>,
}

#[derive(serde::Deserialize)]
struct Metadata {
    rosbag2_bagfile_information: BagInformation,
}

#[derive(serde::Deserialize)]
struct BagInformation {
    #[serde(default)]
    relative_file_paths: Vec<String>,
    #[serde(default)]
    compression_mode: String,
    #[serde(default)]
    compression_format: String,
}

impl Bag {
    /// Returns the bag at a path.
    ///
    /// # Errors
    /// Where none of its files can be read.
    pub fn open(path: &Path, at: BagAt) -> Result<Self> {
        let paths = match at {
            BagAt::Files(files) => files,
            BagAt::Metadata(metadata) => listed_files(&metadata)?,
        };
        let mut bag =
            Self { path: path.to_owned(), topics: vec![], files: vec![], damaged: vec![] };
        let mut merged = BTreeMap::new();
        let mut first_error = None;
        for file_path in &paths {
            match open_file(file_path).and_then(|file| file.topics().map(|topics| (file, topics))) {
                Ok((file, topics)) => {
                    bag.files.push(file);
                    merge(&mut merged, topics);
                }
                Err(error) => {
                    bag.damaged.push(error.to_string());
                    first_error.get_or_insert(error);
                }
            }
        }
        bag.topics = merged.into_values().collect();
        match first_error {
            Some(error) if bag.files.is_empty() => Err(error),
            _ => Ok(bag),
        }
    }

    /// Returns the topic of this name.
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.iter().find(|topic| topic.name == name)
    }

    /// Returns the messages of the topics `wanted`, file by file.
    pub fn messages(&self, wanted: Vec<String>) -> Messages {
        let files = self.files.clone();
        Box::new(files.into_iter().flat_map(move |file| match file.messages(&wanted) {
            Ok(messages) => messages,
            Err(error) => Box::new(std::iter::once(StorageItem::Damage(error.to_string()))),
        }))
    }

    /// Returns whether the messages of a topic are found without reading all others.
    pub fn is_indexed(&self) -> bool {
        self.files.iter().all(|file| file.is_indexed())
    }

    /// Returns the first message of a topic, if it can be read.
    pub fn first(&self, topic: &str) -> Option<Message> {
        self.files.iter().find_map(|file| file.first(topic).ok().flatten())
    }

    /// Returns when the messages of all topics were recorded.
    pub fn times(&self) -> Times {
        let mut all = Times::default();
        for file in &self.files {
            match file.times() {
                Ok(times) => {
                    for (topic, stamps) in times.by_topic {
                        all.by_topic.entry(topic).or_default().extend(stamps);
                    }
                    all.damage = all.damage.or(times.damage);
                }
                Err(error) => all.damage = all.damage.or(Some(error.to_string())),
            }
        }
        all
    }
}

fn merge(merged: &mut BTreeMap<String, Topic>, topics: Vec<Topic>) {
    for topic in topics {
        match merged.get_mut(&topic.name) {
            Some(known) => known.count = known.count.zip(topic.count).map(|(a, b)| a + b),
            None => {
                merged.insert(topic.name.clone(), topic);
            }
        }
    }
}

fn listed_files(metadata: &Path) -> Result<Vec<PathBuf>> {
    let text = read_text(metadata, "read the bag's metadata")?;
    let remedy = "make it anew with: ros2 bag reindex";
    let options = serde_saphyr::options! { with_snippet: false };
    let information = serde_saphyr::from_str_with_options::<Metadata>(&text, options)
        .map_err(|error| Error::input(metadata, error.to_string().replace('\n', " "), remedy))?
        .rosbag2_bagfile_information;
    if !matches!(information.compression_mode.to_lowercase().as_str(), "" | "none") {
        let problem = format!(
            "the bag is compressed as a whole ({} {})",
            information.compression_mode, information.compression_format
        );
        let remedy = "unpack it with ros2 bag convert, or give an mcap with compressed chunks";
        return Err(Error::input(metadata, problem, remedy));
    }
    let folder = metadata.parent().unwrap_or(Path::new(""));
    if information.relative_file_paths.is_empty() {
        return storage_files(folder);
    }
    Ok(information.relative_file_paths.iter().map(|name| folder.join(name)).collect())
}

fn open_file(path: &Path) -> Result<Arc<dyn StorageFile>> {
    detect_file(path)?;
    let mut start = Vec::new();
    let file = File::open(path).map_err(Error::io(path, "open the bag"))?;
    file.take(16).read_to_end(&mut start).map_err(Error::io(path, "read the bag"))?;
    if is_mcap(&start) {
        Ok(Arc::new(McapFile::open(path)?))
    } else {
        Ok(Arc::new(SqliteFile::open(path)?))
    }
}

/// Returns `sensor_msgs/Image` for `sensor_msgs/msg/Image`.
pub fn short_type(name: &str) -> String {
    name.replace("/msg/", "/")
}
