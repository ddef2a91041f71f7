//! Records of an MCAP file from front to back, with bounded memory.
//!
//! Only the kinds that a bag needs are parsed, so what is damaged elsewhere does no harm.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;

use mcap::read::ChannelAccumulator;
use mcap::records::{Record, op};
use mcap::sans_io::{LinearReadEvent, LinearReader, LinearReaderOptions};
use mcap::{Channel, MAGIC, McapError, McapResult, Summary, parse_record};

use crate::stamp::Stamp;

/// No record or chunk of a camera's bag is larger; a declared length beyond this is damage.
pub const MAX_RECORD_BYTES: usize = 1 << 29;

const PARSED: [u8; 7] = [
    op::SCHEMA,
    op::CHANNEL,
    op::MESSAGE,
    op::MESSAGE_INDEX,
    op::CHUNK_INDEX,
    op::STATISTICS,
    op::DATA_END,
];

/// Reads records one after the other.
pub struct Records<R> {
    source: R,
    reader: LinearReader,
    left: u64,
}

impl<R: Read> Records<R> {
    /// Returns the records of `source`, which has `length` bytes; `from_start` if it begins with
    /// the magic bytes of a file.
    pub fn new(source: R, length: u64, from_start: bool) -> Self {
        let limit = MAX_RECORD_BYTES.min(length.max(1 << 26) as usize);
        let options = LinearReaderOptions::default()
            .with_skip_start_magic(!from_start)
            .with_skip_end_magic(true)
            .with_record_length_limit(limit);
        Self { source, reader: LinearReader::new_with_options(options), left: length }
    }

    /// Returns the first value that `pick` finds in the records to come.
    pub fn find<T>(
        &mut self,
        mut pick: impl FnMut(Record<'_>) -> McapResult<Option<T>>,
    ) -> McapResult<Option<T>> {
        while let Some(event) = self.reader.next_event() {
            match event? {
                LinearReadEvent::ReadRequest(need) => {
                    // A declared length beyond the end must not be allocated.
                    let need = self.left.min(need as u64) as usize;
                    let read = read(&mut self.source, self.reader.insert(need))?;
                    self.reader.notify_read(read);
                    self.left -= read as u64;
                }
                LinearReadEvent::Record { data, opcode } if PARSED.contains(&opcode) => {
                    if let Some(found) = pick(parse_record(opcode, data)?)? {
                        return Ok(Some(found));
                    }
                }
                LinearReadEvent::Record { .. } => {}
            }
        }
        Ok(None)
    }
}

fn read(source: &mut impl Read, buffer: &mut [u8]) -> McapResult<usize> {
    loop {
        match source.read(buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            read => return Ok(read?),
        }
    }
}

/// A message with the topic that it belongs to.
pub struct LinearMessage {
    pub channel: Arc<Channel<'static>>,
    pub log_time: Stamp,
    /// Empty where the topic is not wanted.
    pub data: Vec<u8>,
}

/// Reads messages from front to back; ends after the first error.
pub struct LinearMessages {
    records: Records<BufReader<File>>,
    channels: ChannelAccumulator<'static>,
    wanted: Vec<String>,
    ended: bool,
}

enum Found {
    Message(LinearMessage),
    End,
}

impl LinearMessages {
    pub fn new(file: File, length: u64, wanted: Vec<String>) -> Self {
        let records = Records::new(BufReader::with_capacity(1 << 20, file), length, true);
        Self { records, channels: ChannelAccumulator::default(), wanted, ended: false }
    }

    fn find(&mut self) -> McapResult<Found> {
        let Self { records, channels, wanted, .. } = self;
        let found = records.find(|record| match record {
            Record::Schema { header, data } => {
                channels.add_schema_from_slice(header, &data).map(|()| None)
            }
            Record::Channel(channel) => channels.add_channel(channel).map(|()| None),
            Record::Message { header, data } => {
                let unknown = McapError::UnknownChannel(header.sequence, header.channel_id);
                let channel = channels.get(header.channel_id).ok_or(unknown)?;
                let data = if wanted.contains(&channel.topic) { data.to_vec() } else { vec![] };
                let log_time = Stamp::from_nanos(header.log_time as i64);
                Ok(Some(Found::Message(LinearMessage { channel, log_time, data })))
            }
            Record::DataEnd(_) => Ok(Some(Found::End)),
            _ => Ok(None),
        })?;
        // A whole file says where its data end.
        found.ok_or(McapError::UnexpectedEof)
    }
}

impl Iterator for LinearMessages {
    type Item = McapResult<LinearMessage>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.find() {
            Ok(Found::Message(message)) => Some(Ok(message)),
            Ok(Found::End) => {
                self.ended = true;
                None
            }
            Err(error) => {
                self.ended = true;
                Some(Err(error))
            }
        }
    }
}

/// Returns the index at the end of a file, or `None` where there is none.
pub fn read_summary(file: &mut File, length: u64) -> McapResult<Option<Summary>> {
    let Some(start) = summary_start(file, length)? else { return Ok(None) };
    file.seek(SeekFrom::Start(start))?;
    let mut records = Records::new(BufReader::new(file), length - start, false);
    let mut summary = Summary::default();
    let mut channels = ChannelAccumulator::default();
    let mut ids = BTreeSet::new();
    records.find::<()>(|record| {
        match record {
            Record::Schema { header, data } => channels.add_schema_from_slice(header, &data)?,
            Record::Channel(channel) => {
                ids.insert(channel.id);
                channels.add_channel(channel)?;
            }
            Record::ChunkIndex(index) => summary.chunk_indexes.push(index),
            Record::Statistics(statistics) => summary.stats = Some(statistics),
            _ => {}
        }
        Ok(None)
    })?;
    summary.channels = ids.into_iter().filter_map(|id| Some((id, channels.get(id)?))).collect();
    Ok(Some(summary))
}

/// Returns where the footer (opcode, length, start of the summary, start of the summary's
/// offsets, checksum; then the magic bytes) says that the summary begins.
fn summary_start(file: &mut File, length: u64) -> McapResult<Option<u64>> {
    const FOOTER_BYTES: u64 = 1 + 8 + 8 + 8 + 4 + 8;
    if length < FOOTER_BYTES + MAGIC.len() as u64 {
        return Ok(None);
    }
    let mut footer = [0; FOOTER_BYTES as usize];
    file.seek(SeekFrom::Start(length - FOOTER_BYTES))?;
    file.read_exact(&mut footer)?;
    let whole = footer[0] == op::FOOTER && footer.ends_with(MAGIC);
    let start = footer[9..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    Ok(start.filter(|&start| whole && start > 0 && start < length))
}
