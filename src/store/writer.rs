//! Maps are written whole, or bit by bit as they grow.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use rusqlite::{Connection, Transaction, params};

use super::graph::{GraphRows, Rows, TABLES, Table, row_checksum};
use super::image::ImageQuality;
use super::keyframe::Row;
use super::{checksum, reader, schema};
use crate::error::{Error, Result};
use crate::pipeline::{KeyframeSnapshot, MapSnapshot};

const REMEDY: &str = "choose a folder that exists, that you may write to and that has space left";
/// Keyframes that are packed at a time, so that they do not all wait in memory.
const BATCH: usize = 32;

/// Writes a map in one go; see [`super::save`].
pub fn save(path: &Path, map: &MapSnapshot, quality: ImageQuality) -> Result<()> {
    let name = path.file_name().ok_or_else(|| unwritable(path, &"it is no name of a file"))?;
    let partial =
        path.with_file_name(format!(".{}.{}.partial", name.to_string_lossy(), std::process::id()));
    let outcome = write_whole(&partial, map, quality).and_then(|()| {
        // A log of an older map of this name would be taken for this one's.
        for log in ["-wal", "-shm"] {
            let _ = fs::remove_file(with_suffix(path, log));
        }
        fs::rename(&partial, path).map_err(|e| e.to_string())?;
        sync_folder(path).map_err(|e| e.to_string())
    });
    outcome.map_err(|problem| {
        // What cannot be removed was never created; the first error is the one to report.
        let _ = fs::remove_file(&partial);
        unwritable(path, &problem)
    })
}

fn write_whole(partial: &Path, map: &MapSnapshot, quality: ImageQuality) -> Result<(), String> {
    match fs::remove_file(partial) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.to_string()),
        _ => {}
    }
    let text = |error: rusqlite::Error| error.to_string();
    let mut connection = Connection::open(partial).map_err(text)?;
    // Nobody knows this file yet: it is synced once, at the end.
    let quick = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;";
    connection.execute_batch(quick).map_err(text)?;
    schema::create(&connection).map_err(text)?;
    change(&mut connection, map, &GraphRows::default(), quality)?;
    connection.close().map_err(|(_, error)| text(error))?;
    File::open(partial).and_then(|file| file.sync_all()).map_err(|e| e.to_string())
}

/// Keeps a map file in step with a map that grows. After each [`MapWriter::write`] the file holds
/// the map as it was then, whenever the process ends and however.
pub struct MapWriter {
    path: PathBuf,
    connection: Connection,
    quality: ImageQuality,
    /// What the file holds by now, keyframes not counted.
    written: GraphRows,
}

impl MapWriter {
    /// Returns a writer into a new file, which holds `map` from the moment that it appears.
    ///
    /// # Errors
    /// [`Error::Input`] where there is a file of this name, or none can be written.
    pub fn create(path: &Path, map: &MapSnapshot, quality: ImageQuality) -> Result<Self> {
        if path.exists() {
            let remedy = "choose another name, or go on with that map by --load-map";
            return Err(Error::input(path, "is there already, and would be lost", remedy));
        }
        save(path, map, quality)?;
        Self::resume(path, quality)
    }

    /// Returns a writer into a map that is there, to be told what changes about it from now on.
    ///
    /// # Errors
    /// As [`super::load`].
    pub fn resume(path: &Path, quality: ImageQuality) -> Result<Self> {
        let written = reader::read_graph(path)?;
        let connection = schema::open_to_write(path)?;
        // Each change is appended to a log and is whole there before it counts.
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")
            .map_err(|error| unwritable(path, &error))?;
        Ok(Self { path: path.to_owned(), connection, quality, written })
    }

    /// Returns once the file holds what has changed: the keyframes in `changes`, and its graph.
    ///
    /// # Errors
    /// [`Error::Input`] where it cannot be written; the file is then as it was.
    pub fn write(&mut self, changes: &MapSnapshot) -> Result<()> {
        let changed = change(&mut self.connection, changes, &self.written, self.quality);
        self.written = changed.map_err(|problem| unwritable(&self.path, &problem))?;
        Ok(())
    }

