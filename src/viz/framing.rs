//! From where a cloud is looked at, and how much of it fits the picture.

use nalgebra::{Point3, Unit, Vector3};

/// Shares of points that may lie outside the frame on either side: stray points must not shrink
/// the picture.
const LOW_FRAC: f64 = 0.002;
const HIGH_FRAC: f64 = 0.998;
/// How steeply the oblique view looks down.
const ELEVATION_RAD: f64 = 0.75;
/// How far the oblique view turns away from looking straight at a wall.
const AZIMUTH_RAD: f64 = 0.6;
/// Enough points to know where the cloud is.
const SAMPLE: usize = 20_000;

/// Axes of the horizontal plane, aligned with the walls, and of gravity.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Along the longer side.
    long: Vector3<f64>,
    /// Along the shorter side; `long`, `short`, `up` are right-handed.
    short: Vector3<f64>,
    up: Vector3<f64>,
    /// Points above this height hide the room: the ceiling.
    pub(super) ceiling_m: f64,
}

/// An orthographic view: picture axes in the cloud's frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    pub(super) right: Vector3<f64>,
    pub(super) down: Vector3<f64>,
    /// From the eye into the scene.
    pub(super) forward: Vector3<f64>,
}

/// A number of points spread evenly over the order of a cloud, all finite.
pub(super) fn sample(points: &[Point3<f32>]) -> Vec<Point3<f64>> {
    let stride = points.len().div_ceil(SAMPLE).max(1);
    let finite = |p: &&Point3<f32>| p.iter().all(|c| c.is_finite());
    points.iter().step_by(stride).filter(finite).map(|p| p.cast()).collect()
}

impl Room {
    /// Returns the room around `points` with gravity along `-up`.
    pub(super) fn around(points: &[Point3<f64>], up: &Vector3<f64>) -> Self {
        let up = Unit::try_new(*up, 1e-9).map_or(Vector3::z(), Unit::into_inner);
        let any = Vector3::ith(up.iamin(), 1.0);
        let first = Unit::new_normalize(any - up * up.dot(&any)).into_inner();
        let second = up.cross(&first);
        let (mut least_area, mut long, mut short) = (f64::INFINITY, first, second);
        for degrees in (0..90).step_by(3) {
            let (sin, cos) = f64::from(degrees).to_radians().sin_cos();
            let (a, b) = (first * cos + second * sin, second * cos - first * sin);
            let (width, depth) = (extent(points, &a), extent(points, &b));
            if width * depth < least_area {
                least_area = width * depth;
                (long, short) = if width >= depth { (a, b) } else { (b, -a) };
            }
        }
        let ceiling_m = ceiling_height(points, &long, &short, &up);
        Self { long, short, up, ceiling_m }
    }

    /// Returns how high a point is.
    pub(super) fn height_m(&self, point: &Point3<f64>) -> f64 {
        point.coords.dot(&self.up)
    }

    /// Returns the view straight down, the long side upright in the picture or across it.
    pub(super) fn plan(&self, upright: bool) -> View {
        let (right, top) = if upright { (-self.short, self.long) } else { (self.long, self.short) };
        View { right, down: -top, forward: -self.up }
    }

    /// Returns the view from above and aside, from where the low part of the cloud is: high walls
    /// then stand at the back.
    pub(super) fn oblique(&self, points: &[Point3<f64>]) -> View {
        let (low, high) = bounds(points.iter().map(|p| self.height_m(p)));
        let middle = 0.5 * (low + high);
        let (tall, flat): (Vec<_>, Vec<_>) = points
            .iter()
            .filter(|p| self.height_m(p) < self.ceiling_m)
            .partition(|p| self.height_m(p) > middle);
        let backward = center(&tall) - center(&flat);
        let (sin, cos) = AZIMUTH_RAD.sin_cos();
        let sides = [self.long, self.short, -self.long, -self.short];
        let headings = sides.iter().flat_map(|side| {
            let across = self.up.cross(side);
            [side * cos + across * sin, side * cos - across * sin]
        });
        let best = headings.max_by(|a, b| a.dot(&backward).total_cmp(&b.dot(&backward)));
        self.looking(&best.unwrap_or(self.long))
    }

    fn looking(&self, heading: &Vector3<f64>) -> View {
        let (sin, cos) = ELEVATION_RAD.sin_cos();
        let forward = heading * cos - self.up * sin;
        let right = heading.cross(&self.up);
        View { right, down: forward.cross(&right), forward }
    }
}

/// The values between which most of `values` lie; 0 and 0 without any.
pub(super) fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let at = |frac: f64| sorted.get(((sorted.len().max(1) - 1) as f64 * frac) as usize).copied();
    (at(LOW_FRAC).unwrap_or(0.0), at(HIGH_FRAC).unwrap_or(0.0))
}

fn extent(points: &[Point3<f64>], axis: &Vector3<f64>) -> f64 {
    let (low, high) = bounds(points.iter().map(|p| p.coords.dot(axis)));
    high - low
}

fn center(points: &[&Point3<f64>]) -> Vector3<f64> {
    let sum: Vector3<f64> = points.iter().map(|p| p.coords).sum();
    sum / points.len().max(1) as f64
}

/// The height from which on there is a ceiling: the topmost eighth, where it covers a good part of
/// the floor plan; else above everything.
fn ceiling_height(
    points: &[Point3<f64>],
    long: &Vector3<f64>,
    short: &Vector3<f64>,
    up: &Vector3<f64>,
) -> f64 {
    const CELLS: usize = 24;
    let axes = [long, short];
    let ranges = axes.map(|axis| bounds(points.iter().map(|p| p.coords.dot(axis))));
    let (low, high) = bounds(points.iter().map(|p| p.coords.dot(up)));
    let threshold = high - 0.125 * (high - low);
    let (mut covered, mut roofed) = ([false; CELLS * CELLS], [false; CELLS * CELLS]);
    for point in points {
        let cell: [usize; 2] = std::array::from_fn(|i| {
            let (start, end) = ranges[i];
            let frac = (point.coords.dot(axes[i]) - start) / (end - start).max(1e-9);
            (frac.clamp(0.0, 0.999) * CELLS as f64) as usize
        });
        let index = cell[0] * CELLS + cell[1];
        covered[index] = true;
        roofed[index] |= point.coords.dot(up) > threshold;
    }
    let count = |cells: &[bool]| cells.iter().filter(|&&c| c).count() as f64;
    let is_roofed = count(&roofed) > 0.35 * count(&covered);
    if is_roofed && high - low > 0.5 { threshold } else { f64::INFINITY }
}
