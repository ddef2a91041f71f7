//! The formats, each with the files that it consists of.

use std::path::{Path, PathBuf};

use nalgebra::Vector3;
use recon_node::cloud::{PointCloud, SurfaceCloud};
use recon_node::error::Result;
use recon_node::export::{
    Array, ColmapFormat, PlacedCamera, Values, ViewPoints, create_folder, image_name, sparse_model,
    write_colmap, write_g2o, write_glb, write_kitti, write_las, write_mesh_glb, write_mesh_ply,
    write_npz, write_occupancy, write_surface_pcd, write_surface_ply, write_trajectory,
};
use recon_node::keyframe::Keyframe;
use recon_node::map::{Ghosts, MapConfig, TriangleMesh};
use recon_node::viz::save_png;

use super::{Options, Scene};

/// Edge of a mesh's cells where nothing is said, metres.
const MESH_VOXEL_M: f64 = 0.02;

/// A format of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Cloud with colours, normals and confidence: cloud.ply
    Ply,
    /// The same for PCL: cloud.pcd
    Pcd,
    /// Cloud and cameras for glTF viewers: cloud.glb
    Glb,
    /// Cloud with colours for GIS programs: cloud.las
    Las,
    /// COLMAP model, binary, with images: colmap/
    Colmap,
    /// COLMAP model, text, with images: `colmap_text`/
    ColmapText,
    /// Trajectory, TUM: trajectory.tum
    Tum,
    /// Trajectory, KITTI: trajectory.kitti and .times
    Kitti,
    /// Pose graph: graph.g2o
    G2o,
    /// Cloud, keyframes and trajectory as NumPy arrays: map.npz
    Npz,
    /// Coloured triangles: mesh.ply
    Mesh,
    /// The same for glTF viewers: mesh.glb
    MeshGlb,
    /// Plan for nav2: occupancy.yaml and .pgm
    Occupancy,
}

impl Format {
    /// Returns whether the scene's z has to point up for it.
    pub(super) fn is_upright(self, scene: &Scene, options: &Options) -> bool {
        let is_placed = self == Self::Las && scene.georeference.is_some();
        options.z_up || self == Self::Occupancy || is_placed
    }

    /// Writes a scene, and returns the file or folder.
    pub(super) fn write(self, scene: &Scene, options: &Options, folder: &Path) -> Result<PathBuf> {
        let at = |name: &str| folder.join(name);
        let (path, keyframes) = (self.path(folder), || scene.map.keyframes());
        match self {
            Self::Ply => write_surface_ply(&path, &surface(scene, options).0)?,
            Self::Pcd => write_surface_pcd(&path, &surface(scene, options).0)?,
            Self::Las => {
                let origin = scene.georeference.as_ref();
                write_las(&path, &surface(scene, options).0.cloud, origin)?;
            }
            Self::Glb => write_glb(&path, &glb_views(scene, surface(scene, options).0.cloud))?,
            Self::Colmap => write_model(&path, scene, options, ColmapFormat::Binary)?,
            Self::ColmapText => write_model(&path, scene, options, ColmapFormat::Text)?,
            Self::Tum => write_trajectory(&path, &scene.trajectory)?,
            Self::Kitti => write_kitti(&path, &at("trajectory.times"), &scene.trajectory)?,
            Self::G2o => {
                let poses: Vec<_> = keyframes().map(|k| (k.id, k.world_from_camera)).collect();
                write_g2o(&path, &poses, &scene.constraints)?;
            }
            Self::Npz => write_npz(&path, &arrays(scene, surface(scene, options).0))?,
            Self::Mesh => write_mesh_ply(&path, &mesh(scene, options))?,
            Self::MeshGlb => write_mesh_glb(&path, &mesh(scene, options))?,
            Self::Occupancy => {
                let (surface, _) = surface(scene, options);
                write_occupancy(&path, &scene.map.occupancy(&surface, &options.occupancy())?)?;
            }
        }
        Ok(path)
    }

    fn path(self, folder: &Path) -> PathBuf {
        folder.join(match self {
            Self::Ply => "cloud.ply",
            Self::Pcd => "cloud.pcd",
            Self::Glb => "cloud.glb",
            Self::Las => "cloud.las",
            Self::Colmap => "colmap",
            Self::ColmapText => "colmap_text",
            Self::Tum => "trajectory.tum",
            Self::Kitti => "trajectory.kitti",
            Self::G2o => "graph.g2o",
            Self::Npz => "map.npz",
            Self::Mesh => "mesh.ply",
            Self::MeshGlb => "mesh.glb",
            Self::Occupancy => "occupancy.yaml",
        })
    }
}

/// The configuration of the map, with the options' voxels.
fn config(scene: &Scene, options: &Options) -> MapConfig {
    let map = scene.config.map.clone();
    MapConfig { voxel_size_m: options.voxel.unwrap_or(map.voxel_size_m), ..map }
}

