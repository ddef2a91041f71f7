"""A recording, published at the rate of its camera: what the node makes of it while it runs."""

import os
import subprocess
import time

import numpy as np
import pytest
import recording
from recon_node.msg import Status
from recon_node.srv import SaveTrajectory

from peer import image, matrix, nanos_of, of_transform, time_of

FRAMES = 150
PERIOD_SECS = 1 / 30
# Images that may be on their way. The middleware keeps fifty for the node: a machine that does other things
# too may hold the node up for longer than those last, and what is lost then says nothing about the node.
MOST_UNDERWAY = 25


@pytest.fixture(scope='module')
def played(tmp_path_factory):
    return recording.load(recording.folder(tmp_path_factory.mktemp('recording')), FRAMES)


def publish_on_time(peer, frames):
    """At the rate of the camera, but for pauses where the machine holds the node up for most of a second."""
    # A writer knows its reader a little before the reader knows the writer; what comes in between is lost.
    time.sleep(1.0)
    info, due = frames.info(), time.monotonic()
    for index, nanos in enumerate(frames.nanos):
        due = max(due + PERIOD_SECS, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))
        peer.wait('the node to catch up', lambda: peer.last().images_received > index - MOST_UNDERWAY)
        info.header.stamp = time_of(nanos)
        peer.publish(info, image(nanos, 'rgb8', frames.colors[index]), image(nanos, '16UC1', frames.depths[index]))


def replayed(frames, out):
    """The trajectory of the offline replay."""
    subprocess.run([os.environ['RECON'], 'replay', str(frames.folder), '--max-frames', str(FRAMES),
                    '--out', str(out), '--quiet'], check=True)
    return out / 'trajectory.txt'


def test_at_the_rate_of_the_camera_the_node_is_as_good_as_the_replay(start, tmp_path, played):
    # Whatever else this machine is at, no frame is to be dropped.
    peer, _ = start(frame_queue_size=2 * FRAMES, depth_scale=played.metres_per_unit)
    publish_on_time(peer, played)
    peer.wait('all frames', lambda: peer.last().frames_processed == FRAMES)
    peer.wait('all poses', lambda: len(peer.poses) == FRAMES)
    status = peer.last()
    assert status.state == Status.TRACKING and status.frames_tracked == FRAMES
    assert (status.scale, status.scale_sigma_log) == (1.0, 0.0), 'depth is measured in metres'
    assert (status.frames_dropped, status.images_unpaired, status.images_refused) == (0, 0, 0)

    online, offline = tmp_path / 'online.txt', replayed(played, tmp_path / 'replay')
    answer = peer.call(SaveTrajectory, '/recon_node/save_trajectory', SaveTrajectory.Request(path=str(online)))
    assert answer.success and answer.poses == FRAMES, answer.message
    truth = played.folder / 'groundtruth.txt'
    errors = recording.ate_m(online, truth), recording.ate_m(offline, truth)
    assert errors[0] <= 1.2 * errors[1], errors

    assert_smooth_odometry(peer, np.loadtxt(offline))
    assert_corrections_in_the_map(peer)
    assert_honest_covariance(peer)


def assert_smooth_odometry(peer, offline):
    """odom from base moves from frame to frame as the camera does, and no correction is in it."""
    peer.wait('odometry', lambda: len(peer.transforms('odom', 'base_link')) == FRAMES)
    odom = [of_transform(t) for t in peer.transforms('odom', 'base_link')]
    moved = [np.linalg.norm((np.linalg.inv(a) @ b)[:3, 3]) for a, b in zip(odom, odom[1:])]
    camera = np.linalg.norm(np.diff(offline[:, 1:4], axis=0), axis=1)
    # The base is 0.3 m below the camera, so that it moves otherwise where the camera turns.
    turned = [np.arccos(np.clip((np.trace(np.linalg.inv(a[:3, :3]) @ b[:3, :3]) - 1) / 2, -1, 1))
              for a, b in zip(odom, odom[1:])]
    excess = np.array(moved) - camera - 0.35 * np.array(turned)
    assert excess.max() < 0.01, excess.max()


def assert_corrections_in_the_map(peer):
    """map from odom takes the corrections: both together are the published pose."""
    peer.wait('corrections', lambda: len(peer.transforms('map', 'odom')) == FRAMES)
    corrections = [of_transform(t) for t in peer.transforms('map', 'odom')]
    changes = [np.linalg.norm(b[:3, 3] - a[:3, 3]) for a, b in zip(corrections, corrections[1:])]
    assert max(changes) > 1e-4, 'keyframes were aligned, so something was corrected'
    # Between corrections nothing happens to the map.
    assert np.median(changes) < 1e-6, np.median(changes)
    poses = {nanos_of(p.header.stamp): matrix(p.pose.pose.position, p.pose.pose.orientation) for p in peer.poses}
    for correction, t in zip(corrections, peer.transforms('odom', 'base_link')):
        assert np.allclose(correction @ of_transform(t), poses[nanos_of(t.header.stamp)], atol=1e-6)


def assert_honest_covariance(peer):
    """The pose grows no surer with the way from where the map began, and never impossibly sure."""
    spread_m = [np.sqrt(np.trace(np.array(p.pose.covariance).reshape(6, 6)[:3, :3])) for p in peer.poses]
    assert min(spread_m) > 0.002 and max(spread_m) < 1.0, (min(spread_m), max(spread_m))
    assert np.mean(spread_m[-30:]) > np.mean(spread_m[:10]), 'later keyframes stand less firmly'
