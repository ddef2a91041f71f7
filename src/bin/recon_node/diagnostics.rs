//! `/diagnostics`, and what is said when no frame comes.

use r2r::diagnostic_msgs::msg::{DiagnosticArray, DiagnosticStatus, KeyValue};
use r2r::qos::ReliabilityPolicy;
use r2r::{Node, Publisher, QosProfile};
use recon_node::observer::TrackingState;
use recon_node::ros::diagnosis::{InputCheck, PublisherSeen, diagnose};
use recon_node::ros::inputs::{Input, Inputs};
use recon_node::ros::names::Remappings;
use recon_node::stamp::Stamp;

use crate::convert;
use crate::node::NAME;
use crate::outputs::tell;
use crate::shared::{Inner, Shared};
use crate::subscriptions::Subscription;

/// From this share of missing images on, something is wrong with how they travel.
const MISSING_FRAC: f64 = 0.25;

/// Publishes once a second, and looks for the reason while no frame comes.
pub struct Diagnostics {
    publisher: Publisher<DiagnosticArray>,
    remappings: Remappings,
    namespace: String,
    full_name: String,
    last_told: Vec<String>,
}

impl Diagnostics {
    /// Returns the publisher.
    pub fn new(node: &mut Node) -> r2r::Result<Self> {
        Ok(Self {
            publisher: node.create_publisher("/diagnostics", QosProfile::default())?,
            remappings: Remappings::from_args(std::env::args()),
            namespace: node.namespace()?,
            full_name: node.fully_qualified_name()?,
            last_told: Vec::new(),
        })
    }

    /// Looks for the reason why no frame comes, and says it where it is new.
    pub fn look(&mut self, node: &Node, subscriptions: &[Subscription], shared: &Shared) {
        let checks: Vec<InputCheck> = subscriptions
            .iter()
            .filter(|s| !matches!(s.input, Input::Tf | Input::TfStatic))
            .map(|subscription| self.check(node, subscription, shared))
            .collect();
        let mut inner = shared.lock();
        let mut found = diagnose(&checks, &inner.inputs.troubles());
        if found.is_empty() {
            found.push("all inputs come, and no frame could be made of them yet".to_owned());
        }
        inner.figures.waiting_for = found.join("; ");
        drop(inner);
        if found != self.last_told {
            found.iter().for_each(|line| r2r::log_warn!(NAME, "no usable frame: {line}"));
            self.last_told = found;
        }
    }

    /// Publishes the state of inputs and mapping.
    pub fn publish(&self, shared: &Shared, ros_now: Stamp) {
        let now_secs = shared.now_secs();
        let mut inner = shared.lock();
        let mut status =
            vec![self.inputs(&mut inner, now_secs), self.mapping(&mut inner, now_secs)];
        // The camera is the hardware: its frame is the only name of it that comes with images.
        let camera = inner.inputs.camera_frame().unwrap_or_default();
        status.iter_mut().for_each(|each| each.hardware_id = camera.to_owned());
        drop(inner);
        tell(
            self.publisher
                .publish(&DiagnosticArray { header: convert::header(ros_now, ""), status }),
        );
    }

    fn check(&self, node: &Node, subscription: &Subscription, shared: &Shared) -> InputCheck {
        let topic = self.remappings.resolve(&subscription.topic, &self.namespace);
        // What the middleware does not tell is left out of the sentence.
        let publishers = node.get_publishers_info_by_topic(&topic, false).unwrap_or_default();
        let publishers = publishers
            .iter()
            .map(|info| PublisherSeen {
                node: format!("{}/{}", info.node_namespace.trim_end_matches('/'), info.node_name),
                message_type: info.topic_type.clone(),
                is_reliable: info.qos_profile.reliability == ReliabilityPolicy::Reliable,
            })
            .collect();
        let mut alternatives: Vec<String> = node
            .get_topic_names_and_types()
            .unwrap_or_default()
            .into_iter()
            .filter(|(name, types)| {
                *name != topic
                    && !name.starts_with(&self.full_name)
                    && types.iter().any(|t| t == subscription.message_type)
            })
            .map(|(name, _)| name)
            .filter(|name| {
                // Subscribed topics are listed too, ours among them.
                node.get_publishers_info_by_topic(name, false).is_ok_and(|found| !found.is_empty())
            })
            .collect();
        alternatives.sort();
        InputCheck {
            input: subscription.name,
            topic,
            message_type: subscription.message_type.to_owned(),
            asked: subscription.asked,
            received: received(&shared.lock().inputs, subscription.input),
            publishers,
            alternatives,
        }
    }

