"""Services, parameters and the lifecycle."""

from geometry_msgs.msg import PoseWithCovarianceStamped
from lifecycle_msgs.msg import State, Transition, TransitionEvent
from lifecycle_msgs.srv import ChangeState, GetAvailableStates, GetAvailableTransitions, GetState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import DescribeParameters, GetParameters, ListParameters, SetParameters
from recon_node.msg import Status
from recon_node.srv import SaveMap, SaveTrajectory
from rclpy.qos import QoSProfile
from std_srvs.srv import Trigger

from peer import RELIABLE, of_transform

NODE = '/recon_node'


def trigger(peer, name):
    return peer.call(Trigger, f'{NODE}/{name}', Trigger.Request())


def test_maps_and_trajectories_are_saved_whole_or_not_at_all(start, tmp_path):
    peer, _ = start()
    answer = peer.call(SaveMap, f'{NODE}/save_map', SaveMap.Request(path=str(tmp_path / 'early.ply')))
    assert not answer.success and 'no map yet' in answer.message
    peer.map_frames(10)
    answer = peer.call(SaveMap, f'{NODE}/save_map', SaveMap.Request(path=str(tmp_path / 'map.ply')))
    assert answer.success, answer.message
    header = (tmp_path / 'map.ply').read_bytes()[:400]
    assert header.startswith(b'ply') and f'element vertex {answer.points}'.encode() in header
    answer = peer.call(SaveTrajectory, f'{NODE}/save_trajectory',
                       SaveTrajectory.Request(path=str(tmp_path / 'path.txt'), format='tum'))
    lines = [line for line in (tmp_path / 'path.txt').read_text().splitlines() if not line.startswith('#')]
    assert answer.success and answer.poses == len(lines) == 10
    for request, reason in [
            (SaveMap.Request(path=str(tmp_path / 'no' / 'map.ply')), 'folder'),
            (SaveMap.Request(path=''), "'path'"),
            (SaveMap.Request(path=str(tmp_path / 'a.las')), "'las'"),
            (SaveMap.Request(path=str(tmp_path / 'a.ply'), format='obj'), "'obj'")]:
        answer = peer.call(SaveMap, f'{NODE}/save_map', request)
        assert not answer.success and reason in answer.message, answer.message
    for name, magic in [('map.pcd', b'# .PCD v0.7'), ('map.glb', b'glTF')]:
        answer = peer.call(SaveMap, f'{NODE}/save_map', SaveMap.Request(path=str(tmp_path / name)))
        assert answer.success and (tmp_path / name).read_bytes().startswith(magic), answer.message
    assert not list(tmp_path.glob('*.partial')) and not list(tmp_path.glob('.*.partial'))


def test_pause_keyframe_and_reset(start):
    peer, _ = start()
    peer.map_frames(5)
    assert trigger(peer, 'pause').success
    peer.wait('the pause', lambda: peer.last().state == Status.PAUSED)
    processed = peer.last().frames_processed
    for index in range(5, 8):
        peer.send(index)
    received = peer.last().images_received
    peer.wait('images', lambda: peer.last().images_received >= received + 3)
    assert peer.last().frames_processed == processed
    assert trigger(peer, 'resume').success
    keyframes = peer.last().keyframes
    assert trigger(peer, 'trigger_keyframe').success
    peer.map_frames(2, start=8)
    assert peer.last().keyframes == keyframes + 1
    assert trigger(peer, 'reset').success
    peer.wait('a new session', lambda: peer.last().session == 1)
    peer.map_frames(3, start=10)
    assert peer.last().state == Status.TRACKING and peer.last().keyframes == 1


