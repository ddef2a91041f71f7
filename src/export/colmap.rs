//! Reconstructions in the format of COLMAP: `cameras`, `images` and `points3D`, as text or binary.
//!
//! COLMAP's poses are camera-from-world with the quaternion's w first, and the centre of its first
//! pixel is at (0.5, 0.5). Numbers of cameras, images and points begin at 1.

use std::io::{self, Write};
use std::path::Path;

use nalgebra::Vector2;

use super::sparse::{Keypoints, SparseModel, SparsePoint, SparseView};
use super::{create_folder, write_atomically};
use crate::error::{Error, Result};
use crate::geometry::Distortion;

/// How a model is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColmapFormat {
    /// `cameras.txt`, `images.txt`, `points3D.txt`.
    Text,
    /// `cameras.bin`, `images.bin`, `points3D.bin`: smaller and faster.
    Binary,
}

/// Returns once the folder `path`, which is made, holds `model`; one camera for each view.
///
/// # Errors
/// [`Error::Usage`] for a name of an image that the format cannot hold, [`Error::ShapeMismatch`]
/// for an observation in a view that there is not; else as [`write_atomically`].
pub fn write_colmap(path: &Path, model: &SparseModel, format: ColmapFormat) -> Result<()> {
    model.views.iter().try_for_each(|view| check_name(&view.name, format))?;
    let (keypoints, places) = model.keypoints()?;
    create_folder(path)?;
    let files = Files { model, keypoints: &keypoints, places: &places };
    match format {
        ColmapFormat::Text => {
            write_atomically(&path.join("cameras.txt"), |file| files.cameras_text(file))?;
            write_atomically(&path.join("images.txt"), |file| files.images_text(file))?;
            write_atomically(&path.join("points3D.txt"), |file| files.points_text(file))
        }
        ColmapFormat::Binary => {
            write_atomically(&path.join("cameras.bin"), |file| files.cameras_binary(file))?;
            write_atomically(&path.join("images.bin"), |file| files.images_binary(file))?;
            write_atomically(&path.join("points3D.bin"), |file| files.points_binary(file))
        }
    }
}

/// COLMAP ends a name at the first blank of the text format and at a zero of the other.
fn check_name(name: &str, format: ColmapFormat) -> Result<()> {
    let unfit = |c: char| c == '\0' || (format == ColmapFormat::Text && c.is_whitespace());
    if !name.is_empty() && !name.contains(unfit) {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "COLMAP cannot read the image name '{}' from this format; rename the file or write the \
         binary format",
        name.escape_debug()
    )))
}

/// The name and number of COLMAP's camera model, and its parameters as COLMAP counts them.
fn camera_model(view: &SparseView) -> (&'static str, i32, Vec<f64>) {
    let k = &view.intrinsics;
    let mut parameters = vec![k.fx, k.fy, k.cx + 0.5, k.cy + 0.5];
    let (name, number) = match &view.distortion {
        Distortion::None => ("PINHOLE", 1),
        Distortion::PlumbBob([k1, k2, p1, p2, k3]) if *k3 == 0.0 => {
            parameters.extend([k1, k2, p1, p2]);
            ("OPENCV", 4)
        }
        Distortion::PlumbBob(k) => {
            parameters.extend(k);
            parameters.extend([0.0; 3]);
            ("FULL_OPENCV", 6)
        }
        Distortion::RationalPolynomial(k) => {
            parameters.extend(k);
            ("FULL_OPENCV", 6)
        }
        Distortion::Equidistant(k) => {
            parameters.extend(k);
            ("OPENCV_FISHEYE", 5)
        }
    };
    (name, number, parameters)
}

/// Camera-from-world: quaternion with w first, then translation.
fn pose(view: &SparseView) -> [f64; 7] {
    let camera_from_world = view.world_from_camera.inverse();
    let (q, t) = (camera_from_world.rotation, camera_from_world.translation.vector);
    [q.w, q.i, q.j, q.k, t.x, t.y, t.z]
}

fn colmap_pixel(pixel: &Vector2<f64>) -> [f64; 2] {
    [pixel.x + 0.5, pixel.y + 0.5]
}

fn joined(numbers: &[f64]) -> String {
    numbers.iter().map(f64::to_string).collect::<Vec<_>>().join(" ")
}

struct Files<'a> {
    model: &'a SparseModel,
    keypoints: &'a [Keypoints],
    places: &'a [Vec<usize>],
}

