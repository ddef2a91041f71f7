//! The inputs: messages are taken as bytes, so that live topics and recordings are read alike.

use r2r::{Node, QosProfile};
use recon_node::ros::config::{NodeConfig, OdometryInput, Reliability};
use recon_node::ros::inputs::Input;

use crate::mailbox::Mailbox;

/// A topic that is subscribed.
pub struct Subscription {
    /// What it is for.
    pub input: Input,
    /// Name before remapping.
    pub name: &'static str,
    /// The topic before remapping, with the suffix of its transport.
    pub topic: String,
    /// Type of its messages.
    pub message_type: &'static str,
    /// The reliability that is asked for.
    pub asked: Reliability,
    messages: Mailbox<Vec<u8>>,
}

impl Subscription {
    /// Returns the oldest message that has arrived.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        self.messages.take()
    }
}

/// Subscribes all inputs that the settings ask for.
pub fn subscribe(node: &mut Node, config: &NodeConfig) -> r2r::Result<Vec<Subscription>> {
    let mut found = Vec::new();
    let image = format!("image{}", config.image_transport.suffix());
    let depth = format!("depth{}", config.depth_transport.suffix());
    let sensor = |asked| (config.topic_queue_size, asked);
    let mut add = |input, name, topic: &str, message_type, (depth, asked)| {
        let qos = profile(depth, asked);
        let qos = if input == Input::TfStatic { qos.transient_local() } else { qos };
        let messages = Mailbox::new(node.subscribe_raw(topic, message_type, qos)?);
        found.push(Subscription {
            input,
            name,
            topic: topic.to_owned(),
            message_type,
            asked,
            messages,
        });
        r2r::Result::Ok(())
    };
    let tf_message = "tf2_msgs/msg/TFMessage";
    add(Input::TfStatic, "tf_static", "/tf_static", tf_message, (100, Reliability::Reliable))?;
    add(Input::Tf, "tf", "/tf", tf_message, (100, Reliability::Reliable))?;
    let info = "sensor_msgs/msg/CameraInfo";
    add(Input::CameraInfo, "camera_info", "camera_info", info, sensor(config.qos_camera_info))?;
    let image_type = config.image_transport.message_type();
    add(Input::Image, "image", &image, image_type, sensor(config.qos_image))?;
    if config.subscribe_depth {
        let depth_type = config.depth_transport.message_type();
        add(Input::Depth, "depth", &depth, depth_type, sensor(config.qos_depth))?;
    }
    if config.odometry == OdometryInput::Topic {
        add(Input::Odometry, "odom", "odom", "nav_msgs/msg/Odometry", (50, config.qos_odom))?;
    }
    Ok(found)
}

fn profile(depth: usize, reliability: Reliability) -> QosProfile {
    let profile = QosProfile::default().keep_last(depth);
    match reliability {
        Reliability::BestEffort => profile.best_effort(),
        Reliability::Reliable => profile.reliable(),
    }
}