    fn inputs(&self, inner: &mut Inner, now_secs: f64) -> DiagnosticStatus {
        let inputs = &mut inner.inputs;
        let counts = inputs.counts();
        let missing_frac = inputs.image_gaps.missing_frac();
        let values = vec![
            pair("image rate, Hz", format!("{:.1}", inputs.image_rate.hz(now_secs))),
            pair("depth rate, Hz", format!("{:.1}", inputs.depth_rate.hz(now_secs))),
            pair("camera_info rate, Hz", format!("{:.1}", inputs.info_rate.hz(now_secs))),
            pair("odom rate, Hz", format!("{:.1}", inputs.odometry_rate.hz(now_secs))),
            pair("stamp delay, s", format!("{:.3}", inputs.stamp_delay.quantile_secs(0.5))),
            pair("images missing, %", format!("{:.0}", 100.0 * missing_frac)),
            pair("frames dropped", counts.dropped.to_string()),
            pair("images without a partner", counts.unpaired.to_string()),
            pair("images refused", counts.refused.to_string()),
            pair("jumps back of time", counts.jumps.to_string()),
        ];
        let trouble = inner.figures.waiting_for.clone();
        let (level, message) = match (inner.active, trouble.is_empty()) {
            (true, false) => (DiagnosticStatus::ERROR as u8, trouble),
            (true, true) if missing_frac > MISSING_FRAC => {
                (DiagnosticStatus::WARN as u8, missing_images(missing_frac))
            }
            (true, true) => (DiagnosticStatus::OK as u8, "Frames come.".to_owned()),
            (false, _) => (DiagnosticStatus::STALE as u8, "Nothing is subscribed.".to_owned()),
        };
        self.status("input", level, message, values)
    }

    fn mapping(&self, inner: &mut Inner, now_secs: f64) -> DiagnosticStatus {
        let figures = &mut inner.figures;
        let values = vec![
            pair("pose rate, Hz", format!("{:.1}", figures.output_rate.hz(now_secs))),
            pair("latency p50, s", format!("{:.4}", figures.latency.quantile_secs(0.5))),
            pair("latency p95, s", format!("{:.4}", figures.latency.quantile_secs(0.95))),
            pair("model", figures.report.model.to_owned()),
            pair("inference, s", format!("{:.3}", figures.report.inference.secs)),
            pair("keyframes", figures.report.keyframes.to_string()),
            pair("loops", figures.report.loops.to_string()),
            pair("memory, MB", memory_mb().map_or("unknown".to_owned(), |mb| format!("{mb:.0}"))),
        ];
        let (level, message) = match &figures.report.last {
            _ if inner.paused => (DiagnosticStatus::WARN as u8, "Paused.".to_owned()),
            None => (DiagnosticStatus::STALE as u8, "No data received!".to_owned()),
            Some(TrackingState::Lost(reason)) => {
                (DiagnosticStatus::ERROR as u8, format!("Lost! {reason}"))
            }
            Some(TrackingState::Initializing(reason)) => {
                (DiagnosticStatus::WARN as u8, format!("Not begun: {reason}"))
            }
            Some(_) => (DiagnosticStatus::OK as u8, "Tracking.".to_owned()),
        };
        self.status("tracking", level, message, values)
    }

    fn status(
        &self,
        task: &str,
        level: u8,
        message: String,
        values: Vec<KeyValue>,
    ) -> DiagnosticStatus {
        let name = format!("{}: {task}", self.full_name.trim_start_matches('/'));
        DiagnosticStatus { level, name, message, hardware_id: String::new(), values }
    }
}

fn missing_images(missing_frac: f64) -> String {
    format!(
        "{:.0} % of the images are missing between those that come: ask for reliable delivery \
         (qos_image, qos_depth), or enlarge the middleware's buffers \
         (config/fastdds_large_images.xml)",
        100.0 * missing_frac
    )
}

fn received(inputs: &Inputs, input: Input) -> u64 {
    match input {
        Input::Image => inputs.image_rate.count(),
        Input::Depth => inputs.depth_rate.count(),
        Input::CameraInfo => inputs.info_rate.count(),
        Input::Odometry => inputs.odometry_rate.count(),
        Input::Tf | Input::TfStatic => 0,
    }
}

fn pair(key: &str, value: String) -> KeyValue {
    KeyValue { key: key.to_owned(), value }
}

/// Resident memory of this process.
fn memory_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib / 1024.0)
}
