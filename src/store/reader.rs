//! Maps are read row by row, each row by its checksum.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rayon::prelude::*;
use rusqlite::{Connection, OptionalExtension};

use super::graph::{GraphRows, Rows, TABLES, Table, row_checksum};
use super::keyframe::{Rays, Row};
use super::raster::Decoder;
use super::{checksum, schema};
use crate::error::{Error, Result};
use crate::pipeline::{KeyframeSnapshot, MapSnapshot};

const REMEDY: &str = "take a copy that is whole, or use what can be trusted of it with --recover";
/// Keyframes that are unpacked at a time, so that they do not all wait in memory.
const BATCH: usize = 64;

/// Values and checksums by key.
type Checked = BTreeMap<[i64; 2], (Vec<u8>, Vec<u8>)>;

/// Returns the map in a file; what is damaged ends it, or with `recover` is left out.
pub fn read(path: &Path, recover: bool) -> Result<MapSnapshot> {
    let mut reader = Reader::open(path, recover)?;
    let rows = reader.graph_rows()?;
    let mut notes = Vec::new();
    let graph = rows.graph(|problem| reader.complain(problem), &mut notes)?;
    let keyframes = reader.keyframes()?;
    let mut map = MapSnapshot { keyframes, graph, notes };
    let incomplete = map.drop_incomplete();
    if incomplete > 0 {
        reader.complain(format!("{incomplete} keyframes have no pose or no content"))?;
    }
    map.notes.append(&mut reader.losses);
    if map.keyframes.is_empty() && recover && !map.notes.is_empty() {
        return Err(Error::input(path, "no keyframe of the map can be trusted", "take a copy"));
    }
    Ok(map)
}

/// Returns what a whole file holds besides keyframes.
pub fn read_graph(path: &Path) -> Result<GraphRows> {
    Reader::open(path, false)?.graph_rows()
}

struct Reader<'a> {
    path: &'a Path,
    connection: Connection,
    recover: bool,
    losses: Vec<String>,
}

impl<'a> Reader<'a> {
    fn open(path: &'a Path, recover: bool) -> Result<Self> {
        let connection = schema::open_to_read(path)?;
        // All is read of one moment, whoever writes meanwhile.
        let reader = Self { path, connection, recover, losses: Vec::new() };
        reader
            .connection
            .execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema;")
            .map_err(|error| reader.damaged(&error.to_string()))?;
        Ok(reader)
    }

    fn damaged(&self, problem: &str) -> Error {
        Error::input(self.path, format!("the map is damaged: {problem}"), REMEDY)
    }

    /// Ends it, or takes note of a loss.
    fn complain(&mut self, problem: String) -> Result<()> {
        if !self.recover {
            return Err(self.damaged(&problem));
        }
        self.losses.push(problem);
        Ok(())
    }

    fn graph_rows(&mut self) -> Result<GraphRows> {
        let mut rows = GraphRows::default();
        for (key, value, found) in self.meta()? {
            if checksum::of("meta", &[key.as_bytes(), value.as_bytes()]) == found {
                rows.meta.insert(key, value);
            } else {
                self.complain(format!("the checksum of '{key}' is wrong"))?;
            }
        }
        for (table, rows) in TABLES.iter().zip(&mut rows.tables) {
            *rows = self.rows(table)?;
        }
        Ok(rows)
    }

    fn meta(&mut self) -> Result<Vec<(String, String, Vec<u8>)>> {
        let query = |connection: &Connection| {
            let mut query = connection.prepare("SELECT key, value, checksum FROM meta")?;
            query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
        };
        match query(&self.connection) {
            Ok(rows) => Ok(rows),
            Err(error) => self.complain(error.to_string()).map(|()| Vec::new()),
        }
    }

