//! The thread that writes: makes rerun's rows of what has changed.

use std::time::Duration;

use rerun::external::re_log_types::TimeCell;
use rerun::{
    Clear, Color, DepthImage, LineStrips3D, Pinhole, Points3D, Radius, RecordingStream,
    RecordingStreamResult, Scalars, SeriesLines, TextLog, TextLogLevel, TimeColumn, Transform3D,
    ViewCoordinates,
};

use super::event::{Edges, Event, FrameImages, KeyframeContent, Row, What, place};
use super::figures::SERIES;
use super::pictures::{self, confidence_image, depth_image, jpeg, pinhole};
use crate::evaluation::{DEFAULT_MAX_DIFFERENCE_SECS, evaluate_trajectory};
use crate::geometry::Se3;
use crate::keyframe::KeyframeId;
use crate::stamp::Stamp;
use crate::trajectory::Trajectory;

/// The timeline: the data's stamps.
pub(super) const TIMELINE: &str = "stamp";
/// Stamps from here on count from 1970; below, from the beginning of the recording.
const EPOCH_NANOS: i64 = 100_000_000_000_000_000;
/// Vertices of the true trajectory at most.
const TRUTH_POINTS: usize = 5000;
/// How large frustums are, as a share of what their cameras look at.
const KEYFRAME_SIZE_FRAC: f64 = 0.06;
/// The same for the camera itself.
const CAMERA_SIZE_FRAC: f64 = 0.1;
/// How long writing may take at the end.
const FLUSH: Duration = Duration::from_secs(60);

const WHITE: [u8; 3] = [255, 255, 255];
const GREY: [u8; 3] = [110, 110, 120];
const YELLOW: [u8; 3] = [240, 200, 60];
const RED: [u8; 3] = [240, 60, 60];
const BLUE: [u8; 3] = [80, 160, 250];
const GREEN: [u8; 3] = [90, 210, 110];

/// Writes events into a recording.
pub(super) struct Scribe {
    stream: RecordingStream,
    reference: Option<Trajectory>,
    is_begun: bool,
    counts_from_1970: bool,
    camera_size_m: f64,
}

impl Scribe {
    pub(super) fn new(stream: RecordingStream, reference: Option<Trajectory>) -> Self {
        Self { stream, reference, is_begun: false, counts_from_1970: false, camera_size_m: 0.2 }
    }

    /// Writes an event; returns only after the last one whether all could be written.
    ///
    /// # Errors
    /// Why something is not written.
    pub(super) fn write(&mut self, event: &Event) -> Result<(), String> {
        self.log(event).map_err(|problem| problem.to_string())?;
        match event.what {
            What::End => {
                self.stream.flush_with_timeout(FLUSH).map_err(|problem| problem.to_string())
            }
            _ => Ok(()),
        }
    }

    fn log(&mut self, event: &Event) -> RecordingStreamResult<()> {
        if !self.is_begun {
            self.begin(event.stamp)?;
        }
        self.stream.set_time(TIMELINE, self.time(event.stamp));
        match &event.what {
            What::Rows(rows) => self.rows(rows),
            What::Frame(images) => self.frame(images),
            What::Keyframe(content) => self.keyframe(content),
            What::Poses(moved) => {
                moved.iter().try_for_each(|(id, pose)| self.stream.log(path(*id), &transform(pose)))
            }
            What::Gone(gone) => {
                gone.iter().try_for_each(|id| self.stream.log(path(*id), &Clear::recursive()))
            }
            What::Way { keyframe, piece, points_in_keyframe } => {
                let path = format!("{}/way/{piece}", path(*keyframe));
                self.stream.log(path, &lines([points_in_keyframe.as_slice()], BLUE, 2.0))
            }
            What::Edges(edges) => self.edges(edges),
            What::Upright(map_from_world) => {
                self.stream.log("world/map", &transform(map_from_world))
            }
            What::Truth(trajectory) => self.truth(trajectory),
            What::Note { text, is_warning } => {
                let level = if *is_warning { TextLogLevel::WARN } else { TextLogLevel::INFO };
                self.stream.log("notes", &TextLog::new(text.as_str()).with_level(level))
            }
            What::End => Ok(()),
        }
    }

    /// What holds for the whole recording.
    fn begin(&mut self, first: Stamp) -> RecordingStreamResult<()> {
        self.is_begun = true;
        self.counts_from_1970 = first.nanos() >= EPOCH_NANOS;
        self.stream.set_log_tick_enabled(false);
        self.stream.set_log_time_enabled(false);
        self.stream.log_static("world", &ViewCoordinates::RIGHT_HAND_Z_UP())?;
        for series in &SERIES {
            let style =
                SeriesLines::new().with_names([series.name]).with_colors([color(series.color)]);
            self.stream.log_static(series.path, &style)?;
        }
        let Some(reference) = &self.reference else { return Ok(()) };
        let every = reference.poses().len().div_ceil(TRUTH_POINTS).max(1);
        let points: Vec<[f32; 3]> =
            reference.poses().iter().step_by(every).map(|p| place(&p.world_from_camera)).collect();
        self.stream.log_static("world/map/truth", &lines([points.as_slice()], GREEN, 1.5))
    }

    fn time(&self, stamp: Stamp) -> TimeCell {
        if self.counts_from_1970 {
            TimeCell::from_timestamp_nanos_since_epoch(stamp.nanos())
        } else {
            TimeCell::from_duration_nanos(stamp.nanos())
        }
    }

