"""The launch files, run with the real `launch` and `launch_ros` where they are installed, else with stand-ins."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import room

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / 'launch'
IS_REAL = importlib.util.find_spec('launch_ros') is not None
if not IS_REAL:
    print('launch_ros is not installed: stand-ins take its place')
    sys.path.insert(0, str(HERE / 'stand_ins'))

from launch import LaunchContext  # noqa: E402


def context_of(values):
    """What a launch file is asked with."""
    context = LaunchContext()
    context.launch_configurations.update(values)
    return context


def load(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f'{name}.launch.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize('name', ['live', 'replay'])
def test_descriptions_are_built_and_every_argument_has_a_description(name):
    module = load(name)
    assert module.generate_launch_description() is not None
    names = [argument[0] for argument in module.ARGUMENTS]
    assert len(set(names)) == len(names)
    assert all(len(description) > 5 for _, _, description in module.ARGUMENTS)


def test_live_has_the_conventional_arguments():
    names = {argument[0] for argument in load('live').ARGUMENTS}
    assert names == {
        'namespace', 'use_sim_time', 'rgb_topic', 'depth_topic', 'camera_info_topic', 'odom_topic',
        'base_frame', 'odom_frame', 'map_frame', 'params_file', 'database_path', 'localization', 'publish_tf',
        'approx_sync', 'qos', 'compressed', 'rviz', 'rerun', 'log_level'}


def test_arguments_become_parameters_and_remappings():
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


def environment_with(folder, **programs):
    """The environment in which packages of these names have programs of the same names."""
    for name, program in programs.items():
        marks = folder / 'prefix' / 'share' / 'ament_index' / 'resource_index' / 'packages'
        marks.mkdir(parents=True, exist_ok=True)
        (marks / name).touch()
        place = folder / 'prefix' / 'lib' / name
        place.mkdir(parents=True)
        (place / name).symlink_to(program)
        if name == 'recon_node' and 'RECON' in os.environ:
            (place / 'recon').symlink_to(os.environ['RECON'])
    environment = dict(os.environ)
    environment['AMENT_PREFIX_PATH'] = f'{folder / "prefix"}:{environment["AMENT_PREFIX_PATH"]}'
    if not IS_REAL:
        environment['PYTHONPATH'] = f'{HERE / "stand_ins"}:{environment.get("PYTHONPATH", "")}'
    return environment


def launch(file, arguments, folder, environment, **how):
    """What `ros2 launch` does, as a process."""
    command = [sys.executable, '-c', LAUNCH, str(FOLDER / file), *arguments]
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, **how)


# Writes down what it was started with, its files of parameters among it, and ends.
PROBE = """#!/usr/bin/env python3
import json, sys, yaml
files = [b for a, b in zip(sys.argv, sys.argv[1:]) if a == '--params-file']
parameters = {}
for file in files:
    parameters.update(next(iter(yaml.safe_load(open(file)).values()))['ros__parameters'])
remapped = dict(b.split(':=', 1) for a, b in zip(sys.argv, sys.argv[1:]) if a == '-r')
name = sys.argv[0].rsplit('/', 1)[-1]
with open(f'{name}.json', 'w') as file:
    json.dump(dict(arguments=sys.argv[1:], parameters=parameters, remapped=remapped), file)
