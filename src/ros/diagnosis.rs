//! Why no frame comes: what a person would look for, in the order in which they would.

use super::config::Reliability;

/// Who publishes on a topic.
#[derive(Debug, Clone, PartialEq)]
pub struct PublisherSeen {
    /// Name of the node.
    pub node: String,
    /// Type of the messages.
    pub message_type: String,
    /// Whether delivery is reliable.
    pub is_reliable: bool,
}

/// One input: what was asked for, and what is there.
#[derive(Debug, Clone, PartialEq)]
pub struct InputCheck {
    /// Name of the input, which is also its topic before remapping.
    pub input: &'static str,
    /// The topic that is subscribed.
    pub topic: String,
    /// The type that is expected.
    pub message_type: String,
    /// The reliability that is asked for.
    pub asked: Reliability,
    /// Messages received so far.
    pub received: u64,
    /// Who publishes there.
    pub publishers: Vec<PublisherSeen>,
    /// Other topics with messages of the type.
    pub alternatives: Vec<String>,
}

/// What went wrong with messages that did come.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Troubles {
    /// Newest stamp of colour less that of depth, where both come and no pair was made.
    pub stamp_difference_secs: Option<f64>,
    /// The largest difference that is accepted.
    pub max_difference_secs: f64,
    /// Why there is no transform.
    pub missing_transform: Option<String>,
    /// Why there is no calibration.
    pub calibration: Option<String>,
    /// Why the last image was refused.
    pub refused: Option<String>,
}

/// Returns what is wrong, one sentence each; empty where all is well.
pub fn diagnose(inputs: &[InputCheck], troubles: &Troubles) -> Vec<String> {
    let mut found: Vec<String> = inputs.iter().filter_map(input_trouble).collect();
    if let Some(difference) = troubles.stamp_difference_secs {
        found.push(format!(
            "the newest stamps of image and depth differ by {difference:.3} s, and {:.3} s are \
             accepted: synchronise the driver, or raise approx_sync_max_interval",
            troubles.max_difference_secs
        ));
    }
    found.extend(troubles.missing_transform.as_ref().map(|reason| {
        format!(
            "a transform is missing: {reason}; publish it (robot_state_publisher or \
             static_transform_publisher), or set base_frame to a frame of the camera"
        )
    }));
    found.extend(troubles.calibration.clone());
    found.extend(troubles.refused.as_ref().map(|reason| format!("images are refused: {reason}")));
    found
}

fn input_trouble(check: &InputCheck) -> Option<String> {
    let InputCheck { input, topic, message_type, .. } = check;
    if check.received > 0 {
        return None;
    }
    if check.publishers.is_empty() {
        let others = match check.alternatives.is_empty() {
            true => format!("no topic of type {message_type} is there at all"),
            false => format!("topics of type {message_type}: {}", check.alternatives.join(", ")),
        };
        return Some(format!("{input}: nobody publishes {topic}; remap {input}:=..., {others}"));
    }
    if let Some(other) = check.publishers.iter().find(|p| p.message_type != *message_type) {
        return Some(format!(
            "{input}: {} publishes {topic} as {}, and {message_type} is expected: look at \
             image_transport and depth_transport",
            other.node, other.message_type
        ));
    }
    let names: Vec<&str> = check.publishers.iter().map(|p| p.node.as_str()).collect();
    let names = names.join(", ");
    let is_deaf = check.asked == Reliability::Reliable
        && check.publishers.iter().all(|publisher| !publisher.is_reliable);
    Some(match is_deaf {
        true => format!(
            "{input}: QoS does not match: {names} offers best_effort on {topic}, and reliable is \
             asked for: set qos_{input}:=best_effort"
        ),
        false => format!("{input}: {names} publishes {topic}, but no message has come"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(received: u64, asked: Reliability, publishers: &[(&str, bool)]) -> InputCheck {
        InputCheck {
            input: "image",
            topic: "/camera/image_raw".to_owned(),
            message_type: "sensor_msgs/msg/Image".to_owned(),
            asked,
            received,
            publishers: publishers
                .iter()
                .map(|&(message_type, is_reliable)| PublisherSeen {
                    node: "/driver".to_owned(),
                    message_type: message_type.to_owned(),
                    is_reliable,
                })
                .collect(),
            alternatives: vec!["/other/image".to_owned()],
        }
    }

    #[test]
    fn each_trouble_has_its_words() {
        let image = "sensor_msgs/msg/Image";
        let cases: [(InputCheck, &[&str]); 4] = [
            (check(0, Reliability::BestEffort, &[]), &["nobody publishes", "/other/image"]),
            (
                check(0, Reliability::Reliable, &[(image, false)]),
                &["QoS does not match", "/driver", "qos_image:=best_effort"],
            ),
            (check(0, Reliability::BestEffort, &[(image, false)]), &["no message has come"]),
            (
                check(0, Reliability::BestEffort, &[("sensor_msgs/msg/CompressedImage", true)]),
                &["CompressedImage", "image_transport"],
            ),
        ];
        for (input, words) in cases {
            let lines = diagnose(&[input], &Troubles::default());
            assert_eq!(lines.len(), 1);
            assert!(words.iter().all(|word| lines[0].contains(word)), "{}", lines[0]);
        }
        let well = check(1, Reliability::BestEffort, &[(image, false)]);
        assert!(diagnose(&[well], &Troubles::default()).is_empty());
    }

    #[test]
    fn troubles_with_messages_are_told_with_their_numbers() {
        let troubles = Troubles {
            stamp_difference_secs: Some(0.125),
            max_difference_secs: 0.02,
            missing_transform: Some("no transforms connect 'lens' with 'base_link'".to_owned()),
            calibration: Some("camera_info: K is zero".to_owned()),
            refused: Some("too short".to_owned()),
        };
        let text = diagnose(&[], &troubles).join("\n");
        for word in ["0.125", "0.020", "'lens'", "base_frame", "K is zero", "too short"] {
            assert!(text.contains(word), "{text}");
        }
    }
}