    /// Returns once all is in the one file, without a log beside it.
    ///
    /// # Errors
    /// [`Error::Input`] where that cannot be done; nothing is lost then.
    pub fn finish(self) -> Result<()> {
        let Self { path, connection, .. } = self;
        connection
            .pragma_update(None, "journal_mode", "DELETE")
            .and_then(|()| connection.close().map_err(|(_, error)| error))
            .map_err(|error| unwritable(&path, &error))?;
        sync_folder(&path).map_err(|error| unwritable(&path, &error))
    }
}

/// Brings the file up to date in one transaction; returns what it holds then.
fn change(
    connection: &mut Connection,
    map: &MapSnapshot,
    written: &GraphRows,
    quality: ImageQuality,
) -> Result<GraphRows, String> {
    let text = |error: rusqlite::Error| error.to_string();
    let rows = GraphRows::of(&map.graph)?;
    let transaction = connection.transaction().map_err(text)?;
    for batch in map.keyframes.chunks(BATCH) {
        let packed = |keyframe: &KeyframeSnapshot| Row::of(keyframe, quality);
        let packed: Vec<Row> = batch.par_iter().map(packed).collect::<Result<_, _>>()?;
        packed.iter().try_for_each(|row| put_keyframe(&transaction, row)).map_err(text)?;
    }
    put_meta(&transaction, &rows, written).map_err(text)?;
    for (table, (rows, written)) in TABLES.iter().zip(rows.tables.iter().zip(&written.tables)) {
        put_rows(&transaction, table, rows, written).map_err(text)?;
    }
    let no_pose = "DELETE FROM keyframe WHERE id NOT IN (SELECT keyframe FROM pose)";
    transaction.execute(no_pose, []).map_err(text)?;
    transaction.commit().map_err(text)?;
    Ok(rows)
}

fn put_keyframe(transaction: &Transaction<'_>, row: &Row) -> rusqlite::Result<()> {
    let put = "INSERT OR REPLACE INTO keyframe VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    transaction.prepare_cached(put)?.execute(params![
        row.id,
        row.about,
        row.image,
        row.depth,
        row.points,
        row.confidence,
        row.features,
        row.checksum,
    ])?;
    Ok(())
}

fn put_meta(
    transaction: &Transaction<'_>,
    rows: &GraphRows,
    written: &GraphRows,
) -> rusqlite::Result<()> {
    let mut put = transaction.prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2, ?3)")?;
    for (key, value) in
        rows.meta.iter().filter(|(key, value)| written.meta.get(*key) != Some(*value))
    {
        let checksum = checksum::of("meta", &[key.as_bytes(), value.as_bytes()]);
        put.execute(params![key, value, checksum])?;
    }
    Ok(())
}

/// Writes the rows that are new or differ, and removes those that are gone.
fn put_rows(
    transaction: &Transaction<'_>,
    table: &Table,
    rows: &Rows,
    written: &Rows,
) -> rusqlite::Result<()> {
    let Table { name, keys, .. } = table;
    let values = if keys.len() == 1 { "?1, ?3, ?4" } else { "?1, ?2, ?3, ?4" };
    // A parameter that is not used would be refused: a table of one key looks at its second one.
    let guard = if keys.len() == 1 { "WHERE ?2 = 0" } else { "WHERE true" };
    let put = format!("INSERT OR REPLACE INTO {name} SELECT {values} {guard}");
    let mut put = transaction.prepare_cached(&put)?;
    for (key, value) in rows.iter().filter(|(key, value)| written.get(*key) != Some(*value)) {
        put.execute(params![key[0], key[1], value, row_checksum(name, key, value)])?;
    }
    let second = keys.get(1).map_or("?2 = 0".to_owned(), |key| format!("{key} = ?2"));
    let remove = format!("DELETE FROM {name} WHERE {} = ?1 AND {second}", keys[0]);
    let mut remove = transaction.prepare_cached(&remove)?;
    for key in written.keys().filter(|key| !rows.contains_key(*key)) {
        remove.execute(params![key[0], key[1]])?;
    }
    Ok(())
}

/// A new name lasts only once its folder is on the disk.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn unwritable(path: &Path, problem: &dyn std::fmt::Display) -> Error {
    Error::input(path, format!("the map cannot be written ({problem})"), REMEDY)
}
