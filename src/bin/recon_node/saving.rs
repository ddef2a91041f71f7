//! Maps and trajectories as files.

use std::path::{Path, PathBuf};

use recon_node::cloud::PointCloud;
use recon_node::error::Result;
use recon_node::export::{
    PlacedCamera, ViewPoints, write_glb, write_pcd, write_ply, write_trajectory,
};
use recon_node::pipeline::MapSnapshot;
use recon_node::ros::config::NodeConfig;
use recon_node::ros::files::{
    MAP_FORMATS, SavedFile, WHOLE_MAP, format_of, optical_from_map, with_suffix,
};
use recon_node::ros::session::Session;
use recon_node::store::{self, ImageQuality};

use crate::node::NAME;
use crate::shared::FileReply;

/// A file that was written, and how much is in it.
pub type Saved = std::result::Result<SavedFile, String>;

/// Takes up a map; returns the number of its keyframes, and what there is to say of it.
pub fn load_map(
    session: &mut Session,
    path: &Path,
    recover: bool,
) -> std::result::Result<(u32, String), String> {
    let map = if recover { store::recover(path) } else { store::load(path) };
    let map = map.map_err(|error| error.to_string())?;
    let notes: String = map.notes.iter().map(|note| format!("; {note}")).collect();
    let count = session.load_map(map).map_err(|error| format!("{}: {error}", path.display()))?;
    let text = format!("{count} keyframes were loaded from {}{notes}", path.display());
    r2r::log_info!(NAME, "{text}");
    Ok((count as u32, text))
}

/// Writes all maps of the session on a thread of its own, so that frames do not wait for the disk.
pub fn save_whole_map(session: &mut Session, path: PathBuf, reply: FileReply) {
    let maps = session.whole_maps(&path);
    drop(std::thread::spawn(move || reply(write_whole_maps(&maps))));
}

fn write_whole_maps(maps: &[(PathBuf, MapSnapshot)]) -> Saved {
    let mut written = Vec::new();
    for (path, map) in maps {
        store::save(path, map, ImageQuality::Lossless).map_err(|error| error.to_string())?;
        written.push((path.clone(), map.keyframes.len() as u64));
    }
    SavedFile::of_maps(&written).ok_or_else(|| NO_MAP.to_owned())
}

const NO_MAP: &str = "there is no map yet";

/// Writes the map.
pub fn save_map(session: &mut Session, path: &Path, format: &str) -> Saved {
    if format == WHOLE_MAP {
        return write_whole_maps(&session.whole_maps(path));
    }
    let Some(map_from_world) = session.map_from_world() else {
        return Err(NO_MAP.to_owned());
    };
    let pipeline = session.pipeline();
    let mut cloud = pipeline.map().cloud(&pipeline.config().map);
    let to_map = map_from_world.cast::<f32>();
    cloud.points.iter_mut().for_each(|point| *point = to_map * *point);
    let points = cloud.len() as u64;
    let written = match format {
        "pcd" => write_pcd(path, &cloud),
        "glb" => write_scene(session, path, cloud),
        _ => write_ply(path, &cloud),
    };
    written.map_err(|error| error.to_string())?;
    Ok(SavedFile::new(path, points, session.told_of_others()))
}

/// The cloud and the cameras, turned so that the map's z points up in a viewer of glTF.
fn write_scene(session: &Session, path: &Path, mut cloud: PointCloud) -> Result<()> {
    let optical_from_map = optical_from_map();
    let turn = optical_from_map.cast::<f32>();
    cloud.points.iter_mut().for_each(|point| *point = turn * *point);
    let mut views = vec![ViewPoints { name: "map".to_owned(), cloud, camera: None }];
    for (id, map_from_camera) in session.map_from_keyframes() {
        let Some(keyframe) = session.pipeline().map().get(id) else { continue };
        views.push(ViewPoints {
            name: format!("keyframe {id}"),
            cloud: PointCloud::default(),
            camera: Some(PlacedCamera {
                world_from_camera: optical_from_map * map_from_camera,
                intrinsics: *keyframe.camera.intrinsics(),
                size: (keyframe.camera.width(), keyframe.camera.height()),
            }),
        });
    }
    write_glb(path, &views)
}

/// Writes the trajectory.
pub fn save_trajectory(session: &Session, path: &Path) -> Saved {
    let trajectory = session.trajectory_in_map();
    if trajectory.poses().is_empty() {
        return Err("no frame has a pose yet".to_owned());
    }
    write_trajectory(path, &trajectory).map_err(|error| error.to_string())?;
    Ok(SavedFile::new(path, trajectory.poses().len() as u64, String::new()))
}

/// Writes what is to be kept when a session ends, with `suffix` at the end of the files' names.
pub fn save_at_end(session: &mut Session, node: &NodeConfig, suffix: &str) {
    let save = |what, path: &str, save: &mut dyn FnMut(&Path) -> Saved| {
        if path.is_empty() {
            return;
        }
        match save(&with_suffix(Path::new(path), suffix)) {
            Ok(saved) => {
                r2r::log_info!(NAME, "the {what} is in {}{}", saved.path.display(), saved.note)
            }
            Err(reason) => r2r::log_error!(NAME, "the {what} was not saved: {reason}"),
        }
    };
    save("map", &node.save_map_on_exit, &mut |path| {
        save_map(session, path, format_of(path, "", &MAP_FORMATS)?)
    });
    save("trajectory", &node.save_trajectory_on_exit, &mut |path| save_trajectory(session, path));
}
