"""The map refined as a whole, while frames go on."""

import time

import numpy as np
from nav_msgs.msg import Path
from std_srvs.srv import Trigger

from peer import of_transform, true_base

NODE = '/recon_node'
# Every so many frames one is made a keyframe, so that there is something to refine.
KEYFRAME_EVERY = 2
FRAMES = 40
# So many frames a refinement may take; it takes some tens.
PATIENCE_FRAMES = 2000


def place(index):
    """Where the robot is in a frame: on its way, and then to and fro over the last half of it."""
    back = abs((index - FRAMES) % FRAMES - FRAMES // 2) + FRAMES // 2 - 1
    return index if index < FRAMES else back


def go_on(peer, first, count):
    for index in range(first, first + count):
        peer.one_by_one(lambda: peer.send(place(index), stamp_index=index))


def refine(peer):
    return peer.ask(Trigger, f'{NODE}/refine', Trigger.Request())


def map_with_many_keyframes(peer):
    for index in range(0, FRAMES, KEYFRAME_EVERY):
        assert peer.call(Trigger, f'{NODE}/trigger_keyframe', Trigger.Request()).success
        go_on(peer, index, KEYFRAME_EVERY)
    assert peer.last().keyframes > FRAMES // KEYFRAME_EVERY // 2


def path_error_m(peer, paths, count):
    """By how much the published path is off, as the root of the mean square."""
    peer.wait('the whole path', lambda: paths and len(paths[-1].poses) == count)
    found = np.array([[p.pose.position.x, p.pose.position.y, p.pose.position.z] for p in paths[-1].poses])
    truth = np.array([true_base(place(index))[:3, 3] for index in range(count)])
    return float(np.sqrt(((found - truth) ** 2).sum(axis=1).mean()))


def test_frames_go_on_while_the_map_is_refined_and_odometry_never_jumps(start):
    # Much work, so that there is a while in which frames can go on.
    peer, node = start(**{'alignment.refinement.max_points': 40000})
    paths = peer.hear(Path, f'{NODE}/path')
    map_with_many_keyframes(peer)
    error_before_m = path_error_m(peer, paths, FRAMES)
    corrections_before = len(peer.transforms('map', 'odom'))

    answer, count, was_refining = refine(peer), FRAMES, False
    # Of two clients the later request may come first.
    peer.wait('its beginning', lambda: 'are being refined' in node.log())
    second = peer.call(Trigger, f'{NODE}/refine', Trigger.Request())
    assert not second.success and 'under way' in second.message, second.message
    while not answer.done():
        assert count < PATIENCE_FRAMES, 'the refinement does not end'
        go_on(peer, count, 1)
        was_refining |= peer.last().refining
        count += 1
    outcome = answer.result()
    assert outcome.success and 'keyframes by' in outcome.message, outcome.message
    assert was_refining and count >= FRAMES + 3, f'{count - FRAMES} frames were mapped meanwhile'
    go_on(peer, count, 5)
    count += 5
    assert not peer.last().refining
    assert peer.last().frames_tracked == count, 'a frame was lost'

    # odom to base moves as the robot does, also over the moment of the correction, …
    peer.wait('odometry', lambda: len(peer.transforms('odom', 'base_link')) == count)
    odom = [of_transform(t) for t in peer.transforms('odom', 'base_link')]
    for index in range(1, count):
        moved = np.linalg.inv(odom[index - 1]) @ odom[index]
        truth = np.linalg.inv(true_base(place(index - 1))) @ true_base(place(index))
        assert np.linalg.norm(moved[:3, 3] - truth[:3, 3]) < 0.01, index
    # … which map to odom takes, and the path is no worse for it.
    peer.wait('corrections', lambda: len(peer.transforms('map', 'odom')) == count)
    corrections = [of_transform(t)[:3, 3] for t in peer.transforms('map', 'odom')][corrections_before:]
    assert max(np.linalg.norm(b - a) for a, b in zip(corrections, corrections[1:])) > 1e-5
    assert path_error_m(peer, paths, count) <= max(1.1 * error_before_m, 0.005)
    assert 'are being refined' in node.log() and outcome.message in node.log()


def test_without_a_map_there_is_nothing_to_refine(start):
    peer, _ = start()
    outcome = peer.call(Trigger, f'{NODE}/refine', Trigger.Request())
    assert not outcome.success and '0 keyframes' in outcome.message, outcome.message


def test_a_map_that_has_grown_is_refined_when_nothing_new_comes(start):
    peer, node = start(refine_when_idle=1.0)
    map_with_many_keyframes(peer)
    peer.wait('a refinement', lambda: 'are being refined' in node.log())
    peer.wait('its end', lambda: 'keyframes by' in node.log() and not peer.last().refining)
    # Nothing has come since, so that it is not done again.
    time.sleep(2.5)
    assert node.log().count('are being refined') == 1


def test_a_reset_ends_a_refinement_with_a_reason(start):
    peer, _ = start(**{'alignment.refinement.max_points': 40000})
    map_with_many_keyframes(peer)
    answer = refine(peer)
    peer.wait('the refinement', lambda: peer.last().refining)
    assert peer.call(Trigger, f'{NODE}/reset', Trigger.Request()).success
    peer.wait('an answer', answer.done)
    assert not answer.result().success and 'given up' in answer.result().message, answer.result().message