    fn times(&self, stamps: impl Iterator<Item = Stamp>) -> TimeColumn {
        let nanos = stamps.map(Stamp::nanos);
        if self.counts_from_1970 {
            TimeColumn::new_timestamp_nanos_since_epoch(TIMELINE, nanos)
        } else {
            TimeColumn::new_duration_nanos(TIMELINE, nanos)
        }
    }

    fn rows(&self, rows: &[Row]) -> RecordingStreamResult<()> {
        for (index, series) in SERIES.iter().enumerate() {
            let known: Vec<(Stamp, f64)> =
                rows.iter().filter_map(|row| Some((row.stamp, row.figures[index]?))).collect();
            if known.is_empty() {
                continue;
            }
            let times = self.times(known.iter().map(|(stamp, _)| *stamp));
            let values = Scalars::new(known.iter().map(|(_, value)| *value));
            self.stream.send_columns(series.path, [times], values.columns_of_unit_batches()?)?;
        }
        let placed: Vec<(Stamp, Se3)> =
            rows.iter().filter_map(|row| Some((row.stamp, row.world_from_camera?))).collect();
        if placed.is_empty() {
            return Ok(());
        }
        let times = self.times(placed.iter().map(|(stamp, _)| *stamp));
        let poses = Transform3D::update_fields()
            .with_many_translation(placed.iter().map(|(_, pose)| place(pose)))
            .with_many_quaternion(placed.iter().map(|(_, pose)| quaternion(pose)));
        self.stream.send_columns("world/map/camera", [times], poses.columns_of_unit_batches()?)
    }

    fn frame(&self, images: &FrameImages) -> RecordingStreamResult<()> {
        if let Some(camera) = &images.camera {
            let frustum = styled(pinhole(camera), self.camera_size_m, WHITE);
            self.stream.log("world/map/camera", &frustum)?;
        }
        self.stream.log("world/map/camera/image", &jpeg(&images.color))?;
        match &images.depth {
            Some(depth) => self.stream.log("depth", &depth_image(depth)),
            None => Ok(()),
        }
    }

    fn keyframe(&mut self, content: &KeyframeContent) -> RecordingStreamResult<()> {
        let path = path(content.id);
        let points = pictures::points(content);
        let cloud = Points3D::new(points.places)
            .with_colors(points.colors.into_iter().map(color))
            .with_radii(points.radii_m.into_iter().map(Radius::new_scene_units));
        self.stream.log(format!("{path}/points"), &cloud)?;
        let confidence: DepthImage = confidence_image(&content.pointmap);
        self.stream.log("confidence", &confidence)?;
        if !content.is_new {
            return Ok(());
        }
        let depth_m = content.pointmap.mean_depth_m().unwrap_or(1.0);
        self.camera_size_m = CAMERA_SIZE_FRAC * depth_m;
        let (thumbnail, camera) = pictures::thumbnail(&content.color, &content.camera);
        let frustum = styled(pinhole(&camera), KEYFRAME_SIZE_FRAC * depth_m, GREY);
        self.stream.log(format!("{path}/view"), &frustum)?;
        self.stream.log(format!("{path}/view"), &jpeg(&thumbnail))
    }

    fn edges(&self, edges: &Edges) -> RecordingStreamResult<()> {
        let all = [
            ("world/map/edges/covisibility", &edges.covisibility, GREY, 0.5),
            ("world/map/edges/window", &edges.window, YELLOW, 1.5),
            ("world/map/edges/loops", &edges.loops, RED, 2.0),
        ];
        all.into_iter().try_for_each(|(path, edges, rgb, width)| {
            let pairs = edges.iter().map(<[[f32; 3]; 2]>::as_slice);
            self.stream.log(path, &lines(pairs, rgb, width))
        })
    }

    /// Lays the true trajectory over the one that was found, as rigidly as it is judged.
    fn truth(&self, trajectory: &Trajectory) -> RecordingStreamResult<()> {
        let Some(reference) = &self.reference else { return Ok(()) };
        let compared =
            evaluate_trajectory(trajectory, reference, None, DEFAULT_MAX_DIFFERENCE_SECS);
        // Too little to compare yet: it is laid over it later.
        let Ok(compared) = compared else { return Ok(()) };
        let map_from_reference = compared.reference_from_estimate_rigid.rigid().inverse();
        self.stream.log("world/map/truth", &transform(&map_from_reference))
    }
}

fn path(id: KeyframeId) -> String {
    format!("world/map/keyframes/{id}")
}

fn color([r, g, b]: [u8; 3]) -> Color {
    Color::from_rgb(r, g, b)
}

fn quaternion(pose: &Se3) -> rerun::Quaternion {
    rerun::Quaternion::from_xyzw(pose.rotation.coords.cast::<f32>().into())
}

fn transform(pose: &Se3) -> Transform3D {
    Transform3D::update_fields().with_translation(place(pose)).with_quaternion(quaternion(pose))
}

fn styled(pinhole: Pinhole, size_m: f64, rgb: [u8; 3]) -> Pinhole {
    pinhole
        .with_image_plane_distance(size_m as f32)
        .with_color(color(rgb))
        .with_line_width(Radius::new_ui_points(1.0))
}

/// Lines of a width in points of the screen.
fn lines<'a>(
    strips: impl IntoIterator<Item = &'a [[f32; 3]]>,
    rgb: [u8; 3],
    width: f32,
) -> LineStrips3D {
    let strips = strips.into_iter().map(|strip| strip.to_vec());
    LineStrips3D::new(strips)
        .with_colors([color(rgb)])
        .with_radii([Radius::new_ui_points(0.5 * width)])
}
