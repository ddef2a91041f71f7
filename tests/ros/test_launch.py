"""The launch files build their description and, where the real `launch` is, run; else with stand-ins."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import room

IS_REAL = importlib.util.find_spec('launch_ros') is not None
FOLDER = Path(__file__).parents[2] / 'launch'


class Anything:
    """Takes any arguments and remembers them."""

    def __init__(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs

    def perform(self, context):
        return context[self.args[0]]


def context_of(values):
    """What a launch file is asked with."""
    if not IS_REAL:
        return values
    from launch import LaunchContext
    context = LaunchContext()
    context.launch_configurations.update(values)
    return context


def stand_ins(monkeypatch):
    modules = {
        'launch': ['LaunchDescription'],
        'launch.actions': ['DeclareLaunchArgument', 'EmitEvent', 'ExecuteProcess', 'GroupAction',
                           'IncludeLaunchDescription', 'LogInfo', 'OpaqueFunction',
                           'RegisterEventHandler', 'TimerAction'],
        'launch.conditions': ['IfCondition'],
        'launch.event_handlers': ['OnProcessExit'],
        'launch.events': ['Shutdown'],
        'launch.launch_description_sources': ['PythonLaunchDescriptionSource'],
        'launch.substitutions': ['LaunchConfiguration'],
        'launch_ros': [],
        'launch_ros.actions': ['Node', 'PushRosNamespace'],
    }
    for name, classes in modules.items():
        module = types.ModuleType(name)
        for each in classes:
            setattr(module, each, type(each, (Anything,), {}))
        monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def load(monkeypatch):
    if not IS_REAL:
        stand_ins(monkeypatch)

    def of(name):
        spec = importlib.util.spec_from_file_location(name, FOLDER / f'{name}.launch.py')
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return of


@pytest.mark.parametrize('name', ['live', 'replay'])
def test_descriptions_are_built_and_every_argument_has_a_description(load, name):
    module = load(name)
    assert module.generate_launch_description() is not None
    names = [argument[0] for argument in module.ARGUMENTS]
    assert len(set(names)) == len(names)
    assert all(len(description) > 5 for _, _, description in module.ARGUMENTS)


def test_live_has_the_conventional_arguments(load):
    names = {argument[0] for argument in load('live').ARGUMENTS}
    assert names == {
        'namespace', 'use_sim_time', 'rgb_topic', 'depth_topic', 'camera_info_topic', 'odom_topic',
        'base_frame', 'odom_frame', 'map_frame', 'params_file', 'publish_tf', 'approx_sync', 'qos',
        'compressed', 'rviz', 'rerun', 'log_level'}


def test_arguments_become_parameters_and_remappings(load):
    module = load('live')
    values = {name: default for name, default, _ in module.ARGUMENTS}
    values.update(odom_topic='/wheel/odom', compressed='true', qos='reliable', rgb_topic='/cam')
    context = context_of(values)
    file, changes = module.parameters(context)
    assert Path(file).exists()
    assert changes['odometry'] == 'topic' and changes['qos_image'] == 'reliable'
    assert changes['image_transport'] == 'compressed' and changes['depth_transport'] == 'compressedDepth'
    remappings = dict(module.remappings(context))
    assert remappings['image/compressed'] == '/cam/compressed' and remappings['odom'] == '/wheel/odom'


@pytest.mark.parametrize('path', sorted((FOLDER.parent / 'config').glob('*.yaml')), ids=lambda p: p.stem)
def test_the_files_of_parameters_are_accepted_by_the_node(start, path):
    peer, node = start(connect=False, params_file=path)
    peer.wait('the node', lambda: peer.last() is not None)
    status, _ = node.stop()
    assert status == 0


# What `ros2 launch` does, for where its command is not.
LAUNCH = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
source = PythonLaunchDescriptionSource(sys.argv[1])
arguments = [tuple(argument.split(':=', 1)) for argument in sys.argv[2:]]
service = LaunchService(argv=[])
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments)]))
sys.exit(service.run())
"""


