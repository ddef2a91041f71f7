"""The other side of the tests: a real rclpy node, and the node under test as a process."""

import os
import signal
import subprocess
import threading
import time

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped, TransformStamped
from nav_msgs.msg import Odometry
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from recon_node.msg import Status
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage

import room

# How long anything may take; machines that do other things too need patience.
PATIENCE_SECS = float(os.environ.get('RECON_TEST_PATIENCE', '60'))
BINARY = os.environ['RECON_NODE']

RELIABLE = QoSProfile(depth=200)
BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# What the tests send arrives: nothing in them depends on how fast the machine is.
SURE = ['qos_image', 'qos_depth', 'qos_camera_info', 'qos_odom']


class NodeUnderTest:
    """The built node, with parameters."""

    def __init__(self, tmp_path, remap=(), params_file=None, **parameters):
        given = {name: 'reliable' for name in SURE}
        given.update(map_rate=10.0, path_rate=10.0, frame_queue_size=100, topic_queue_size=50,
                     sync_queue_size=50, diagnosis_after=1.0)
        given.update(parameters)
        args = [BINARY, '--ros-args']
        if params_file:
            args += ['--params-file', str(params_file)]
        for name, value in given.items():
            args += ['-p', f'{name}:={str(value).lower() if isinstance(value, bool) else value}']
        for rule in remap:
            args += ['-r', rule]
        self.log_path = tmp_path / f'node_{time.monotonic_ns()}.log'
        self.log_file = open(self.log_path, 'w')
        self.process = subprocess.Popen(args, stdout=self.log_file, stderr=subprocess.STDOUT, cwd=tmp_path)

    def log(self):
        return self.log_path.read_text()

    def stop(self, sign=signal.SIGTERM):
        """Ends the node; returns its exit status and how many seconds it took."""
        started = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(sign)
        try:
            status = self.process.wait(timeout=PATIENCE_SECS)
        finally:
            self.process.kill()
            self.log_file.close()
        return status, time.monotonic() - started


class Peer:
    """Publishes the room and listens, on a thread of its own, to all that the node says."""

    def __init__(self, image_qos=RELIABLE, static_tf=True, focal=room.FOCAL, compressed=False):
        self.node = rclpy.create_node('peer')
        self.focal = focal
        self.listener = SingleThreadedExecutor()
        self.listener.add_node(self.node)
        make = self.node.create_publisher
        kind, ends = (CompressedImage, ('/compressed', '/compressedDepth')) if compressed else (Image, ('', ''))
        self.image = make(kind, 'image' + ends[0], image_qos)
        self.depth = make(kind, 'depth' + ends[1], image_qos)
        self.info = make(CameraInfo, 'camera_info', RELIABLE)
        self.odom = make(Odometry, 'odom', RELIABLE)
        self.tf_static = make(TFMessage, '/tf_static', LATCHED)
        self.tf_pub = make(TFMessage, '/tf', QoSProfile(depth=100))
        self.poses_wanted = 0
        self.statuses, self.tf, self.odometry, self.poses, self.diagnostics = [], [], [], [], []
        listen = self.node.create_subscription
        listen(Status, '/recon_node/status', self.statuses.append, QoSProfile(depth=1000))
        listen(TFMessage, '/tf', lambda m: self.tf.extend(m.transforms), QoSProfile(depth=1000))
        listen(Odometry, '/recon_node/odometry', self.odometry.append, QoSProfile(depth=1000))
        listen(PoseWithCovarianceStamped, '/recon_node/pose', self.poses.append, QoSProfile(depth=1000))
        listen(DiagnosticArray, '/diagnostics', self.diagnostics.append, QoSProfile(depth=100))
        if static_tf:
            self.publish_static_tf()
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        try:
            self.listener.spin()
        except ExternalShutdownException:
            pass

    def publish_static_tf(self):
        self.tf_static.publish(lens_on_the_robot())

    def latch(self, kind, topic):
        """A late joiner's subscription: what was published before it is what it waits for."""
        return self.hear(kind, topic, LATCHED)

    def hear(self, kind, topic, qos=RELIABLE):
        """All that is published on a topic from now on."""
        found = []
        self.node.create_subscription(kind, topic, found.append, qos)
        return found

    def wait(self, what, until, patience=PATIENCE_SECS):
        """Waits until something is so."""
        deadline = time.monotonic() + patience
        while not until():
            assert time.monotonic() < deadline, f'waited in vain for {what}: {self.last()}'
            time.sleep(0.01)

    def wait_sending(self, what, until, period_secs=0.1, **how):
        """Sends frame after frame of the room until something is so."""
        index, deadline = 0, time.monotonic() + PATIENCE_SECS
        while not until():
            assert time.monotonic() < deadline, f'waited in vain for {what}: {self.last()}'
            self.send(index, **how)
            index += 1
            time.sleep(period_secs)

    def last(self):
        return self.statuses[-1] if self.statuses else None

    def connect(self):
        """Waits until the node listens and speaks."""
        self.wait('the node', lambda: all(
            p.get_subscription_count() > 0 for p in (self.image, self.depth, self.info)) and self.statuses)

    def send(self, index, stamp_index=None, start_secs=room.START_SECS, size=None, depth_offset_nanos=0):
        """Publishes one frame of the room."""
        color, depth = room.render(index)
        nanos = room.stamp_nanos(index if stamp_index is None else stamp_index, start_secs)
        self.publish(self.info_message(nanos, size), image(nanos, 'rgb8', color),
                     image(nanos + depth_offset_nanos, '16UC1', depth))

    def send_images(self, index, color, depth):
        """Publishes other images as a frame of the room."""
        nanos = room.stamp_nanos(index)
        self.publish(self.info_message(nanos), image(nanos, 'rgb8', color), image(nanos, '16UC1', depth))

    def publish(self, info, color, depth):
        self.info.publish(info)
        self.image.publish(color)
        self.depth.publish(depth)

    def info_message(self, nanos, size=None):
        return info_of(nanos, size, self.focal)

    def map_frames(self, count, start=0, **how):
        """Sends frames one after the other, each when the one before was processed and all that the
        node says of it has come."""
        for index in range(start, start + count):
            self.one_by_one(lambda: self.send(index, **how))

    def one_by_one(self, send):
        before = self.last()
        send()
        self.wait('a frame', lambda: self.last().frames_processed > before.frames_processed)
        # The pose was published before the status, but on another topic.
        tracked = self.last().frames_tracked - before.frames_tracked
        self.poses_wanted += tracked
        self.wait('its pose', lambda: len(self.poses) >= self.poses_wanted)

    def ask(self, kind, name, request):
        """Calls a service, and does not wait for its answer."""
        client = self.node.create_client(kind, name)
        self.wait(name, client.service_is_ready)
        return client.call_async(request)

    def call(self, kind, name, request):
        future = self.ask(kind, name, request)
        self.wait(f'an answer of {name}', future.done)
        return future.result()

    def transforms(self, parent, child):
        return [t for t in self.tf if t.header.frame_id == parent and t.child_frame_id == child]

    def destroy(self):
        self.listener.shutdown()
        self.thread.join()
        self.node.destroy_node()


