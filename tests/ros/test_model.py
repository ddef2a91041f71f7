"""Which model makes geometry: a camera without depth, and what is said where the model is not there."""

import time
from pathlib import Path

import pytest
from recon_node.msg import Status

ROOT = Path(__file__).parents[2]
# A whole network of the released architecture, but tiny, with random weights: what it sees is nonsense.
TINY = ROOT / 'tests' / 'data' / 'mapanything' / 'v11'
MODEL = {'model.name': 'mapanything', 'model.weights': TINY, 'model.resolution_px': 112}


@pytest.fixture(autouse=True)
def no_weights(monkeypatch, tmp_path):
    """Whatever this machine has, the node under test finds no weights that were fetched."""
    monkeypatch.setenv('HF_HUB_CACHE', str(tmp_path / 'none'))


def start_mono(start, focal=None, **parameters):
    peer, node = start(peer={} if focal is None else dict(focal=focal), connect=False, subscribe_depth=False,
                       **parameters)
    peer.wait('the node', lambda: peer.image.get_subscription_count() and peer.info.get_subscription_count()
              and peer.statuses)
    assert peer.depth.get_subscription_count() == 0
    return peer, node


def map_until(peer, until):
    """Shows frames until something is so; each is told what has become of it. What the model says comes late."""
    for index in range(60):
        peer.map_frames(1, start=index)
        assert_is_told(peer.last())
        if until(peer.last()) and index >= 5:
            return index + 1
        time.sleep(0.05)
    raise AssertionError(f'in vain: {peer.last()}')


def assert_is_told(status):
    """A frame without a pose is told why."""
    assert status.state in (Status.TRACKING, Status.LOST, Status.INITIALIZING), status
    assert (status.state == Status.TRACKING) == status.localized
    assert status.localized or len(status.reason) > 10, status


def test_a_calibrated_camera_without_depth_goes_through_the_model(start):
    peer, _ = start_mono(start, **MODEL)
    frames = map_until(peer, lambda status: status.windows >= 1 and status.frames_tracked >= 1)
    status = peer.last()
    assert status.model == 'mapanything' and status.frames_processed == frames
    assert status.windows >= 1 and status.window_views >= 1 and status.inference_secs > 0.0
    assert status.windows_calibrated == status.windows, 'the camera is told to the model'
    assert status.depth_prior.told and status.poses_prior.told, 'a gate is open until there is evidence against it'
    assert status.scale_sigma_log > 0.0, 'nothing measures how long the unit is'
    assert len(peer.poses) == status.frames_tracked >= 1, 'the first frame is where the map begins'
    assert len(peer.transforms('map', 'odom')) >= 1


def test_a_camera_without_calibration_goes_through_the_model(start):
    peer, _ = start_mono(start, focal=0.0, **MODEL)
    frames = map_until(peer, lambda status: status.windows >= 1)
    status = peer.last()
    assert status.windows >= 1 and status.frames_processed == frames
    assert status.windows_calibrated == 0, 'one window is no evidence of a focal length'
    assert len(peer.poses) == status.frames_tracked


def test_without_depth_and_without_a_model_it_is_said_what_to_do(start):
    peer, _ = start_mono(start)
    peer.map_frames(1)
    assert peer.last().state == Status.INITIALIZING and not peer.poses
    for words in ('sensor-depth needs depth images', 'model.name'):
        assert words in peer.last().reason, peer.last().reason


def test_auto_goes_by_depth_where_there_are_no_weights_and_warns(start):
    peer, node = start(**{'model.name': 'auto'})
    peer.map_frames(5)
    assert peer.last().model == 'sensor-depth' and peer.last().frames_tracked == 5
    assert 'without mapanything' in node.log() and 'recon weights fetch' in node.log()


def test_auto_takes_the_model_whose_weights_are_there(start):
    peer, _ = start_mono(start, **{**MODEL, 'model.name': 'auto'})
    assert peer.last().model == 'mapanything'


def expect_unconfigured(start, *words, **how):
    """Loading is part of configuring: where it fails the node stays unconfigured and says what to do."""
    peer, node = start(connect=False, **how)
    peer.wait('the reason', lambda: peer.statuses and peer.last().reason)
    assert peer.last().state == Status.UNCONFIGURED
    for word in words:
        assert word in peer.last().reason and word in node.log(), peer.last().reason


def test_a_mono_camera_without_weights_is_told_how_to_get_them(start):
    expect_unconfigured(start, 'configure failed', 'without depth', 'recon weights fetch', 'model.weights',
                        params_file=ROOT / 'config' / 'mono.yaml')


def test_a_missing_gpu_is_told_with_the_remedy(start):
    expect_unconfigured(start, "device 'cuda'", 'cpu', **{**MODEL, 'model.device': 'cuda'})
