"""Poses, transforms and maps that the node publishes of a room that is known exactly."""

import os
import subprocess
import time

import numpy as np
from geometry_msgs.msg import PoseArray
from nav_msgs.msg import OccupancyGrid, Path
from nav_msgs.srv import GetMap
from recon_node.msg import Status
from recon_node.srv import SaveTrajectory
from sensor_msgs.msg import Image, PointCloud2, PointField
from visualization_msgs.msg import Marker, MarkerArray

import room
from peer import matrix, nanos_of, of_transform, true_base

FRAMES = 40


def errors_m(transforms):
    """Distances from the truth, by stamp."""
    by_stamp = {room.stamp_nanos(index): true_base(index) for index in range(2 * FRAMES)}
    return [np.linalg.norm(of_pose[:3, 3] - by_stamp[nanos][:3, 3]) for nanos, of_pose in transforms]


def test_transforms_are_those_of_rep_105(start):
    peer, _ = start()
    peer.map_frames(FRAMES)
    peer.wait('all transforms', lambda: len(peer.transforms('odom', 'base_link')) == FRAMES)
    parents = {t.child_frame_id: t.header.frame_id for t in peer.tf}
    assert parents == {'odom': 'map', 'base_link': 'odom'}
    odom = [(nanos_of(t.header.stamp), of_transform(t)) for t in peer.transforms('odom', 'base_link')]
    # Between frames the robot moves by some 1.4 cm; odometry never jumps.
    steps = [np.linalg.norm(b[:3, 3] - a[:3, 3]) for (_, a), (_, b) in zip(odom, odom[1:])]
    assert max(steps) < 0.03, steps
    assert np.allclose(odom[0][1], np.eye(4), atol=1e-9)
    # The map's z is up: the robot stays on the floor.
    peer.wait('all corrections', lambda: len(peer.transforms('map', 'odom')) == FRAMES)
    poses = [(nanos_of(p.header.stamp), matrix(p.pose.pose.position, p.pose.pose.orientation)) for p in peer.poses]
    assert max(abs(pose[2, 3]) for _, pose in poses) < 0.02
    assert max(errors_m(poses)) < 0.02, errors_m(poses)
    # map from odom and odom from base together are the pose.
    correction = of_transform(peer.transforms('map', 'odom')[-1])
    assert np.allclose(correction @ odom[-1][1], poses[-1][1], atol=1e-6)
    # Corrections are dated into the future by tf_tolerance.
    ahead = nanos_of(peer.transforms('map', 'odom')[-1].header.stamp) - odom[-1][0]
    assert ahead == 100_000_000
    assert peer.last().state == Status.TRACKING and peer.last().frames_tracked == FRAMES
    assert peer.last().frames_dropped == 0


def test_odometry_has_velocities_and_an_honest_covariance(start):
    peer, _ = start()
    peer.map_frames(20)
    peer.wait('odometry', lambda: len(peer.odometry) == 20)
    last = peer.odometry[-1]
    assert (last.header.frame_id, last.child_frame_id) == ('odom', 'base_link')
    a, b = true_base(18), true_base(19)
    expected = (np.linalg.inv(a) @ b)[:3, 3] * room.RATE
    found = last.twist.twist.linear
    assert np.linalg.norm(np.array([found.x, found.y, found.z]) - expected) < 0.15
    for covariance in (last.pose.covariance, last.twist.covariance, peer.poses[-1].pose.covariance):
        found = np.array(covariance).reshape(6, 6)
        assert np.allclose(found, found.T) and np.all(np.linalg.eigvalsh(found) > 0)
        assert found[0, 0] < 1.0
    traces = [np.trace(np.array(o.pose.covariance).reshape(6, 6)) for o in peer.odometry]
    assert traces[-1] >= traces[0]