def test_a_pose_that_is_given_moves_the_map(start):
    peer, _ = start()
    publisher = peer.node.create_publisher(PoseWithCovarianceStamped, 'initialpose', RELIABLE)
    peer.wait('the subscription', lambda: publisher.get_subscription_count() > 0)
    peer.map_frames(3)
    message = PoseWithCovarianceStamped()
    message.header.frame_id = 'map'
    message.pose.pose.position.x = 7.0
    message.pose.pose.orientation.w = 1.0
    publisher.publish(message)
    index = 3
    while abs(peer.poses[-1].pose.pose.position.x - 7.0) > 0.2:
        assert index < 30, peer.poses[-1]
        peer.map_frames(1, start=index)
        index += 1
    peer.wait('odometry', lambda: len(peer.transforms('odom', 'base_link')) == index)
    odom = [of_transform(t)[0, 3] for t in peer.transforms('odom', 'base_link')]
    assert max(abs(b - a) for a, b in zip(odom, odom[1:])) < 0.03


def value(thing):
    kinds = {bool: ('BOOL', 'bool_value'), int: ('INTEGER', 'integer_value'),
             float: ('DOUBLE', 'double_value'), str: ('STRING', 'string_value')}
    name, field = kinds[type(thing)]
    message = ParameterValue(type=getattr(ParameterType, f'PARAMETER_{name}'))
    setattr(message, field, thing)
    return message


def test_parameters_are_described_and_bad_values_refused(start):
    peer, _ = start(base_frame='robot', connect=False)
    listed = peer.call(ListParameters, f'{NODE}/list_parameters', ListParameters.Request())
    names = listed.result.names
    assert {'map_frame', 'publish_tf', 'tracking.max_points', 'use_sim_time'} <= set(names)
    described = peer.call(DescribeParameters, f'{NODE}/describe_parameters', DescribeParameters.Request(names=names))
    for descriptor in described.descriptors:
        assert descriptor.description and descriptor.type, descriptor.name
    by_name = {d.name: d for d in described.descriptors}
    assert by_name['map_rate'].floating_point_range[0].to_value == 10.0 and not by_name['map_rate'].read_only
    assert by_name['tracking.max_points'].integer_range and by_name['tracking.max_points'].read_only
    assert 'compressedDepth' in by_name['depth_transport'].additional_constraints

    def set_(name, thing):
        request = SetParameters.Request(parameters=[Parameter(name=name, value=value(thing))])
        return peer.call(SetParameters, f'{NODE}/set_parameters', request).results[0]

    for name, thing, reason in [
            ('map_rate', 99.0, 'at most 10'), ('publish_tf', 'yes', 'true or false'),
            ('map_frame', 'world', 'when the node starts'), ('no_such', 1, 'no such key'),
            ('use_sim_time', True, 'when the node starts')]:
        result = set_(name, thing)
        assert not result.successful and reason in result.reason, (name, result.reason)
    assert set_('map_rate', 2.5).successful and set_('publish_tf', False).successful
    found = peer.call(GetParameters, f'{NODE}/get_parameters',
                      GetParameters.Request(names=['map_rate', 'base_frame', 'no_such']))
    assert found.values[0].double_value == 2.5 and found.values[1].string_value == 'robot'
    assert found.values[2].type == ParameterType.PARAMETER_NOT_SET


def test_a_changed_parameter_takes_effect(start):
    peer, _ = start()
    peer.map_frames(3)
    request = SetParameters.Request(parameters=[Parameter(name='publish_tf', value=value(False))])
    assert peer.call(SetParameters, f'{NODE}/set_parameters', request).results[0].successful
    # A frame that was under way may still be published.
    peer.map_frames(1, start=3)
    sent = len(peer.tf)
    peer.map_frames(3, start=4)
    assert len(peer.tf) == sent


def test_a_bad_parameter_at_the_start_ends_the_node_with_the_reason(start):
    _, node = start(map_rate=-1.0, connect=False)
    node.process.wait(timeout=60)
    assert node.process.returncode == 1
    assert 'map_rate' in node.log() and 'at least 0' in node.log()


