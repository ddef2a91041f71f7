"""All ways in which images, depth, odometry and time can come."""

import io
import struct

import numpy as np
import pytest
import room
from nav_msgs.msg import Odometry
from PIL import Image as Picture
from rclpy.qos import QoSProfile
from recon_node.msg import Status
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage
from tf2_msgs.msg import TFMessage
from geometry_msgs.msg import TransformStamped

from peer import image, nanos_of, of_transform, time_of, true_base

FRAMES = 8


def compressed(nanos, form, payload):
    message = CompressedImage(format=form, data=payload)
    message.header.stamp, message.header.frame_id = time_of(nanos), 'lens'
    return message


def png(pixels):
    file = io.BytesIO()
    Picture.fromarray(pixels).save(file, format='PNG')
    return file.getvalue()


def jpeg(nanos, color):
    file = io.BytesIO()
    Picture.fromarray(color).save(file, format='JPEG', quality=95)
    return compressed(nanos, 'rgb8; jpeg compressed bgr8', file.getvalue())


def depth_png(nanos, depth):
    return compressed(nanos, '16UC1; compressedDepth png', struct.pack('<iff', 0, 0, 0) + png(depth))


def inverse_depth_png(nanos, depth):
    """Metres as quantised inverse depth, as compressed_depth_image_transport writes them."""
    nearest, farthest = 100.0, 10.0
    a = nearest * (nearest + 1)
    b = 1 - a / farthest
    codes = np.round(a / (depth / 1000.0) + b).astype(np.uint16)
    return compressed(nanos, '32FC1; compressedDepth png', struct.pack('<iff', 0, a, b) + png(codes))


def grey(color):
    return np.round(color @ [0.299, 0.587, 0.114]).astype(np.uint8)


RAW = {
    'bgr8 and 16UC1': (lambda n, c: image(n, 'bgr8', c[..., ::-1].copy()), lambda n, d: image(n, '16UC1', d)),
    'mono8 and 32FC1': (lambda n, c: image(n, 'mono8', grey(c)),
                        lambda n, d: image(n, '32FC1', (d / 1000.0).astype('<f4'))),
    'rgba8 and 32FC1': (lambda n, c: image(n, 'rgba8', np.dstack([c, np.full(c.shape[:2], 255, np.uint8)])),
                        lambda n, d: image(n, '32FC1', (d / 1000.0).astype('<f4'))),
}
COMPRESSED = {
    'jpeg and 16UC1': (jpeg, depth_png),
    'png and 32FC1': (lambda n, c: compressed(n, 'rgb8; png compressed bgr8', png(c)), inverse_depth_png),
}


def show(peer, encode, index):
    """Maps one frame, encoded in some way."""
    nanos = room.stamp_nanos(index)
    color, depth = room.render(index)
    peer.one_by_one(lambda: peer.publish(peer.info_message(nanos), encode[0](nanos, color), encode[1](nanos, depth)))


def assert_on_the_way(peer, tolerance_m=0.02):
    """The robot is where it should be, and not where it began."""
    at = peer.poses[-1].pose.pose.position
    error = np.linalg.norm(np.array([at.x, at.y, at.z]) - true_base(FRAMES - 1)[:3, 3])
    assert error < tolerance_m < np.linalg.norm(true_base(FRAMES - 1)[:3, 3]), error


@pytest.mark.parametrize('name', RAW)
def test_every_encoding_carries_the_same_pictures(start, name):
    peer, _ = start()
    for index in range(FRAMES):
        show(peer, RAW[name], index)
    assert peer.last().frames_tracked == FRAMES
    assert_on_the_way(peer)


@pytest.mark.parametrize('name', COMPRESSED)
def test_every_transport_carries_the_same_pictures(start, name):
    peer, _ = start(peer=dict(compressed=True), image_transport='compressed', depth_transport='compressedDepth')
    for index in range(FRAMES):
        show(peer, COMPRESSED[name], index)
    assert peer.last().frames_tracked == FRAMES
    assert_on_the_way(peer)


def test_exact_synchronisation_takes_equal_stamps_only(start):
    peer, _ = start(approx_sync=False)
    peer.map_frames(2)
    peer.send(2, depth_offset_nanos=1_000_000)
    peer.map_frames(1, start=3)
    assert peer.last().frames_processed == 3 and peer.last().images_unpaired == 1


