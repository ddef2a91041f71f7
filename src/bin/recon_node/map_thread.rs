//! The map thread: puts maps together and publishes them.

use std::sync::mpsc::Receiver;

use r2r::Publisher;
use r2r::sensor_msgs::msg::PointCloud2;
use recon_node::ros::map_cloud::MapSnapshot;
use recon_node::ros::parameters::Settings;
use recon_node::stamp::Stamp;

use crate::convert;
use crate::outputs::tell;

/// What a map is put together from, and for when.
pub struct MapJob {
    /// The samples of its keyframes, and where they stand.
    pub snapshot: MapSnapshot,
    /// Time of the newest frame in it.
    pub stamp: Stamp,
    /// How it is put together.
    pub settings: Settings,
}

/// Puts maps together and publishes them, apart from the mapping: that takes its time.
pub fn publish_maps(jobs: &Receiver<MapJob>, publisher: &Publisher<PointCloud2>) {
    for job in jobs {
        let node = &job.settings.node;
        let cloud = job.snapshot.cloud(node.map_voxel_size, node.map_max_points);
        let header = convert::header(job.stamp, &node.map_frame);
        tell(publisher.publish(&convert::cloud(header, &cloud)));
    }
}
