//! Small recordings made for tests: images, TUM folders and bags, written without the code that
//! reads them.

pub mod bags;
pub mod messages;

use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, Rgb, RgbImage};
use recon_node::dataset::{self, OpenOptions};
use recon_node::error::Error;
use recon_node::frame::Frame;
use recon_node::source::{Skip, SourceItem};

pub const WIDTH: u32 = 8;
pub const HEIGHT: u32 = 6;
pub const CALIBRATION: &str =
    "fx: 10\nfy: 10\ncx: 4\ncy: 3\nwidth: 8\nheight: 6\ndepth_scale: 1000\n";

/// Everything that a source delivered.
#[derive(Default)]
pub struct Delivered {
    pub frames: Vec<Frame>,
    pub skips: Vec<Skip>,
    pub error: Option<Error>,
}

impl Delivered {
    pub fn stamps(&self) -> Vec<String> {
        self.frames.iter().map(|frame| frame.stamp.to_string()).collect()
    }

    pub fn reasons(&self) -> Vec<&str> {
        self.skips.iter().map(|skip| skip.reason.as_str()).collect()
    }
}

/// Reads a recording to its end.
pub fn read(path: &Path, options: &OpenOptions) -> Delivered {
    let mut delivered = Delivered::default();
    let mut source = match dataset::open(path, options) {
        Ok(source) => source,
        Err(error) => return Delivered { error: Some(error), ..delivered },
    };
    for _ in 0..100_000 {
        match source.next_item() {
            Ok(Some(SourceItem::Frame(frame))) => {
                assert_eq!(frame.id, delivered.frames.len() as u64, "ids have gaps");
                delivered.frames.push(*frame);
            }
            Ok(Some(SourceItem::Skipped(skip))) => delivered.skips.push(skip),
            Ok(None) => return delivered,
            Err(error) => return Delivered { error: Some(error), ..delivered },
        }
    }
    panic!("the source does not end");
}

/// Returns the sentence with which reading ends, at opening or later.
pub fn error_of(path: &Path, options: &OpenOptions) -> String {
    let error = read(path, options).error.expect("an error was expected").to_string();
    assert!(!error.contains('\n'), "more than a sentence: {error}");
    error
}

/// Asserts that `text` holds all of `parts`.
pub fn assert_tells(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "'{part}' is not in: {text}");
    }
}

/// A colour image that differs from index to index.
pub fn color(index: u8) -> RgbImage {
    RgbImage::from_fn(WIDTH, HEIGHT, |x, y| Rgb([index, x as u8 * 10, y as u8 * 20]))
}

/// Depth of `1 m + index mm`, with none in the first pixel.
pub fn depth_units(index: u8) -> Vec<u16> {
    let mut units = vec![1000 + u16::from(index); (WIDTH * HEIGHT) as usize];
    units[0] = 0;
    units
}

pub fn depth_metres(index: u8) -> f32 {
    f32::from(1000 + u16::from(index)) * 0.001
}

pub fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
    encoded(image, ImageFormat::Png)
}

pub fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

pub fn depth_png(units: Vec<u16>, width: u32, height: u32) -> Vec<u8> {
    let image: ImageBuffer<Luma<u16>, _> = ImageBuffer::from_raw(width, height, units).unwrap();
    png(image)
}

/// A TUM folder that is written file by file.
pub struct TumFolder {
    pub folder: tempfile::TempDir,
}

impl TumFolder {
    /// Returns a good recording of so many frames at 10 Hz, depth 1 ms later.
    pub fn of(frames: u8) -> Self {
        let tum = Self { folder: tempfile::tempdir().unwrap() };
        let list = |kind: &str, offset: f64| -> String {
            (0..frames)
                .map(|i| format!("{:.3} {kind}/{i}.png\n", 100.0 + 0.1 * f64::from(i) + offset))
                .collect()
        };
        tum.write("rgb.txt", format!("# colour\n{}", list("rgb", 0.0)));
        tum.write("depth.txt", list("depth", 0.001));
        tum.write("calibration.yaml", CALIBRATION);
        for index in 0..frames {
            tum.write(&format!("rgb/{index}.png"), png(color(index)));
            let depth = depth_png(depth_units(index), WIDTH, HEIGHT);
            tum.write(&format!("depth/{index}.png"), depth);
        }
        tum
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.path().join(name)).unwrap();
    }

    /// Cuts a file to a part of its length.
    pub fn truncate(&self, name: &str, part: f64) {
        let bytes = std::fs::read(self.path().join(name)).unwrap();
        self.write(name, &bytes[..(bytes.len() as f64 * part) as usize]);
    }
}
