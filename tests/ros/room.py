"""A room made of six textured walls, seen by a moving RGB-D camera: exact images and exact poses."""

import numpy as np

WIDTH, HEIGHT, FOCAL = 320, 240, 260.0
SIZE = np.array([5.0, 4.0, 3.0])
# x forward, y left, z up, to x right, y down, z forward.
BASE_FROM_CAMERA_ROTATION = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
BASE_FROM_CAMERA_TRANSLATION = np.array([0.1, 0.02, 0.3])
START_SECS = 100.0
RATE = 30.0


def base_pose(index):
    """The robot in the room at frame `index`: rotation and translation. It begins at the identity."""
    yaw = 0.35 * np.sin(index * 0.03)
    rotation = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1.0]])
    return rotation, np.array([0.012 * index, 0.15 * np.sin(index * 0.05), 0.0])


def camera_in_room(index):
    """The camera at frame `index` as in TUM trajectories: tx ty tz qx qy qz qw."""
    rotation, translation = base_pose(index)
    yaw = np.arctan2(rotation[1, 0], rotation[0, 0])
    # The turn of the robot, then that of its camera (-0.5, 0.5, -0.5, 0.5).
    s, c = 0.5 * np.sin(yaw / 2), 0.5 * np.cos(yaw / 2)
    return np.r_[rotation @ BASE_FROM_CAMERA_TRANSLATION + translation, -c - s, c - s, -c + s, c + s]


def stamp_nanos(index, start_secs=START_SECS, rate=RATE):
    return int(start_secs * 1e9) + int(round(index * 1e9 / rate))


def texture(points, wall):
    """Colours that differ from place to place, coarse and fine."""
    phase = points @ np.array([[2.1, 5.3, 11.0], [3.7, 1.9, 17.0], [4.3, 7.7, 13.0]]) + 1.7 * wall[..., None]
    waves = np.sin(phase) + 0.6 * np.sin(2.3 * phase[..., [1, 2, 0]] + 0.5)
    blocks = np.floor(points * 4.0).astype(np.int64) @ np.array([73856093, 19349663, 83492791])
    grain = ((blocks * 2654435761 >> 7) % 97) / 97.0
    return np.clip(110 + 40 * waves + 60 * (grain[..., None] - 0.5), 0, 255).astype(np.uint8)


def render(index):
    """Colour (uint8, H×W×3) and depth (uint16 millimetres, H×W) of frame `index`."""
    rotation, translation = base_pose(index)
    u, v = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    rays = np.stack([(u - WIDTH / 2 + 0.5) / FOCAL, (v - HEIGHT / 2 + 0.5) / FOCAL, np.ones_like(u)], axis=-1)
    directions = rays @ (rotation @ BASE_FROM_CAMERA_ROTATION).T
    origin = rotation @ BASE_FROM_CAMERA_TRANSLATION + translation
    low, high = np.array([-2.0, -2.0, -0.7]), np.array([-2.0, -2.0, -0.7]) + SIZE
    with np.errstate(divide='ignore'):
        reach = np.where(directions > 0, (high - origin) / directions, (low - origin) / directions)
    axis = np.argmin(reach, axis=-1)
    depth = np.take_along_axis(reach, axis[..., None], axis=-1)[..., 0]
    points = origin + directions * depth[..., None]
    wall = axis * 2 + (np.take_along_axis(directions, axis[..., None], axis=-1)[..., 0] > 0)
    return texture(points, wall), np.round(depth * 1000).astype(np.uint16)


def write_tum(folder, count):
    """The same frames as a folder in TUM RGB-D layout."""
    from PIL import Image

    (folder / 'rgb').mkdir(parents=True)
    (folder / 'depth').mkdir()
    lists = {'rgb': [], 'depth': []}
    for index in range(count):
        color, depth = render(index)
        nanos = stamp_nanos(index)
        stamp = f'{nanos // 10**9}.{nanos % 10**9:09d}'
        Image.fromarray(color).save(folder / 'rgb' / f'{stamp}.png')
        Image.fromarray(depth).save(folder / 'depth' / f'{stamp}.png')
        for kind in lists:
            lists[kind].append(f'{stamp} {kind}/{stamp}.png\n')
    for kind, lines in lists.items():
        (folder / f'{kind}.txt').write_text(''.join(lines))
    (folder / 'calibration.yaml').write_text(
        f'fx: {FOCAL}\nfy: {FOCAL}\ncx: {WIDTH / 2 - 0.5}\ncy: {HEIGHT / 2 - 0.5}\n'
        f'width: {WIDTH}\nheight: {HEIGHT}\ndepth_scale: 1000\n')
