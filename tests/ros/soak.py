"""Publishes frames at a steady rate for a long time and prints what the node makes of it."""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rclpy
import recording
from rclpy.qos import QoSProfile

from peer import BEST_EFFORT, NodeUnderTest, Peer, image, time_of

# What memory may grow by after the first minute: the pose of each frame is kept, some 100 bytes. It goes
# up and down with each map that is put together, so it is the floor that is looked at.
GROWTH_MB = 5.0
# Share of the images that the middleware may lose: it keeps the newest few of a sender's, so that those are lost
# that a sender which was late has sent too fast. The node does not know of them.
LOST_FRAC = 0.001


def resident_mb(pid):
    for line in Path(f'/proc/{pid}/status').read_text().splitlines():
        if line.startswith('VmRSS:'):
            return int(line.split()[1]) / 1024
    return 0.0


def cpu_secs(pid):
    fields = Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


class Soak:
    """One run: what is published, and what was seen of the node while it went on."""

    def __init__(self, args, frames, folder):
        self.args, self.frames = args, frames
        # To and fro, so that there is no jump where the recording ends.
        count = len(frames.nanos)
        self.order = list(range(count)) + list(range(count - 2, 0, -1))
        # As many as a camera driver keeps: with more, what was lost on the way is sent again and again.
        self.peer = Peer(image_qos=QoSProfile(depth=10) if args.qos == 'reliable' else BEST_EFFORT)
        self.node = NodeUnderTest(
            folder, map_rate=0.5, path_rate=2.0, frame_queue_size=10, topic_queue_size=5, sync_queue_size=10,
            qos_image=args.qos, qos_depth=args.qos, qos_camera_info=args.qos,
            depth_scale=frames.metres_per_unit)
        self.pid = self.node.process.pid
        self.memory, self.looked_at = [], 0

    def run(self):
        self.peer.connect()
        self.warm_up()
        self.started, self.cpu, self.late, sent_at = time.monotonic(), cpu_secs(self.pid), 0, 0.0
        self.total, info = int(self.args.minutes * 60 * self.args.rate), self.frames.info()
        print(f'the machine is at a load of {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores')
        print('minute  memory_MB  received  processed  dropped  unpaired  tracked  keyframes  most_ms  load')
        for sent in range(self.total):
            due = self.started + sent / self.args.rate
            self.late += time.monotonic() > due + 1 / self.args.rate
            # What is late is made up for, but a camera does not deliver a burst of images at once.
            due = max(due, sent_at + 0.5 / self.args.rate)
            time.sleep(max(0.0, due - time.monotonic()))
            sent_at = time.monotonic()
            self.publish(info, sent)
            if sent % int(20 * self.args.rate) == 0:
                self.look()
        settled = lambda: self.last.frames_processed + self.last.frames_dropped + self.last.images_unpaired
        self.peer.wait('the last frames', lambda: settled() >= self.last.images_received)
        self.look()

    def warm_up(self):
        """Until all three topics are connected, the first frame is sent again and again."""
        info, tries = self.frames.info(), 0
        while not self.last.frames_processed:
            tries += 1
            self.publish(info, tries - 1000)
            time.sleep(0.2)
        self.before = self.last

    def since(self, name):
        return getattr(self.last, name) - getattr(self.before, name)

    @property
    def last(self):
        return self.peer.last()

    def publish(self, info, index):
        which = self.order[max(index, 0) % len(self.order)]
        nanos = int(100e9 + index * 1e9 / self.args.rate)
        info.header.stamp = time_of(nanos)
        self.peer.publish(info, image(nanos, 'rgb8', self.frames.colors[which]),
                          image(nanos, '16UC1', self.frames.depths[which]))

    def look(self):
        minutes, last = (time.monotonic() - self.started) / 60, self.last
        self.memory.append((minutes, resident_mb(self.pid)))
        print(f'{minutes:6.1f}  {self.memory[-1][1]:9.1f}  {last.images_received:8d}  {last.frames_processed:9d}  {last.frames_dropped:7d}  '
              f'{last.images_unpaired:8d}  {last.frames_tracked:7d}  {last.keyframes:9d}  {self.most_ms():7.0f}  '
              f'{os.getloadavg()[0]:4.1f}', flush=True)

    def most_ms(self):
        """The longest that a frame has taken since this was asked last."""
        seen, self.looked_at = self.looked_at, len(self.peer.statuses)
        return 1000 * max((s.latency_secs for s in self.peer.statuses[seen:]), default=0.0)

    def report(self):
        """Prints the figures; returns what is not as it should be."""
        wall = time.monotonic() - self.started
        settled = [mb for minute, mb in self.memory if minute >= 1.0] or [self.memory[-1][1]]
        third = max(1, len(settled) // 3)
        growth = min(settled[-third:]) - min(settled[:third])
        per_frame = {s.frames_processed: s for s in self.peer.statuses
                     if s.frames_processed > self.before.frames_processed}.values()
        millis = lambda name, q: 1000 * np.quantile([getattr(s, name) for s in per_frame], q)
        print(f'sent {self.total} frames in {wall:.1f} s ({self.late} of them later than one period)')
        received, dropped = self.since('images_received'), self.since('frames_dropped')
        ends = [self.since(name) for name in ('frames_processed', 'frames_dropped', 'images_unpaired', 'images_refused')]
        print(f'received {received} ({self.total - received} lost by the middleware), processed {ends[0]}, tracked {self.since("frames_tracked")}, '
              f'dropped {dropped}, unpaired {ends[2]}, refused {ends[3]}')
        print(f'latency image to pose: p50 {millis("latency_secs", 0.5):.1f} ms, p95 {millis("latency_secs", 0.95):.1f} ms, '
              f'p99 {millis("latency_secs", 0.99):.1f} ms, most {millis("latency_secs", 1.0):.1f} ms')
        steps = ('queue', 'decode', 'prepare', 'process', 'publish')
        print('of it, p50 / p95: ' + ', '.join(
            f'{step} {millis(step + "_secs", 0.5):.1f} / {millis(step + "_secs", 0.95):.1f} ms' for step in steps))
        print(f'CPU of the node: {(cpu_secs(self.pid) - self.cpu) / wall:.2f} cores; memory after the first minute '
              f'{settled[0]:.1f} MB, at the end {self.memory[-1][1]:.1f} MB, least {min(settled):.1f}, most {max(settled):.1f} MB, '
              f'growth of the floor {growth:.1f} MB')
        return [text for text, is_wrong in [
            (f'memory grew by {growth:.1f} MB after the first minute', growth > GROWTH_MB),
            (f'{received - sum(ends)} frames are not accounted for', received != sum(ends)),
            (f'{self.total - received} images were lost on their way',
             self.args.qos == 'reliable' and self.total - received > LOST_FRAC * self.total),
            (f'{dropped} frames were dropped', dropped > self.args.max_drops),
        ] if is_wrong]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--minutes', type=float, default=10.0)
    parser.add_argument('--rate', type=float, default=30.0)
    parser.add_argument('--qos', choices=['reliable', 'best_effort'], default='reliable')
    parser.add_argument('--data', type=Path, help='a recording in TUM layout, instead of the real one or the demo')
    parser.add_argument('--frames', type=int, default=300, help='frames of the recording that are used')
    parser.add_argument('--max-drops', type=int, default=0, help='frames that may be dropped')
    args = parser.parse_args()
    rclpy.init()
    with tempfile.TemporaryDirectory() as folder:
        frames = recording.load(args.data or recording.folder(Path(folder)), args.frames)
        print(f'{len(frames.nanos)} frames of {frames.folder.name}, {frames.colors[0].shape[1]}x{frames.colors[0].shape[0]}')
        soak = Soak(args, frames, Path(folder))
        soak.run()
        wrong = soak.report()
        status, secs = soak.node.stop()
        soak.peer.destroy()
        print(f'ended with status {status} after {secs:.2f} s')
    for text in wrong:
        print(f'FAILED: {text}')
    print('PASSED' if not wrong and status == 0 else 'FAILED')
    sys.exit(bool(wrong) or status != 0)


if __name__ == '__main__':
    main()