    /// The rows of a table whose checksums are right.
    fn rows(&mut self, table: &Table) -> Result<Rows> {
        let mut rows = Checked::new();
        // What lies before a damaged page is found from the front, what lies behind it from the back.
        for order in ["ASC", "DESC"] {
            match self.rows_until_damage(table, order, &mut rows) {
                Ok(()) => break,
                Err(error) => self.complain(format!("table '{}': {error}", table.name))?,
            }
        }
        let is_right = |(key, (value, found)): &([i64; 2], (Vec<u8>, Vec<u8>))| {
            row_checksum(table.name, key, value) == *found
        };
        let (right, wrong): (Vec<_>, Vec<_>) = rows.into_iter().partition(is_right);
        if let Some((key, _)) = wrong.first() {
            let (count, name) = (wrong.len(), table.name);
            let which = format!("{count} rows of table '{name}', the first of which is {key:?}");
            self.complain(format!("wrong checksums of {which}"))?;
        }
        Ok(right.into_iter().map(|(key, (value, _))| (key, value)).collect())
    }

    /// Collects rows, value and checksum together, until one cannot be read.
    fn rows_until_damage(
        &self,
        table: &Table,
        order: &str,
        rows: &mut Checked,
    ) -> rusqlite::Result<()> {
        let Table { name, keys, value } = table;
        let second = keys.get(1).copied().unwrap_or("0");
        let by = keys.iter().map(|key| format!("{key} {order}")).collect::<Vec<_>>().join(", ");
        let query =
            format!("SELECT {}, {second}, {value}, checksum FROM {name} ORDER BY {by}", keys[0]);
        let mut query = self.connection.prepare(&query)?;
        let mut found = query.query([])?;
        while let Some(row) = found.next()? {
            rows.insert([row.get(0)?, row.get(1)?], (row.get(2)?, row.get(3)?));
        }
        Ok(())
    }

    fn keyframes(&mut self) -> Result<Vec<KeyframeSnapshot>> {
        let ids = self.keyframe_ids()?;
        let (mut rays, decoder) = (Rays::default(), Decoder::new());
        let mut keyframes = Vec::with_capacity(ids.len());
        let mut batches = ids.chunks(BATCH);
        let mut fetched = batches.next().map(|ids| self.fetched(ids)).transpose()?;
        while let Some(rows) = fetched {
            rays.prepare(&rows);
            let unpack = |row: &Row| (row.id, row.keyframe(&rays, &decoder));
            let next = batches.next();
            // One batch is read while the one before is unpacked.
            let (read, unpacked) = rayon::join(
                || next.map(|ids| self.fetched(ids)).transpose(),
                || rows.par_iter().map(unpack).collect::<Vec<_>>(),
            );
            for (id, outcome) in unpacked {
                match outcome {
                    Ok(keyframe) => keyframes.push(keyframe),
                    Err(problem) => self.complain(format!("keyframe {id}: {problem}"))?,
                }
            }
            fetched = read?;
        }
        Ok(keyframes)
    }

    fn fetched(&mut self, ids: &[u32]) -> Result<Vec<Row>> {
        let mut rows = Vec::with_capacity(ids.len());
        for &id in ids {
            match self.keyframe_row(id) {
                Ok(row) => rows.extend(row),
                Err(error) => self.complain(format!("keyframe {id}: {error}"))?,
            }
        }
        Ok(rows)
    }

    fn keyframe_ids(&mut self) -> Result<Vec<u32>> {
        let mut ids = BTreeSet::new();
        for order in ["ASC", "DESC"] {
            let mut collect = || -> rusqlite::Result<()> {
                let query = format!("SELECT id FROM keyframe ORDER BY id {order}");
                let mut query = self.connection.prepare(&query)?;
                let mut found = query.query([])?;
                while let Some(row) = found.next()? {
                    ids.insert(row.get(0)?);
                }
                Ok(())
            };
            match collect() {
                Ok(()) => break,
                Err(error) => self.complain(format!("table 'keyframe': {error}"))?,
            }
        }
        Ok(ids.into_iter().collect())
    }

    fn keyframe_row(&self, id: u32) -> rusqlite::Result<Option<Row>> {
        let query = "SELECT about, image, depth, points, confidence, features, checksum \
                     FROM keyframe WHERE id = ?1";
        let row = |row: &rusqlite::Row<'_>| {
            Ok(Row {
                id,
                about: row.get(0)?,
                image: row.get(1)?,
                depth: row.get(2)?,
                points: row.get(3)?,
                confidence: row.get(4)?,
                features: row.get(5)?,
                checksum: row.get(6)?,
            })
        };
        self.connection.prepare_cached(query)?.query_row([id], row).optional()
    }
}