@pytest.mark.skipif(not IS_REAL, reason='launch_ros is not installed: the launch file is read, and not run')
def test_the_launch_file_brings_up_a_node_with_its_arguments(tmp_path):
    from peer import Peer
    from recon_node.msg import Status

    peer = Peer()
    statuses = peer.hear(Status, '/robot/recon_node/status')
    arguments = ['namespace:=robot', 'rviz:=false', 'rgb_topic:=/cam/color', 'depth_topic:=/cam/depth',
                 'camera_info_topic:=/cam/info', 'map_frame:=hall']
    launched = subprocess.Popen([sys.executable, '-c', LAUNCH, str(FOLDER / 'live.launch.py'), *arguments], cwd=tmp_path)
    try:
        peer.wait('the node', lambda: statuses)
        assert statuses[-1].header.frame_id == 'hall'
        for topic in ('/cam/color', '/cam/depth', '/cam/info'):
            peer.wait(topic, lambda: peer.node.count_subscribers(topic) == 1)
    finally:
        launched.send_signal(signal.SIGINT)
        status = launched.wait(timeout=60)
        peer.destroy()
    assert status == 0


def write_bag(folder, count):
    """The room as a bag, with the robot's transform to its camera."""
    from rclpy.serialization import serialize_message
    from rosbags.rosbag2 import Writer
    from rosbags.typesys import Stores, get_typestore

    from peer import image, info_of, lens_on_the_robot

    store = get_typestore(Stores.ROS2_JAZZY)
    kinds = {'/tf_static': 'tf2_msgs/msg/TFMessage', '/camera/color/camera_info': 'sensor_msgs/msg/CameraInfo',
             '/camera/color/image_raw': 'sensor_msgs/msg/Image',
             '/camera/aligned_depth_to_color/image_raw': 'sensor_msgs/msg/Image'}
    with Writer(folder, version=9) as writer:
        topics = {topic: writer.add_connection(topic, kind, typestore=store) for topic, kind in kinds.items()}
        write = lambda topic, nanos, message: writer.write(topics[topic], nanos, serialize_message(message))
        write('/tf_static', room.stamp_nanos(0), lens_on_the_robot())
        for index in range(count):
            nanos, (color, depth) = room.stamp_nanos(index), room.render(index)
            write('/camera/color/camera_info', nanos, info_of(nanos))
            write('/camera/color/image_raw', nanos, image(nanos, 'rgb8', color))
            write('/camera/aligned_depth_to_color/image_raw', nanos, image(nanos, '16UC1', depth))


@pytest.mark.skipif(not IS_REAL, reason='launch_ros is not installed: the launch file is read, and not run')
def test_a_bag_is_replayed_evaluated_and_ended_with(tmp_path):
    frames = 60
    write_bag(tmp_path / 'bag', frames)
    truth = [np.r_[room.stamp_nanos(i) / 1e9, room.camera_in_room(i)] for i in range(frames)]
    np.savetxt(tmp_path / 'truth.txt', truth, fmt='%.9f')
    environment = dict(os.environ)
    if shutil.which('ros2') is None:
        command = tmp_path / 'bin' / 'ros2'
        command.parent.mkdir()
        command.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).parent / "ros2_command.py"} "$@"\n')
        command.chmod(0o755)
        environment['PATH'] = f'{command.parent}:{environment["PATH"]}'
    arguments = [f'bag:={tmp_path / "bag"}', 'base_frame:=base_link', f'reference:={tmp_path / "truth.txt"}']
    launched = subprocess.run(
        [sys.executable, '-c', LAUNCH, str(FOLDER / 'replay.launch.py'), *arguments], cwd=tmp_path, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    said = launched.stdout
    assert launched.returncode == 0, said
    poses = np.loadtxt(tmp_path / 'trajectory.txt')
    assert len(poses) >= frames - 5, (len(poses), said)
    assert (tmp_path / 'map.ply').read_bytes().startswith(b'ply')
    assert 'ATE' in said, said
