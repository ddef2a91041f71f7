//! Bags that are empty, damaged, cut off or hold what cannot be read.

use std::path::{Path, PathBuf};

use crate::support::bags::{
    COLOR, DEPTH, IMAGE, Recording, START, color_message, depth_message, image, metadata, time,
};
use crate::support::{WIDTH, assert_tells, error_of, read};
use mcap::{Compression, WriteOptions};
use proptest::prelude::*;
use recon_node::dataset::{OpenOptions, describe};

fn options() -> OpenOptions {
    OpenOptions::default()
}

/// Writes a recording in every storage.
fn all_storages(recording: &Recording, folder: &Path) -> Vec<PathBuf> {
    vec![
        recording.mcap(&folder.join("plain.mcap")),
        recording.mcap_compressed(&folder.join("zstd.mcap"), Compression::Zstd),
        recording.mcap_compressed(&folder.join("lz4.mcap"), Compression::Lz4),
        recording.mcap_with(&folder.join("loose.mcap"), WriteOptions::new().use_chunks(false)),
        recording.sqlite(&folder.join("bag.db3")),
    ]
}

fn cut(path: &Path, length: usize) {
    let bytes = std::fs::read(path).unwrap();
    std::fs::write(path, &bytes[..length.min(bytes.len())]).unwrap();
}

#[test]
fn an_empty_bag_is_told() {
    let folder = tempfile::tempdir().unwrap();
    for path in all_storages(&Recording::default(), folder.path()) {
        assert_tells(&error_of(&path, &options()), &["the bag is empty"]);
        assert!(describe(&path, &options()).unwrap().streams.is_empty());
    }
}

#[test]
fn a_bag_without_images_lists_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let mut recording = Recording::default();
    recording.add("/imu", "sensor_msgs/msg/Imu", START, vec![0, 1, 0, 0]);
    for path in all_storages(&recording, folder.path()) {
        let error = error_of(&path, &options());
        assert_tells(&error, &["no colour images", "/imu (sensor_msgs/Imu)"]);
    }
}

#[test]
fn a_bag_that_is_cut_off_gives_what_is_before() {
    let folder = tempfile::tempdir().unwrap();
    for path in all_storages(&Recording::rgbd(60), folder.path()) {
        let length = std::fs::metadata(&path).unwrap().len() as usize;
        cut(&path, length / 2);
        let delivered = read(&path, &options());
        let frames = delivered.frames.len();
        assert!((10..50).contains(&frames), "{frames} of {}", path.display());
        assert!(delivered.error.is_none());
        let reason = *delivered.reasons().last().expect("a report");
        assert_tells(reason, &[&path.display().to_string(), "cut off", "after time 17000000"]);
        let info = describe(&path, &options()).unwrap();
        assert_tells(&info.notes.join("; "), &["cut off"]);
    }
}

#[test]
fn a_bag_cut_off_anywhere_ends_without_panic() {
    let folder = tempfile::tempdir().unwrap();
    for path in all_storages(&Recording::rgbd(8), folder.path()) {
        let whole = std::fs::read(&path).unwrap();
        let mut frames = Vec::new();
        for part in 0..40 {
            std::fs::write(&path, &whole[..whole.len() * part / 40]).unwrap();
            let delivered = read(&path, &options());
            assert!(delivered.error.is_some() || !delivered.frames.is_empty());
            frames.push(delivered.frames.len());
            let _ = describe(&path, &options());
        }
        assert!(frames.is_sorted(), "{}: {frames:?}", path.display());
    }
}

#[test]
fn one_lost_file_of_several_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let whole = Recording::rgbd(6);
    let (first, second) = whole.0.split_at(9);
    Recording(first.to_vec()).mcap(&folder.path().join("a.mcap"));
    Recording(second.to_vec()).mcap(&folder.path().join("c.mcap"));
    metadata(folder.path(), "mcap", &["a.mcap", "b.mcap", "c.mcap"], "");
    let delivered = read(folder.path(), &options());
    assert_eq!(delivered.frames.len(), 6);
    assert_tells(delivered.reasons()[0], &["b.mcap", "cannot open"]);
}

#[test]
fn bad_metadata_is_told() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("metadata.yaml"), "no: bag").unwrap();
    assert_tells(&error_of(folder.path(), &options()), &["metadata.yaml", "reindex"]);
    metadata(folder.path(), "sqlite3", &["a.db3.zstd"], "FILE");
    assert_tells(&error_of(folder.path(), &options()), &["compressed as a whole", "convert"]);
    metadata(folder.path(), "sqlite3", &["missing.db3"], "");
    assert_tells(&error_of(folder.path(), &options()), &["missing.db3", "cannot open"]);
}

