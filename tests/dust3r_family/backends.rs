//! The socket: tiny networks know nothing, but sizes, frames and units must be right.

use std::sync::Arc;

use candle_core::{DType, Device};
use image::{Rgb, RgbImage};
use recon_node::config::Config;
use recon_node::frame::{DepthImage, Frame};
use recon_node::geometry::{Camera, Intrinsics};
use recon_node::inference::{ReconstructionModel, View};
use recon_node::model::dust3r::{BackendOptions, FamilyBackend, Network};
use recon_node::model::{BACK_ENDS, open_geometry};
use recon_node::raster::Raster;
use recon_node::stamp::Stamp;

use crate::support::data;

fn backend(folder: &str) -> FamilyBackend {
    let network = Network::open(&data(folder), &Device::Cpu, DType::F32).unwrap();
    FamilyBackend::new(network, BackendOptions { max_views: 4, long_side_px: 96 })
}

fn frame(id: u64, calibrated: bool) -> Frame {
    let image = RgbImage::from_fn(160, 120, |x, y| {
        Rgb([(x * 3 + id as u32 * 40) as u8, (y * 5) as u8, (x * y % 251) as u8])
    });
    let k = Intrinsics { fx: 150.0, fy: 150.0, cx: 79.5, cy: 59.5 };
    let depth = DepthImage::new(Raster::filled(160, 120, 2.0_f32));
    Frame {
        id,
        stamp: Stamp::from_nanos(id as i64),
        color: Arc::new(image),
        camera: calibrated.then(|| Camera::pinhole(k, 160, 120).unwrap()),
        depth: calibrated.then(|| Arc::new(depth)),
        odometry: None,
    }
}

#[test]
fn one_view_comes_back_at_its_own_size() {
    for (folder, name) in [("mast3r", "mast3r"), ("dust3r_linear", "dust3r"), ("fast3r", "fast3r")]
    {
        let mut model = backend(folder);
        assert_eq!((model.name(), model.max_views()), (name, 4));
        assert!(BACK_ENDS.contains(&name));
        let (bare, known) = (frame(1, false), frame(2, true));
        for frame in [&bare, &known] {
            let prediction = model.infer(&[View::measured(frame)]).unwrap();
            let view = &prediction.views[0];
            assert_eq!((view.pointmap.width(), view.pointmap.height()), (160, 120));
            assert_eq!((view.camera.width(), view.camera.height()), (160, 120));
            let length: f32 = view.descriptor.as_ref().unwrap().iter().map(|v| v * v).sum();
            assert!((length - 1.0).abs() < 1e-4, "{length}");
        }
        let view = View::measured(&known);
        assert_eq!(model.infer(&[view]).unwrap().views[0].camera, known.camera.unwrap());
    }
}

#[test]
fn depth_of_the_frame_makes_metres_of_what_has_no_unit() {
    let mut model = backend("dust3r_linear");
    let mut infer = |depth_m: Option<f32>| {
        let seen = |id| {
            let depth = depth_m.map(|z| Arc::new(DepthImage::new(Raster::filled(160, 120, z))));
            Frame { depth, ..frame(id, true) }
        };
        let frames = [seen(1), seen(2)];
        let views = frames.each_ref().map(View::measured);
        model.infer(&views).unwrap()
    };
    assert!(!infer(None).is_metric);
    let (near, far) = (infer(Some(2.0)), infer(Some(4.0)));
    assert!(near.is_metric && far.is_metric);
    let ways = [&near, &far].map(|p| p.views[1].window_from_camera.unwrap().translation.vector);
    assert!((ways[0] * 2.0 - ways[1]).norm() < 1e-9 * ways[1].norm());
    let mut depths = Vec::new();
    for (near, far) in near.views.iter().zip(&far.views) {
        for (x, y) in (0..120).flat_map(|y| (0..160).map(move |x| (x, y))) {
            let Some(point) = near.pointmap.point(x, y) else { continue };
            let twice = far.pointmap.point(x, y).unwrap();
            assert!((twice - point * 2.0).norm() < 1e-4 * point.norm());
            depths.push(point.z);
        }
    }
    depths.sort_by(f32::total_cmp);
    // Frames have more pixels than were compared, and these depths are noise.
    assert!((depths[depths.len() / 2] - 2.0).abs() < 0.5, "{}", depths[depths.len() / 2]);
}

#[test]
fn several_views_share_the_frame_of_the_first() {
    for folder in ["fast3r", "dust3r_linear"] {
        let mut model = backend(folder);
        let frames = [frame(1, false), frame(2, false), frame(3, false)];
        let views: Vec<View<'_>> = frames.iter().map(View::measured).collect();
        let prediction = model.infer(&views).unwrap();
        let poses: Vec<_> =
            prediction.views.iter().map(|view| view.window_from_camera.unwrap()).collect();
        assert_eq!(poses.len(), 3);
        assert!(poses[0].translation.vector.norm() < 1e-9 && poses[0].rotation.angle() < 1e-9);
        assert!(poses.iter().all(|p| p.translation.vector.iter().all(|v| v.is_finite())));
    }
}

#[test]
fn the_configuration_opens_what_it_names_and_refuses_the_rest() {
    let open = |name: &str, weights: &str, side: u32| {
        let mut config = Config::default();
        config.model.name = name.to_owned();
        config.model.resolution_px = side;
        if !weights.is_empty() {
            config.model.weights = data(weights).display().to_string();
        }
        open_geometry(&config).map(|model| model.name())
    };
    assert_eq!(open("mast3r", "mast3r", 518).unwrap(), "mast3r");
    assert_eq!(open("dust3r", "dust3r/model.pth", 512).unwrap(), "dust3r");
    assert_eq!(open("fast3r", "fast3r", 256).unwrap(), "fast3r");
    for (name, weights, side, told) in [
        ("mast3r", "", 512, "non-commercial"),
        ("mast3r", "dust3r_linear", 512, "those of dust3r"),
        ("dust3r", "fast3r", 512, "those of fast3r"),
        ("mast3r", "mast3r", 500, "take 496 or 512"),
    ] {
        let message = open(name, weights, side).unwrap_err().to_string();
        assert!(message.contains(told), "{message}");
    }
}
