//! `recon info`: what is in a recording.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use anyhow::Context;
use comfy_table::{Table, presets};
use recon_node::dataset::{self, OpenOptions, RecordingInfo, StreamInfo, TopicNames};
use recon_node::geometry::Camera;

/// How many gaps of a stream are listed one by one.
const GAPS_SHOWN: usize = 5;

/// Which recording is read, and how.
#[derive(clap::Args)]
pub struct RecordingArgs {
    /// A folder in TUM RGB-D layout (rgb.txt, depth.txt, calibration.yaml, groundtruth.txt), a
    /// folder of PNG or JPEG images, a rosbag2 folder (metadata.yaml), an .mcap or a .db3 file
    pub path: PathBuf,
    /// Topic of the colour images, where a bag has several
    #[arg(long, value_name = "TOPIC")]
    image_topic: Option<String>,
    /// Topic of the depth images, registered to the colour images; `none` leaves depth out
    #[arg(long, value_name = "TOPIC")]
    depth_topic: Option<String>,
    /// Topic of the calibration, where it is not beside the colour images
    #[arg(long, value_name = "TOPIC")]
    camera_info_topic: Option<String>,
    /// Topic of the odometry; `none` leaves odometry out
    #[arg(long, value_name = "TOPIC")]
    odom_topic: Option<String>,
    /// Frame in which /tf gives odometry where no topic does [default: odom]
    #[arg(long, value_name = "FRAME")]
    odom_frame: Option<String>,
    /// Calibration to use instead of the recording's: YAML with fx, fy, cx, cy, width, height,
    /// and depth_scale (units per metre), distortion, distortion_model
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// The most seconds between the stamps of a colour image and its depth image
    #[arg(long, value_name = "SECS", default_value_t = OpenOptions::default().max_stamp_difference_secs)]
    max_stamp_difference: f64,
    /// Images per second of an image folder whose file names are not times
    #[arg(long, value_name = "HZ", default_value_t = OpenOptions::default().rate_hz)]
    rate: f64,
}

impl RecordingArgs {
    /// Returns the options for opening the recording, with all frames selected.
    pub fn options(&self) -> OpenOptions {
        OpenOptions {
            topics: TopicNames {
                image: self.image_topic.clone(),
                camera_info: self.camera_info_topic.clone(),
                depth: self.depth_topic.clone(),
                odom: self.odom_topic.clone(),
                odom_frame: self.odom_frame.clone(),
            },
            calibration: self.calibration.clone(),
            max_stamp_difference_secs: self.max_stamp_difference,
            rate_hz: self.rate,
            ..OpenOptions::default()
        }
    }
}

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    recording: RecordingArgs,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let info = dataset::describe(&args.recording.path, &args.recording.options())?;
    let text = if args.json { serde_json::to_string_pretty(&info)? + "\n" } else { tables(&info) };
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot print"),
    }
}

fn tables(info: &RecordingInfo) -> String {
    let mut text = format!("{}: {}, {:.3} s", info.path.display(), info.kind, info.duration_secs);
    if let Some(start) = info.start_secs {
        text += &format!(" from time {start:.6} s");
    }
    let sections = [
        streams_table(&info.streams),
        info.streams.iter().filter_map(gaps_line).collect::<Vec<_>>().join("\n"),
        calibration_line(info.camera.as_ref(), info.depth_scale),
        used_table(info),
        info.notes.iter().map(|note| format!("note: {note}")).collect::<Vec<_>>().join("\n"),
    ];
    for section in sections.iter().filter(|section| !section.is_empty()) {
        text += &format!("\n\n{section}");
    }
    text + "\n"
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header);
    table
}

fn streams_table(streams: &[StreamInfo]) -> String {
    let mut table = table(&["stream", "content", "count", "rate", "gaps", "not later"]);
    for stream in streams {
        table.add_row([
            stream.name.clone(),
            stream.content.clone(),
            stream.count.to_string(),
            stream.rate_hz.map_or("-".to_owned(), |hz| format!("{hz:.1} Hz")),
            stream.gaps.len().to_string(),
            stream.out_of_order.to_string(),
        ]);
    }
    table.to_string()
}

fn gaps_line(stream: &StreamInfo) -> Option<String> {
    let shown: Vec<String> = stream
        .gaps
        .iter()
        .take(GAPS_SHOWN)
        .map(|gap| format!("{:.3} s at {:.3} s", gap.length_secs, gap.at_secs))
        .collect();
    let more = stream.gaps.len().saturating_sub(GAPS_SHOWN);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    (!shown.is_empty()).then(|| format!("gaps in {}: {}{more}", stream.name, shown.join(", ")))
}

fn calibration_line(camera: Option<&Camera>, depth_scale: Option<f64>) -> String {
    let Some(camera) = camera else { return String::new() };
    let k = camera.intrinsics();
    let depth =
        depth_scale.map_or(String::new(), |scale| format!(", {scale} depth units per metre"));
    format!(
        "calibration: {}x{} pixels, fx {:.2} fy {:.2} cx {:.2} cy {:.2}, distortion {:?}{depth}",
        camera.width(),
        camera.height(),
        k.fx,
        k.fy,
        k.cx,
        k.cy,
        camera.distortion()
    )
}

fn used_table(info: &RecordingInfo) -> String {
    if info.used.is_empty() {
        return String::new();
    }
    let mut table = table(&["used for", "from", "because"]);
    for used in &info.used {
        table.add_row([&used.role, &used.name, &used.why]);
    }
    table.to_string()
}