"""


def started_with(folder, arguments):
    """What the nodes of live.launch.py are started with."""
    probe = folder / 'probe'
    probe.write_text(PROBE.replace('/usr/bin/env python3', sys.executable))
    probe.chmod(0o755)
    environment = environment_with(folder, recon_node=probe, rviz2=probe)
    launched = launch('live.launch.py', arguments, folder, environment)
    said, _ = launched.communicate(timeout=60)
    assert launched.returncode == 0, said
    read = lambda path: json.loads(path.read_text())
    return {path.stem: read(path) for path in folder.glob('*.json')}, said


def test_by_default_the_node_is_started_for_a_realsense_with_rviz(tmp_path):
    started, _ = started_with(tmp_path, [])
    node, rviz = started['recon_node'], started['rviz2']
    parameters = node['parameters']
    assert parameters['base_frame'] == 'camera_link' and parameters['sensor']['max_range_m'] == 5.0
    assert parameters['subscribe_depth'] is True and parameters['odometry'] == 'none'
    assert parameters['qos_image'] == 'best_effort' and parameters['use_sim_time'] is False
    remapped = node['remapped']
    assert remapped['image'] == '/camera/camera/color/image_raw'
    assert remapped['depth'] == '/camera/camera/aligned_depth_to_color/image_raw'
    assert remapped['camera_info'] == '/camera/camera/color/camera_info'
    assert 'odom' not in remapped and remapped['__node'] == 'recon_node' and remapped.get('__ns', '/') == '/'
    assert 'recon_node:=info' in node['arguments']
    assert Path(rviz['arguments'][rviz['arguments'].index('-d') + 1]).exists()


def test_arguments_reach_the_node(tmp_path):
    started, _ = started_with(tmp_path, [
        'rviz:=false', 'namespace:=robot', 'depth_topic:=', 'rgb_topic:=/cam', 'odom_topic:=/wheels', 'qos:=reliable',
        'use_sim_time:=true', 'log_level:=debug', 'database_path:=/maps/hall.map', 'localization:=true',
        f'params_file:={FOLDER.parent / "config" / "mono.yaml"}'])
    node = started['recon_node']
    assert list(started) == ['recon_node']
    assert node['remapped']['__ns'] == '/robot' and 'recon_node:=debug' in node['arguments']
    assert node['remapped']['image/compressed'] == '/cam/compressed' and node['remapped']['odom'] == '/wheels'
    assert 'depth' not in node['remapped'] and node['parameters']['subscribe_depth'] is False
    assert node['parameters']['odometry'] == 'topic' and node['parameters']['use_sim_time'] is True
    assert node['parameters']['load_map'] == '/maps/hall.map' and node['parameters']['map.localization_only'] is True
    assert node['parameters']['qos_odom'] == 'reliable' and node['parameters']['model']['name'] == 'auto'


def test_the_launch_file_brings_up_a_node_with_its_arguments(tmp_path):
    from peer import Peer
    from recon_node.msg import Status

    peer = Peer()
    statuses = peer.hear(Status, '/robot/recon_node/status')
    arguments = ['namespace:=robot', 'rviz:=false', 'rgb_topic:=/cam/color', 'depth_topic:=/cam/depth',
                 'camera_info_topic:=/cam/info', 'map_frame:=hall']
    environment = environment_with(tmp_path, recon_node=os.environ['RECON_NODE'])
    launched = launch('live.launch.py', arguments, tmp_path, environment)
    try:
        peer.wait('the node', lambda: statuses)
        assert statuses[-1].header.frame_id == 'hall'
        for topic in ('/cam/color', '/cam/depth', '/cam/info'):
            peer.wait(topic, lambda: peer.node.count_subscribers(topic) == 1)
    finally:
        launched.send_signal(signal.SIGINT)
        said, _ = launched.communicate(timeout=60)
        peer.destroy()
    assert launched.returncode == 0, said


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


def test_a_bag_is_replayed_evaluated_and_ended_with(tmp_path):
    frames = 60
    write_bag(tmp_path / 'bag', frames)
    truth = [np.r_[room.stamp_nanos(i) / 1e9, room.camera_in_room(i)] for i in range(frames)]
    np.savetxt(tmp_path / 'truth.txt', truth, fmt='%.9f')
    environment = environment_with(tmp_path, recon_node=os.environ['RECON_NODE'])
    if shutil.which('ros2') is None:
        command = tmp_path / 'bin' / 'ros2'
        command.parent.mkdir()
        command.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).parent / "ros2_command.py"} "$@"\n')
        command.chmod(0o755)
        environment['PATH'] = f'{command.parent}:{environment["PATH"]}'
    arguments = [f'bag:={tmp_path / "bag"}', 'base_frame:=base_link', f'reference:={tmp_path / "truth.txt"}']
    launched = launch('replay.launch.py', arguments, tmp_path, environment)
    said, _ = launched.communicate(timeout=120)
    assert launched.returncode == 0, said
    poses = np.loadtxt(tmp_path / 'trajectory.txt')
    assert len(poses) >= frames - 5, (len(poses), said)
    assert (tmp_path / 'map.ply').read_bytes().startswith(b'ply')
    assert 'ATE' in said, said
