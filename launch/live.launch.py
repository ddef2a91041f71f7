"""The node on a live camera: ros2 launch recon_node live.launch.py --show-args lists all arguments."""

import os

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node, PushRosNamespace

SHARE = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir)

# Name, default, description.
ARGUMENTS = [
    ('namespace', '', 'Namespace of the node and of its relative topics'),
    ('use_sim_time', 'false', 'Whether time is that of /clock'),
    ('rgb_topic', '/camera/camera/color/image_raw', 'Colour images (without the /compressed of a transport)'),
    ('depth_topic', '/camera/camera/aligned_depth_to_color/image_raw',
     'Depth images registered to the colour images; empty for a camera without depth'),
    ('camera_info_topic', '/camera/camera/color/camera_info', 'Calibration of the colour images'),
    ('odom_topic', '', 'Odometry of another source (nav_msgs/Odometry), or tf to look it up in /tf; '
     'empty: the node publishes odom itself'),
    ('base_frame', 'camera_link', 'Frame of the robot; TF must know its transform to the camera'),
    ('odom_frame', 'odom', 'Frame of odometry'),
    ('map_frame', 'map', 'Frame of the map'),
    ('params_file', os.path.join(SHARE, 'config', 'realsense_d400.yaml'), 'File of parameters (YAML)'),
    ('database_path', '', 'File of a map that ~/save_map has written: the node goes on with it; empty for none'),
    ('localization', 'false', 'Whether frames are only placed in the map of database_path, which does not change'),
    ('publish_tf', 'true', 'Whether the node publishes its transforms'),
    ('approx_sync', 'true', 'Whether stamps of colour and depth may differ'),
    ('qos', 'best_effort', 'Reliability that is asked of all inputs: best_effort or reliable'),
    ('compressed', 'false', 'Whether images come as <topic>/compressed and <topic>/compressedDepth'),
    ('rviz', 'true', 'Whether rviz is started with a view of the map'),
    ('rerun', 'false', "Where rerun's viewer is shown the session: true or serve (then: rerun --connect), "
     'connect URL, or save FILE.rrd; false for nowhere'),
    ('log_level', 'info', 'What the node logs: debug, info, warn, error'),
]


def flag(context, name):
    return LaunchConfiguration(name).perform(context).lower() in ('true', '1', 'yes')


def parameters(context):
    """What the arguments say, over what the file says."""
    value = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    odometry = {'': 'none', 'tf': 'tf'}.get(value['odom_topic'], 'topic')
    compressed = flag(context, 'compressed')
    changes = {
        'use_sim_time': flag(context, 'use_sim_time'),
        'base_frame': value['base_frame'],
        'odom_frame': value['odom_frame'],
        'map_frame': value['map_frame'],
        'load_map': value['database_path'],
        'map.localization_only': flag(context, 'localization'),
        'rerun': {'false': '', 'true': 'serve'}.get(value['rerun'].lower(), value['rerun']),
        'publish_tf': flag(context, 'publish_tf'),
        'approx_sync': flag(context, 'approx_sync'),
        'odometry': odometry,
        'subscribe_depth': value['depth_topic'] != '',
        'image_transport': 'compressed' if compressed else 'raw',
        'depth_transport': 'compressedDepth' if compressed else 'raw',
    }
    changes.update({'qos_' + name: value['qos'] for name in ('image', 'camera_info', 'depth', 'odom')})
    return [value['params_file'], changes] if value['params_file'] else [changes]


def remappings(context):
    topic = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    pairs = [('image', topic['rgb_topic']), ('depth', topic['depth_topic'])]
    pairs = [(a + end, b + end) for a, b in pairs if b for end in ('', '/compressed', '/compressedDepth')]
    pairs.append(('camera_info', topic['camera_info_topic']))
    if topic['odom_topic'] not in ('', 'tf'):
        pairs.append(('odom', topic['odom_topic']))
    return pairs


def node(context):
    level = LaunchConfiguration('log_level').perform(context)
    return [Node(
        package='recon_node', executable='recon_node', name='recon_node', output='screen',
        parameters=parameters(context), remappings=remappings(context),
        arguments=['--ros-args', '--log-level', 'recon_node:=' + level])]


def generate_launch_description():
    arguments = [DeclareLaunchArgument(name, default_value=default, description=text)
                 for name, default, text in ARGUMENTS]
    rviz = Node(
        package='rviz2', executable='rviz2', name='rviz', output='log',
        condition=IfCondition(LaunchConfiguration('rviz')),
        arguments=['-d', os.path.join(SHARE, 'rviz', 'recon.rviz')])
    group = GroupAction([
        PushRosNamespace(LaunchConfiguration('namespace')), OpaqueFunction(function=node), rviz])
    return LaunchDescription(arguments + [group])
