//! Small recordings of a simulated room on disk, and the program run on them.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use assert_cmd::Command;
use image::codecs::jpeg::JpegEncoder;
use image::{ImageBuffer, Luma};
use recon_node::frame::Frame;
use recon_node::simulator::{Material, Pattern, Scene, Simulator, SimulatorConfig};
use recon_node::source::{FrameSource, SourceItem};

/// Depth units for one metre.
const DEPTH_SCALE: f32 = 5000.0;
/// The stamp of the first frame.
const START_SECS: f64 = 100.0;
/// What a run may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(300);

/// Returns a recording of so many frames of a room that is quickly made.
pub fn small_room(frames: usize) -> Simulator {
    let config = SimulatorConfig {
        duration_secs: frames as f64 / 30.0,
        width: 320,
        height: 240,
        ..SimulatorConfig::default()
    };
    let paper = Material::tiled(Pattern::Wallpaper, [0.7, 0.6, 0.5], [0.4, 0.5, 0.4]);
    let wood = Material::fitted(Pattern::Wood, [0.6, 0.4, 0.3], [0.4, 0.3, 0.2]);
    let poster = Material::fitted(Pattern::Poster, [0.8, 0.7, 0.6], [0.3, 0.4, 0.6]);
    let [paper, wood, poster] = [paper, wood, poster].map(|m| m.with_texels(256));
    let scene = Scene::new()
        .room([5.0, 4.6, 2.5], paper, wood, paper)
        .cuboid([0.0, 0.0, 0.0], [1.0, 0.8, 0.7], 0.3, wood)
        .sphere([0.2, 0.0, 0.9], 0.2, poster)
        .column([-1.5, 1.8, 0.0], 0.15, 2.0, 12, poster)
        .picture([2.48, 0.0, 1.4], std::f64::consts::PI, [1.2, 1.0], poster);
    Simulator::with_scene(config, scene).unwrap()
}

/// Returns the folder of a tiny network of DUSt3R's family.
pub fn family(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/dust3r_family").join(name)
}

/// A folder with a recording in it, `room`, in which the program runs.
pub struct Recorded {
    pub folder: tempfile::TempDir,
}

impl Recorded {
    /// Returns a good recording of so many frames, in TUM layout and with ground truth.
    pub fn of(frames: usize) -> Self {
        let recorded = Self { folder: tempfile::tempdir().unwrap() };
        let mut simulator = small_room(frames);
        recorded.write("room/calibration.yaml", calibration(&simulator));
        let [mut colors, mut depths, mut poses] = [const { String::new() }; 3];
        while let Some(SourceItem::Frame(frame)) = simulator.next_item().unwrap() {
            let stamp = frame.stamp.plus_secs(START_SECS);
            let (color, depth) = (color_name(frame.id), depth_name(frame.id));
            writeln!(colors, "{stamp} {color}").unwrap();
            writeln!(depths, "{stamp} {depth}").unwrap();
            let pose = simulator.true_pose(frame.id as usize);
            let (t, q) = (pose.translation.vector, pose.rotation.coords);
            writeln!(poses, "{stamp} {} {} {} {} {} {} {}", t.x, t.y, t.z, q.x, q.y, q.z, q.w)
                .unwrap();
            recorded.write(&format!("room/{color}"), jpeg(&frame));
            recorded.write(&format!("room/{depth}"), depth_png(&frame));
        }
        recorded.write("room/rgb.txt", colors);
        recorded.write("room/depth.txt", depths);
        recorded.write("room/groundtruth.txt", poses);
        recorded
    }

    /// Returns a folder without a recording.
    pub fn nothing() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.path(name)).unwrap();
    }

    /// Changes the lines of a text file.
    pub fn edit(&self, name: &str, change: impl Fn(usize, &str) -> String) {
        let text = self.read(name);
        let lines = text.lines().enumerate().map(|(index, line)| change(index, line) + "\n");
        self.write(name, lines.collect::<String>());
    }

    /// Cuts a file to a part of its length.
    pub fn truncate(&self, name: &str, part: f64) {
        let bytes = self.bytes(name);
        self.write(name, &bytes[..(bytes.len() as f64 * part) as usize]);
    }

    /// Returns the program with these arguments, to run in the folder.
    pub fn recon(&self, arguments: &[&str]) -> Command {
        let mut command = Command::cargo_bin("recon").unwrap();
        command.current_dir(&self.folder).args(arguments).timeout(PATIENCE);
        command
    }

    /// Runs the program, which must succeed, and returns what it printed.
    pub fn success(&self, arguments: &[&str]) -> String {
        let output = self.recon(arguments).output().unwrap();
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {stderr}");
        text(&output.stdout)
    }

    /// Replays the recording, which must succeed, and returns the figures.
    pub fn figures(&self, more: &[&str]) -> serde_json::Value {
        let mut arguments = vec!["replay", "room", "--out", "out"];
        arguments.extend(more);
        self.success(&arguments);
        self.metrics("out")
    }

    pub fn metrics(&self, out: &str) -> serde_json::Value {
        serde_json::from_str(&self.read(&format!("{out}/metrics.json"))).unwrap()
    }

    /// Runs the program, which must end with `code` and one sentence, and returns the sentence.
    pub fn failure(&self, arguments: &[&str], code: i32) -> String {
        let output = self.recon(arguments).output().unwrap();
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
        assert_is_one_sentence(&output);
        message
    }
}

/// Asserts that an error reads like one: no second line, no trace of a panic.
fn assert_is_one_sentence(output: &Output) {
    let message = text(&output.stderr);
    assert!(message.starts_with("error: "), "{message}");
    assert_eq!(message.trim_end().lines().count(), 1, "more than a sentence: {message}");
    for word in ["panicked", "backtrace", "RUST_BACKTRACE"] {
        assert!(!message.contains(word), "{message}");
    }
}

/// Asserts that `text` holds all of `parts`.
pub fn assert_tells(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "'{part}' is not in: {text}");
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub fn color_name(id: u64) -> String {
    format!("rgb/{id:04}.jpg")
}

pub fn depth_name(id: u64) -> String {
    format!("depth/{id:04}.png")
}

fn calibration(simulator: &Simulator) -> String {
    let camera = simulator.camera();
    let i = camera.intrinsics();
    format!(
        "fx: {}\nfy: {}\ncx: {}\ncy: {}\nwidth: {}\nheight: {}\ndepth_scale: {DEPTH_SCALE}\n",
        i.fx,
        i.fy,
        i.cx,
        i.cy,
        camera.width(),
        camera.height()
    )
}

fn jpeg(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 95).encode_image(frame.color.as_ref()).unwrap();
    bytes
}

fn depth_png(frame: &Frame) -> Vec<u8> {
    let depth = frame.depth.as_ref().unwrap().raster();
    let units = depth.values().iter().map(|d| (d * DEPTH_SCALE).round() as u16).collect();
    png(depth.width() as u32, depth.height() as u32, units)
}

pub fn png(width: u32, height: u32, units: Vec<u16>) -> Vec<u8> {
    let image: ImageBuffer<Luma<u16>, Vec<u16>> =
        ImageBuffer::from_raw(width, height, units).unwrap();
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Asserts that a PNG file can be opened, and is a picture with more than one colour.
pub fn assert_is_picture(path: &Path) {
    let picture = image::open(path).unwrap().to_rgb8();
    let first = picture.get_pixel(0, 0);
    assert!(picture.width() > 200 && picture.height() > 200, "{}", path.display());
    assert!(picture.pixels().any(|pixel| pixel != first), "{} is empty", path.display());
}
