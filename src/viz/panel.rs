//! Panels of a plot: two axes of the world at one scale, or a value over time.

use plotters::prelude::*;

use super::canvas::{Area, Drawn, FONT, px};

pub(super) const ESTIMATE: RGBColor = RGBColor(31, 97, 171);
pub(super) const REFERENCE: RGBColor = RGBColor(150, 150, 150);
const START: RGBColor = RGBColor(26, 140, 74);
const END: RGBColor = RGBColor(201, 52, 36);
const GRID: RGBColor = RGBColor(228, 228, 228);
const TEXT: RGBColor = RGBColor(50, 50, 50);

const MARGIN: u32 = 14;
const LABELS_LEFT: u32 = 62;
const LABELS_BELOW: u32 = 42;
const CAPTION: u32 = 30;

/// A line with gaps, as pieces without.
pub(super) type Pieces = Vec<Vec<(f64, f64)>>;

/// What is drawn in a panel of space.
pub(super) struct SpacePanel<'a> {
    pub(super) caption: &'a str,
    pub(super) axes: [&'a str; 2],
    /// Whether the vertical axis points down in the picture.
    pub(super) flipped: bool,
    pub(super) estimate: Pieces,
    pub(super) reference: Pieces,
}

impl SpacePanel<'_> {
    /// Draws the panel so that a metre is as long on both axes.
    pub(super) fn draw(&self, area: &Area) -> Drawn {
        let [horizontal, vertical] = self.ranges(area);
        let vertical = if self.flipped { vertical.end..vertical.start } else { vertical };
        let mut chart = ChartBuilder::on(area)
            .margin(px(MARGIN))
            .caption(self.caption, (FONT, px(19)).into_font().color(&TEXT))
            .x_label_area_size(px(LABELS_BELOW))
            .y_label_area_size(px(LABELS_LEFT))
            .build_cartesian_2d(horizontal, vertical)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID.stroke_width(px(1)))
            .axis_style(TEXT.stroke_width(px(1)))
            .label_style((FONT, px(14)).into_font().color(&TEXT))
            .axis_desc_style((FONT, px(15)).into_font().color(&TEXT))
            .x_desc(self.axes[0])
            .y_desc(self.axes[1])
            .x_labels(7)
            .y_labels(7)
            .draw()?;
        chart.draw_series(segments(&self.reference, REFERENCE.stroke_width(px(4))))?;
        chart.draw_series(segments(&self.estimate, ESTIMATE.stroke_width(px(2))))?;
        for (place, color) in [(self.first(), START), (self.last(), END)] {
            chart.draw_series(place.map(|at| Circle::new(at, px(6), color.filled())))?;
        }
        Ok(())
    }

    fn first(&self) -> Option<(f64, f64)> {
        self.estimate.first()?.first().copied()
    }

    fn last(&self) -> Option<(f64, f64)> {
        self.estimate.last()?.last().copied()
    }

    fn ranges(&self, area: &Area) -> [std::ops::Range<f64>; 2] {
        let (width, height) = area.dim_in_pixel();
        let inner = [
            width.saturating_sub(px(2 * MARGIN + LABELS_LEFT)).max(1),
            height.saturating_sub(px(2 * MARGIN + LABELS_BELOW + CAPTION)).max(1),
        ];
        let all = || self.estimate.iter().chain(&self.reference).flatten();
        let spans = [span(all().map(|p| p.0)), span(all().map(|p| p.1))];
        let metres_per_px = (0..2)
            .map(|i| 1.12 * (spans[i].1 - spans[i].0).max(0.05) / f64::from(inner[i]))
            .fold(0.0, f64::max);
        [0, 1].map(|i| {
            let middle = 0.5 * (spans[i].0 + spans[i].1);
            let half = 0.5 * metres_per_px * f64::from(inner[i]);
            middle - half..middle + half
        })
    }
}

/// Draws values over time, from zero up.
pub(super) fn draw_over_time(area: &Area, caption: &str, unit: &str, pieces: &Pieces) -> Drawn {
    let (start, end) = span(pieces.iter().flatten().map(|p| p.0));
    let (_, highest) = span(pieces.iter().flatten().map(|p| p.1));
    let mut chart = ChartBuilder::on(area)
        .margin(px(MARGIN))
        .margin_right(px(2 * MARGIN))
        .caption(caption, (FONT, px(19)).into_font().color(&TEXT))
        .x_label_area_size(px(LABELS_BELOW))
        .y_label_area_size(px(LABELS_LEFT))
        .build_cartesian_2d(start..end.max(start + 1e-3), 0.0..(highest * 1.1).max(1e-6))?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.stroke_width(px(1)))
        .axis_style(TEXT.stroke_width(px(1)))
        .label_style((FONT, px(14)).into_font().color(&TEXT))
        .axis_desc_style((FONT, px(15)).into_font().color(&TEXT))
        .x_desc("time since the start [s]")
        .y_desc(unit)
        .x_labels(12)
        .y_labels(5)
        .draw()?;
    for piece in pieces {
        let floor = [piece.last(), piece.first()].into_iter().flatten().map(|p| (p.0, 0.0));
        let outline: Vec<_> = piece.iter().copied().chain(floor).collect();
        chart.draw_series([Polygon::new(outline, ESTIMATE.mix(0.15))])?;
    }
    chart.draw_series(segments(pieces, ESTIMATE.stroke_width(px(2))))?;
    Ok(())
}

/// The lines step by step: drawn as one, a sharp turn would grow a spike as long as the turn is
/// sharp.
fn segments(
    pieces: &Pieces,
    style: ShapeStyle,
) -> impl Iterator<Item = PathElement<(f64, f64)>> + '_ {
    let steps = pieces.iter().flat_map(|piece| piece.windows(2));
    steps.map(move |step| PathElement::new([step[0], step[1]], style))
}

/// Writes the two lines at the top of a figure.
pub(super) fn draw_title(area: &Area, title: &str, details: &str) -> Drawn {
    let left = px(MARGIN + 6) as i32;
    let big = (FONT, px(25)).into_font().color(&TEXT);
    let small = (FONT, px(16)).into_font().color(&TEXT);
    area.draw(&Text::new(title.to_owned(), (left, px(12) as i32), big))?;
    area.draw(&Text::new(details.to_owned(), (left, px(43) as i32), small))?;
    Ok(())
}

/// Explains the lines and dots, in one row that ends at the right edge.
pub(super) fn draw_legend(area: &Area, with_reference: bool) -> Drawn {
    const STEP: i32 = 108;
    let entries = [
        ("reference", REFERENCE, 4),
        ("estimate", ESTIMATE, 2),
        ("start", START, 0),
        ("end", END, 0),
    ];
    let shown = &entries[usize::from(!with_reference)..];
    let scale = px(1) as i32;
    let mut x = area.dim_in_pixel().0 as i32 - scale * STEP * shown.len() as i32;
    let y = scale * 24;
    for &(name, color, width) in shown {
        let right = x + scale * 24;
        match width {
            0 => area.draw(&Circle::new((right - scale * 8, y), px(6), color.filled()))?,
            _ => {
                area.draw(&PathElement::new([(x, y), (right, y)], color.stroke_width(px(width))))?
            }
        }
        let style = (FONT, px(16)).into_font().color(&TEXT);
        area.draw(&Text::new(name, (right + scale * 6, y - scale * 9), style))?;
        x += scale * STEP;
    }
    Ok(())
}

/// The smallest and largest of the finite values; 0 and 0 where there is none.
fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .filter(|v| v.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if low <= high { (low, high) } else { (0.0, 0.0) }
}
