"""Recordings in TUM layout: a real one where there is one beside the repository, else the demo's."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from PIL import Image as Picture
from sensor_msgs.msg import CameraInfo

REAL = Path(__file__).parents[3] / 'shared' / 'data' / 'redkitchen_a'


@dataclass
class Recording:
    """Frames of a folder, all in memory: what is published is on time."""

    folder: Path
    nanos: list
    colors: list
    depths: list
    calibration: dict

    def info(self):
        """The calibration as a message, without a stamp."""
        c = self.calibration
        message = CameraInfo(width=c['width'], height=c['height'])
        message.distortion_model = c.get('distortion_model', 'plumb_bob')
        message.d = [float(v) for v in c.get('distortion', [0.0] * 5)]
        message.k = [float(v) for v in (c['fx'], 0, c['cx'], 0, c['fy'], c['cy'], 0, 0, 1)]
        message.header.frame_id = 'lens'
        return message

    @property
    def metres_per_unit(self):
        return 1.0 / self.calibration['depth_scale']


def folder(tmp_path):
    """The folder of a recording of at least 150 frames."""
    if REAL.exists():
        return REAL
    print(f'{REAL} is not here: the recording of the demo is used')
    subprocess.run([os.environ['RECON'], 'demo', '--duration', '5', '--recording', str(tmp_path / 'demo')], check=True)
    return tmp_path / 'demo'


def load(path, count):
    """The first frames of a folder, each with the depth image nearest in time."""
    lines = lambda name: [line.split() for line in (path / name).read_text().splitlines() if line[:1] != '#']
    colors, depths = lines('rgb.txt')[:count], lines('depth.txt')
    times = np.array([float(stamp) for stamp, _ in depths])
    partners = [depths[int(np.abs(times - float(stamp)).argmin())][1] for stamp, _ in colors]
    read = lambda name: np.array(Picture.open(path / name))
    return Recording(
        folder=path,
        nanos=[nanos_of(stamp) for stamp, _ in colors],
        colors=[np.array(Picture.open(path / name).convert('RGB')) for _, name in colors],
        depths=[read(name).astype(np.uint16) for name in partners],
        calibration=yaml.safe_load((path / 'calibration.yaml').read_text()))


def nanos_of(text):
    """Decimal seconds, digit by digit: a double would lose the nanoseconds of today's dates."""
    whole, _, rest = text.partition('.')
    return int(whole) * 10**9 + int((rest + '000000000')[:9])


def ate_m(estimate, reference):
    """The root of the mean squared distance of TUM trajectories, moved onto one another rigidly."""
    a, b = np.loadtxt(estimate), np.loadtxt(reference)
    nearest = np.abs(b[:, 0][None] - a[:, 0][:, None]).argmin(axis=1)
    fits = np.abs(b[nearest, 0] - a[:, 0]) < 0.02
    a, b = a[fits, 1:4], b[nearest[fits], 1:4]
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    u, _, vt = np.linalg.svd(b.T @ a)
    rotation = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
    return float(np.sqrt(((b - a @ rotation.T) ** 2).sum(axis=1).mean()))
