"""What the node says and does where input is missing, wrong, or ends."""

import os
import signal

import numpy as np
import pytest
import room
from peer import BEST_EFFORT
from recon_node.msg import Status

# How long the node may take to end; a machine that does other things too gets more.
END_SECS = float(os.environ.get('RECON_TEST_END_SECS', '2.0'))


def expect_reason(peer, *words, sending=None):
    """Waits until the status says all the words, while frames are sent in the way that is given."""
    what = f'a reason with {words}'
    is_said = lambda: any(all(word in status.reason for word in words) for status in peer.statuses)
    peer.wait(what, is_said) if sending is None else peer.wait_sending(what, is_said, **sending)
    return next(s for s in reversed(peer.statuses) if all(word in s.reason for word in words))


def test_without_input_the_node_says_who_does_not_publish(start):
    peer, _ = start(remap=['image:=/no/such/image'], connect=False)
    status = expect_reason(peer, 'nobody publishes /no/such/image', '/image')
    assert status.state == Status.WAITING
    peer.wait('diagnostics', lambda: peer.diagnostics and any(
        s.level == b'\x02' and 'nobody publishes' in s.message for s in peer.diagnostics[-1].status))


def test_a_qos_that_does_not_match_is_named_with_the_remedy(start):
    peer, _ = start(peer=dict(image_qos=BEST_EFFORT), connect=False)
    expect_reason(peer, 'QoS does not match', 'qos_image:=best_effort', '/peer')


def test_best_effort_input_is_taken_by_default(start):
    peer, _ = start(peer=dict(image_qos=BEST_EFFORT), qos_image='best_effort', qos_depth='best_effort')
    peer.wait_sending('a pose', lambda: peer.poses)


def test_a_missing_transform_is_named_and_waited_for(start):
    peer, _ = start(peer=dict(static_tf=False))
    expect_reason(peer, 'transform is missing', "'lens'", "'base_link'", sending={})
    assert not peer.poses and not peer.tf
    peer.publish_static_tf()
    peer.wait_sending('a pose', lambda: peer.poses, start_secs=2 * room.START_SECS)


def test_stamps_that_never_fit_are_told_with_the_difference(start):
    peer, _ = start(approx_sync_max_interval=0.005)
    expect_reason(peer, 'stamps of image and depth differ', 'approx_sync_max_interval',
                  sending=dict(depth_offset_nanos=-17_000_000))


def test_a_camera_that_is_not_calibrated_is_named(start):
    peer, _ = start(peer=dict(focal=0.0))
    peer.send(0)
    peer.wait('a refusal', lambda: peer.last().frames_processed >= 1)
    assert peer.last().state == Status.INITIALIZING and 'calibrat' in peer.last().reason
    assert not peer.poses


def test_a_calibration_for_another_size_is_refused(start):
    peer, _ = start()
    expect_reason(peer, 'images are refused', '640x480', '320x240', sending=dict(size=(640, 480)))
    assert peer.last().images_refused > 0


def test_time_that_goes_back_begins_a_new_map_and_keeps_the_old_file(start, tmp_path):
    saved = tmp_path / 'map.ply'
    peer, node = start(save_map_on_exit=str(saved))
    peer.map_frames(10, start_secs=200.0)
    assert peer.last().session == 0
    peer.map_frames(10, start_secs=100.0)
    assert peer.last().session == 1 and peer.last().state == Status.TRACKING
    assert peer.last().keyframes >= 1 and 'time went back' in node.log()
    first = tmp_path / 'map_session0.ply'
    peer.wait('the old map', first.exists)
    peer.wait('odometry that goes on', lambda: len(peer.transforms('odom', 'base_link')) == 20)
    status, _ = node.stop()
    assert status == 0 and saved.exists() and first.exists()


@pytest.mark.parametrize('sign', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_of_mapping_ends_in_good_order(start, tmp_path, sign):
    peer, node = start(save_map_on_exit=str(tmp_path / 'map.ply'),
                       save_trajectory_on_exit=str(tmp_path / 'trajectory.txt'))
    peer.map_frames(10)
    for index in range(10, 30):
        peer.send(index)
    status, secs = node.stop(sign)
    assert status == 0, status
    assert secs < END_SECS, secs
    assert (tmp_path / 'map.ply').read_bytes().startswith(b'ply')
    assert len(np.loadtxt(tmp_path / 'trajectory.txt')) >= 10


def test_when_mapping_cannot_keep_up_the_newest_frames_are_taken_and_drops_counted(start):
    peer, _ = start(frame_queue_size=1)
    peer.map_frames(2)
    for index in range(2, 32):
        peer.send(index)
    last = room.stamp_nanos(31)
    peer.wait('the newest frame', lambda: peer.last().header.stamp.nanosec + peer.last().header.stamp.sec * 10**9 == last)
    status = peer.last()
    assert status.frames_processed + status.frames_dropped == 32