#[test]
fn a_file_that_is_a_database_but_no_bag_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db3");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("CREATE TABLE cooking(recipe TEXT)").unwrap();
    drop(connection);
    assert_tells(&error_of(&path, &options()), &["other.db3", "cannot be read", "topics"]);
}

#[test]
fn an_unknown_encoding_is_an_error_if_all_are_so() {
    let folder = tempfile::tempdir().unwrap();
    let unknown = |nanos| image(nanos, "nv21", WIDTH * 3, &[0; 144]).cdr(false);
    let mut some = Recording::rgbd(3);
    some.add(COLOR, IMAGE, time(3), unknown(time(3)));
    let delivered = read(&some.mcap(&folder.path().join("some.mcap")), &options());
    assert_eq!(delivered.frames.len(), 3);
    assert_tells(delivered.reasons()[0], &[COLOR, "'nv21'"]);
    let mut all = Recording::default();
    (0..3).for_each(|index| all.add(COLOR, IMAGE, time(index), unknown(time(index))));
    let error = error_of(&all.mcap(&folder.path().join("all.mcap")), &options());
    assert_tells(&error, &["not one frame", COLOR, "'nv21'"]);
}

#[test]
fn damaged_messages_are_left_out_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let recording = Recording::rgbd(6)
        .change(COLOR, |index, data| match index {
            1 => data.truncate(3),
            2 => data.truncate(60),
            3 => data[1] = 9,
            _ => {}
        })
        .change(DEPTH, |index, data| {
            if index == 4 {
                data.truncate(100);
            }
        });
    let delivered = read(&recording.mcap(&folder.path().join("bag.mcap")), &options());
    assert_eq!(delivered.frames.len(), 3);
    assert!(delivered.frames[1].depth.is_none());
    assert_eq!(delivered.skips.len(), 4);
    assert!(delivered.reasons()[..3].iter().all(|reason| reason.starts_with(COLOR)));
    assert_tells(delivered.reasons()[3], &[DEPTH, "without depth"]);
}

#[test]
fn depth_of_another_size_is_told_with_both_sizes() {
    let folder = tempfile::tempdir().unwrap();
    let mut small = image(time(1), "16UC1", 8, &[1; 24]);
    (small.width, small.height) = (4, 3);
    let mut recording = Recording::rgbd(3);
    recording.0.retain(|message| !(message.topic == DEPTH && message.nanos == time(1)));
    recording.add(DEPTH, IMAGE, time(1), small.cdr(false));
    let delivered = read(&recording.sqlite(&folder.path().join("bag.db3")), &options());
    assert_eq!(delivered.frames.len(), 2);
    assert_tells(delivered.reasons()[0], &[DEPTH, "4x3", "8x6"]);
}

#[test]
fn stamps_that_repeat_or_go_back_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut recording = Recording::rgbd(3);
    for (recorded, stamp) in [(3, 2), (4, 0), (5, 5)] {
        recording.add(COLOR, IMAGE, time(recorded), color_message(9, time(stamp)));
        recording.add(DEPTH, IMAGE, time(recorded), depth_message(9, time(stamp)));
    }
    let delivered = read(&recording.mcap(&folder.path().join("bag.mcap")), &options());
    assert_eq!(delivered.frames.len(), 4);
    assert_tells(delivered.reasons()[0], &[COLOR, "repeats"]);
    assert_tells(delivered.reasons()[1], &[COLOR, "goes back"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_damaged_bag_never_panics(
        storage in 0usize..5,
        damage in prop::collection::vec((0.0f64..1.0, any::<u8>()), 1..12),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = all_storages(&Recording::rgbd(3), folder.path()).swap_remove(storage);
        let mut bytes = std::fs::read(&path).unwrap();
        for (part, value) in damage {
            let position = (bytes.len() as f64 * part) as usize;
            bytes[position] = value;
        }
        std::fs::write(&path, bytes).unwrap();
        let delivered = read(&path, &options());
        prop_assert!(delivered.frames.len() <= 3);
        if let Ok(info) = describe(&path, &options()) {
            prop_assert_eq!(info.kind, "rosbag2");
        }
    }
}
