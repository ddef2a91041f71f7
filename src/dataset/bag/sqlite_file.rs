//! Bags in SQLite files: a table of topics and a table of messages.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, params};

use super::storage::{Message, Messages, StorageFile, StorageItem, Times, Topic, short_type};
use crate::error::{Error, Result};
use crate::stamp::Stamp;

const REMEDY: &str = "record or copy it again, or repair it with: sqlite3 FILE .recover";

pub struct SqliteFile {
    path: PathBuf,
}

/// Where a message lies, without its data.
struct Row {
    time_nanos: i64,
    id: i64,
    topic_id: i64,
}

impl SqliteFile {
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_owned() })
    }

    fn error(&self, error: &rusqlite::Error) -> Error {
        Error::input(&self.path, format!("the bag cannot be read: {error}"), REMEDY)
    }

    fn connect(&self) -> Result<Connection> {
        connect(&self.path).map_err(|error| self.error(&error))
    }

    fn topic_ids(&self, connection: &Connection) -> Result<BTreeMap<i64, Topic>> {
        let read = || -> rusqlite::Result<BTreeMap<i64, Topic>> {
            connection
                .prepare("SELECT id, name, type, serialization_format FROM topics")?
                .query_map([], |row| {
                    let type_name: String = row.get(2)?;
                    let topic = Topic {
                        name: row.get(1)?,
                        type_name: short_type(&type_name),
                        serialization: row.get(3)?,
                        count: None,
                    };
                    Ok((row.get(0)?, topic))
                })?
                .collect()
        };
        read().map_err(|error| self.error(&error))
    }

    fn damage(&self, error: &rusqlite::Error, last: Option<i64>) -> String {
        let after = last
            .map_or_else(String::new, |nanos| format!(", after time {}", Stamp::from_nanos(nanos)));
        let length = std::fs::metadata(&self.path).map_or(0, |metadata| metadata.len());
        let path = self.path.display();
        format!("{path}: the bag is cut off or damaged ({length} bytes){after}: {error}")
    }
}

impl StorageFile for SqliteFile {
    fn topics(&self) -> Result<Vec<Topic>> {
        let connection = self.connect()?;
        let topics = self.topic_ids(&connection)?;
        let ids: Vec<i64> = topics.keys().copied().collect();
        let (rows, error) = rows(&connection, &ids);
        let mut counts: BTreeMap<i64, u64> = BTreeMap::new();
        rows.iter().for_each(|row| *counts.entry(row.topic_id).or_default() += 1);
        if let Some(error) = error.filter(|_| rows.is_empty()) {
            return Err(self.error(&error));
        }
        Ok(topics
            .into_iter()
            .map(|(id, topic)| Topic { count: Some(*counts.get(&id).unwrap_or(&0)), ..topic })
            .collect())
    }

    fn messages(&self, wanted: &[String]) -> Result<Messages> {
        let connection = self.connect()?;
        let topics: BTreeMap<i64, usize> = self
            .topic_ids(&connection)?
            .into_iter()
            .filter_map(|(id, topic)| {
                wanted.iter().position(|name| *name == topic.name).map(|index| (id, index))
            })
            .collect();
        let ids: Vec<i64> = topics.keys().copied().collect();
        let (mut rows, error) = rows(&connection, &ids);
        let last = rows.iter().map(|row| row.time_nanos).max();
        rows.sort_by_key(|row| (row.time_nanos, row.id));
        let damage = error.map(|error| self.damage(&error, last));
        let file = Self { path: self.path.clone() };
        Ok(Box::new(Rows { file, connection, topics, rows: rows.into_iter(), damage }))
    }

    fn first(&self, topic: &str) -> Result<Option<Message>> {
        let connection = self.connect()?;
        let ids = self.topic_ids(&connection)?;
        let Some((id, _)) = ids.iter().find(|(_, known)| known.name == topic) else {
            return Ok(None);
        };
        let query = "SELECT data FROM messages WHERE topic_id = ?1 LIMIT 1";
        let data = connection.query_row(query, params![id], |row| row.get(0));
        Ok(data.ok().map(|data| Message { topic: 0, data }))
    }

    fn is_indexed(&self) -> bool {
        true
    }

    fn times(&self) -> Result<Times> {
        let connection = self.connect()?;
        let topics = self.topic_ids(&connection)?;
        let ids: Vec<i64> = topics.keys().copied().collect();
        let (mut rows, error) = rows(&connection, &ids);
        rows.sort_by_key(|row| (row.time_nanos, row.id));
        let mut times = Times::default();
        for row in &rows {
            let stamps = times.by_topic.entry(topics[&row.topic_id].name.clone()).or_default();
            stamps.push(Stamp::from_nanos(row.time_nanos));
        }
        times.damage = error.map(|error| self.damage(&error, rows.last().map(|r| r.time_nanos)));
        Ok(times)
    }
}

struct Rows {
    file: SqliteFile,
    connection: Connection,
    topics: BTreeMap<i64, usize>,
    rows: std::vec::IntoIter<Row>,
    damage: Option<String>,
}

impl Rows {
    fn data(&self, id: i64) -> rusqlite::Result<Vec<u8>> {
        let mut query =
            self.connection.prepare_cached("SELECT data FROM messages WHERE id = ?1")?;
        query.query_row(params![id], |row| row.get(0))
    }
}

impl Iterator for Rows {
    type Item = StorageItem;

    fn next(&mut self) -> Option<StorageItem> {
        let Some(row) = self.rows.next() else {
            return self.damage.take().map(StorageItem::Damage);
        };
        match self.data(row.id) {
            Ok(data) => {
                let topic = self.topics[&row.topic_id];
                Some(StorageItem::Message(Message { topic, data }))
            }
            Err(error) => {
                self.rows = Vec::new().into_iter();
                self.damage = None;
                let sentence = self.file.damage(&error, Some(row.time_nanos));
                Some(StorageItem::Damage(sentence))
            }
        }
    }
}

/// Returns where the messages of these topics lie, and the error that ended the search early.
fn rows(connection: &Connection, topic_ids: &[i64]) -> (Vec<Row>, Option<rusqlite::Error>) {
    let mut found = Vec::new();
    let mut search = || -> rusqlite::Result<()> {
        let mut query = connection.prepare("SELECT timestamp, id, topic_id FROM messages")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let topic_id = row.get(2)?;
            if topic_ids.contains(&topic_id) {
                found.push(Row { time_nanos: row.get(0)?, id: row.get(1)?, topic_id });
            }
        }
        Ok(())
    };
    let error = search().err();
    (found, error)
}

/// Opens a file without ever writing to it, wherever it lies.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = |parameters: &str| -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(uri(path, parameters), flags)?;
        // Else SQLite refuses a file that is shorter than its header says as a whole.
        connection.pragma_update(None, "writable_schema", true)?;
        connection.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()))?;
        Ok(connection)
    };
    let journal = PathBuf::from(format!("{}-wal", path.display()));
    let unmerged = journal.metadata().is_ok_and(|metadata| metadata.len() > 0);
    // Only a recording that was not closed has a journal, which takes a writable folder to read;
    // otherwise no lock is needed, and a read-only medium is no hindrance.
    let with_journal = if unmerged { open("").ok() } else { None };
    with_journal.map_or_else(|| open("?immutable=1"), Ok)
}

fn uri(path: &Path, parameters: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    let escaped: String = path
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .map(|&byte| if plain(byte) { char::from(byte).into() } else { format!("%{byte:02X}") })
        .collect();
    format!("file:{escaped}{parameters}")
}
