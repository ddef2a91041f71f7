"""What replay.launch.py asks of the `ros2` command, for machines that have `launch` but not the command:

    bag play BAG --clock --rate RATE
    service call NAME PACKAGE/srv/TYPE YAML
"""

import argparse
import importlib
import time
from pathlib import Path

import rclpy
import yaml
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import deserialize_message
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore
from rosgraph_msgs.msg import Clock

LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def kind_of(name):
    package, folder, kind = name.split('/')
    return getattr(importlib.import_module(f'{package}.{folder}'), kind)


def play(node, bag, rate):
    clock = node.create_publisher(Clock, '/clock', 10)
    with AnyReader([Path(bag)], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
        publishers = {c.topic: node.create_publisher(
            kind_of(c.msgtype), c.topic, LATCHED if c.topic == '/tf_static' else QoSProfile(depth=100))
            for c in reader.connections}
        started, first = time.monotonic(), reader.start_time
        for connection, nanos, data in reader.messages():
            time.sleep(max(0.0, started + (nanos - first) / 1e9 / rate - time.monotonic()))
            now = Clock()
            now.clock.sec, now.clock.nanosec = divmod(nanos, 10**9)
            clock.publish(now)
            publishers[connection.topic].publish(deserialize_message(bytes(data), kind_of(connection.msgtype)))
    time.sleep(1.0)


def call(node, name, kind, text):
    client = node.create_client(kind_of(kind), name)
    assert client.wait_for_service(timeout_sec=30.0), f'nobody offers {name}'
    request = client.srv_type.Request(**yaml.safe_load(text))
    future = client.call_async(request)
    rclpy.spin_until_future_complete(node, future, timeout_sec=60.0)
    print('response:', future.result())


def main():
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(dest='what', required=True)
    bag = verbs.add_parser('bag').add_subparsers(required=True).add_parser('play')
    bag.add_argument('bag')
    bag.add_argument('--clock', action='store_true', required=True)
    bag.add_argument('--rate', type=float, default=1.0)
    service = verbs.add_parser('service').add_subparsers(required=True).add_parser('call')
    for name in ('name', 'kind', 'text'):
        service.add_argument(name)
    args = parser.parse_args()
    rclpy.init()
    node = rclpy.create_node('ros2_command')
    if args.what == 'bag':
        play(node, args.bag, args.rate)
    else:
        call(node, args.name, args.kind, args.text)


if __name__ == '__main__':
    main()
