//! Our outputs under the names and in the layouts of the reference.

use crate::error::Result;
use crate::model::mapanything::outputs::ViewOutput;
use crate::model::mapanything::postprocess::MaskOptions;
use crate::raster::Raster;

/// Returns the numbers of the output `name`, or `None` where there is no such output. `colors` are
/// the view's colours from 0 to 1, three for each pixel.
pub fn output(view: &ViewOutput, colors: &[f32], name: &str) -> Option<Result<Vec<f32>>> {
    if let Some(options) = mask_options(name) {
        return Some(view.final_mask(&options).map(|mask| flags(&mask)));
    }
    let triples =
        |values: &[nalgebra::Point3<f32>]| values.iter().flat_map(|p| [p.x, p.y, p.z]).collect();
    let q = view.rotation.coords;
    let k = &view.intrinsics;
    let values = match name {
        "pts3d" => triples(view.points_in_world.values()),
        "pts3d_cam" => triples(view.points_in_camera.values()),
        "ray_directions" => {
            view.ray_directions.values().iter().flat_map(|r| [r.x, r.y, r.z]).collect()
        }
        "depth_along_ray" => view.depth_along_ray.values().to_vec(),
        "depth_z" => view.depth_z.values().to_vec(),
        "conf" => view.confidence.values().to_vec(),
        "non_ambiguous_mask_logits" => view.mask_logits.values().to_vec(),
        "non_ambiguous_mask" => flags(&view.unambiguous),
        "cam_quats" => vec![q.x, q.y, q.z, q.w],
        "cam_trans" => view.translation.iter().copied().collect(),
        // Rows first, as in the reference; the matrix is stored by columns.
        "camera_poses" => view.camera_pose().transpose().iter().copied().collect(),
        "metric_scaling_factor" => vec![view.metric_scale],
        "intrinsics" => {
            [k.fx, 0.0, k.cx, 0.0, k.fy, k.cy, 0.0, 0.0, 1.0].map(|value| value as f32).to_vec()
        }
        "img_no_norm" => colors.to_vec(),
        _ => return None,
    };
    Some(Ok(values))
}

/// The options behind `mask`, `mask_no_edges` and `mask_conf30` (any percentile).
fn mask_options(name: &str) -> Option<MaskOptions> {
    let percentile = |text: &str| text.parse().ok();
    match name.strip_prefix("mask")? {
        "" => Some(MaskOptions::default()),
        "_no_edges" => Some(MaskOptions { edges: None, ..MaskOptions::default() }),
        other => {
            let confidence_percentile = Some(percentile(other.strip_prefix("_conf")?)?);
            Some(MaskOptions { confidence_percentile, ..MaskOptions::default() })
        }
    }
}

fn flags(mask: &Raster<bool>) -> Vec<f32> {
    mask.values().iter().map(|&kept| f32::from(u8::from(kept))).collect()
}
