//! A trajectory from above and from the side, over its reference, with its error over time.

use image::{Rgb, RgbImage};
use nalgebra::{Point3, Vector3};

use super::canvas::{Area, Drawn, finish, px};
use super::panel::{Pieces, SpacePanel, draw_legend, draw_over_time, draw_title};
use super::upright::{upright_axis, upright_direction};
use crate::error::Result;
use crate::evaluation::TrajectoryEvaluation;
use crate::geometry::Sim3;
use crate::stamp::Stamp;
use crate::trajectory::Trajectory;

const WIDTH: u32 = 1200;
const HEIGHT: u32 = 900;
const TITLE: u32 = 66;
const ERROR_PANEL: u32 = 250;
const AXIS_NAMES: [&str; 3] = ["x [m]", "y [m]", "z [m]"];
/// A pause this many times the usual step is a gap in the line.
const GAP_STEPS: f64 = 5.0;

/// Returns the picture of `estimate`, and of the reference with its evaluation where there is one:
/// in plan (the two widest axes) and from the side, after rigid alignment.
///
/// # Errors
/// [`Error::Io`](crate::error::Error::Io) where drawing fails.
pub fn trajectory_figure(
    estimate: &Trajectory,
    compared: Option<(&Trajectory, &TrajectoryEvaluation)>,
) -> Result<RgbImage> {
    let blank = RgbImage::from_pixel(px(WIDTH), px(HEIGHT), Rgb([255; 3]));
    finish(blank, |area| draw(area, estimate, compared))
}

fn draw(
    area: &Area,
    estimate: &Trajectory,
    compared: Option<(&Trajectory, &TrajectoryEvaluation)>,
) -> Drawn {
    let (top, rest) = area.split_vertically(px(TITLE));
    draw_legend(&top, compared.is_some())?;
    let views = Views::of(estimate, compared);
    let Some((_, evaluation)) = compared else {
        let details =
            format!("{} poses, path of {:.2} m", estimate.poses().len(), path_m(estimate));
        draw_title(&top, "Trajectory", &details)?;
        return views.draw(&rest);
    };
    draw_title(&top, "Trajectory over its reference", &statistics(evaluation))?;
    let (space, below) = rest.split_vertically(px(HEIGHT - TITLE - ERROR_PANEL));
    views.draw(&space)?;
    let errors = evaluation.position_errors_m();
    let rows: Vec<(Stamp, (f64, f64))> = errors
        .iter()
        .map(|&(stamp, error)| (stamp, (stamp.secs_since(errors[0].0), error * 100.0)))
        .collect();
    draw_over_time(&below, "Position error", "error [cm]", &pieces(&rows))
}

fn statistics(evaluation: &TrajectoryEvaluation) -> String {
    let m = &evaluation.metrics;
    let mut parts =
        vec![format!("ATE {:.2} cm", m.ate_se3 * 100.0), format!("rotation {:.2}°", m.are_deg_se3)];
    if let (Some(step), Some(turn)) = (m.rpe1s_t_se3, m.rpe1s_rot_deg) {
        parts.push(format!("RPE over 1 s {:.2} cm, {turn:.2}°", step * 100.0));
    }
    parts.push(format!("{} of {} poses matched", m.matched, m.poses));
    parts.push(format!("path {:.2} m", m.gt_path_m));
    parts.push(format!("scale {:.4}", m.scale));
    parts.join("   ·   ")
}

/// Positions over time in the world that is drawn.
type Track = Vec<(Stamp, Point3<f64>)>;

/// What the panels of space show.
struct Views {
    estimate: Track,
    reference: Track,
    up: Vector3<f64>,
}

impl Views {
    fn of(estimate: &Trajectory, compared: Option<(&Trajectory, &TrajectoryEvaluation)>) -> Self {
        match compared {
            Some((reference, evaluation)) => Self {
                estimate: track(estimate, &evaluation.reference_from_estimate_rigid),
                reference: track(reference, &Sim3::identity()),
                up: upright_axis(reference),
            },
            None => Self {
                estimate: track(estimate, &Sim3::identity()),
                reference: Track::new(),
                up: upright_direction(estimate),
            },
        }
    }

    fn draw(&self, area: &Area) -> Drawn {
        let [widest, second, narrowest] = self.axes_by_extent();
        let plan = [widest.min(second), widest.max(second)];
        let (left, right) = area.split_horizontally(px(WIDTH / 2));
        self.panel("Plan", plan).draw(&left)?;
        self.panel("Side", [widest, narrowest]).draw(&right)
    }

    fn panel(&self, caption: &'static str, axes: [usize; 2]) -> SpacePanel<'static> {
        let flat = |track: &Track| -> Pieces {
            let rows: Vec<_> =
                track.iter().map(|(stamp, p)| (*stamp, (p[axes[0]], p[axes[1]]))).collect();
            pieces(&rows)
        };
        SpacePanel {
            caption,
            axes: axes.map(|axis| AXIS_NAMES[axis]),
            flipped: self.up[axes[1]] < -0.5,
            estimate: flat(&self.estimate),
            reference: flat(&self.reference),
        }
    }

    fn axes_by_extent(&self) -> [usize; 3] {
        let extent = |axis: usize| {
            let values = self.estimate.iter().chain(&self.reference).map(|(_, p)| p[axis]);
            let (low, high) =
                values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
            high - low
        };
        let extents = [0, 1, 2].map(extent);
        let mut axes = [0, 1, 2];
        axes.sort_by(|&a, &b| extents[b].total_cmp(&extents[a]));
        axes
    }
}

fn track(trajectory: &Trajectory, world_from_trajectory: &Sim3) -> Track {
    let place = |p: &crate::trajectory::StampedPose| {
        let position = Point3::from(p.world_from_camera.translation.vector);
        (p.stamp, world_from_trajectory.transform_point(&position))
    };
    trajectory.poses().iter().map(place).collect()
}

fn path_m(trajectory: &Trajectory) -> f64 {
    let positions = track(trajectory, &Sim3::identity());
    positions.windows(2).map(|w| (w[1].1 - w[0].1).norm()).sum()
}

/// Returns the points of the rows in order, as pieces that end wherever time leaps: by several times
/// the usual step.
pub fn pieces(rows: &[(Stamp, (f64, f64))]) -> Vec<Vec<(f64, f64)>> {
    let mut steps: Vec<f64> = rows.windows(2).map(|w| w[1].0.secs_since(w[0].0)).collect();
    steps.sort_unstable_by(f64::total_cmp);
    let usual = steps.get(steps.len() / 2).copied().unwrap_or(f64::INFINITY);
    rows.chunk_by(|a, b| b.0.secs_since(a.0) <= GAP_STEPS * usual)
        .map(|piece| piece.iter().map(|(_, point)| *point).collect())
        .collect()
}