fn surface(scene: &Scene, options: &Options) -> (SurfaceCloud, Ghosts) {
    scene.map.surface(&config(scene, options), |point, confidence| options.keeps(point, confidence))
}

fn mesh(scene: &Scene, options: &Options) -> TriangleMesh {
    let voxel_m = options.voxel.unwrap_or(MESH_VOXEL_M);
    let (_, ghosts) = surface(scene, options);
    let kept = |point: &Vector3<f32>, confidence: f32| options.keeps(point, confidence);
    scene.map.mesh(&config(scene, options), voxel_m, &ghosts, kept)
}

fn glb_views(scene: &Scene, cloud: PointCloud) -> Vec<ViewPoints> {
    let camera = |keyframe: &Keyframe| ViewPoints {
        name: format!("keyframe {}", keyframe.id),
        cloud: PointCloud::default(),
        camera: Some(PlacedCamera {
            world_from_camera: keyframe.world_from_camera,
            intrinsics: *keyframe.camera.intrinsics(),
            size: (keyframe.camera.width(), keyframe.camera.height()),
        }),
    };
    let map = ViewPoints { name: "map".to_owned(), cloud, camera: None };
    std::iter::once(map).chain(scene.map.keyframes().map(camera)).collect()
}

/// A COLMAP project: `images/`, and the model in `sparse/0/`.
fn write_model(
    folder: &Path,
    scene: &Scene,
    options: &Options,
    format: ColmapFormat,
) -> Result<()> {
    let images = folder.join("images");
    create_folder(&images)?;
    for keyframe in scene.map.keyframes() {
        save_png(&images.join(image_name(keyframe)), &keyframe.frame.color)?;
    }
    let config = config(scene, options);
    let (_, ghosts) = surface(scene, options);
    let kept = |point: &Vector3<f32>, confidence: f32| options.keeps(point, confidence);
    let model = sparse_model(&scene.map, &config, &ghosts, kept);
    write_colmap(&folder.join("sparse/0"), &model, format)
}

/// `points` (m), `colors`, `normals` and `confidence` (1/m²) of the cloud; of the keyframes `ids`,
/// `stamps_ns`, `world_from_camera`, `intrinsics` (fx fy cx cy width height); and the trajectory.
fn arrays(scene: &Scene, surface: SurfaceCloud) -> Vec<Array> {
    let count = surface.cloud.len();
    let keyframes: Vec<&Keyframe> = scene.map.keyframes().collect();
    let poses = keyframes.iter().map(|k| k.world_from_camera.to_homogeneous());
    let intrinsics = keyframes.iter().flat_map(|keyframe| {
        let (k, camera) = (keyframe.camera.intrinsics(), &keyframe.camera);
        [k.fx, k.fy, k.cx, k.cy, camera.width().into(), camera.height().into()]
    });
    let flat = |vectors: Vec<[f32; 3]>| Values::F32(vectors.into_iter().flatten().collect());
    let rows = |matrix: nalgebra::Matrix4<f64>| matrix.transpose().as_slice().to_vec();
    let track = scene.trajectory.poses();
    let (views, frames) = (keyframes.len(), track.len());
    let array = |name, shape: &[usize], values| Array { name, shape: shape.to_vec(), values };
    let points = surface.cloud.points.iter().map(|p| [p.x, p.y, p.z]).collect();
    let normals = surface.normals.iter().map(|n| [n.x, n.y, n.z]).collect();
    let colors = surface.cloud.colors.iter().flatten().copied().collect();
    let ids = keyframes.iter().map(|k| i64::from(k.id.0)).collect();
    let stamps = keyframes.iter().map(|k| k.frame.stamp.nanos()).collect();
    let moments = track.iter().map(|pose| pose.stamp.nanos()).collect();
    let path = track.iter().flat_map(|pose| rows(pose.world_from_camera.to_homogeneous()));
    vec![
        array("points", &[count, 3], flat(points)),
        array("colors", &[count, 3], Values::U8(colors)),
        array("normals", &[count, 3], flat(normals)),
        array("confidence", &[count], Values::F32(surface.confidence)),
        array("keyframe_ids", &[views], Values::I64(ids)),
        array("keyframe_stamps_ns", &[views], Values::I64(stamps)),
        array(
            "keyframe_world_from_camera",
            &[views, 4, 4],
            Values::F64(poses.flat_map(rows).collect()),
        ),
        array("keyframe_intrinsics", &[views, 6], Values::F64(intrinsics.collect())),
        array("trajectory_stamps_ns", &[frames], Values::I64(moments)),
        array("trajectory_world_from_camera", &[frames, 4, 4], Values::F64(path.collect())),
    ]
}
