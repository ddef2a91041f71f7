//! From the node's values to messages.

use r2r::builtin_interfaces::msg::Time;
use r2r::geometry_msgs::msg::{
    Point, Pose, PoseWithCovariance, Quaternion, Transform, TransformStamped, Vector3,
};
use r2r::nav_msgs::msg::{MapMetaData, OccupancyGrid};
use r2r::sensor_msgs::msg::{PointCloud2, PointField};
use r2r::std_msgs::msg::Header;
use recon_node::cloud::PointCloud;
use recon_node::geometry::Se3;
use recon_node::map;
use recon_node::ros::clouds::{FIELDS, FLOAT32, POINT_STEP, cloud_bytes};
use recon_node::ros::grid;
use recon_node::stamp::Stamp;

/// Returns the message of a stamp.
pub fn time(stamp: Stamp) -> Time {
    let nanos = stamp.nanos();
    let (sec, nanosec) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
    Time { sec: sec as i32, nanosec: nanosec as u32 }
}

/// Returns a header.
pub fn header(stamp: Stamp, frame_id: &str) -> Header {
    Header { stamp: time(stamp), frame_id: frame_id.to_owned() }
}

/// Returns the message of a vector.
pub fn vector(v: &nalgebra::Vector3<f64>) -> Vector3 {
    Vector3 { x: v.x, y: v.y, z: v.z }
}

fn quaternion(pose: &Se3) -> Quaternion {
    let q = pose.rotation.coords;
    Quaternion { x: q.x, y: q.y, z: q.z, w: q.w }
}

/// Returns the message of a pose.
pub fn pose(pose: &Se3) -> Pose {
    let t = pose.translation.vector;
    Pose { position: Point { x: t.x, y: t.y, z: t.z }, orientation: quaternion(pose) }
}

/// Returns the message of a pose and its covariance.
pub fn pose_with_covariance(at: &Se3, covariance: &[f64; 36]) -> PoseWithCovariance {
    PoseWithCovariance { pose: pose(at), covariance: covariance.to_vec() }
}

/// Returns the message of a transform, `parent_from_child`.
pub fn transform(stamp: Stamp, parent: &str, child: &str, at: &Se3) -> TransformStamped {
    TransformStamped {
        header: header(stamp, parent),
        child_frame_id: child.to_owned(),
        transform: Transform {
            translation: vector(&at.translation.vector),
            rotation: quaternion(at),
        },
    }
}

/// Returns the pose of a message, `None` where its quaternion is none.
pub fn se3(pose: &Pose) -> Option<Se3> {
    let Quaternion { x, y, z, w } = pose.orientation;
    let rotation = nalgebra::UnitQuaternion::try_new(nalgebra::Quaternion::new(w, x, y, z), 1e-6)?;
    let at = &pose.position;
    Some(Se3::from_parts(nalgebra::Translation3::new(at.x, at.y, at.z), rotation))
}

/// Returns the message of a cloud.
pub fn cloud(header: Header, cloud: &PointCloud) -> PointCloud2 {
    let field = |&(name, offset): &(&str, u32)| PointField {
        name: name.to_owned(),
        offset,
        datatype: FLOAT32,
        count: 1,
    };
    let width = cloud.len() as u32;
    PointCloud2 {
        header,
        height: 1,
        width,
        fields: FIELDS.iter().map(field).collect(),
        is_bigendian: false,
        point_step: POINT_STEP,
        row_step: POINT_STEP * width,
        data: cloud_bytes(cloud),
        is_dense: true,
    }
}

/// Returns the message of a plan; its origin lies on the floor.
pub fn grid(stamp: Stamp, map_frame: &str, plan: &map::OccupancyGrid) -> OccupancyGrid {
    let [x_m, y_m] = plan.origin_m;
    OccupancyGrid {
        header: header(stamp, map_frame),
        info: MapMetaData {
            map_load_time: time(stamp),
            resolution: plan.cell_size_m as f32,
            width: plan.width as u32,
            height: plan.height as u32,
            origin: pose(&Se3::translation(x_m, y_m, plan.floor_m)),
        },
        data: grid::cells(plan),
    }
}
