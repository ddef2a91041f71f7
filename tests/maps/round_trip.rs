//! What is loaded is what was saved, within the stated errors; what is damaged is found.

use recon_node::error::Error;
use recon_node::pipeline::{KeyframeSnapshot, MapSnapshot};
use recon_node::store::{self, CONFIDENCE_ERROR_FRAC, DEPTH_ERROR_FRAC, ImageQuality, MapWriter};

use crate::support::{Saved, frames, mapped, pipeline, saved};

fn small_map() -> MapSnapshot {
    mapped(&frames(0..40)).snapshot()
}

fn assert_same_keyframe(found: &KeyframeSnapshot, known: &KeyframeSnapshot) {
    assert_eq!((found.id, found.camera), (known.id, known.camera));
    assert_eq!(found.frame.color, known.frame.color);
    assert_eq!((found.frame.id, found.frame.stamp), (known.frame.id, known.frame.stamp));
    let depths = |k: &KeyframeSnapshot| k.frame.depth.clone().unwrap().raster().values().to_vec();
    for (found, known) in depths(found).iter().zip(depths(known)) {
        assert!(f64::from((found - known).abs()) <= DEPTH_ERROR_FRAC * f64::from(known));
    }
    for y in 0..known.pointmap.height() {
        for x in 0..known.pointmap.width() {
            let (a, b) = (found.pointmap.point(x, y), known.pointmap.point(x, y));
            assert_eq!(a.is_some(), b.is_some(), "a point at {x}, {y}");
            let Some((a, b)) = a.zip(b) else { continue };
            // A pixel's ray may miss the point by as much again.
            let limit = 3.0 * DEPTH_ERROR_FRAC as f32 * b.norm();
            assert!((a - b).norm() <= limit, "{a} for {b} at {x}, {y}");
            let (a, b) = (found.pointmap.confidence(x, y), known.pointmap.confidence(x, y));
            assert!(f64::from((a - b).abs()) <= CONFIDENCE_ERROR_FRAC * f64::from(b));
        }
    }
    assert_eq!(found.features.is_some(), known.features.is_some());
}

fn assert_same(found: &MapSnapshot, known: &MapSnapshot) {
    assert_eq!(found.graph, known.graph);
    assert_eq!(found.keyframes.len(), known.keyframes.len());
    found.keyframes.iter().zip(&known.keyframes).for_each(|(a, b)| assert_same_keyframe(a, b));
    assert!(found.notes.is_empty(), "{:?}", found.notes);
}

#[test]
fn what_is_loaded_is_what_was_saved_and_saving_it_again_changes_nothing() {
    let known = small_map();
    assert!(known.keyframes.len() >= 3 && known.graph.sessions[0].len() == 40);
    let file = saved(&known);
    let found = store::load(&file.path).unwrap();
    assert_same(&found, &known);
    let again = saved(&found);
    let bytes = |saved: &Saved| std::fs::read(&saved.path).unwrap();
    assert!(bytes(&file) == bytes(&again), "the second file differs");
    let size = bytes(&file).len() / known.keyframes.len();
    eprintln!("{} keyframes of {size} bytes", known.keyframes.len());
}

/// Else nothing that is compared with it would be found to share anything with it.
#[test]
fn a_keyframe_without_depth_of_its_own_is_compared_by_its_geometry_once_it_is_loaded() {
    let mut known = small_map();
    known.keyframes.iter_mut().for_each(|keyframe| keyframe.frame.depth = None);
    let found = store::load(&saved(&known).path).unwrap();
    let mut compared = 0;
    for keyframe in found.map(4).keyframes() {
        let (level, points) = (&keyframe.pyramid.levels()[0], keyframe.pointmap.depths());
        for (i, &depth_m) in points.values().iter().enumerate() {
            let kept_m = level.depth_m(i % points.width(), i / points.width());
            assert_eq!(kept_m.to_bits(), depth_m.to_bits());
            compared += usize::from(depth_m > 0.0);
        }
    }
    assert!(compared > 100_000, "{compared} pixels");
}

#[test]
fn the_same_map_is_the_same_file_and_jpeg_is_smaller() {
    let map = small_map();
    let (a, b) = (saved(&map), saved(&map));
    assert!(std::fs::read(&a.path).unwrap() == std::fs::read(&b.path).unwrap());
    let jpeg = a.folder.path().join("jpeg.map");
    store::save(&jpeg, &map, ImageQuality::Jpeg).unwrap();
    let size = |path| std::fs::metadata(path).unwrap().len();
    assert!(size(&jpeg) < size(&a.path) * 9 / 10);
    assert_eq!(store::load(&jpeg).unwrap().graph, map.graph);
}

