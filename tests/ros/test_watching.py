"""Sessions that are watched in rerun's viewer."""

import socket

from std_srvs.srv import Trigger

from test_model import expect_unconfigured

# What files of recordings begin with.
MAGIC = b'RRF2'
FRAMES = 12


def test_each_session_is_recorded_in_a_file_of_its_own(start, tmp_path):
    peer, node = start(rerun='save the run.rrd')
    peer.map_frames(FRAMES)
    assert peer.call(Trigger, '/recon_node/reset', Trigger.Request()).success
    peer.map_frames(FRAMES, start=FRAMES)
    status, _ = node.stop()
    assert status == 0
    sizes = {}
    for name in ('the run.rrd', 'the run_session1.rrd'):
        recording = (tmp_path / name).read_bytes()
        assert recording.startswith(MAGIC), name
        sizes[name] = len(recording)
    # Images and points of keyframes are in both, and not only their names.
    assert min(sizes.values()) > 30_000, sizes
    assert 'recording is not whole' not in node.log()


def test_what_is_served_is_served_through_a_reset(start):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    peer, node = start(rerun=f'serve 127.0.0.1:{port}')
    peer.map_frames(2)
    assert f'rerun --connect rerun+http://127.0.0.1:{port}/proxy' in node.log()
    assert peer.call(Trigger, '/recon_node/reset', Trigger.Request()).success
    peer.map_frames(2, start=2)
    assert 'no viewer is shown' not in node.log()


def test_a_way_of_watching_that_is_none_is_refused_with_what_would_be_one(start):
    expect_unconfigured(start, "'watch' is unknown", 'save FILE.rrd', rerun='watch')
