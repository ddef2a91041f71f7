"""Starts and ends rclpy, the peer and the node for each test."""

import sys
from pathlib import Path

import pytest
import rclpy

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope='session', autouse=True)
def middleware():
    rclpy.init()
    yield
    rclpy.shutdown()


@pytest.fixture
def start(tmp_path):
    """Starts a peer and the node under test; both end with the test, and a failed test shows the log."""
    from peer import NodeUnderTest, Peer

    started = []

    def begin(peer=None, remap=(), connect=True, **parameters):
        peer = Peer(**(peer or {}))
        node = NodeUnderTest(tmp_path, remap, **parameters)
        started.extend([node, peer])
        if connect:
            peer.connect()
        return peer, node

    yield begin
    for thing in started:
        if hasattr(thing, 'destroy'):
            thing.destroy()
        else:
            thing.stop()
            print(thing.log())