impl Files<'_> {
    fn cameras_text(&self, file: &mut dyn Write) -> io::Result<()> {
        writeln!(file, "# CAMERA_ID MODEL WIDTH HEIGHT PARAMS[] (fx fy cx cy ...)")?;
        for (index, view) in self.model.views.iter().enumerate() {
            let (id, (model, _, parameters)) = (index + 1, camera_model(view));
            let (width, height, parameters) = (view.width, view.height, joined(&parameters));
            writeln!(file, "{id} {model} {width} {height} {parameters}")?;
        }
        Ok(())
    }

    fn images_text(&self, file: &mut dyn Write) -> io::Result<()> {
        writeln!(file, "# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME")?;
        writeln!(file, "# POINTS2D[] as (X Y POINT3D_ID)")?;
        for ((index, view), seen) in self.model.views.iter().enumerate().zip(self.keypoints) {
            let id = index + 1;
            writeln!(file, "{id} {} {id} {}", joined(&pose(view)), view.name)?;
            for (pixel, point) in seen {
                write!(file, "{} {} ", joined(&colmap_pixel(pixel)), point + 1)?;
            }
            writeln!(file)?;
        }
        Ok(())
    }

    fn points_text(&self, file: &mut dyn Write) -> io::Result<()> {
        writeln!(file, "# POINT3D_ID X Y Z R G B ERROR TRACK[] as (IMAGE_ID POINT2D_IDX)")?;
        for ((index, point), places) in self.model.points.iter().enumerate().zip(self.places) {
            let (p, [r, g, b]) = (point.point_in_world, point.color);
            let (id, error) = (index + 1, self.model.reprojection_error_px(point));
            write!(file, "{id} {} {r} {g} {b} {error}", joined(&[p.x, p.y, p.z]))?;
            for (image, place) in track(point, places) {
                write!(file, " {image} {place}")?;
            }
            writeln!(file)?;
        }
        Ok(())
    }

    fn cameras_binary(&self, file: &mut dyn Write) -> io::Result<()> {
        put_count(file, self.model.views.len())?;
        for (index, view) in self.model.views.iter().enumerate() {
            file.write_all(&(index as u32 + 1).to_le_bytes())?;
            let (_, model, parameters) = camera_model(view);
            file.write_all(&model.to_le_bytes())?;
            file.write_all(&u64::from(view.width).to_le_bytes())?;
            file.write_all(&u64::from(view.height).to_le_bytes())?;
            put_numbers(file, &parameters)?;
        }
        Ok(())
    }

    fn images_binary(&self, file: &mut dyn Write) -> io::Result<()> {
        put_count(file, self.model.views.len())?;
        for ((index, view), seen) in self.model.views.iter().enumerate().zip(self.keypoints) {
            let id = (index as u32 + 1).to_le_bytes();
            file.write_all(&id)?;
            put_numbers(file, &pose(view))?;
            file.write_all(&id)?;
            file.write_all(view.name.as_bytes())?;
            file.write_all(&[0])?;
            put_count(file, seen.len())?;
            for (pixel, point) in seen {
                put_numbers(file, &colmap_pixel(pixel))?;
                put_count(file, point + 1)?;
            }
        }
        Ok(())
    }

    fn points_binary(&self, file: &mut dyn Write) -> io::Result<()> {
        put_count(file, self.model.points.len())?;
        for ((index, point), places) in self.model.points.iter().enumerate().zip(self.places) {
            put_count(file, index + 1)?;
            put_numbers(file, point.point_in_world.coords.as_slice())?;
            file.write_all(&point.color)?;
            put_numbers(file, &[self.model.reprojection_error_px(point)])?;
            put_count(file, places.len())?;
            for (image, place) in track(point, places) {
                file.write_all(&image.to_le_bytes())?;
                file.write_all(&place.to_le_bytes())?;
            }
        }
        Ok(())
    }
}

/// Numbers of the images that show a point, each with the point's index among what it shows.
fn track<'a>(point: &'a SparsePoint, places: &'a [usize]) -> impl Iterator<Item = (u32, u32)> + 'a {
    let images = point.observations.iter().map(|seen| seen.view as u32 + 1);
    images.zip(places.iter().map(|&place| place as u32))
}

fn put_count(file: &mut dyn Write, count: usize) -> io::Result<()> {
    file.write_all(&(count as u64).to_le_bytes())
}

fn put_numbers(file: &mut dyn Write, numbers: &[f64]) -> io::Result<()> {
    numbers.iter().try_for_each(|number| file.write_all(&number.to_le_bytes()))
}
