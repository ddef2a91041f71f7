//! The topics that the node publishes. All reliable; what a late joiner needs is latched.

use r2r::geometry_msgs::msg::TwistWithCovariance;
use r2r::geometry_msgs::msg::{PoseArray, PoseStamped, PoseWithCovarianceStamped, Twist};
use r2r::nav_msgs::msg::{Odometry, Path};
use r2r::recon_node::msg::Status;
use r2r::sensor_msgs::msg::{Image, PointCloud2};
use r2r::tf2_msgs::msg::TFMessage;
use r2r::visualization_msgs::msg::MarkerArray;
use r2r::{Node, Publisher, QosProfile, WrappedTypesupport};
use recon_node::cloud::PointCloud;
use recon_node::geometry::Se3;
use recon_node::keyframe::Keyframe;
use recon_node::ros::config::NodeConfig;
use recon_node::ros::covariance::ros_covariance;
use recon_node::ros::frames::{OwnOdometry, Placement};
use recon_node::ros::graph::GraphView;
use recon_node::ros::map_cloud::keyframe_cloud;
use recon_node::stamp::Stamp;

use crate::{convert, markers};

/// All publishers but the map's.
#[derive(Clone)]
pub struct Outputs {
    tf: Publisher<TFMessage>,
    odometry: Publisher<Odometry>,
    pose: Publisher<PoseWithCovarianceStamped>,
    path: Publisher<Path>,
    keyframes: Publisher<PoseArray>,
    graph: Publisher<MarkerArray>,
    cloud: Publisher<PointCloud2>,
    depth: Publisher<Image>,
    status: Publisher<Status>,
}

impl Outputs {
    /// Returns the publishers.
    pub fn new(node: &mut Node) -> r2r::Result<Self> {
        let live = QosProfile::default();
        Ok(Self {
            tf: node.create_publisher("/tf", QosProfile::default().keep_last(100))?,
            odometry: node.create_publisher("~/odometry", live.clone())?,
            pose: node.create_publisher("~/pose", live.clone())?,
            path: latched(node, "~/path")?,
            keyframes: latched(node, "~/keyframes")?,
            graph: latched(node, "~/graph")?,
            cloud: latched(node, "~/cloud")?,
            depth: node.create_publisher("~/depth", live.clone())?,
            status: node.create_publisher("~/status", live)?,
        })
    }

    /// Publishes where everything is.
    pub fn placement(&self, placement: &Placement, config: &NodeConfig) {
        // Who gets a pose may look for its transforms at once.
        self.transforms(placement, config);
        if let Some(own) = &placement.odometry {
            self.publish_odometry(placement.stamp, own, config);
        }
        self.publish_pose(placement, config);
    }

    /// Publishes the correction of odometry.
    pub fn correction(&self, stamp: Stamp, map_from_odom: &Se3, config: &NodeConfig) {
        if config.publish_tf {
            let stamp = stamp.plus_secs(config.tf_tolerance);
            let message =
                convert::transform(stamp, &config.map_frame, &config.odom_frame, map_from_odom);
            tell(self.tf.publish(&TFMessage { transforms: vec![message] }));
        }
    }

    /// Publishes the path of the robot in the map.
    pub fn path(&self, stamp: Stamp, poses: &[(Stamp, Se3)], config: &NodeConfig) {
        let stamped = |(stamp, pose): &(Stamp, Se3)| PoseStamped {
            header: convert::header(*stamp, &config.map_frame),
            pose: convert::pose(pose),
        };
        let header = convert::header(stamp, &config.map_frame);
        tell(self.path.publish(&Path { header, poses: poses.iter().map(stamped).collect() }));
    }

    /// Publishes the cameras of all keyframes in the map.
    pub fn keyframes(&self, stamp: Stamp, poses: &[Se3], config: &NodeConfig) {
        let header = convert::header(stamp, &config.map_frame);
        let poses = poses.iter().map(convert::pose).collect();
        tell(self.keyframes.publish(&PoseArray { header, poses }));
    }

