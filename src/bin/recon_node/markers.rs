//! The graph of keyframes as markers.

use nalgebra::Point3;
use r2r::geometry_msgs::msg::{Point, Quaternion, Vector3};
use r2r::std_msgs::msg::{ColorRGBA, Header};
use r2r::visualization_msgs::msg::{Marker, MarkerArray};
use recon_node::ros::graph::GraphView;

/// Edge of the cube at a keyframe, and width of lines, metres.
const CUBE_M: f64 = 0.03;
const LINE_M: f64 = 0.004;
/// Red, green, blue.
const CAMERAS: [f32; 3] = [1.0, 0.6, 0.1];
const COVISIBLE: [f32; 3] = [0.5, 0.5, 0.6];
const CONSTRAINTS: [f32; 3] = [0.1, 0.8, 0.3];

/// Returns the markers, which replace all that were there: cubes for keyframes, grey lines between
/// those that see the same things (fainter the less they share), green ones for constraints.
pub fn graph(header: &Header, graph: &GraphView) -> MarkerArray {
    let delete =
        Marker { header: header.clone(), action: Marker::DELETEALL as i32, ..Marker::default() };
    let cameras = Marker {
        points: graph.cameras.iter().map(point).collect(),
        scale: Vector3 { x: CUBE_M, y: CUBE_M, z: CUBE_M },
        ..marker(header, "keyframes", Marker::CUBE_LIST as i32, CAMERAS)
    };
    let covisible = Marker {
        points: graph.covisible.iter().flat_map(|(line, _)| line.iter().map(point)).collect(),
        colors: graph
            .covisible
            .iter()
            .flat_map(|&(_, share)| [faded(share), faded(share)])
            .collect(),
        ..lines(header, "covisibility", COVISIBLE)
    };
    let constraints = Marker {
        points: graph.constraints.iter().flat_map(|line| line.iter().map(point)).collect(),
        ..lines(header, "constraints", CONSTRAINTS)
    };
    let lists = [cameras, covisible, constraints];
    // Viewers complain of lists without points.
    let filled = lists.into_iter().filter(|list| !list.points.is_empty());
    MarkerArray { markers: std::iter::once(delete).chain(filled).collect() }
}

fn lines(header: &Header, namespace: &str, color: [f32; 3]) -> Marker {
    Marker {
        scale: Vector3 { x: LINE_M, y: 0.0, z: 0.0 },
        ..marker(header, namespace, Marker::LINE_LIST as i32, color)
    }
}

fn marker(header: &Header, namespace: &str, kind: i32, [r, g, b]: [f32; 3]) -> Marker {
    let mut marker = Marker {
        header: header.clone(),
        ns: namespace.to_owned(),
        type_: kind,
        action: Marker::ADD as i32,
        color: ColorRGBA { r, g, b, a: 1.0 },
        ..Marker::default()
    };
    marker.pose.orientation = Quaternion { x: 0.0, y: 0.0, z: 0.0, w: 1.0 };
    marker
}

fn faded(share: f64) -> ColorRGBA {
    let [r, g, b] = COVISIBLE;
    ColorRGBA { r, g, b, a: share.clamp(0.1, 1.0) as f32 }
}

fn point(p: &Point3<f64>) -> Point {
    Point { x: p.x, y: p.y, z: p.z }
}