def test_a_late_joiner_gets_the_map_the_path_and_the_keyframes(start):
    peer, _ = start()
    peer.map_frames(FRAMES)
    map_, path = peer.latch(PointCloud2, '/recon_node/map'), peer.latch(Path, '/recon_node/path')
    keyframes = peer.latch(PoseArray, '/recon_node/keyframes')
    cloud = peer.latch(PointCloud2, '/recon_node/cloud')
    peer.wait('latched messages', lambda: map_ and path and keyframes and cloud)
    peer.wait('the newest path', lambda: len(path[-1].poses) == FRAMES)
    for message in (map_[-1], cloud[-1]):
        assert message.header.frame_id == 'map'
        fields = [(f.name, f.offset, f.datatype, f.count) for f in message.fields]
        assert fields == [(n, 4 * i, PointField.FLOAT32, 1) for i, n in enumerate(('x', 'y', 'z', 'rgb'))]
        assert message.point_step == 16 and message.row_step == 16 * message.width
        assert message.height == 1 and not message.is_bigendian and message.is_dense
        assert len(message.data) == 16 * message.width and message.width > 1000
        points = np.frombuffer(bytes(message.data), dtype='<f4').reshape(-1, 4)[:, :3]
        # All points lie on the walls of the room, in the map's frame with z up.
        low, high = np.array([-2, -2, -0.7]), np.array([3, 2, 2.3])
        to_wall = np.minimum(np.abs(points - low), np.abs(points - high)).min(axis=1)
        assert np.quantile(to_wall, 0.95) < 0.04, np.quantile(to_wall, 0.95)
        colors = np.frombuffer(bytes(message.data), dtype=np.uint8).reshape(-1, 16)[:, 12:]
        assert np.all(colors[:, 3] == 0) and colors[:, :3].std() > 10
    assert path[-1].header.frame_id == 'map'
    assert len(keyframes[-1].poses) == peer.last().keyframes


def test_the_trajectory_is_that_of_the_offline_replay(start, tmp_path):
    peer, _ = start()
    peer.map_frames(FRAMES)
    online = tmp_path / 'online.txt'
    answer = peer.call(SaveTrajectory, '/recon_node/save_trajectory', SaveTrajectory.Request(path=str(online)))
    assert answer.success and answer.poses == FRAMES, answer.message
    room.write_tum(tmp_path / 'tum', FRAMES)
    recon = os.environ['RECON']
    subprocess.run([recon, 'replay', str(tmp_path / 'tum'), '--out', str(tmp_path / 'out'), '--quiet'], check=True)
    a, b = np.loadtxt(online), np.loadtxt(tmp_path / 'out' / 'trajectory.txt')
    assert a.shape == b.shape
    # The map stands on the robot, the replay's world on the first camera: motions are compared.
    motions = [np.linalg.norm(t[1:, 1:4] - t[:-1, 1:4], axis=1) for t in (a, b)]
    # To the last of the nine decimals that are written.
    assert np.abs(motions[0] - motions[1]).max() < 1e-8


def test_the_depth_of_keyframes_is_published_in_metres(start):
    peer, _ = start(publish_depth=True)
    images = peer.hear(Image, '/recon_node/depth')
    peer.wait('the publisher', lambda: peer.node.count_publishers('/recon_node/depth') > 0)
    # A writer knows its reader a little before it sends to it: the first keyframes may be missed.
    for index in range(FRAMES):
        peer.map_frames(1, start=index)
        if images:
            break
    peer.wait('depth', lambda: images)
    message = images[0]
    assert (message.encoding, message.header.frame_id) == ('32FC1', 'lens')
    shown = [room.stamp_nanos(index) for index in range(FRAMES)].index(nanos_of(message.header.stamp))
    found = np.frombuffer(bytes(message.data), '<f4').reshape(message.height, message.width)
    assert message.step == 4 * message.width
    _, truth = room.render(shown)
    assert found.shape == truth.shape, 'the room is shown at working size'
    assert np.nanmax(np.abs(found - truth / 1000.0)) < 0.01


