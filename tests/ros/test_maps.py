"""Maps that are saved, taken up again, and localised in."""

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from recon_node.msg import Status
from recon_node.srv import LoadMap, SaveMap, SetMode
from sensor_msgs.msg import PointCloud2
from std_srvs.srv import Trigger

from peer import RELIABLE, matrix, true_base

NODE = '/recon_node'
FRAMES = 40


def set_mode(peer, mode):
    return peer.call(SetMode, f'{NODE}/set_mode', SetMode.Request(mode=mode))


def load(peer, path):
    return peer.call(LoadMap, f'{NODE}/load_map', LoadMap.Request(path=str(path)))


def save(peer, path):
    answer = peer.call(SaveMap, f'{NODE}/save_map', SaveMap.Request(path=str(path)))
    assert answer.success, answer.message
    return answer


def error_m(pose, index):
    found = matrix(pose.pose.pose.position, pose.pose.pose.orientation)
    return np.linalg.norm(found[:3, 3] - true_base(index)[:3, 3])


def test_a_map_is_saved_and_another_node_is_localised_in_it(start, tmp_path):
    peer, node = start()
    peer.map_frames(FRAMES)
    assert peer.last().mode == 'mapping' and peer.last().localized
    saved = save(peer, tmp_path / 'room.map')
    assert saved.points == peer.last().keyframes
    node.stop()
    peer.destroy()

    # The map is there and shown before a frame comes, and nobody says where the robot is in it.
    peer, node = start(load_map=tmp_path / 'room.map', **{'map.localization_only': True})
    shown = peer.latch(PointCloud2, f'{NODE}/map')
    peer.wait('the map', lambda: shown and shown[-1].width > 1000)
    peer.wait('its keyframes', lambda: peer.last().keyframes == saved.points)
    assert peer.last().mode == 'localization' and not peer.last().localized
    assert not peer.transforms('map', 'odom') and not peer.poses

    # The robot stands elsewhere than where the map began.
    for index in range(25, FRAMES):
        peer.send(index, stamp_index=index)
        peer.wait('a frame', lambda: peer.last().frames_processed == index - 24)
    peer.wait('to be localised', lambda: peer.last().localized and peer.poses)
    assert peer.last().state == Status.TRACKING
    assert error_m(peer.poses[-1], FRAMES - 1) < 0.03, peer.poses[-1]
    assert peer.transforms('map', 'odom')
    assert peer.last().keyframes == saved.points, 'the map does not change'

    # In a map that does not change the robot is looked for: it is not moved under it, nor refined.
    given = peer.node.create_publisher(PoseWithCovarianceStamped, 'initialpose', RELIABLE)
    peer.wait('the subscription', lambda: given.get_subscription_count() > 0)
    message = PoseWithCovarianceStamped()
    message.header.frame_id, message.pose.pose.orientation.w = 'map', 1.0
    given.publish(message)
    peer.wait('the refusal', lambda: 'initialpose is left out: in localization' in node.log())
    refused = peer.call(Trigger, f'{NODE}/refine', Trigger.Request())
    assert not refused.success and 'localization' in refused.message
    answer = set_mode(peer, 'mapping')
    assert answer.success, answer.message
    peer.wait('the mode', lambda: peer.last().mode == 'mapping')


def test_lost_in_a_loaded_map_there_is_no_correction_and_a_reason(start, tmp_path):
    peer, _ = start()
    peer.map_frames(FRAMES)
    save(peer, tmp_path / 'room.map')
    keyframes = peer.last().keyframes
    assert set_mode(peer, 'localization').success
    answer = load(peer, tmp_path / 'room.map')
    assert answer.success and answer.keyframes == keyframes, answer.message
    peer.wait('another session', lambda: peer.last().session == 1 and not peer.last().localized)
    corrections, odometry = len(peer.transforms('map', 'odom')), len(peer.transforms('odom', 'base_link'))
    # A place that is not in the map: the lens is covered.
    for index in range(FRAMES, FRAMES + 5):
        processed = peer.last().frames_processed
        color, depth = np.zeros((240, 320, 3), np.uint8), np.zeros((240, 320), np.uint16)
        peer.send_images(index, color, depth)
        peer.wait('a frame', lambda: peer.last().frames_processed == processed + 1)
    assert peer.last().state == Status.LOST and peer.last().reason and not peer.last().localized
    assert len(peer.transforms('map', 'odom')) == corrections
    # Back in it: odometry goes on from where it was, and the pose is that of the map.
    for index in range(FRAMES + 5, FRAMES + 15):
        processed = peer.last().frames_processed
        peer.send(30, stamp_index=index)
        peer.wait('a frame', lambda: peer.last().frames_processed == processed + 1)
    peer.wait('to be localised', lambda: peer.last().localized)
    peer.wait('the pose', lambda: error_m(peer.poses[-1], 30) < 0.03)
    assert len(peer.transforms('map', 'odom')) > corrections
    assert len(peer.transforms('odom', 'base_link')) > odometry


def test_what_is_no_map_is_refused_and_changes_nothing(start, tmp_path):
    peer, _ = start()
    peer.map_frames(5)
    (tmp_path / 'bad.map').write_text('no map')
    for path, reason in [(tmp_path / 'bad.map', 'bad.map'), (tmp_path / 'none.map', 'none.map'), ('', "'path'")]:
        answer = load(peer, path)
        assert not answer.success and reason in answer.message, answer.message
    answer = set_mode(peer, 'sleeping')
    assert not answer.success and 'mapping or localization' in answer.message
    peer.map_frames(2, start=5)
    assert peer.last().frames_tracked == 7 and peer.last().session == 0
