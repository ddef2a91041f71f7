//! The node's settings: topics, frames, and what is published. The pipeline's are beside them.

use serde::{Deserialize, Serialize};

/// How images travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Transport {
    /// `sensor_msgs/Image`.
    Raw,
    /// `sensor_msgs/CompressedImage` with a JPEG or PNG file, on the topic's `/compressed`.
    Compressed,
    /// `sensor_msgs/CompressedImage` with 16-bit PNG or RVL, on the topic's `/compressedDepth`.
    CompressedDepth,
}

impl Transport {
    /// Returns what the topic's name ends with.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Raw => "",
            Self::Compressed => "/compressed",
            Self::CompressedDepth => "/compressedDepth",
        }
    }

    /// Returns the type of the topic's messages.
    pub fn message_type(self) -> &'static str {
        match self {
            Self::Raw => "sensor_msgs/msg/Image",
            Self::Compressed | Self::CompressedDepth => "sensor_msgs/msg/CompressedImage",
        }
    }
}

/// The reliability that a subscription asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reliability {
    /// Takes what comes, from any publisher.
    BestEffort,
    /// Asks for what is lost; matches reliable publishers only.
    Reliable,
}

/// Where odometry comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OdometryInput {
    /// From nowhere: the node publishes odom to base_frame itself.
    None,
    /// From the topic `odom`.
    Topic,
    /// From TF, odom_frame to base_frame at the image's stamp.
    Tf,
}

/// Where the floor is, for the plan of the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GridFloor {
    /// The lowest level on which much of the map lies.
    Auto,
    /// Where base_frame stood at the beginning: z = 0 of the map.
    Base,
}