def lens_on_the_robot():
    """The transform of the camera, as on /tf_static."""
    message = TransformStamped()
    message.header.frame_id, message.child_frame_id = 'base_link', 'lens'
    translation, rotation = message.transform.translation, message.transform.rotation
    translation.x, translation.y, translation.z = map(float, room.BASE_FROM_CAMERA_TRANSLATION)
    rotation.x, rotation.y, rotation.z, rotation.w = -0.5, 0.5, -0.5, 0.5
    return TFMessage(transforms=[message])


def info_of(nanos, size=None, focal=room.FOCAL):
    """The calibration of the room's camera; a focal length of zero is none."""
    width, height = size or (room.WIDTH, room.HEIGHT)
    message = CameraInfo(width=width, height=height, distortion_model='plumb_bob', d=[0.0] * 5)
    message.header.stamp, message.header.frame_id = time_of(nanos), 'lens'
    cx, cy = room.WIDTH / 2 - 0.5, room.HEIGHT / 2 - 0.5
    message.k = [focal, 0.0, cx, 0.0, focal, cy, 0.0, 0.0, 1.0 if focal else 0.0]
    return message


def time_of(nanos):
    return Time(sec=nanos // 10**9, nanosec=nanos % 10**9)


def nanos_of(stamp):
    return stamp.sec * 10**9 + stamp.nanosec


def image(nanos, encoding, pixels):
    message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding)
    message.header.stamp, message.header.frame_id = time_of(nanos), 'lens'
    message.step = int(pixels.strides[0])
    message.data = pixels.tobytes()
    return message


def matrix(translation, q):
    """The 4×4 matrix of a transform's or a pose's parts."""
    x, y, z, w = q.x, q.y, q.z, q.w
    found = np.eye(4)
    found[:3, :3] = [[1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                     [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                     [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]]
    found[:3, 3] = translation.x, translation.y, translation.z
    return found


def of_transform(message):
    return matrix(message.transform.translation, message.transform.rotation)


def true_base(index):
    found = np.eye(4)
    found[:3, :3], found[:3, 3] = room.base_pose(index)
    return found
