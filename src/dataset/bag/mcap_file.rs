//! Bags in MCAP files, read chunk by chunk: through the index in order of time where there is a
//! whole index, else from front to back as far as the file goes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use mcap::records::Record;
use mcap::sans_io::{IndexedReadEvent, IndexedReader, IndexedReaderOptions};
use mcap::{McapError, McapResult, Summary};

use super::mcap_records::{LinearMessages, MAX_RECORD_BYTES, Records, read_summary};
use super::storage::{Message, Messages, StorageFile, StorageItem, Times, Topic, short_type};
use crate::error::{Error, Result};
use crate::stamp::Stamp;

const REMEDY: &str = "record or copy it again, or repair it with: mcap recover";

/// How long from the first message on topics are looked for in a file without index.
const TOPIC_SEARCH_SECS: f64 = 60.0;

pub struct McapFile {
    path: PathBuf,
    length: u64,
    /// The index at the end of the file, if it is there and whole.
    summary: Option<Summary>,
}

impl McapFile {
    pub fn open(path: &Path) -> Result<Self> {
        let mut file = File::open(path).map_err(Error::io(path, "open the bag"))?;
        let length = file.metadata().map_err(Error::io(path, "read the bag"))?.len();
        let summary = read_summary(&mut file, length).ok().flatten();
        let summary = summary.filter(|summary| is_whole(summary, length));
        Ok(Self { path: path.to_owned(), length, summary })
    }

    fn linear(&self, wanted: &[String]) -> Result<LinearMessages> {
        let file = File::open(&self.path).map_err(Error::io(&self.path, "open the bag"))?;
        Ok(LinearMessages::new(file, self.length, wanted.to_vec()))
    }

    /// Returns topics and times by reading messages while `go_on` for the seconds since the first.
    fn scan(&self, go_on: impl Fn(f64) -> bool) -> Result<(BTreeMap<String, Topic>, Times)> {
        let mut topics = BTreeMap::new();
        let mut times = Times::default();
        let mut ends: Option<(Stamp, Stamp)> = None;
        for message in self.linear(&[])? {
            let message = match message {
                Ok(message) => message,
                Err(error) => {
                    times.damage = Some(self.damage(&error, ends.map(|(_, last)| last)));
                    break;
                }
            };
            let stamp = message.log_time;
            let first = ends.map_or(stamp, |(first, _)| first);
            ends = Some((first, stamp));
            let name = &message.channel.topic;
            if !topics.contains_key(name) {
                topics.insert(name.clone(), topic(&message.channel, None));
            }
            times.by_topic.entry(name.clone()).or_default().push(stamp);
            if !go_on(stamp.secs_since(first)) {
                break;
            }
        }
        Ok((topics, times))
    }

    fn damage(&self, error: &McapError, last: Option<Stamp>) -> String {
        damage(&self.path, self.length, error, last)
    }
}

impl StorageFile for McapFile {
    fn topics(&self) -> Result<Vec<Topic>> {
        let Some(summary) = &self.summary else {
            let (topics, times) = self.scan(|secs| secs < TOPIC_SEARCH_SECS)?;
            return match times.damage.filter(|_| topics.is_empty()) {
                Some(_) => Err(Error::input(&self.path, "nothing in it can be read", REMEDY)),
                None => Ok(topics.into_values().collect()),
            };
        };
        let counts = summary.stats.as_ref().map(|stats| &stats.channel_message_counts);
        let mut topics: Vec<Topic> = summary
            .channels
            .iter()
            .map(|(id, channel)| {
                topic(channel, counts.map(|counts| counts.get(id).copied().unwrap_or(0)))
            })
            .collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    fn messages(&self, wanted: &[String]) -> Result<Messages> {
        let Some(summary) = &self.summary else {
            return Ok(Box::new(Linear {
                reader: self.linear(wanted)?,
                path: self.path.clone(),
                length: self.length,
                wanted: wanted.to_vec(),
                last: None,
            }));
        };
        let topics: BTreeMap<u16, usize> = summary
            .channels
            .iter()
            .filter_map(|(&id, channel)| {
                wanted.iter().position(|name| *name == channel.topic).map(|topic| (id, topic))
            })
            .collect();
        if topics.is_empty() {
            return Ok(Box::new(std::iter::empty()));
        }
        let options = IndexedReaderOptions::new()
            .include_topics(wanted.iter().cloned())
            .with_record_length_limit(MAX_RECORD_BYTES);
        let reader = IndexedReader::new_with_options(summary, options)
            .map_err(|error| Error::input(&self.path, error.to_string(), REMEDY))?;
        let file = File::open(&self.path).map_err(Error::io(&self.path, "open the bag"))?;
        let chunks = Chunks { file, length: self.length, buffer: Vec::new() };
        Ok(Box::new(Indexed {
            reader,
            chunks,
            path: self.path.clone(),
            topics,
            last: None,
            ended: false,
        }))
    }

    fn is_indexed(&self) -> bool {
        self.summary.is_some()
    }

    fn times(&self) -> Result<Times> {
        match &self.summary {
            Some(summary) => match times_by_index(&self.path, summary) {
                Ok(Some(times)) => Ok(times),
                _ => self.scan(|_| true).map(|(_, times)| times),
            },
            None => self.scan(|_| true).map(|(_, times)| times),
        }
    }
}

struct Linear {
    reader: LinearMessages,
    path: PathBuf,
    length: u64,
    wanted: Vec<String>,
    last: Option<Stamp>,
}

impl Iterator for Linear {
    type Item = StorageItem;

