//! What comes out, where the photographs were: at their own size, in one world.

use comfy_table::{Table, presets};
use nalgebra::Vector2;
use recon_node::cloud::PointCloud;
use recon_node::error::{Error, Result};
use recon_node::export::{
    Observation, PlacedCamera, SparseModel, SparsePoint, SparseView, ViewPoints, write_atomically,
    write_colmap, write_glb, write_ply,
};
use recon_node::geometry::{Distortion, Intrinsics};
use recon_node::model::dust3r::reconstruct::{
    ReconstructedView, Reconstruction, Track, dense_tracks,
};

use super::Args;
use super::photographs::{Photograph, Photographs};
use super::work::Work;
use crate::infer::{colmap_format, files};
use crate::report::peak_rss_mb;

/// How long it took.
#[derive(Clone, Copy, serde::Serialize)]
pub struct Seconds {
    /// To load the weights.
    pub load: f64,
    /// From photographs to the scene.
    pub reconstruct: f64,
}

/// The results of a run.
pub struct Results<'a> {
    /// What was given.
    pub photographs: &'a Photographs,
    /// What was found.
    pub scene: &'a Reconstruction,
    /// What was asked.
    pub args: &'a Args,
    /// How long it took.
    pub seconds: Seconds,
    /// What was done.
    pub work: Work,
}

/// All figures of a run.
#[derive(serde::Serialize)]
struct Figures {
    model: String,
    pairs: String,
    images: usize,
    points: usize,
    tracks: usize,
    is_metric: bool,
    loss: Option<[f64; 2]>,
    work: Work,
    seconds: Seconds,
    peak_rss_mb: Option<f64>,
    views: Vec<ViewFigures>,
}

/// The figures of one view, its camera at the size of the image file.
#[derive(serde::Serialize)]
struct ViewFigures {
    file: String,
    width: u32,
    height: u32,
    intrinsics: Intrinsics,
    position: [f64; 3],
    quaternion_xyzw: [f64; 4],
    valid_frac: f64,
}