def test_images_that_are_lost_on_the_way_are_noticed(start):
    peer, _ = start()
    for index in range(0, 40):
        if index % 8 < 2:
            peer.map_frames(1, start=index)
    peer.wait('a warning', lambda: any(
        s.level == b'\x01' and '% of the images are missing' in s.message and 'reliable' in s.message
        for m in peer.diagnostics[-1:] for s in m.status))


def odometry(index):
    """Odometry that begins somewhere and drifts by a tenth of the way: position and yaw."""
    pose = true_base(index)
    return 1.1 * pose[0, 3] + 2.0, pose[1, 3], np.arctan2(pose[1, 0], pose[0, 0])


def publish_odometry(peer, index, by):
    x, y, yaw = odometry(index)
    stamp = time_of(room.stamp_nanos(index))
    if by == 'tf':
        message = TransformStamped()
        message.header.frame_id, message.child_frame_id, message.header.stamp = 'odom', 'base_link', stamp
        message.transform.translation.x, message.transform.translation.y = x, y
        message.transform.rotation.z, message.transform.rotation.w = float(np.sin(yaw / 2)), float(np.cos(yaw / 2))
        return peer.tf_pub.publish(TFMessage(transforms=[message]))
    message = Odometry()
    message.header.frame_id, message.child_frame_id, message.header.stamp = 'odom', 'base_link', stamp
    position, orientation = message.pose.pose.position, message.pose.pose.orientation
    position.x, position.y = x, y
    orientation.z, orientation.w = float(np.sin(yaw / 2)), float(np.cos(yaw / 2))
    message.pose.covariance = (np.eye(6) * 1e-2).ravel().tolist()
    peer.odom.publish(message)


@pytest.mark.parametrize('by', ['topic', 'tf'])
def test_with_other_odometry_only_the_correction_is_published(start, by):
    peer, _ = start(odometry=by, wait_for_transform=5.0)
    for index in range(20):
        publish_odometry(peer, index, by)
        peer.map_frames(1, start=index)
    peer.wait('corrections', lambda: len(peer.transforms('map', 'odom')) >= 20)
    ours = [t for t in peer.transforms('odom', 'base_link') if by == 'topic']
    assert not ours and not peer.odometry
    drift = of_transform(peer.transforms('map', 'odom')[19])[:3, 3]
    assert abs(drift[0] + 0.1 * true_base(19)[0, 3]) < 0.02, drift
    # No image comes any more: the last correction holds, at the time of the newest odometry.
    for index in range(20, 40):
        publish_odometry(peer, index, by)
    newest = room.stamp_nanos(36)
    peer.wait('a correction that holds', lambda: nanos_of(peer.transforms('map', 'odom')[-1].header.stamp) > newest)
    assert np.allclose(of_transform(peer.transforms('map', 'odom')[-1])[:3, 3], drift, atol=1e-9)


def test_time_is_that_of_the_clock_and_may_jump_back(start, tmp_path):
    saved = tmp_path / 'map.ply'
    peer, node = start(use_sim_time=True, save_map_on_exit=str(saved))
    clock = peer.node.create_publisher(Clock, '/clock', QoSProfile(depth=10))
    peer.wait('a listener to the clock', lambda: clock.get_subscription_count() > 0)

    def play(start_secs):
        for index in range(FRAMES):
            clock.publish(Clock(clock=time_of(room.stamp_nanos(index, start_secs) + 20_000_000)))
            peer.map_frames(1, start=index, start_secs=start_secs)
        peer.wait('diagnostics by the clock', lambda: clock.publish(
            Clock(clock=time_of(room.stamp_nanos(FRAMES, start_secs)))) or any(
            0 <= m.header.stamp.sec - start_secs < 2 for m in peer.diagnostics[-1:]))

    play(200)
    assert peer.last().session == 0 and 0.0 <= peer.last().stamp_delay_secs < 1.0
    play(100)
    assert peer.last().session == 1 and peer.last().state == Status.TRACKING
    assert 'time went back' in node.log() and (tmp_path / 'map_session0.ply').exists()
    # Odometry does not jump with time, and nothing is dated by the clock on the wall.
    odom = [of_transform(t)[:3, 3] for t in peer.transforms('odom', 'base_link')]
    assert max(np.linalg.norm(b - a) for a, b in zip(odom, odom[1:])) < 0.03
    assert all(t.header.stamp.sec < 1000 for t in peer.tf)
    status, _ = node.stop()
    assert status == 0 and saved.exists()