def test_the_lifecycle(start):
    peer, _ = start(connect=False, autostart=False)
    events = []
    peer.node.create_subscription(TransitionEvent, f'{NODE}/transition_event', events.append, QoSProfile(depth=50))

    def state():
        return peer.call(GetState, f'{NODE}/get_state', GetState.Request()).current_state.id

    def change(transition):
        request = ChangeState.Request(transition=Transition(id=transition))
        return peer.call(ChangeState, f'{NODE}/change_state', request).success

    assert state() == State.PRIMARY_STATE_UNCONFIGURED
    assert not change(Transition.TRANSITION_ACTIVATE), 'it is not configured'
    assert peer.image.get_subscription_count() == 0
    assert change(Transition.TRANSITION_CONFIGURE) and state() == State.PRIMARY_STATE_INACTIVE
    available = peer.call(GetAvailableTransitions, f'{NODE}/get_available_transitions',
                          GetAvailableTransitions.Request()).available_transitions
    assert {t.transition.label for t in available} == {'cleanup', 'activate', 'shutdown'}
    assert len(peer.call(GetAvailableStates, f'{NODE}/get_available_states',
                         GetAvailableStates.Request()).available_states) == 10
    assert change(Transition.TRANSITION_ACTIVATE) and state() == State.PRIMARY_STATE_ACTIVE
    peer.connect()
    peer.map_frames(5)
    assert peer.last().state == Status.TRACKING
    assert change(Transition.TRANSITION_DEACTIVATE)
    peer.wait('the end of output', lambda: peer.last().state == Status.INACTIVE)
    # r2r lets go of a subscription when its next message comes.
    sent = len(peer.poses)
    peer.send(5)
    peer.wait('the end of all subscriptions', lambda: peer.image.get_subscription_count() == 0)
    statuses = len(peer.statuses)
    peer.wait('two more statuses', lambda: len(peer.statuses) >= statuses + 2)
    assert len(peer.poses) == sent
    assert change(Transition.TRANSITION_CLEANUP) and state() == State.PRIMARY_STATE_UNCONFIGURED
    peer.wait('a status without a model', lambda: peer.last().state == Status.UNCONFIGURED)
    answer = trigger(peer, 'reset')
    assert not answer.success and 'not configured' in answer.message
    assert change(Transition.TRANSITION_CONFIGURE) and change(Transition.TRANSITION_ACTIVATE)
    peer.wait('events', lambda: len(events) >= 12)
    labels = [e.goal_state.label for e in events]
    assert labels[:4] == ['configuring', 'inactive', 'activating', 'active'], labels


def test_a_model_that_is_not_there_goes_through_error_processing(start):
    peer, node = start(connect=False, autostart=False, **{'model.name': 'no-such-model'})
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
    assert not peer.call(ChangeState, f'{NODE}/change_state', request).success
    found = peer.call(GetState, f'{NODE}/get_state', GetState.Request()).current_state.id
    assert found == State.PRIMARY_STATE_UNCONFIGURED
    assert 'no-such-model' in node.log() and 'sensor-depth' in node.log()
    peer.wait('the reason', lambda: peer.last() is not None and 'no-such-model' in peer.last().reason)
    assert peer.last().state == Status.UNCONFIGURED


def test_in_a_namespace_all_relative_names_move(start):
    peer, _ = start(connect=False, remap=['__ns:=/robot', 'image:=camera/color'])
    statuses = peer.hear(Status, '/robot/recon_node/status')
    peer.wait('the node', lambda: statuses)
    names = {name for name, _ in peer.node.get_topic_names_and_types()}
    for name in ['/robot/camera/color', '/robot/depth', '/robot/camera_info', '/robot/initialpose', '/tf', '/tf_static',
                 '/robot/recon_node/map', '/diagnostics']:
        peer.wait(name, lambda: name in {n for n, _ in peer.node.get_topic_names_and_types()})
    assert not [name for name in names if name.startswith('/recon_node/') and peer.node.count_publishers(name)]
    # What is missing is named in full, as it is looked for.
    peer.wait('the reason', lambda: 'nobody publishes /robot/camera/color' in statuses[-1].reason)


def test_shutdown_by_the_lifecycle_ends_the_process(start):
    peer, node = start()
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_ACTIVE_SHUTDOWN))
    client = peer.node.create_client(ChangeState, f'{NODE}/change_state')
    peer.wait('the service', client.service_is_ready)
    client.call_async(request)
    peer.wait('the end', lambda: node.process.poll() is not None)
    assert node.process.returncode == 0