impl Results<'_> {
    fn views(&self) -> impl Iterator<Item = (&Photograph, &ReconstructedView)> {
        self.photographs.0.iter().zip(&self.scene.views)
    }

    /// Writes clouds, the COLMAP model where asked for, and figures.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn write(&self) -> Result<()> {
        let folder = &self.args.out;
        let names = files::result_names(&self.photographs.paths());
        let views: Vec<ViewPoints> =
            self.views().zip(names).map(|((p, v), name)| self.for_viewers(p, v, name)).collect();
        let points = views.iter().flat_map(|view| view.cloud.points.iter().copied());
        let colors = views.iter().flat_map(|view| view.cloud.colors.iter().copied());
        let cloud = PointCloud { points: points.collect(), colors: colors.collect() };
        write_ply(&folder.join("points.ply"), &cloud)?;
        write_glb(&folder.join("points.glb"), &views)?;
        if let Some(format) = colmap_format(&self.args.colmap) {
            write_colmap(&folder.join("colmap"), &self.sparse_model(), format)?;
        }
        let figures = self.figures();
        write_atomically(&folder.join("metrics.json"), |file| {
            serde_json::to_writer_pretty(&mut *file, &figures)?;
            writeln!(file)
        })
    }

    fn for_viewers(&self, p: &Photograph, view: &ReconstructedView, name: String) -> ViewPoints {
        let (mut points, mut colors) = (Vec::new(), Vec::new());
        for (x, y, color) in p.image.enumerate_pixels() {
            let point = view.point(x as usize, y as usize, self.args.min_confidence);
            points.extend(point.map(|point| point.cast::<f32>()));
            colors.extend(point.map(|_| color.0));
        }
        let camera = PlacedCamera {
            world_from_camera: view.world_from_camera,
            intrinsics: p.fitting.original_intrinsics(&view.intrinsics),
            size: p.size,
        };
        ViewPoints { name, cloud: PointCloud { points, colors }, camera: Some(camera) }
    }

    /// What was matched, or where nothing was, some of the dense points.
    fn sparse_model(&self) -> SparseModel {
        let names = files::relative_names(&self.photographs.paths());
        let views = self.views().zip(names).map(|((p, view), name)| SparseView {
            name,
            width: p.size.0,
            height: p.size.1,
            intrinsics: p.fitting.original_intrinsics(&view.intrinsics),
            distortion: Distortion::None,
            world_from_camera: view.world_from_camera,
        });
        let views = views.collect();
        let dense =
            || dense_tracks(&self.scene.views, self.args.colmap_points, self.args.min_confidence);
        let points: Vec<SparsePoint> = if self.scene.tracks.is_empty() {
            dense().iter().map(|track| self.sparse_point(track)).collect()
        } else {
            self.scene.tracks.iter().map(|track| self.sparse_point(track)).collect()
        };
        SparseModel { views, points }
    }

    fn sparse_point(&self, track: &Track) -> SparsePoint {
        let observation = |&(view, pixel): &(usize, [f64; 2])| {
            let pixel = self.photographs.0[view].fitting.original_pixel(pixel);
            Observation { view, pixel: Vector2::from(pixel) }
        };
        let color = track.observations.first().map(|&(view, [x, y])| {
            let image = &self.photographs.0[view].image;
            let inside = |at: f64, side: u32| (at.round().max(0.0) as u32).min(side - 1);
            image.get_pixel(inside(x, image.width()), inside(y, image.height())).0
        });
        SparsePoint {
            point_in_world: track.point_in_world,
            color: color.unwrap_or_default(),
            observations: track.observations.iter().map(observation).collect(),
        }
    }

    fn valid_count(&self, view: &ReconstructedView) -> usize {
        let both = view.depth.values().iter().zip(view.confidence.values());
        both.filter(|(z, c)| **z > 0.0 && z.is_finite() && **c >= self.args.min_confidence).count()
    }

    fn point_count(&self) -> usize {
        self.scene.views.iter().map(|view| self.valid_count(view)).sum()
    }

    fn figures(&self) -> Figures {
        let view = |(p, view): (&Photograph, &ReconstructedView)| ViewFigures {
            file: p.path.display().to_string(),
            width: p.size.0,
            height: p.size.1,
            intrinsics: p.fitting.original_intrinsics(&view.intrinsics),
            position: view.world_from_camera.translation.vector.into(),
            quaternion_xyzw: view.world_from_camera.rotation.coords.into(),
            valid_frac: self.valid_count(view) as f64 / view.depth.values().len().max(1) as f64,
        };
        Figures {
            model: self.args.model.clone(),
            pairs: self.args.pairs.to_string(),
            images: self.photographs.len(),
            points: self.point_count(),
            tracks: self.scene.tracks.len(),
            is_metric: self.scene.is_metric,
            loss: self.scene.loss,
            work: self.work.clone(),
            seconds: self.seconds,
            peak_rss_mb: peak_rss_mb(),
            views: self.views().map(view).collect(),
        }
    }

    /// Returns the table that a user sees.
    pub fn table(&self) -> String {
        let figures = self.figures();
        let unit = if figures.is_metric { " m" } else { "" };
        let mut views = Table::new();
        views.load_style(presets::UTF8_FULL_CONDENSED).set_header([
            "photograph",
            "points",
            "focal length",
            "position",
        ]);
        for view in &figures.views {
            let [x, y, z] = view.position;
            views.add_row([
                view.file.clone(),
                format!("{:.1} %", 100.0 * view.valid_frac),
                format!("{:.1} px", view.intrinsics.fx),
                format!("{x:.3} {y:.3} {z:.3}{unit}"),
            ]);
        }
        let mut total = Table::new();
        total.load_style(presets::UTF8_FULL_CONDENSED);
        total.add_row(["points".to_owned(), figures.points.to_string()]);
        total.add_row(["matched points".to_owned(), figures.tracks.to_string()]);
        if let Some([before, after]) = figures.loss {
            total.add_row(["loss".to_owned(), format!("{before:.5} to {after:.5}")]);
        }
        total.add_row(["weights loaded in".to_owned(), format!("{:.2} s", self.seconds.load)]);
        total
            .add_row(["reconstructed in".to_owned(), format!("{:.2} s", self.seconds.reconstruct)]);
        format!("{views}\n{total}\nresults in {}", self.args.out.display())
    }

    /// A run that found no point has failed, whatever it has written.
    ///
    /// # Errors
    /// Where that is so.
    pub fn verdict(&self) -> Result<()> {
        if self.point_count() > 0 {
            return Ok(());
        }
        Err(Error::Usage("no point is confident enough; try a smaller --min-confidence".into()))
    }
}
