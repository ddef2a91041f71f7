use super::*;

/// The beginning of a message: a header, and nothing after it.
fn header(secs: f64, frame: &str) -> Vec<u8> {
    let nanos = Stamp::from_secs(secs).nanos();
    let mut bytes = vec![0, 1, 0, 0];
    bytes.extend_from_slice(&((nanos / 1_000_000_000) as i32).to_le_bytes());
    bytes.extend_from_slice(&((nanos % 1_000_000_000) as u32).to_le_bytes());
    push_text(&mut bytes, frame);
    bytes
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    align(bytes, 4);
    bytes.extend_from_slice(&(text.len() as u32 + 1).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
}

fn align(bytes: &mut Vec<u8>, size: usize) {
    // Alignment counts from the end of the encapsulation header.
    while !(bytes.len() - 4).is_multiple_of(size) {
        bytes.push(0);
    }
}

fn info(focal: f64) -> Vec<u8> {
    let mut bytes = header(0.0, "lens");
    align(&mut bytes, 4);
    for size in [480u32, 640] {
        bytes.extend_from_slice(&size.to_le_bytes());
    }
    push_text(&mut bytes, "plumb_bob");
    align(&mut bytes, 4);
    bytes.extend_from_slice(&0u32.to_le_bytes());
    align(&mut bytes, 8);
    let k = [focal, 0.0, 320.0, 0.0, focal, 240.0, 0.0, 0.0, 1.0];
    let floats = k.iter().copied().chain([0.0; 9]).chain([0.0; 12]);
    floats.for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
    bytes.extend_from_slice(&[0; 28]);
    bytes
}

fn transform(parent: &str, child: &str, x: f64) -> Vec<u8> {
    let mut bytes = vec![0, 1, 0, 0];
    bytes.extend_from_slice(&1u32.to_le_bytes());
    bytes.extend_from_slice(&[0; 8]);
    push_text(&mut bytes, parent);
    push_text(&mut bytes, child);
    align(&mut bytes, 8);
    for value in [x, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0] {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    bytes
}

fn ready(config: NodeConfig) -> Inputs {
    let mut inputs = Inputs::new(config);
    inputs.receive(Input::CameraInfo, info(500.0), 0.0, Stamp::from_secs(0.0));
    let message = transform("base_link", "lens", 0.3);
    inputs.receive(Input::TfStatic, message, 0.0, Stamp::from_secs(0.0));
    inputs
}

fn send(inputs: &mut Inputs, secs: f64) {
    let now = Stamp::from_secs(secs + 0.01);
    inputs.receive(Input::Image, header(secs, "lens"), secs, now);
    inputs.receive(Input::Depth, header(secs, "lens"), secs, now);
}

#[test]
fn a_frame_is_whole_when_all_parts_are_there() {
    let mut inputs = ready(NodeConfig::default());
    send(&mut inputs, 1.0);
    let frame = inputs.take().unwrap();
    assert_eq!(frame.color.stamp, Stamp::from_secs(1.0));
    assert!((frame.base_from_camera.translation.x - 0.3).abs() < 1e-12);
    assert_eq!(frame.camera.unwrap().width(), 640);
    assert!(frame.depth.is_some() && inputs.take().is_none());
    assert!((inputs.stamp_delay.quantile_secs(0.5) - 0.01).abs() < 1e-9);
}

#[test]
fn the_newest_frames_stay_and_dropped_ones_are_counted() {
    let mut inputs = ready(NodeConfig { frame_queue_size: 2, ..NodeConfig::default() });
    (1..=5).for_each(|index| send(&mut inputs, f64::from(index)));
    let stamps: Vec<f64> =
        std::iter::from_fn(|| inputs.take()).map(|frame| frame.color.stamp.secs()).collect();
    assert_eq!(stamps, [4.0, 5.0]);
    assert_eq!(inputs.counts().dropped, 3);
}

#[test]
fn a_missing_transform_is_waited_for_then_named_and_never_identity() {
    let mut inputs = Inputs::new(NodeConfig::default());
    inputs.receive(Input::CameraInfo, info(500.0), 0.0, Stamp::from_secs(0.0));
    send(&mut inputs, 1.0);
    assert!(inputs.take().is_none() && inputs.troubles().missing_transform.is_none());
    inputs.poll(1.3);
    assert!(inputs.take().is_none());
    let reason = inputs.troubles().missing_transform.unwrap();
    assert_eq!(reason, "no transforms connect 'lens' with 'base_link'");
    assert_eq!(inputs.counts().unpaired, 1);
    // It comes while the next frame waits.
    send(&mut inputs, 2.0);
    let message = transform("base_link", "lens", 0.3);
    inputs.receive(Input::TfStatic, message, 2.1, Stamp::from_secs(2.1));
    assert!(inputs.take().is_some() && inputs.troubles().missing_transform.is_none());
}

#[test]
fn frames_wait_for_the_calibration() {
    let mut inputs = Inputs::new(NodeConfig { base_frame: "lens".into(), ..NodeConfig::default() });
    send(&mut inputs, 1.0);
    assert!(inputs.take().is_none());
    inputs.receive(Input::CameraInfo, info(0.0), 1.1, Stamp::from_secs(1.1));
    assert!(inputs.take().unwrap().camera.is_none());
    assert!(inputs.troubles().calibration.unwrap().contains("K[0] is 0"));
    inputs.receive(Input::CameraInfo, info(400.0), 1.2, Stamp::from_secs(1.2));
    assert!(inputs.troubles().calibration.is_none());
}

#[test]
fn time_that_goes_back_begins_an_era_and_disorder_does_not() {
    let mut inputs = ready(NodeConfig::default());
    send(&mut inputs, 10.0);
    send(&mut inputs, 10.1);
    send(&mut inputs, 10.05);
    assert_eq!((inputs.counts().refused, inputs.counts().jumps), (1, 0));
    send(&mut inputs, 1.0);
    assert_eq!(inputs.counts().jumps, 1);
    let eras: Vec<u32> = std::iter::from_fn(|| inputs.take()).map(|frame| frame.era).collect();
    assert_eq!(eras, [1], "what waited from before the jump is gone");
}

#[test]
fn stamps_that_never_fit_are_told_with_their_difference() {
    let mut inputs = ready(NodeConfig::default());
    for index in 0..20 {
        let secs = f64::from(index) * 0.1;
        let now = Stamp::from_secs(secs);
        inputs.receive(Input::Image, header(secs, "lens"), secs, now);
        inputs.receive(Input::Depth, header(secs + 0.05, "lens"), secs, now);
    }
    assert!(inputs.take().is_none());
    let difference = inputs.troubles().stamp_difference_secs.unwrap();
    assert!((difference + 0.05).abs() < 1e-9);
}

#[test]
fn damaged_messages_are_refused_with_the_reason() {
    let mut inputs = ready(NodeConfig::default());
    for input in [Input::Image, Input::Depth, Input::CameraInfo, Input::Odometry, Input::Tf] {
        inputs.receive(input, vec![0, 1, 0, 0, 9], 0.0, Stamp::from_secs(0.0));
    }
    assert_eq!(inputs.counts().refused, 5);
    assert!(inputs.troubles().refused.unwrap().contains("damaged"));
}
