//! What is done with a prediction, tested on one that is right: the truth of a simulated room, as
//! a model would say it.

use std::path::PathBuf;

use nalgebra::{Point3, Quaternion, Vector2};
use recon_node::export::SparseModel;
use recon_node::geometry::Se3;
use recon_node::model::mapanything::ViewOutput;
use recon_node::model::mapanything::preprocess::Fitting;
use recon_node::model::mapanything::priors::rays_from_intrinsics;
use recon_node::raster::Raster;
use recon_node::simulator::{Material, Pattern, Scene, Simulator, SimulatorConfig};

use super::inputs::{Input, Inputs};
use super::results::Results;
use super::tracks::sparse_model;

const VIEWS: usize = 3;
/// Narrower than the images, so that their sides are cropped.
const SIZE: (usize, usize) = (168, 140);

fn simulator() -> Simulator {
    let config = SimulatorConfig {
        duration_secs: 1.0,
        rate_hz: VIEWS as f64,
        width: 320,
        height: 240,
        ..SimulatorConfig::default()
    };
    let material =
        |pattern, color| Material::tiled(pattern, color, [0.3, 0.3, 0.4]).with_texels(256);
    let paper = material(Pattern::Wallpaper, [0.8, 0.6, 0.5]);
    let wood = material(Pattern::Wood, [0.6, 0.4, 0.2]);
    let scene = Scene::new().room([5.0, 4.6, 2.5], paper, wood, paper).cuboid(
        [0.0, 0.0, 0.0],
        [1.0, 0.8, 0.7],
        0.3,
        wood,
    );
    Simulator::with_scene(config.noise_free(), scene).unwrap()
}

fn inputs(simulator: &mut Simulator) -> Inputs {
    let view = |index: usize| Input {
        path: PathBuf::from(format!("room/{index}.png")),
        image: simulator.render(index).unwrap().color.as_ref().clone(),
        is_turned: false,
        intrinsics: Some(*simulator.camera().intrinsics()),
        depth: None,
        world_from_camera: Some(simulator.true_pose(index)),
    };
    Inputs { views: (0..VIEWS).map(view).collect(), is_metric: true }
}

/// What a perfect model would say.
fn output(simulator: &Simulator, index: usize) -> ViewOutput {
    let camera = simulator.camera();
    let original = (camera.width() as usize, camera.height() as usize);
    let fitting = Fitting::new(original, SIZE, true);
    let intrinsics = fitting.intrinsics(camera.intrinsics());
    let ray_directions = rays_from_intrinsics(&intrinsics, SIZE.0, SIZE.1);
    let depth_z = fitting.depth(&simulator.true_depth(index).unwrap()).unwrap();
    let points_in_camera = Raster::from_fn(SIZE.0, SIZE.1, |x, y| {
        let ray = ray_directions.at(x, y);
        Point3::from(ray * (depth_z.at(x, y) / ray.z))
    });
    let first_from_world = simulator.true_pose(0).inverse();
    let first_from_camera: Se3 = first_from_world * simulator.true_pose(index);
    let single: nalgebra::Isometry3<f32> = first_from_camera.cast();
    let rotation: Quaternion<f32> = *single.rotation.quaternion();
    ViewOutput {
        points_in_world: points_in_camera.map(|point| single * point),
        depth_along_ray: points_in_camera.map(|point| point.coords.norm()),
        rotation,
        translation: single.translation.vector,
        confidence: depth_z.map(|_| 2.0),
        mask_logits: depth_z.map(|_| 1.0),
        unambiguous: depth_z.map(|_| true),
        mask: Some(depth_z.map(|depth| depth > 0.0)),
        metric_scale: 1.0,
        intrinsics,
        ray_directions,
        points_in_camera,
        depth_z,
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    assert!(!values.is_empty());
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn check_cameras_and_points(results: &Results<'_>, simulator: &Simulator) {
    for (index, view) in results.views.iter().enumerate() {
        let (k, truth) = (&view.intrinsics, simulator.camera().intrinsics());
        for (found, expected) in
            [(k.fx, truth.fx), (k.fy, truth.fy), (k.cx, truth.cx), (k.cy, truth.cy)]
        {
            assert!((found - expected).abs() < 1e-3, "{k:?} {truth:?}");
        }
        let apart = simulator.true_pose(index).inverse() * view.world_from_camera;
        assert!(apart.translation.vector.norm() < 1e-5 && apart.rotation.angle() < 1e-5);
        let points = view.points.iter().step_by(97);
        let distances = points.map(|(_, p)| simulator.distance_to_surface_m(&p.cast()).abs());
        let distance = median(distances.collect());
        assert!(distance < 0.01, "points are {distance} m off the surface");
    }
}

fn check_sparse_model(model: &SparseModel, inputs: &Inputs) {
    assert!((900..=1000).contains(&model.points.len()), "{}", model.points.len());
    let errors = model.points.iter().map(|point| model.reprojection_error_px(point)).collect();
    assert!(median(errors) < 0.01);
    let shared = model.points.iter().filter(|point| point.observations.len() > 1).count();
    assert!(2 * shared > model.points.len(), "{shared} points are seen twice");
    let difference = |seen: &(Vector2<f64>, usize, [u8; 3])| {
        let (pixel, view, color) = seen;
        let image = &inputs.views[*view].image;
        let (x, y) = (pixel.x.round().max(0.0) as u32, pixel.y.round().max(0.0) as u32);
        let found = image.get_pixel(x.min(image.width() - 1), y.min(image.height() - 1)).0;
        let channel = |c: usize| (f64::from(found[c]) - f64::from(color[c])).abs();
        (channel(0) + channel(1) + channel(2)) / 3.0
    };
    // In every view that sees a point the image has its colour, texture and shading aside.
    let seen = model.points.iter().flat_map(|point| {
        point.observations.iter().map(|seen| (seen.pixel, seen.view, point.color))
    });
    let difference = median(seen.map(|seen| difference(&seen)).collect());
    assert!(difference < 8.0, "colours differ by {difference}");
}

#[test]
fn a_right_prediction_gives_right_files() {
    let mut simulator = simulator();
    let inputs = inputs(&mut simulator);
    let outputs: Vec<_> = (0..VIEWS).map(|index| output(&simulator, index)).collect();
    let results = Results::new(&inputs, &outputs).unwrap();
    check_cameras_and_points(&results, &simulator);
    let names = ["0.png", "1.png", "2.png"].map(String::from);
    check_sparse_model(&sparse_model(&results.views, &names, 1000), &inputs);
    let folder = tempfile::tempdir().unwrap();
    // To look at: the folder stays where this names one.
    let folder = std::env::var_os("RECON_KEEP").map_or(folder.path().to_owned(), PathBuf::from);
    let format = Some(recon_node::export::ColmapFormat::Binary);
    let units_per_metre = results.write(&folder, format, 20_000).unwrap();
    assert!((units_per_metre - 1000.0).abs() < 1e-9);
    let truth = simulator.true_depth(1).unwrap();
    let depth = image::open(folder.join("depth/1.png")).unwrap().into_luma16();
    assert_eq!(depth.dimensions(), (320, 240));
    let pairs = depth.enumerate_pixels().filter(|(_, _, value)| value.0[0] > 0);
    let errors: Vec<f64> = pairs
        .map(|(x, y, value)| {
            (f64::from(value.0[0]) / 1000.0 - f64::from(truth.at(x as usize, y as usize))).abs()
        })
        .collect();
    // What the crop left: 288 of 320 columns.
    assert_eq!(errors.len(), 288 * 240);
    assert!(median(errors) < 0.01);
}
