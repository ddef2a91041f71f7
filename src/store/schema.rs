//! The tables, and how a file says that it is a map.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::error::{Error, Result};

/// The version of the tables that is written, and the newest that is read.
pub const VERSION: u32 = 1;
/// SQLite's application id of maps: "RCMP".
const APPLICATION_ID: u32 = 0x5243_4d50;
/// Bytes at the front of each SQLite database.
const MAGIC: &[u8] = b"SQLite format 3\0";
/// Where SQLite keeps the version of the tables and the application's number, in its header.
const VERSION_AT: usize = 60;
/// See [`VERSION_AT`].
const APPLICATION_AT: usize = 68;
/// How long a program waits for another that writes into the same map.
const PATIENCE: Duration = Duration::from_secs(10);

const TABLES: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, checksum BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE keyframe (
    id INTEGER PRIMARY KEY,
    about TEXT NOT NULL,       -- JSON: frame, stamp, camera, odometry
    image BLOB NOT NULL,       -- PNG or JPEG, at working size
    depth BLOB,                -- of the frame: 16-bit logarithms, zstd
    points BLOB NOT NULL,      -- depths along the camera's rays, as above; or x, y, z, f32, zstd
    confidence BLOB NOT NULL,  -- inverse variances of depth, 16-bit logarithms, zstd
    features BLOB,             -- keypoints, descriptors, signature
    checksum BLOB NOT NULL);
CREATE TABLE pose (
    keyframe INTEGER PRIMARY KEY,
    world_from_keyframe BLOB NOT NULL,  -- 7 f64: tx ty tz qx qy qz qw
    checksum BLOB NOT NULL);
CREATE TABLE relation (
    target INTEGER NOT NULL, source INTEGER NOT NULL,
    value BLOB NOT NULL,  -- f64: 7 of target_from_source, 36 of the information, weight of a loop or -1
    checksum BLOB NOT NULL, PRIMARY KEY (target, source)) WITHOUT ROWID;
CREATE TABLE covisible (
    a INTEGER NOT NULL, b INTEGER NOT NULL,
    value BLOB NOT NULL,  -- f64: share that both see
    checksum BLOB NOT NULL, PRIMARY KEY (a, b)) WITHOUT ROWID;
CREATE TABLE frame (
    session INTEGER NOT NULL, number INTEGER NOT NULL,
    value BLOB NOT NULL,  -- i64 stamp (ns), i64 keyframe, 7 f64 of keyframe_from_camera
    checksum BLOB NOT NULL, PRIMARY KEY (session, number)) WITHOUT ROWID;
";

/// Makes the tables of an empty map.
pub fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(TABLES)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", VERSION)
}

/// Returns a connection to a map that is there, to be read.
pub fn open_to_read(path: &Path) -> Result<Connection> {
    identify(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    opened(path, flags)
}

/// Returns a connection to a map that is there, to be changed.
pub fn open_to_write(path: &Path) -> Result<Connection> {
    identify(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    opened(path, flags)
}

fn opened(path: &Path, flags: OpenFlags) -> Result<Connection> {
    let connect = || {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(PATIENCE)?;
        Ok(connection)
    };
    connect().map_err(|error: rusqlite::Error| {
        let problem = format!("cannot be opened ({error})");
        Error::input(path, problem, "look at its permissions and its folder's")
    })
}

/// Checks by the first bytes that a file is a map of a version that can be read.
fn identify(path: &Path) -> Result<()> {
    const CHOOSE: &str = "give a file that --save-map or --autosave has written";
    if path.is_dir() {
        return Err(Error::input(path, "is a folder, not a map", CHOOSE));
    }
    let mut header = Vec::with_capacity(100);
    let file = File::open(path).map_err(|error| {
        Error::input(path, format!("cannot be read as a map ({error})"), CHOOSE)
    })?;
    file.take(100).read_to_end(&mut header).map_err(Error::io(path, "read the map"))?;
    if header.is_empty() {
        return Err(Error::input(path, "is empty, not a map", CHOOSE));
    }
    if !header.starts_with(MAGIC) || header.len() < 100 {
        return Err(Error::input(path, "is no map: it is no SQLite database", CHOOSE));
    }
    let number = |at: usize| {
        let bytes: [u8; 4] = std::array::from_fn(|i| header[at + i]);
        u32::from_be_bytes(bytes)
    };
    if number(APPLICATION_AT) != APPLICATION_ID {
        return Err(Error::input(path, "is a SQLite database, but no map", CHOOSE));
    }
    let version = number(VERSION_AT);
    if version > VERSION {
        let problem = format!("is a map of version {version}, and this program reads {VERSION}");
        return Err(Error::input(path, problem, "use a newer version of the program"));
    }
    Ok(())
}