    /// Publishes the graph of keyframes.
    pub fn graph(&self, stamp: Stamp, graph: &GraphView, config: &NodeConfig) {
        let header = convert::header(stamp, &config.map_frame);
        tell(self.graph.publish(&markers::graph(&header, graph)));
    }

    /// Publishes the points of a keyframe in the map.
    pub fn cloud(&self, keyframe: &Keyframe, map_from_world: &Se3, config: &NodeConfig) {
        let map_from_camera = (map_from_world * keyframe.world_from_camera).cast::<f32>();
        let PointCloud { points, colors } = keyframe_cloud(keyframe, 1);
        let points = points.iter().map(|point| map_from_camera * point).collect();
        let header = convert::header(keyframe.frame.stamp, &config.map_frame);
        tell(self.cloud.publish(&convert::cloud(header, &PointCloud { points, colors })));
    }

    /// Publishes the depth of a keyframe, in metres; NaN where there is none (REP 118).
    pub fn depth(&self, keyframe: &Keyframe, camera_frame: &str) {
        let pointmap = &keyframe.pointmap;
        let (width, height) = (pointmap.width(), pointmap.height());
        let mut data = Vec::with_capacity(4 * width * height);
        for y in 0..height {
            for x in 0..width {
                let depth_m = pointmap.point(x, y).map_or(f32::NAN, |point| point.z);
                data.extend_from_slice(&depth_m.to_le_bytes());
            }
        }
        tell(self.depth.publish(&Image {
            header: convert::header(keyframe.frame.stamp, camera_frame),
            height: height as u32,
            width: width as u32,
            encoding: "32FC1".to_owned(),
            is_bigendian: 0,
            step: 4 * width as u32,
            data,
        }));
    }

    /// Publishes what the mapping is doing.
    pub fn status(&self, status: &Status) {
        tell(self.status.publish(status));
    }

    fn publish_pose(&self, placement: &Placement, config: &NodeConfig) {
        let covariance = ros_covariance(&placement.map_covariance, &placement.map_from_base);
        tell(self.pose.publish(&PoseWithCovarianceStamped {
            header: convert::header(placement.stamp, &config.map_frame),
            pose: convert::pose_with_covariance(&placement.map_from_base, &covariance),
        }));
    }

    fn publish_odometry(&self, stamp: Stamp, own: &OwnOdometry, config: &NodeConfig) {
        let covariance = ros_covariance(&own.covariance, &own.odom_from_base);
        let [linear, angular] = own.twist_variance;
        let mut twist_covariance = vec![0.0; 36];
        for (axis, variance) in
            [linear, linear, linear, angular, angular, angular].into_iter().enumerate()
        {
            twist_covariance[7 * axis] = variance;
        }
        let twist = Twist {
            linear: convert::vector(&own.linear_m_per_sec),
            angular: convert::vector(&own.angular_rad_per_sec),
        };
        tell(self.odometry.publish(&Odometry {
            header: convert::header(stamp, &config.odom_frame),
            child_frame_id: config.base_frame.clone(),
            pose: convert::pose_with_covariance(&own.odom_from_base, &covariance),
            twist: TwistWithCovariance { twist, covariance: twist_covariance },
        }));
    }

    fn transforms(&self, placement: &Placement, config: &NodeConfig) {
        if let Some(map_from_odom) = &placement.map_from_odom {
            self.correction(placement.stamp, map_from_odom, config);
        }
        if let (Some(own), true) = (&placement.odometry, config.publish_tf) {
            let (parent, child) = (&config.odom_frame, &config.base_frame);
            let message = convert::transform(placement.stamp, parent, child, &own.odom_from_base);
            tell(self.tf.publish(&TFMessage { transforms: vec![message] }));
        }
    }
}

/// Returns a publisher whose last message every late joiner gets.
pub fn latched<T: WrappedTypesupport>(node: &mut Node, topic: &str) -> r2r::Result<Publisher<T>> {
    node.create_publisher(topic, QosProfile::default().keep_last(1).transient_local())
}

/// A message that could not be sent is told, and the next one is tried all the same.
pub fn tell(outcome: r2r::Result<()>) {
    if let Err(error) = outcome {
        r2r::log_warn!(crate::node::NAME, "a message could not be published: {error}");
    }
}