def test_the_graph_of_keyframes_is_drawn(start):
    peer, _ = start()
    peer.map_frames(FRAMES)
    graphs = peer.latch(MarkerArray, '/recon_node/graph')
    peer.wait('the newest graph', lambda: graphs and drawn(graphs[-1]).get('keyframes') is not None
              and len(drawn(graphs[-1])['keyframes'].points) == peer.last().keyframes)
    markers = drawn(graphs[-1])
    assert graphs[-1].markers[0].action == Marker.DELETEALL
    assert peer.last().keyframes >= 2, 'else there is nothing to be drawn'
    for name in ('covisibility', 'constraints'):
        lines = markers[name]
        assert lines.type == Marker.LINE_LIST and lines.header.frame_id == 'map' and lines.scale.x > 0
        assert len(lines.points) >= 2 and len(lines.points) % 2 == 0
    # Cameras are as high as the lens is on the robot.
    assert all(abs(p.z - room.BASE_FROM_CAMERA_TRANSLATION[2]) < 0.05 for p in markers['keyframes'].points)


def drawn(graph):
    return {marker.ns: marker for marker in graph.markers}


def test_the_plan_of_the_map_is_latched_and_has_walls_and_floor(start):
    peer, _ = start()
    nothing = peer.call(GetMap, '/recon_node/get_map', GetMap.Request()).map
    assert (nothing.info.width, len(nothing.data)) == (0, 0), 'there is no map yet'
    peer.map_frames(FRAMES)
    # Nobody has listened yet: who comes late has it made.
    plans = peer.latch(OccupancyGrid, '/recon_node/grid')
    peer.wait('the plan', lambda: plans)
    plan = plans[-1]
    info, origin = plan.info, plan.info.origin.position
    assert plan.header.frame_id == 'map' and abs(info.resolution - 0.05) < 1e-6
    assert len(plan.data) == info.width * info.height and set(plan.data) == {-1, 0, 100}
    assert info.origin.orientation.w == 1.0
    assert abs(origin.z + 0.7) < 0.05, 'the floor of the room'
    cells = np.array(plan.data).reshape(info.height, info.width)
    rows, columns = np.nonzero(cells == 100)
    x, y = origin.x + (columns + 0.5) * info.resolution, origin.y + (rows + 0.5) * info.resolution
    to_wall = np.minimum.reduce([abs(x - 3), abs(x + 2), abs(y - 2), abs(y + 2)])
    assert np.quantile(to_wall, 0.95) < 0.1 and abs(x - 3).min() < 0.1 and abs(abs(y) - 2).min() < 0.1
    at = lambda x, y: cells[int((y - origin.y) / info.resolution), int((x - origin.x) / info.resolution)]
    assert at(1.5, 0.0) == 0 and at(2.5, 0.5) == 0, 'nothing stands in the room'
    # Another one who comes late gets the same, and nothing more comes while nothing changes.
    peer.wait('silence', lambda: is_silent(plans))
    late = peer.latch(OccupancyGrid, '/recon_node/grid')
    peer.wait('the latched plan', lambda: late)
    assert late[0] == plans[-1]
    asked = peer.call(GetMap, '/recon_node/get_map', GetMap.Request()).map
    assert (asked.info.width, asked.info.height) == (info.width, info.height) and asked.data == plans[-1].data


def is_silent(found, secs=1.0):
    before = len(found)
    time.sleep(secs)
    return len(found) == before


def test_the_status_tells_what_the_model_was_asked_and_what_it_took(start):
    peer, _ = start()
    peer.map_frames(FRAMES)
    status = peer.last()
    assert status.model == 'sensor-depth' and status.windows >= status.keyframes >= 2
    assert status.window_views == 1 and 0.0 < status.inference_secs < 1.0
    assert status.windows_calibrated == status.windows
    for prior in (status.depth_prior, status.poses_prior):
        assert (prior.told, prior.windows, prior.tests) == (False, 0, 0), 'a sensor is given no priors of the map'
