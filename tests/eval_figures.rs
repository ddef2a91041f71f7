//! Figures of ordinary and of degenerate input.

use image::{Rgb, RgbImage};
use nalgebra::{Point3, Vector3};
use recon_node::cloud::PointCloud;
use recon_node::geometry::Se3;
use recon_node::stamp::Stamp;
use recon_node::trajectory::{StampedPose, Trajectory};
use recon_node::viz::{cloud_figure, plot_trajectory, render_cloud, trajectory_figure};

fn walk(positions: &[[f64; 3]]) -> Trajectory {
    let pose = |(i, p): (usize, &[f64; 3])| StampedPose {
        stamp: Stamp::from_nanos(i as i64 * 100_000_000),
        world_from_camera: Se3::translation(p[0], p[1], p[2]),
    };
    Trajectory::new(positions.iter().enumerate().map(pose).collect())
}

fn helix() -> Trajectory {
    let at = |i: i32| f64::from(i) * 0.1;
    let positions: Vec<_> = (0..100).map(|i| [at(i).cos(), at(i).sin(), 0.1 * at(i)]).collect();
    walk(&positions)
}

/// Returns how many pixels have nearly this colour.
fn count(image: &RgbImage, color: [u8; 3]) -> usize {
    let near = |p: &&Rgb<u8>| p.0.iter().zip(color).all(|(a, b)| a.abs_diff(b) < 40);
    image.pixels().filter(near).count()
}

#[test]
fn a_trajectory_is_drawn_over_its_reference() {
    let folder = tempfile::tempdir().unwrap();
    let draw = |name: &str, reference: Option<&Trajectory>| {
        let path = folder.path().join(name);
        plot_trajectory(&path, &helix(), reference).unwrap();
        image::open(path).unwrap().to_rgb8()
    };
    let alone = draw("alone.png", None);
    let compared = draw("compared.png", Some(&helix()));
    assert_eq!((alone.dimensions(), compared.dimensions()), ((1200, 900), (1200, 900)));
    let blue = [31, 97, 171];
    assert!(count(&alone, blue) > 500 && count(&compared, blue) > 500);
    assert!(count(&compared, [150, 150, 150]) > count(&alone, [150, 150, 150]) + 300);
}

#[test]
fn trajectories_of_little_or_no_extent_are_drawn() {
    let nan = f64::NAN;
    let sets: [&[[f64; 3]]; 5] =
        [&[], &[[1.0, 2.0, 3.0]], &[[5.0; 3]; 9], &[[nan; 3], [1.0; 3]], &[[1e9; 3], [-1e9; 3]]];
    for positions in sets {
        let figure = trajectory_figure(&walk(positions), None).unwrap();
        assert_eq!(figure.dimensions(), (1200, 900), "{positions:?}");
    }
}

#[test]
fn a_reference_that_cannot_be_aligned_leaves_the_trajectory_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a.png"), folder.path().join("b.png"));
    plot_trajectory(&a, &helix(), Some(&walk(&[[0.0; 3]; 50]))).unwrap();
    plot_trajectory(&b, &helix(), None).unwrap();
    assert_eq!(std::fs::read(a).unwrap(), std::fs::read(b).unwrap());
}

#[test]
fn a_cloud_is_drawn_in_its_colours_twice() {
    let grid = (0..40_000).map(|i| (0.01 * (i % 200) as f32, 0.01 * (i / 200) as f32));
    let points: Vec<_> = grid.map(|(x, z)| Point3::new(x, 0.0, z)).collect();
    let cloud = PointCloud { colors: vec![[200, 40, 40]; points.len()], points };
    let figure = cloud_figure(&cloud, &-Vector3::y()).unwrap();
    assert_eq!(figure.dimensions(), (1400, 800));
    let halves = [(0, 820), (820, 580)];
    for (left, width) in halves {
        let half = image::imageops::crop_imm(&figure, left, 0, width, 800).to_image();
        let red = half.pixels().filter(|p| p.0[0] > 90 && p.0[1] < 60).count();
        assert!(red > 40_000, "{red} red pixels from column {left} on");
    }
}

#[test]
fn a_ceiling_does_not_hide_the_room() {
    let grid = (0..40_000).map(|i| (0.02 * (i % 200) as f32, 0.02 * (i / 200) as f32));
    let floor = grid.clone().map(|(x, y)| (Point3::new(x, y, 0.0), [40, 200, 40]));
    let ceiling = grid.map(|(x, y)| (Point3::new(x, y, 2.5), [200, 40, 40]));
    let (points, colors) = floor.chain(ceiling).unzip();
    let figure = cloud_figure(&PointCloud { points, colors }, &Vector3::z()).unwrap();
    let count = |is: fn(&Rgb<u8>) -> bool| figure.pixels().filter(|p| is(p)).count();
    assert_eq!(count(|p| p.0[0] > 90 && p.0[1] < 60), 0);
    assert!(count(|p| p.0[1] > 90 && p.0[0] < 60) > 80_000);
}

#[test]
fn clouds_of_little_or_no_extent_are_drawn() {
    let nan = f32::NAN;
    let sets: [&[[f32; 3]]; 5] =
        [&[], &[[1.0, 2.0, 3.0]], &[[5.0; 3]; 9], &[[nan; 3], [1.0; 3]], &[[1e30; 3], [-1e30; 3]]];
    for up in [Vector3::z(), Vector3::zeros(), Vector3::repeat(f64::NAN)] {
        for points in sets {
            let points = points.iter().copied().map(Point3::from).collect();
            let figure = cloud_figure(&PointCloud { points, colors: Vec::new() }, &up).unwrap();
            assert_eq!(figure.dimensions(), (1400, 800));
        }
    }
}

#[test]
fn a_figure_that_cannot_be_written_is_named_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing/map.png");
    let error = render_cloud(&path, &PointCloud::default(), &Vector3::z()).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("missing/map.png") && message.contains("choose"), "{message}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