    fn next(&mut self) -> Option<StorageItem> {
        loop {
            let message = match self.reader.next()? {
                Ok(message) => message,
                Err(error) => {
                    let sentence = damage(&self.path, self.length, &error, self.last);
                    return Some(StorageItem::Damage(sentence));
                }
            };
            self.last = Some(message.log_time);
            let name = &message.channel.topic;
            if let Some(topic) = self.wanted.iter().position(|wanted| wanted == name) {
                return Some(StorageItem::Message(Message { topic, data: message.data }));
            }
        }
    }
}

struct Indexed {
    reader: IndexedReader,
    chunks: Chunks,
    path: PathBuf,
    topics: BTreeMap<u16, usize>,
    last: Option<Stamp>,
    ended: bool,
}

impl Indexed {
    fn advance(&mut self) -> McapResult<Option<Message>> {
        while let Some(event) = self.reader.next_event() {
            match event? {
                IndexedReadEvent::ReadChunkRequest { offset, length } => {
                    let data = self.chunks.read(offset, length)?;
                    self.reader.insert_chunk_record_data(offset, data)?;
                }
                IndexedReadEvent::Message { header, data } => {
                    self.last = Some(Stamp::from_nanos(header.log_time as i64));
                    if let Some(&topic) = self.topics.get(&header.channel_id) {
                        return Ok(Some(Message { topic, data: data.to_vec() }));
                    }
                }
            }
        }
        Ok(None)
    }
}

impl Iterator for Indexed {
    type Item = StorageItem;

    fn next(&mut self) -> Option<StorageItem> {
        if self.ended {
            return None;
        }
        match self.advance() {
            Ok(Some(message)) => Some(StorageItem::Message(message)),
            Ok(None) => None,
            Err(error) => {
                self.ended = true;
                let sentence = damage(&self.path, self.chunks.length, &error, self.last);
                Some(StorageItem::Damage(sentence))
            }
        }
    }
}

/// Reads parts of a file, never more than the file has.
struct Chunks {
    file: File,
    length: u64,
    buffer: Vec<u8>,
}

impl Chunks {
    fn read(&mut self, offset: u64, length: usize) -> McapResult<&[u8]> {
        if offset.checked_add(length as u64).is_none_or(|end| end > self.length) {
            return Err(McapError::UnexpectedEof);
        }
        self.file.seek(SeekFrom::Start(offset))?;
        self.buffer.resize(length, 0);
        self.file.read_exact(&mut self.buffer)?;
        Ok(&self.buffer)
    }
}

fn topic(channel: &mcap::Channel<'_>, count: Option<u64>) -> Topic {
    let schema = channel.schema.as_ref();
    Topic {
        name: channel.topic.clone(),
        type_name: schema.map(|schema| short_type(&schema.name)).unwrap_or_default(),
        serialization: channel.message_encoding.clone(),
        count,
    }
}

fn damage(path: &Path, length: u64, error: &McapError, last: Option<Stamp>) -> String {
    let after = last.map_or_else(String::new, |last| format!(", after time {last}"));
    let path = path.display();
    if matches!(error, McapError::UnexpectedEof | McapError::UnexpectedEoc) {
        return format!("{path}: the bag is cut off at byte {length}{after}");
    }
    format!("{path}: the bag is damaged{after}, the rest of it is left out: {error}")
}

/// An index serves only if it names topics and all chunks; files without chunks have none.
fn is_whole(summary: &Summary, length: u64) -> bool {
    let chunks = &summary.chunk_indexes;
    let inside = |end: Option<u64>| end.is_some_and(|end| end <= length);
    !summary.channels.is_empty()
        && !chunks.is_empty()
        && summary.stats.as_ref().is_none_or(|stats| stats.chunk_count as usize == chunks.len())
        && chunks
            .iter()
            .all(|chunk| inside(chunk.chunk_start_offset.checked_add(chunk.chunk_length)))
}

/// Returns the times from the message indexes behind the chunks, without touching the chunks, or
/// `None` where there are none.
fn times_by_index(path: &Path, summary: &Summary) -> McapResult<Option<Times>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut chunks = Chunks { file, length, buffer: Vec::new() };
    let mut times = Times::default();
    for chunk in &summary.chunk_indexes {
        if chunk.message_index_offsets.is_empty() {
            return Ok(None);
        }
        let start = chunk.chunk_start_offset + chunk.chunk_length;
        let indexes = chunks.read(start, chunk.message_index_length as usize)?;
        Records::new(indexes, indexes.len() as u64, false).find::<()>(|record| {
            if let Record::MessageIndex(index) = record
                && let Some(channel) = summary.channels.get(&index.channel_id)
            {
                let stamps = index.records.iter().map(|r| Stamp::from_nanos(r.log_time as i64));
                times.by_topic.entry(channel.topic.clone()).or_default().extend(stamps);
            }
            Ok(None)
        })?;
    }
    times.by_topic.values_mut().for_each(|stamps| stamps.sort_unstable());
    Ok(Some(times))
}
