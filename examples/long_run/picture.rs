//! The picture of a long run: costs, keyframes and memory over frames.

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use super::{BATCH, Log, median};

const SIZE: (u32, u32) = (1200, 1000);
/// The median of fewer costs says nothing.
const MIN_COSTS: usize = 4;
const BLUE: RGBColor = RGBColor(31, 97, 171);
const PALE: RGBColor = RGBColor(190, 205, 225);
const FONT: &str = "sans-serif";

/// A line of the picture, with the single values behind it.
struct Panel<'a> {
    title: &'a str,
    line: Vec<(f64, f64)>,
    dots: Vec<(f64, f64)>,
    /// The highest value that is shown.
    top: f64,
}

impl<'a> Panel<'a> {
    /// Medians over batches, before all single costs but the highest hundredth.
    fn of_costs(title: &'a str, costs: Vec<(f64, f64)>) -> Self {
        let mut sorted: Vec<f64> = costs.iter().map(|cost| cost.1).collect();
        sorted.sort_by(f64::total_cmp);
        let top = sorted.get(sorted.len() * 99 / 100).copied().unwrap_or(1.0);
        let batches = costs.chunk_by(|a, b| a.0 as usize / BATCH == b.0 as usize / BATCH);
        let line = batches
            .filter(|batch| batch.len() >= MIN_COSTS)
            .map(|batch| (batch[0].0, median(batch.iter().copied())))
            .collect();
        let dots = costs.into_iter().filter(|cost| cost.1 <= top).collect();
        Self { title, line, dots, top: 1.1 * top }
    }

    fn of_growth(title: &'a str, line: Vec<(f64, f64)>) -> Self {
        let top = 1.1 * line.iter().map(|point| point.1).fold(1e-6, f64::max);
        Self { title, line, dots: Vec::new(), top }
    }

    fn draw(&self, area: &DrawingArea<BitMapBackend, Shift>, frames: f64) -> Result<()> {
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .caption(self.title, (FONT, 20))
            .x_label_area_size(32)
            .y_label_area_size(62)
            .build_cartesian_2d(0.0..frames, 0.0..self.top)
            .map_err(undrawn)?;
        let mesh = &mut chart.configure_mesh();
        mesh.light_line_style(TRANSPARENT).x_desc("frame").label_style((FONT, 15));
        mesh.draw().map_err(undrawn)?;
        let dots = self.dots.iter().map(|&at| Circle::new(at, 1, PALE.filled()));
        chart.draw_series(dots).map_err(undrawn)?;
        let line = LineSeries::new(self.line.iter().copied(), BLUE.stroke_width(2));
        chart.draw_series(line).map_err(undrawn)?;
        Ok(())
    }
}

/// Returns once `path` shows the run.
pub fn draw(path: &str, log: &Log) -> Result<()> {
    // A font that is registered already stays.
    let _ = register_font(FONT, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT);
    let growth = |value: fn(&super::Growth) -> f64| {
        log.growth.iter().map(|growth| (growth.frame as f64, value(growth))).collect()
    };
    let panels = [
        Panel::of_costs("a frame that makes no keyframe [ms]", log.chosen(false).collect()),
        Panel::of_costs("a frame that becomes a keyframe [ms]", log.chosen(true).collect()),
        Panel::of_growth("keyframes", growth(|g| g.keyframes as f64)),
        Panel::of_growth("resident memory [MB]", growth(|g| g.memory_mb)),
    ];
    let root = BitMapBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE).map_err(undrawn)?;
    let areas = root.split_evenly((4, 1));
    for (panel, area) in panels.iter().zip(&areas) {
        panel.draw(area, log.costs.len() as f64)?;
    }
    root.present().map_err(undrawn)
}

fn undrawn(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("the picture cannot be drawn: {error}")
}