/// The node's own settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NodeConfig {
    /// Frame of the map: z up, corrected, may jump.
    pub map_frame: String,
    /// Frame of odometry: continuous, drifts.
    pub odom_frame: String,
    /// Frame of the robot; TF must hold its transform to the camera's frame.
    pub base_frame: String,
    /// Whether TF is published: map to odom, and odom to base where no odometry comes in.
    pub publish_tf: bool,
    /// Seconds by which published transforms are dated into the future.
    #[schemars(range(min = 0.0, max = 10.0))]
    pub tf_tolerance: f64,
    /// Seconds that a frame waits for its transforms and its odometry.
    #[schemars(range(min = 0.0, max = 10.0))]
    pub wait_for_transform: f64,
    /// How colour images travel: raw or compressed.
    pub image_transport: Transport,
    /// How depth images travel: raw, compressed or compressedDepth.
    pub depth_transport: Transport,
    /// Whether depth images are subscribed.
    pub subscribe_depth: bool,
    /// Whether images are rectified, so that the projection matrix P belongs to them and not K, D.
    pub image_rectified: bool,
    /// Metres per unit of depth images with whole numbers.
    #[schemars(range(min = 0.000_001, max = 1.0))]
    pub depth_scale: f64,
    /// Where odometry comes from: none, topic or tf.
    pub odometry: OdometryInput,
    /// Whether stamps of colour and depth may differ, by at most approx_sync_max_interval.
    pub approx_sync: bool,
    /// The most seconds between the stamps of colour and depth where approx_sync is set.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub approx_sync_max_interval: f64,
    /// Images of each kind that wait for their partner.
    #[schemars(range(min = 1, max = 100))]
    pub sync_queue_size: usize,
    /// Messages that the middleware keeps for each input.
    #[schemars(range(min = 1, max = 1000))]
    pub topic_queue_size: usize,
    /// Whole frames that wait for the mapping; when one more comes, the oldest is dropped. Ten bridge a
    /// third of a second, which a correction of the whole map may take.
    #[schemars(range(min = 1, max = 1000))]
    pub frame_queue_size: usize,
    /// Reliability of the image input: best_effort or reliable.
    pub qos_image: Reliability,
    /// Reliability of the camera_info input: best_effort or reliable.
    pub qos_camera_info: Reliability,
    /// Reliability of the depth input: best_effort or reliable.
    pub qos_depth: Reliability,
    /// Reliability of the odom input: best_effort or reliable.
    pub qos_odom: Reliability,
    /// Whether the newest keyframe's cloud is published.
    pub publish_cloud: bool,
    /// Whether the depth of the model is published, with each keyframe.
    pub publish_depth: bool,
    /// How often a changed map is published at most, 1/s, while somebody listens; 0 for never.
    #[schemars(range(min = 0.0, max = 10.0))]
    pub map_rate: f64,
    /// Edge of the voxels of the published map, metres.
    #[schemars(range(min = 0.005, max = 10.0))]
    pub map_voxel_size: f64,
    /// Most points of the published map; its voxels grow where there would be more.
    #[schemars(range(min = 1000, max = 10_000_000))]
    pub map_max_points: usize,
    /// Whether the map's plan (~/grid) is published, with the map and while somebody listens.
    pub publish_grid: bool,
    /// Edge of the cells of the plan, metres.
    #[schemars(range(min = 0.01, max = 10.0))]
    pub grid_cell_size: f64,
    /// Height above the floor from which on something is an obstacle, metres.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub grid_min_height: f64,
    /// Height above the floor up to which something is an obstacle, metres.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub grid_max_height: f64,
    /// Where the plan's floor is: auto (the lowest level that is seen) or base (where base_frame
    /// stood at the beginning).
    pub grid_floor: GridFloor,
    /// How often a changed path is published, 1/s; 0 for never.
    #[schemars(range(min = 0.0, max = 30.0))]
    pub path_rate: f64,
    /// Most poses of the published path; of a longer one they are thinned out evenly.
    #[schemars(range(min = 2, max = 100_000))]
    pub path_max_poses: usize,
    /// Seconds without a new keyframe after which a map that has grown since is refined as a whole,
    /// while frames go on; 0 for never.
    #[schemars(range(min = 0.0, max = 3600.0))]
    pub refine_when_idle: f64,
    /// Seconds without a usable frame after which the reason is looked for and told.
    #[schemars(range(min = 0.5, max = 3600.0))]
    pub diagnosis_after: f64,
    /// Seconds by which an image's stamp must go back to be a new beginning, and not disorder.
    #[schemars(range(min = 0.0, max = 3600.0))]
    pub time_jump: f64,
    /// Whether the node configures and activates itself when it starts.
    pub autostart: bool,
    /// File of a map that is taken up when the node is configured; empty for none.
    pub load_map: String,
    /// File for the map when the node ends (map, ply, pcd or glb by its ending); empty for none.
    pub save_map_on_exit: String,
    /// File for the trajectory when the node ends (TUM); empty for none.
    pub save_trajectory_on_exit: String,
    /// Where rerun's viewer is shown the session: save FILE.rrd, serve, serve ADDRESS:PORT, connect
    /// or connect URL; empty for nowhere.
    pub rerun: String,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            map_frame: "map".to_owned(),
            odom_frame: "odom".to_owned(),
            base_frame: "base_link".to_owned(),
            publish_tf: true,
            tf_tolerance: 0.1,
            wait_for_transform: 0.2,
            image_transport: Transport::Raw,
            depth_transport: Transport::Raw,
            subscribe_depth: true,
            image_rectified: false,
            depth_scale: 0.001,
            odometry: OdometryInput::None,
            approx_sync: true,
            approx_sync_max_interval: 0.02,
            sync_queue_size: 10,
            topic_queue_size: 5,
            frame_queue_size: 10,
            qos_image: Reliability::BestEffort,
            qos_camera_info: Reliability::BestEffort,
            qos_depth: Reliability::BestEffort,
            qos_odom: Reliability::BestEffort,
            publish_cloud: true,
            publish_depth: false,
            map_rate: 0.5,
            map_voxel_size: 0.03,
            map_max_points: 300_000,
            publish_grid: true,
            grid_cell_size: 0.05,
            grid_min_height: 0.1,
            grid_max_height: 1.5,
            grid_floor: GridFloor::Auto,
            path_rate: 2.0,
            path_max_poses: 1024,
            refine_when_idle: 0.0,
            diagnosis_after: 5.0,
            time_jump: 0.5,
            autostart: true,
            load_map: String::new(),
            save_map_on_exit: String::new(),
            save_trajectory_on_exit: String::new(),
            rerun: String::new(),
        }
    }
}

/// Keys that may change while the node runs: they are looked up each time that they are used.
pub const CHANGEABLE: [&str; 19] = [
    "publish_tf",
    "tf_tolerance",
    "wait_for_transform",
    "publish_cloud",
    "publish_depth",
    "map_rate",
    "map_voxel_size",
    "map_max_points",
    "publish_grid",
    "grid_cell_size",
    "grid_min_height",
    "grid_max_height",
    "grid_floor",
    "path_rate",
    "path_max_poses",
    "refine_when_idle",
    "diagnosis_after",
    "save_map_on_exit",
    "save_trajectory_on_exit",
];
