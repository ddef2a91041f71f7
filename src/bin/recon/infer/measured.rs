//! The model that is nothing but the sensor's depth: what is known is what comes back.

use std::sync::Arc;

use nalgebra::{Point3, Vector3};
use recon_node::error::{Error, Result};
use recon_node::frame::{DepthImage, Frame};
use recon_node::geometry::{Camera, Intrinsics, Se3};
use recon_node::inference::{ReconstructionModel, View};
use recon_node::model::SensorDepth;
use recon_node::model::mapanything::ViewOutput;
use recon_node::pointmap::Pointmap;
use recon_node::raster::Raster;
use recon_node::sensor::SensorConfig;
use recon_node::stamp::Stamp;

use super::inputs::{Input, Inputs};

/// Its name.
pub const NAME: &str = "sensor-depth";

/// Returns the geometry of each image, from its depth, camera and pose.
///
/// # Errors
/// [`Error::Usage`] that says which of them is not known.
pub fn outputs(inputs: &Inputs) -> Result<Vec<ViewOutput>> {
    let mut model = SensorDepth::new(SensorConfig::default());
    let poses = poses(&inputs.views)?;
    let views = inputs.views.iter().zip(poses);
    views.map(|(input, first_from_camera)| output(&mut model, input, &first_from_camera)).collect()
}

/// The poses in the frame of the first image; one image alone needs none.
fn poses(views: &[Input]) -> Result<Vec<Se3>> {
    if let [_] = views {
        return Ok(vec![Se3::identity()]);
    }
    let pose = |view: &Input| {
        view.world_from_camera.ok_or_else(|| {
            lacks(view, "pose", "give --poses, or find them with 'recon replay' for a recording")
        })
    };
    let poses = views.iter().map(pose).collect::<Result<Vec<Se3>>>()?;
    Ok(poses.iter().map(|world_from_camera| poses[0].inv_mul(world_from_camera)).collect())
}

fn output(model: &mut SensorDepth, input: &Input, first_from_camera: &Se3) -> Result<ViewOutput> {
    let intrinsics =
        input.intrinsics.ok_or_else(|| lacks(input, "camera", "give --intrinsics and --depth"))?;
    let depth = input.depth.as_ref().ok_or_else(|| lacks(input, "depth", "give --depth"))?;
    let (width, height) = input.image.dimensions();
    let frame = Frame {
        id: 0,
        stamp: Stamp::from_nanos(0),
        color: Arc::new(input.image.clone()),
        camera: Some(Camera::pinhole(intrinsics, width, height)?),
        depth: Some(Arc::new(DepthImage::new(depth.clone()))),
        odometry: None,
    };
    let seen = model.infer(&[View::measured(&frame)])?.views;
    let pointmap = &seen.first().ok_or_else(|| lacks(input, "geometry", "give --depth"))?.pointmap;
    Ok(view_output(pointmap, &intrinsics, first_from_camera))
}

fn lacks(input: &Input, what: &str, remedy: &str) -> Error {
    Error::Usage(format!(
        "{}: --model {NAME} takes what is measured, and the {what} of this image is not known; {remedy}",
        input.path.display()
    ))
}

fn view_output(points: &Pointmap, intrinsics: &Intrinsics, first_from_camera: &Se3) -> ViewOutput {
    let (width, height) = (points.width(), points.height());
    let raster =
        |value: &dyn Fn(usize, usize) -> Vector3<f32>| Raster::from_fn(width, height, value);
    let in_camera = raster(&|x, y| points.point(x, y).unwrap_or_default());
    let pose = first_from_camera.cast::<f32>();
    let in_world = in_camera.map(|point| pose * Point3::from(point));
    let ray = |x: usize, y: usize| {
        let ray = [
            (x as f64 - intrinsics.cx) / intrinsics.fx,
            (y as f64 - intrinsics.cy) / intrinsics.fy,
        ];
        Vector3::new(ray[0] as f32, ray[1] as f32, 1.0)
            .try_normalize(0.0)
            .unwrap_or_else(Vector3::z)
    };
    let mask = Raster::from_fn(width, height, |x, y| points.point(x, y).is_some());
    ViewOutput {
        points_in_world: in_world,
        points_in_camera: in_camera.map(Point3::from),
        depth_along_ray: in_camera.map(|point| point.norm()),
        depth_z: in_camera.map(|point| point.z),
        ray_directions: raster(&ray),
        intrinsics: *intrinsics,
        rotation: *pose.rotation.quaternion(),
        translation: pose.translation.vector,
        confidence: Raster::from_fn(width, height, |x, y| points.confidence(x, y)),
        mask_logits: mask.map(|is_kept| if is_kept { f32::INFINITY } else { f32::NEG_INFINITY }),
        unambiguous: mask.clone(),
        mask: Some(mask),
        metric_scale: 1.0,
    }
}
