//! Recordings, read back by our own reader.

use recon_node::dataset::{OpenOptions, open};
use recon_node::export::RecordingWriter;
use recon_node::frame::Frame;
use recon_node::simulator::{Simulator, SimulatorConfig};
use recon_node::source::{FrameSource, SourceItem};

fn frames(source: &mut dyn FrameSource) -> Vec<Frame> {
    std::iter::from_fn(|| match source.next_item().unwrap()? {
        SourceItem::Frame(frame) => Some(*frame),
        SourceItem::Skipped(skip) => panic!("{}", skip.reason),
    })
    .collect()
}

#[test]
fn a_recording_that_is_written_is_the_one_that_is_read() {
    let config = SimulatorConfig {
        width: 160,
        height: 120,
        duration_secs: 0.1,
        ..SimulatorConfig::default()
    };
    let mut simulator = Simulator::new(config).unwrap();
    let written = frames(&mut simulator);
    let folder = tempfile::tempdir().unwrap();
    let mut writer = RecordingWriter::new(folder.path()).unwrap();
    written.iter().for_each(|frame| writer.add(frame).unwrap());
    writer.finish(simulator.info().reference.as_ref()).unwrap();

    let mut source = open(folder.path(), &OpenOptions::default()).unwrap();
    let read = frames(source.as_mut());
    assert_eq!(read.len(), written.len());
    for (read, written) in read.iter().zip(&written) {
        assert_eq!((read.stamp, &read.color), (written.stamp, &written.color));
        assert_eq!(read.camera.unwrap().intrinsics(), written.camera.unwrap().intrinsics());
        let depths = |frame: &Frame| frame.depth.as_ref().unwrap().raster().values().to_vec();
        for (a, b) in depths(read).iter().zip(depths(written)) {
            assert!((a - b).abs() < 1.1e-4, "{a} {b}");
        }
    }
    let truth = source.info().reference.as_ref().unwrap();
    assert_eq!(truth.poses().len(), simulator.info().reference.as_ref().unwrap().poses().len());
}
