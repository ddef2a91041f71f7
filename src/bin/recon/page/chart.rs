//! Charts as SVG: lines over two axes, drawn for screen and paper alike.

use std::fmt::Write;

/// Points at most that a line is drawn with.
const MAX_POINTS: usize = 1500;
const WIDTH: f64 = 460.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 40.0;
/// About how many numbers stand along an axis.
const TICKS: f64 = 5.0;

/// A line with gaps, as pieces without.
pub struct Line {
    /// How the style sheet calls it.
    pub class: &'static str,
    pub pieces: Vec<Vec<(f64, f64)>>,
}

/// What is drawn.
pub struct Chart<'a> {
    pub title: &'a str,
    /// What stands along the axes.
    pub axes: [&'a str; 2],
    pub height: f64,
    /// Whether a unit is as long on both axes; else the vertical one begins at zero.
    pub equal: bool,
    pub lines: Vec<Line>,
}

/// From values to the picture.
struct Frame {
    x: [f64; 2],
    y: [f64; 2],
    height: f64,
}

impl Chart<'_> {
    /// Returns the chart as an SVG element; one that says so where there is nothing to draw.
    pub fn svg(&self) -> String {
        let mut svg = format!(
            "<svg viewBox='0 0 {WIDTH} {h}' role='img' aria-label='{t}'>\
             <text class='title' x='{LEFT}' y='16'>{t}</text>",
            h = self.height,
            t = self.title
        );
        match self.frame() {
            Some(frame) => {
                self.draw_axes(&frame, &mut svg);
                self.lines.iter().for_each(|line| draw_line(line, &frame, &mut svg));
            }
            None => svg += "<text x='52' y='60'>nothing to show</text>",
        }
        svg + "</svg>"
    }

    fn frame(&self) -> Option<Frame> {
        let points = || self.lines.iter().flat_map(|l| l.pieces.iter().flatten());
        let range = |of: fn(&(f64, f64)) -> f64| {
            let values = points().map(of).filter(|v| v.is_finite());
            let start = (f64::INFINITY, f64::NEG_INFINITY);
            let (low, high) = values.fold(start, |(l, h), v| (l.min(v), h.max(v)));
            (low <= high).then_some([low, high])
        };
        let (mut x, mut y) = (range(|p| p.0)?, range(|p| p.1)?);
        if self.equal {
            let size = [WIDTH - LEFT - RIGHT, self.height - TOP - BOTTOM];
            let per_px = ((x[1] - x[0]) / size[0]).max((y[1] - y[0]) / size[1]).max(1e-6) * 1.08;
            (x, y) = (around(x, per_px * size[0]), around(y, per_px * size[1]));
        } else {
            x[1] = x[1].max(x[0] + 1e-6);
            y = [y[0].min(0.0), (1.08 * y[1]).max(1e-6)];
        }
        Some(Frame { x, y, height: self.height })
    }

    fn draw_axes(&self, frame: &Frame, svg: &mut String) {
        let (bottom, right) = (self.height - BOTTOM, WIDTH - RIGHT);
        for value in ticks(frame.x) {
            let (x, text) = (frame.place(value, 0.0).0, number(value));
            let below = bottom + 15.0;
            let _ = write!(
                svg,
                "<path class='grid' d='M{x:.1} {TOP}V{bottom}'/>\
                 <text class='tick' text-anchor='middle' x='{x:.1}' y='{below}'>{text}</text>"
            );
        }
        for value in ticks(frame.y) {
            let (y, text) = (frame.place(0.0, value).1, number(value));
            let (beside, middle) = (LEFT - 6.0, y + 4.0);
            let _ = write!(
                svg,
                "<path class='grid' d='M{LEFT} {y:.1}H{right}'/>\
                 <text class='tick' text-anchor='end' x='{beside}' y='{middle:.1}'>{text}</text>"
            );
        }
        let (middle, low) = ((LEFT + right) / 2.0, self.height - 6.0);
        let centre = (TOP + bottom) / 2.0;
        let [across, upward] = self.axes;
        let _ = write!(
            svg,
            "<path class='axis' d='M{LEFT} {TOP}V{bottom}H{right}'/>\
             <text text-anchor='middle' x='{middle}' y='{low}'>{across}</text>\
             <text text-anchor='middle' transform='translate(12 {centre}) rotate(-90)'>{upward}\
             </text>"
        );
    }
}

impl Frame {
    fn place(&self, x: f64, y: f64) -> (f64, f64) {
        let share = |value: f64, [low, high]: [f64; 2]| (value - low) / (high - low);
        let (width, height) = (WIDTH - LEFT - RIGHT, self.height - TOP - BOTTOM);
        (LEFT + width * share(x, self.x), self.height - BOTTOM - height * share(y, self.y))
    }
}

fn around([low, high]: [f64; 2], extent: f64) -> [f64; 2] {
    let middle = 0.5 * (low + high);
    [middle - 0.5 * extent, middle + 0.5 * extent]
}

fn draw_line(line: &Line, frame: &Frame, svg: &mut String) {
    let count: usize = line.pieces.iter().map(Vec::len).sum();
    let step = count.div_ceil(MAX_POINTS).max(1);
    for piece in &line.pieces {
        let last = piece.len().saturating_sub(1);
        let chosen = piece.iter().enumerate().filter(|(i, _)| i % step == 0 || *i == last);
        let mut path = String::new();
        for (index, (x, y)) in chosen.map(|(i, (x, y))| (i, frame.place(*x, *y))) {
            let _ = write!(path, "{}{x:.1} {y:.1}", if index == 0 { 'M' } else { 'L' });
        }
        let _ = write!(svg, "<path class='{}' d='{path}'/>", line.class);
    }
}

/// Round numbers within a range.
fn ticks([low, high]: [f64; 2]) -> Vec<f64> {
    let rough = (high - low) / TICKS;
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|f| f * power >= rough).unwrap_or(10.0);
    let step = factor * power;
    let first = (low / step).ceil() as i64;
    let last = (high / step).floor() as i64;
    (first..=last).map(|i| i as f64 * step).collect()
}

/// A number without the noise of its last digits.
fn number(value: f64) -> String {
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        assert_eq!(ticks([0.0, 1.0]), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(ticks([-3.0, 7.0]), [-2.0, 0.0, 2.0, 4.0, 6.0]);
        assert_eq!(
            [0.6000000000000001, -0.0, 12.5, 1200.0].map(number),
            ["0.6", "0", "12.5", "1200"]
        );
    }

    #[test]
    fn a_metre_is_as_long_on_both_axes_and_nothing_is_said_to_be_nothing() {
        let square = vec![vec![(0.0, 0.0), (1.0, 1.0)]];
        let lines = vec![Line { class: "estimate", pieces: square }];
        let mut chart = Chart { title: "t", axes: ["x", "y"], height: 300.0, equal: true, lines };
        let frame = chart.frame().unwrap();
        let (a, b) = (frame.place(0.0, 0.0), frame.place(1.0, 1.0));
        assert!((b.0 - a.0 - (a.1 - b.1)).abs() < 1e-9);
        chart.lines.clear();
        assert!(chart.svg().contains("nothing to show"));
    }
}
