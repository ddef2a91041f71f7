//! Maps for other programs: which formats there are, and what is to be in them.

mod formats;

use std::io::Write;
use std::path::{Path, PathBuf};

use nalgebra::Vector3;
use recon_node::config::Config;
use recon_node::constraint::Constraint;
use recon_node::error::{Error, Result};
use recon_node::geometry::Se3;
use recon_node::map::{GlobalMap, OccupancyConfig};
use recon_node::pipeline::{GeoReference, MapSnapshot, Pipeline};
use recon_node::trajectory::{StampedPose, Trajectory};
use recon_node::viz;

pub use formats::Format;

use crate::maps;

/// What is exported, and how.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Export")]
pub struct Options {
    /// Edge of the voxels of clouds and meshes [default: that of the configuration; meshes: 0.02]
    #[arg(long, value_name = "M")]
    voxel: Option<f64>,
    /// Leave out what is less sure than this: inverse variance of depth, 1/m²
    #[arg(long, value_name = "C", default_value_t = 0.0)]
    min_confidence: f32,
    /// Leave out what is nearer to the camera
    #[arg(long, value_name = "M", default_value_t = 0.0)]
    min_range: f32,
    /// Leave out what is further from the camera
    #[arg(long, value_name = "M", default_value_t = f32::INFINITY, hide_default_value = true)]
    max_range: f32,
    /// Turn the world so that z points up: as the map says, or by how the camera was held (occupancy
    /// always has it so, and LAS of a map with a place on Earth, which is in UTM coordinates)
    #[arg(long)]
    z_up: bool,
    /// Occupancy: edge of the cells
    #[arg(long, value_name = "M", default_value_t = OccupancyConfig::default().cell_size_m)]
    cell: f64,
    /// Occupancy: obstacles begin at this height above the floor
    #[arg(long, value_name = "M", default_value_t = OccupancyConfig::default().min_height_m)]
    min_height: f64,
    /// Occupancy: obstacles end at this height above the floor
    #[arg(long, value_name = "M", default_value_t = OccupancyConfig::default().max_height_m)]
    max_height: f64,
    /// Occupancy: height of the floor along z, where it is not to be looked for
    #[arg(long, value_name = "M", allow_negative_numbers = true)]
    floor: Option<f64>,
}

impl Options {
    /// Refuses values that make no sense.
    ///
    /// # Errors
    /// [`Error::Usage`] that names the option.
    pub fn check(&self) -> Result<()> {
        let size = |name: &str, value: f64| {
            let fits = (0.001..=10.0).contains(&value);
            let problem = || format!("{name} {value}: give metres between 0.001 and 10");
            if fits { Ok(()) } else { Err(Error::Usage(problem())) }
        };
        self.voxel.map_or(Ok(()), |voxel| size("--voxel", voxel))?;
        size("--cell", self.cell)?;
        if self.min_range < self.max_range && self.min_height < self.max_height {
            return Ok(());
        }
        let problem = "the least range or height is not below the greatest: change --min-range, \
                       --max-range, --min-height or --max-height";
        Err(Error::Usage(problem.to_owned()))
    }

    /// Whether a point (camera frame) with a confidence is to be exported.
    fn keeps(&self, point: &Vector3<f32>, confidence: f32) -> bool {
        let range_m = point.norm();
        confidence >= self.min_confidence && range_m >= self.min_range && range_m <= self.max_range
    }

    fn occupancy(&self) -> OccupancyConfig {
        OccupancyConfig {
            cell_size_m: self.cell,
            min_height_m: self.min_height,
            max_height_m: self.max_height,
            floor_m: self.floor,
            ..OccupancyConfig::default()
        }
    }
}

/// What `recon export` is asked.
#[derive(clap::Args)]
pub struct Args {
    /// A map, written by --save-map or --autosave
    map: PathBuf,
    /// Read what can be trusted of a damaged map
    #[arg(long)]
    recover: bool,
    /// What to write; several with commas between
    #[arg(long, value_enum, value_delimiter = ',', required = true, value_name = "FORMATS")]
    format: Vec<Format>,
    /// Folder for the files
    #[arg(long, value_name = "DIR", default_value = "export")]
    out: PathBuf,
    #[command(flatten)]
    options: Options,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    args.options.check()?;
    let scene = Scene::saved(&maps::load(&args.map, args.recover)?);
    for path in export(&scene, &args.format, &args.options, &args.out)? {
        writeln!(std::io::stdout(), "exported {}", path.display())?;
    }
    Ok(())
}

/// A map with all that belongs to it.
#[derive(Clone)]
pub struct Scene {
    pub map: GlobalMap,
    pub constraints: Vec<Constraint>,
    pub trajectory: Trajectory,
    pub config: Config,
    /// The world in the frame with z up that was chosen for it, where one was.
    pub map_from_world: Option<Se3>,
    /// Where on Earth the origin of that frame is.
    pub georeference: Option<GeoReference>,
}

impl Scene {
    /// Returns what a pipeline has come to.
    pub fn of(pipeline: &Pipeline) -> Self {
        Self {
            map: pipeline.map().clone(),
            constraints: pipeline.constraints().copied().collect(),
            trajectory: pipeline.trajectory(),
            config: pipeline.config().clone(),
            map_from_world: pipeline.map_from_world(),
            georeference: pipeline.georeference(),
        }
    }

    /// Returns what a saved map holds; the frames of all its sessions are one trajectory.
    fn saved(saved: &MapSnapshot) -> Self {
        let poses = saved.trajectories().iter().flat_map(|t| t.poses().to_vec()).collect();
        Self {
            map: saved.map(1),
            constraints: saved.constraints().copied().collect(),
            trajectory: Trajectory::new(poses),
            config: saved.graph.config.clone(),
            map_from_world: saved.graph.map_from_world,
            georeference: saved.graph.georeference,
        }
    }

    /// Returns the scene in a world whose z points up: the one that was chosen for the map, else by
    /// how most level surfaces face.
    fn upright(mut self) -> Self {
        let looked_for =
            || viz::upright_from_world(&self.map.up(&viz::upright_direction(&self.trajectory)));
        let upright_from_world = self.map_from_world.take().unwrap_or_else(looked_for);
        let poses = self.map.keyframes().map(|k| (k.id, upright_from_world * k.world_from_camera));
        let poses = poses.collect();
        self.map.set_poses(&poses);
        let turned = |pose: &StampedPose| StampedPose {
            world_from_camera: upright_from_world * pose.world_from_camera,
            ..*pose
        };
        self.trajectory = Trajectory::new(self.trajectory.poses().iter().map(turned).collect());
        self
    }
}

/// Writes a scene in all `formats` into `folder`, which is made, and returns what was written.
///
/// # Errors
/// Where a file cannot be written, or the scene has not what a format needs.
pub fn export(
    scene: &Scene,
    formats: &[Format],
    options: &Options,
    folder: &Path,
) -> anyhow::Result<Vec<PathBuf>> {
    options.check()?;
    if scene.map.is_empty() {
        return Err(Error::Usage("the map is empty: there is nothing to export".into()).into());
    }
    recon_node::export::create_folder(folder)?;
    let is_turned = |format: &Format| format.is_upright(scene, options);
    let upright = formats.iter().any(is_turned).then(|| scene.clone().upright());
    let mut written = Vec::new();
    for format in formats {
        let scene = upright.as_ref().filter(|_| is_turned(format)).unwrap_or(scene);
        written.push(format.write(scene, options, folder)?);
    }
    Ok(written)
}
