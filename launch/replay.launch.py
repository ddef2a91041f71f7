"""A bag through the node: plays it with --clock, ends with it, evaluates where there is a reference."""

import os

from ament_index_python.packages import get_package_prefix
from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument, EmitEvent, ExecuteProcess, IncludeLaunchDescription, OpaqueFunction,
    RegisterEventHandler, TimerAction)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

HERE = os.path.dirname(os.path.abspath(__file__))

# Name, default, description.
ARGUMENTS = [
    ('bag', None, 'The bag: a folder, an .mcap or a .db3'),
    ('rate', '1.0', 'How many times faster than recorded it is played'),
    ('start_delay', '3.0', 'Seconds that the node has to come up before the bag is played'),
    ('reference', '', 'The true trajectory (TUM format); where given, the estimate is compared with it'),
    ('trajectory', 'trajectory.txt', 'File for the estimated trajectory (TUM format)'),
    ('map', 'map.ply', 'File for the map (PLY)'),
    ('rgb_topic', '/camera/color/image_raw', 'Colour images'),
    ('depth_topic', '/camera/aligned_depth_to_color/image_raw', 'Registered depth images'),
    ('camera_info_topic', '/camera/color/camera_info', 'Calibration of the colour images'),
    ('odom_topic', '', 'Odometry of another source, or tf; empty for none'),
    ('base_frame', 'camera_link', 'Frame of the robot'),
    ('compressed', 'false', 'Whether images are compressed'),
    ('rviz', 'false', 'Whether rviz is started'),
    ('log_level', 'info', 'What the node logs'),
]
PASSED_ON = ['rgb_topic', 'depth_topic', 'camera_info_topic', 'odom_topic', 'base_frame', 'compressed',
             'rviz', 'log_level']


def write_parameters(value):
    """The node saves its results when it ends; a replay may take its time, so nothing is dropped."""
    path = os.path.join(os.path.abspath(os.curdir), 'replay_parameters.yaml')
    with open(path, 'w') as file:
        file.write('/**:\n  ros__parameters:\n    frame_queue_size: 300\n'
                   f'    save_map_on_exit: "{os.path.abspath(value["map"])}"\n'
                   f'    save_trajectory_on_exit: "{os.path.abspath(value["trajectory"])}"\n')
    return path


def in_turn(processes):
    """Handlers that start each process when the one before has ended, and end all after the last."""
    end = TimerAction(period=1.0, actions=[EmitEvent(event=Shutdown(reason='the bag has ended'))])
    following = processes[1:] + [end]
    return [RegisterEventHandler(OnProcessExit(target_action=process, on_exit=[then]))
            for process, then in zip(processes, following)]


def evaluation(value):
    """The estimate is asked for while the node is still there, and then compared."""
    trajectory = os.path.abspath(value['trajectory'])
    recon = os.path.join(get_package_prefix('recon_node'), 'lib', 'recon_node', 'recon')
    return [
        ExecuteProcess(output='screen', cmd=[
            'ros2', 'service', 'call', '/recon_node/save_trajectory', 'recon_node/srv/SaveTrajectory',
            f'{{path: "{trajectory}"}}']),
        ExecuteProcess(output='screen', cmd=[
            recon, 'eval', '--estimate', trajectory, '--reference', value['reference']]),
    ]


def actions(context):
    value = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    passed = {name: value[name] for name in PASSED_ON}
    passed.update(use_sim_time='true', params_file=write_parameters(value))
    live = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(os.path.join(HERE, 'live.launch.py')),
        launch_arguments=passed.items())
    play = ExecuteProcess(
        cmd=['ros2', 'bag', 'play', value['bag'], '--clock', '--rate', value['rate']], output='screen')
    processes = [play] + (evaluation(value) if value['reference'] else [])
    start = TimerAction(period=float(value['start_delay']), actions=[play])
    return [live, start] + in_turn(processes)


def generate_launch_description():
    arguments = [DeclareLaunchArgument(name, description=text) if default is None else
                 DeclareLaunchArgument(name, default_value=default, description=text)
                 for name, default, text in ARGUMENTS]
    return LaunchDescription(arguments + [OpaqueFunction(function=actions)])
