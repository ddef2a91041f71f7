//! A mapping process that is killed at any moment leaves a map that loads.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use recon_node::export::RecordingWriter;
use recon_node::pipeline::MapSnapshot;
use recon_node::source::FrameSource;
use recon_node::store;

use crate::support::{frames, room};

const KILLS: usize = 50;
/// Longest time from the appearance of the file, or the start, to the kill.
const LONGEST: Duration = Duration::from_millis(350);

fn record(folder: &Path) {
    let mut writer = RecordingWriter::new(folder).unwrap();
    frames((0..60).step_by(2)).iter().for_each(|frame| writer.add(frame).unwrap());
    writer.finish(room().info().reference.as_ref()).unwrap();
}

fn start(folder: &Path, goes_on: bool) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_recon"));
    command.current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
    command.args(["replay", "recording", "--repeat", "1000", "--quiet", "--out", "out"]);
    command.args(["--autosave", "kept.map", "--autosave-every", "0.02"]);
    if goes_on {
        command.args(["--load-map", "kept.map"]);
    }
    command.spawn().unwrap()
}

fn wait_for(path: &Path) {
    let begun = Instant::now();
    while !path.exists() {
        assert!(begun.elapsed() < Duration::from_secs(120), "no map appears");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn frames_in(map: &MapSnapshot) -> usize {
    map.graph.sessions.iter().map(Vec::len).sum()
}

#[test]
fn killed_at_fifty_moments_the_map_loads_each_time_and_nothing_saved_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    record(&folder.path().join("recording"));
    let path = folder.path().join("kept.map");
    let mut moments = SmallRng::seed_from_u64(8);
    let (mut saved, mut most, mut grown) = (0, 0, 0);
    for kill in 0..KILLS {
        // Every tenth process begins a new map; the others go on with what the last one left.
        let goes_on = kill % 10 != 0;
        if !goes_on {
            saved = 0;
            for name in ["kept.map", "kept.map-wal", "kept.map-shm"] {
                drop(std::fs::remove_file(folder.path().join(name)));
            }
        }
        let mut process = start(folder.path(), goes_on);
        wait_for(&path);
        std::thread::sleep(moments.random_range(Duration::ZERO..LONGEST));
        // On Unix this is SIGKILL.
        process.kill().unwrap();
        process.wait().unwrap();
        let map = store::load(&path).unwrap_or_else(|error| panic!("kill {kill}: {error}"));
        let found = frames_in(&map);
        assert!(found >= saved, "kill {kill}: {found} frames, {saved} before");
        grown += usize::from(found > saved);
        (saved, most) = (found, most.max(found));
    }
    eprintln!("{KILLS} kills, {grown} of which the map had grown before; at most {most} frames");
    assert!(grown >= KILLS / 10, "hardly any process lived long enough to save");
}
