//! The figures of a run: `metrics.json` and the table.

use std::path::Path;

use comfy_table::{Table, presets};
use recon_node::error::Result;
use recon_node::export::write_atomically;
use recon_node::geometry::Intrinsics;
use recon_node::model::mapanything::postprocess::quantile;

use super::results::{Results, View};
use crate::report::peak_rss_mb;

/// How long it took.
#[derive(Clone, Copy, serde::Serialize)]
pub struct Seconds {
    /// To load the weights.
    pub load: f64,
    /// To infer.
    pub infer: f64,
}

/// All figures of a run.
#[derive(serde::Serialize)]
pub struct Figures {
    images: usize,
    model_width: usize,
    model_height: usize,
    metric_scale: f32,
    points: usize,
    depth_units_per_metre: f64,
    seconds: Seconds,
    peak_rss_mb: Option<f64>,
    notes: Vec<String>,
    views: Vec<ViewFigures>,
}

/// The figures of one view, its camera at the size of the image file and in the world.
#[derive(serde::Serialize)]
struct ViewFigures {
    name: String,
    file: String,
    width: u32,
    height: u32,
    known: Vec<&'static str>,
    mean_depth_m: Option<f64>,
    valid_frac: f64,
    confidence_p10: f32,
    confidence_p50: f32,
    confidence_p90: f32,
    intrinsics: Intrinsics,
    position_m: [f64; 3],
    quaternion_xyzw: [f64; 4],
}

impl Figures {
    /// Returns the figures of the results.
    ///
    /// # Errors
    /// Where a view has no pixels.
    pub fn new(results: &Results<'_>, units_per_metre: f64, seconds: Seconds) -> Result<Self> {
        let views = results.views.iter().map(ViewFigures::new).collect::<Result<Vec<_>>>()?;
        let first = results.views.first().map(|view| view.output);
        let size = first.map_or((0, 0), |o| (o.depth_z.width(), o.depth_z.height()));
        Ok(Self {
            images: views.len(),
            model_width: size.0,
            model_height: size.1,
            metric_scale: first.map_or(1.0, |output| output.metric_scale),
            points: results.point_count(),
            depth_units_per_metre: units_per_metre,
            seconds,
            peak_rss_mb: peak_rss_mb(),
            notes: results.views.iter().filter_map(note).collect(),
            views,
        })
    }

    /// Writes the figures as JSON.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_atomically(path, |file| {
            serde_json::to_writer_pretty(&mut *file, self)?;
            writeln!(file)
        })
    }

    /// Returns the table that a user sees.
    pub fn table(&self, folder: &Path) -> String {
        let mut views = Table::new();
        views.load_style(presets::UTF8_FULL_CONDENSED).set_header([
            "view",
            "mean depth",
            "points",
            "confidence p10 p50 p90",
            "focal length",
            "position",
        ]);
        for view in &self.views {
            views.add_row(view.row());
        }
        let mut total = Table::new();
        total.load_style(presets::UTF8_FULL_CONDENSED);
        for (name, value) in self.rows() {
            total.add_row([name.to_owned(), value]);
        }
        let notes: String = self.notes.iter().map(|note| format!("\nnote: {note}")).collect();
        format!("{views}\n{total}{notes}\nresults in {}", folder.display())
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = vec![
            ("points", self.points.to_string()),
            ("metric scale", format!("{:.4}", self.metric_scale)),
            ("size in the model", format!("{}x{}", self.model_width, self.model_height)),
            ("depth images", format!("{} units per metre", self.depth_units_per_metre)),
            ("weights loaded in", format!("{:.2} s", self.seconds.load)),
            ("inferred in", format!("{:.2} s", self.seconds.infer)),
        ];
        rows.extend(self.peak_rss_mb.map(|mb| ("peak memory", format!("{mb:.0} MB"))));
        rows
    }
}

/// What a user must know about a view.
fn note(view: &View<'_>) -> Option<String> {
    view.input.is_turned.then(|| {
        format!(
            "{} is stored turned; its results are those of the upright image, so give COLMAP an \
             upright copy",
            view.input.path.display()
        )
    })
}

impl ViewFigures {
    fn new(view: &View<'_>) -> Result<Self> {
        let confidence = view.output.confidence.values();
        let depths = view.points.iter().map(|(pixel, _)| view.output.depth_z.values()[*pixel]);
        let sum: f64 = depths.map(f64::from).sum();
        let count = view.points.len();
        Ok(Self {
            name: view.name.clone(),
            file: view.input.path.display().to_string(),
            width: view.input.image.width(),
            height: view.input.image.height(),
            known: view.input.known(),
            mean_depth_m: (count > 0).then(|| sum / count as f64),
            valid_frac: view.valid_frac(),
            confidence_p10: quantile(confidence, 0.1)?,
            confidence_p50: quantile(confidence, 0.5)?,
            confidence_p90: quantile(confidence, 0.9)?,
            intrinsics: view.intrinsics,
            position_m: view.world_from_camera.translation.vector.into(),
            quaternion_xyzw: view.world_from_camera.rotation.coords.into(),
        })
    }

    fn row(&self) -> [String; 6] {
        let [x, y, z] = self.position_m;
        let (k, depth) = (&self.intrinsics, self.mean_depth_m);
        [
            self.name.clone(),
            depth.map_or_else(|| "none".to_owned(), |depth| format!("{depth:.3} m")),
            format!("{:.1} %", 100.0 * self.valid_frac),
            format!(
                "{:.2} {:.2} {:.2}",
                self.confidence_p10, self.confidence_p50, self.confidence_p90
            ),
            format!("{:.1} {:.1} px", k.fx, k.fy),
            format!("{x:.3} {y:.3} {z:.3} m"),
        ]
    }
}
