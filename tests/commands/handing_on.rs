//! Maps for other programs, and results as a page.

use crate::support::{Recorded, assert_tells};

#[test]
fn a_replay_leaves_the_map_in_the_formats_that_are_asked_for_and_a_page_shows_it() {
    let recorded = Recorded::of(20);
    let formats = "ply,pcd,glb,las,colmap,colmap-text,tum,kitti,g2o,npz,mesh,mesh-glb,occupancy";
    let said = recorded.success(&[
        "replay", "room", "--out", "out", "--export", formats, "--voxel", "0.03", "--floor", "-1.5",
    ]);
    for name in ["cloud.ply", "cloud.las", "colmap", "graph.g2o", "map.npz", "occupancy.yaml"] {
        assert_tells(&said, &[&format!("exported out/export/{name}")]);
    }
    for name in [
        "cloud.pcd",
        "cloud.glb",
        "colmap/sparse/0/points3D.bin",
        "colmap/images/000000.png",
        "colmap_text/sparse/0/images.txt",
        "trajectory.tum",
        "trajectory.kitti",
        "trajectory.times",
        "mesh.ply",
        "mesh.glb",
        "occupancy.pgm",
    ] {
        assert!(recorded.bytes(&format!("out/export/{name}")).len() > 50, "{name}");
    }
    assert_eq!(recorded.read("out/export/trajectory.tum").lines().count(), 21);
    assert_eq!(recorded.read("out/timing.csv").lines().count(), 21);
    let said = recorded.success(&["report", "out", "out", "--out", "page.html"]);
    assert_tells(&said, &["report in page.html"]);
    let page = recorded.read("page.html");
    assert_tells(&page, &["ATE, SE(3)", "Position error", "Time for each frame", "voxel_size_m"]);
    assert_eq!(page.matches("data:image/png;base64,").count(), 2);
    // Nothing is fetched from elsewhere, and no chart is empty.
    assert!(!page.contains("src='http") && !page.contains("href=") && !page.contains("@import"));
    let charts = page.split("<h2>Map").next().unwrap();
    assert!(!charts.contains("nothing to show") && !charts.contains("NaN"));
}

#[test]
fn what_cannot_be_exported_or_shown_is_said_in_a_sentence() {
    let recorded = Recorded::of(2);
    let replay = |more: &[&str]| {
        let arguments = [&["replay", "room", "--out", "out", "--export", "ply"], more].concat();
        recorded.failure(&arguments, 2)
    };
    assert_tells(&replay(&["--voxel", "0"]), &["--voxel 0", "between"]);
    assert_tells(&replay(&["--min-range", "3", "--max-range", "2"]), &["--min-range"]);
    let report = |folder: &str| recorded.failure(&["report", folder], 1);
    assert_tells(&report("room"), &["room/metrics.json", "recon replay"]);
    assert_tells(&report("nowhere"), &["nowhere", "is not a folder"]);
    recorded.write("bad/metrics.json", "{\"frames\": 3");
    assert_tells(&report("bad"), &["bad/metrics.json", "is not JSON"]);
    recorded.write("bad/metrics.json", "{\"frames\": 3}");
    assert_tells(&report("bad"), &["bad/trajectory.txt"]);
    recorded.write("bad/trajectory.txt", "# nothing was placed\n");
    recorded.write("bad/timing.csv", "secs,latency_ms\n0.0;3\n");
    assert_tells(&report("bad"), &["timing.csv", "line 2"]);
    recorded.remove("bad/timing.csv");
    recorded.success(&["report", "bad"]);
    assert_tells(&recorded.read("report.html"), &["nothing to show"]);
}
