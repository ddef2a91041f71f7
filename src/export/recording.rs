//! Recordings in TUM RGB-D layout: a folder that `recon replay` and others read.

use std::io;
use std::path::{Path, PathBuf};

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

use super::{create_folder, write_atomically, write_depth_png, write_trajectory};
use crate::error::Result;
use crate::frame::Frame;
use crate::geometry::{Camera, Distortion};
use crate::trajectory::Trajectory;

/// Units per metre of the depth images: those of the TUM benchmark, up to 13 m in steps of 0.2 mm.
const DEPTH_SCALE: f64 = 5000.0;

/// Writes a recording frame by frame.
#[derive(Debug)]
pub struct RecordingWriter {
    folder: PathBuf,
    /// Lines of rgb.txt and depth.txt.
    color_lines: String,
    depth_lines: String,
    camera: Option<Camera>,
}

impl RecordingWriter {
    /// Returns a writer into `folder`, which is made where it is missing.
    ///
    /// # Errors
    /// As [`create_folder`].
    pub fn new(folder: &Path) -> Result<Self> {
        create_folder(&folder.join("rgb"))?;
        create_folder(&folder.join("depth"))?;
        Ok(Self {
            folder: folder.to_owned(),
            color_lines: String::new(),
            depth_lines: String::new(),
            camera: None,
        })
    }

    /// Writes the images of a frame.
    ///
    /// # Errors
    /// As [`write_atomically`].
    pub fn add(&mut self, frame: &Frame) -> Result<()> {
        let name = format!("{}.png", frame.stamp);
        let (width, height) = frame.color.dimensions();
        write_atomically(&self.folder.join("rgb").join(&name), |file| {
            PngEncoder::new_with_quality(file, CompressionType::Fast, FilterType::Adaptive)
                .write_image(frame.color.as_raw(), width, height, ExtendedColorType::Rgb8)
                .map_err(io::Error::other)
        })?;
        self.color_lines += &format!("{} rgb/{name}\n", frame.stamp);
        if let Some(depth) = &frame.depth {
            let path = self.folder.join("depth").join(&name);
            write_depth_png(&path, depth.raster(), DEPTH_SCALE)?;
            self.depth_lines += &format!("{} depth/{name}\n", frame.stamp);
        }
        self.camera = self.camera.or(frame.camera);
        Ok(())
    }

    /// Returns once the lists of images, the calibration and the true trajectory are there too, as
    /// far as they are known.
    ///
    /// # Errors
    /// As [`write_atomically`].
    pub fn finish(self, reference: Option<&Trajectory>) -> Result<()> {
        let text = |name: &str, text: &str| {
            write_atomically(&self.folder.join(name), |file| file.write_all(text.as_bytes()))
        };
        text("rgb.txt", &self.color_lines)?;
        text("depth.txt", &self.depth_lines)?;
        if let Some(camera) = &self.camera {
            text("calibration.yaml", &calibration(camera))?;
        }
        reference
            .map_or(Ok(()), |truth| write_trajectory(&self.folder.join("groundtruth.txt"), truth))
    }
}

fn calibration(camera: &Camera) -> String {
    let k = camera.intrinsics();
    let model = match camera.distortion() {
        Distortion::None | Distortion::PlumbBob(_) => "plumb_bob",
        Distortion::RationalPolynomial(_) => "rational_polynomial",
        Distortion::Equidistant(_) => "equidistant",
    };
    format!(
        "fx: {}\nfy: {}\ncx: {}\ncy: {}\nwidth: {}\nheight: {}\ndepth_scale: {DEPTH_SCALE}\n\
         distortion: {:?}\ndistortion_model: {model}\n",
        k.fx,
        k.fy,
        k.cx,
        k.cy,
        camera.width(),
        camera.height(),
        camera.distortion().coefficients()
    )
}
