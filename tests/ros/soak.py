"""Publishes frames at a steady rate for a long time and prints what the node makes of it."""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import rclpy

import room
from peer import BEST_EFFORT, NodeUnderTest, Peer, image


def frames_of_room(count):
    return [room.render(index) for index in range(count)], room.FOCAL


def frames_of_folder(folder, count):
    """Frames of a recording in TUM layout, depth in millimetres."""
    import yaml
    from PIL import Image

    calibration = yaml.safe_load((folder / 'calibration.yaml').read_text())
    read = lambda name: [line.split() for line in (folder / name).read_text().splitlines() if line[:1] != '#']
    colors, depths = read('rgb.txt'), read('depth.txt')
    times = np.array([float(stamp) for stamp, _ in depths])
    found = []
    for stamp, name in colors[:count]:
        partner = depths[int(np.abs(times - float(stamp)).argmin())][1]
        depth = np.array(Image.open(folder / partner)).astype(float) * 1000 / calibration['depth_scale']
        found.append((np.array(Image.open(folder / name).convert('RGB')), depth.astype(np.uint16)))
    return found, calibration


def resident_mb(pid):
    for line in Path(f'/proc/{pid}/status').read_text().splitlines():
        if line.startswith('VmRSS:'):
            return int(line.split()[1]) / 1024
    return 0.0


def cpu_secs(pid):
    fields = Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--minutes', type=float, default=10.0)
    parser.add_argument('--rate', type=float, default=30.0)
    parser.add_argument('--data', type=Path)
    parser.add_argument('--frames', type=int, default=300, help='frames of the recording that are used')
    args = parser.parse_args()
    rclpy.init()
    frames, camera = frames_of_folder(args.data, args.frames) if args.data else frames_of_room(args.frames)
    # To and fro, so that there is no jump where the recording ends.
    order = list(range(len(frames))) + list(range(len(frames) - 2, 0, -1))
    peer = Peer(image_qos=BEST_EFFORT)
    if args.data:
        room.WIDTH, room.HEIGHT = camera['width'], camera['height']
    with tempfile.TemporaryDirectory() as folder:
        node = NodeUnderTest(Path(folder), map_rate=0.5, path_rate=2.0, frame_queue_size=4,
                             topic_queue_size=5, sync_queue_size=10, qos_image='best_effort',
                             qos_depth='best_effort', qos_camera_info='best_effort')
        peer.connect()
        soak(peer, node, frames, order, camera, args)
        status, secs = node.stop()
        print(f'ended with status {status} after {secs:.2f} s')


def soak(peer, node, frames, order, camera, args):
    pid = node.process.pid
    info = peer.info_message(0)
    if args.data:
        info.k = [camera['fx'], 0.0, camera['cx'], 0.0, camera['fy'], camera['cy'], 0.0, 0.0, 1.0]
        info.d = [float(v) for v in camera.get('distortion', [0.0] * 5)]
    started, cpu, sent, behind, memory = time.monotonic(), cpu_secs(pid), 0, 0, []
    total = int(args.minutes * 60 * args.rate)
    print('minute  memory_MB  processed  dropped  unpaired  tracked  keyframes')
    for sent in range(total):
        due = started + sent / args.rate
        behind += time.monotonic() > due + 1 / args.rate
        while time.monotonic() < due:
            peer.spin(max(0.0, min(0.002, due - time.monotonic())))
        color, depth = frames[order[sent % len(order)]]
        nanos = room.stamp_nanos(sent, rate=args.rate)
        info.header.stamp = image(nanos, 'rgb8', color).header.stamp
        peer.info.publish(info)
        peer.image.publish(image(nanos, 'rgb8', color))
        peer.depth.publish(image(nanos, '16UC1', depth))
        peer.spin(0.0)
        if sent % int(30 * args.rate) == 0:
            memory.append(resident_mb(pid))
            last = peer.last()
            print(f'{(time.monotonic() - started) / 60:6.1f}  {memory[-1]:9.1f}  {last.frames_processed:9d}  '
                  f'{last.frames_dropped:7d}  {last.images_unpaired:8d}  {last.frames_tracked:7d}  {last.keyframes:9d}', flush=True)
    peer.wait('the last frames', lambda: peer.spin(0.5) or True)
    report(peer, memory + [resident_mb(pid)], cpu_secs(pid) - cpu, time.monotonic() - started, total, behind)


def report(peer, memory, cpu, wall, total, behind):
    last = peer.last()
    latencies = [s.latency_secs for s in peer.statuses if s.frames_processed and s.latency_secs > 0]
    quantile = lambda q: np.quantile(latencies, q) * 1000
    print(f'sent {total} frames in {wall:.1f} s ({behind} of them later than one period)')
    print(f'received {last.images_received}, processed {last.frames_processed}, tracked {last.frames_tracked}, '
          f'dropped {last.frames_dropped}, unpaired {last.images_unpaired}, refused {last.images_refused}')
    print(f'latency image to pose: p50 {quantile(0.5):.1f} ms, p95 {quantile(0.95):.1f} ms')
    print(f'CPU of the node: {cpu / wall:.2f} cores; memory after the first minute {memory[min(2, len(memory) - 1)]:.1f} MB, '
          f'at the end {memory[-1]:.1f} MB')


if __name__ == '__main__':
    main()