#[test]
fn a_loaded_map_is_gone_on_with_once_a_frame_is_recognised() {
    let all = frames(0..60);
    let first = mapped(&all[..40]);
    let file = saved(&first.snapshot());
    let mut later = pipeline(&[]);
    later.restore(store::load(&file.path).unwrap()).unwrap();
    assert!(later.trajectory().poses().is_empty());
    let updates: Vec<_> = all[30..].iter().map(|f| later.process(f).unwrap()).collect();
    assert!(updates.iter().all(|u| u.state.has_pose()), "{:?}", updates[0].state);
    // The pose is in the world of the map: where the first session had put the same frame.
    let before = first.trajectory().nearest(all[30].stamp, 1e-6).unwrap().world_from_camera;
    let gap = before.inv_mul(&updates[0].world_from_camera.unwrap());
    assert!(gap.translation.vector.norm() < 0.02, "{} m", gap.translation.vector.norm());
    assert!(later.map().len() > first.map().len(), "the map does not grow");
    let sessions = later.snapshot().graph.sessions;
    assert_eq!(sessions.iter().map(Vec::len).collect::<Vec<_>>(), [40, 30]);
}

#[test]
fn a_map_written_bit_by_bit_is_the_map_written_at_once() {
    let all = frames(0..60);
    let mut pipeline = pipeline(&[]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("growing.map");
    let mut writer = MapWriter::create(&path, &pipeline.snapshot(), Default::default()).unwrap();
    let mut revision = pipeline.map().revision();
    for (index, frame) in all.iter().enumerate() {
        pipeline.process(frame).unwrap();
        if index % 7 == 0 {
            writer.write(&pipeline.changes_since(revision)).unwrap();
            revision = pipeline.map().revision();
            // Whoever looks meanwhile sees the map as it was then.
            assert_eq!(store::load(&path).unwrap().graph, pipeline.snapshot().graph);
        }
    }
    writer.write(&pipeline.changes_since(revision)).unwrap();
    writer.finish().unwrap();
    assert_same(&store::load(&path).unwrap(), &pipeline.snapshot());
    let names = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(names, 1, "something lies beside the map");
    let again = MapWriter::create(&path, &pipeline.snapshot(), Default::default());
    assert!(again.err().unwrap().to_string().contains("is there already"));
}

#[test]
fn files_that_are_no_map_are_named_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let mut newer = std::fs::read(saved(&small_map()).path).unwrap();
    let mut foreign = newer.clone();
    newer[60..64].copy_from_slice(&99u32.to_be_bytes());
    foreign[68..72].copy_from_slice(&0u32.to_be_bytes());
    let cases = [
        (folder.path().join("missing.map"), "cannot be read"),
        (folder.path().to_owned(), "is a folder"),
        (file("empty.map", b""), "is empty"),
        (file("text.map", &[b'x'; 5000]), "no SQLite database"),
        (file("short.map", b"SQLite format 3\0"), "no SQLite database"),
        (file("foreign.map", &foreign), "but no map"),
        (file("newer.map", &newer), "version 99"),
    ];
    for (path, expected) in cases {
        for load in [store::load, store::recover] {
            let message = load(&path).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
            assert!(message.starts_with(&path.display().to_string()), "{message}");
        }
    }
}

#[test]
fn a_damaged_map_is_refused_and_what_is_whole_of_it_is_recovered() {
    let map = small_map();
    let whole = std::fs::read(saved(&map).path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.map");
    let (mut recovered, mut refused) = (0, 0);
    for part in 1..16 {
        let mut bytes = whole.clone();
        let at = whole.len() * part / 16;
        for byte in &mut bytes[at..at + 64] {
            *byte ^= 0x5a;
        }
        std::fs::write(&path, &bytes).unwrap();
        match store::load(&path) {
            // Bytes of no row, such as the rest of a page.
            Ok(found) => assert_same(&found, &map),
            Err(error @ Error::Input { .. }) => {
                refused += 1;
                assert!(error.to_string().contains("--recover"), "{error}");
                let Ok(found) = store::recover(&path) else { continue };
                assert!(!found.notes.is_empty());
                assert!(found.keyframes.len() + 1 >= map.keyframes.len(), "{:?}", found.notes);
                pipeline(&[]).restore(found).unwrap();
                recovered += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    eprintln!("{refused} of 15 damages refused, {recovered} recovered");
    assert!(refused >= 10 && recovered + 2 >= refused);
}

#[test]
fn a_map_that_is_cut_off_is_refused_and_its_front_may_be_recovered() {
    let map = small_map();
    let whole = std::fs::read(saved(&map).path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.map");
    for part in [0.2, 0.5, 0.9] {
        std::fs::write(&path, &whole[..(whole.len() as f64 * part) as usize]).unwrap();
        let message = store::load(&path).unwrap_err().to_string();
        assert!(message.contains("damaged"), "{message}");
        // Poses may lie behind the cut; whatever comes back is whole.
        if let Ok(found) = store::recover(&path) {
            assert!(!found.notes.is_empty() && !found.keyframes.is_empty());
        }
    }
}
