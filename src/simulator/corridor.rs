//! A corridor with rooms that are exactly alike: nothing that is seen in one tells it from the
//! next. Who closes loops by looks alone closes false ones here.

use std::f64::consts::{FRAC_PI_2, PI, TAU};

use super::material::{Material, Pattern, Rgb};
use super::room::{chair, framed, wood};
use super::scene::Scene;
use super::walk::Stop;

/// Distance of the middles of neighbouring rooms in metres: twice the size of the drawings on walls
/// and floor, which therefore begin alike in each room.
pub(super) const PITCH_M: f64 = 4.096;
const HEIGHT_M: f64 = 2.6;
/// From the corridor's outer wall to the rooms' outer wall, metres; the origin is between them.
const DEEP_M: f64 = 6.5;
const SOUTH: f64 = -DEEP_M / 2.0;
const NORTH: f64 = DEEP_M / 2.0;
/// The wall between corridor and rooms, the corridor's middle line and that of the rooms.
const FRONT: f64 = -0.85;
const CORRIDOR: f64 = (SOUTH + FRONT) / 2.0;
const MIDDLE: f64 = (FRONT + NORTH) / 2.0;
const WALL_M: f64 = 0.1;
const DOORWAY_M: [f64; 2] = [1.1, 2.1];
/// Light that surfaces give off, as in the building.
const GLOW: f32 = 0.55;
const OAK: [Rgb; 2] = [[0.66, 0.50, 0.34], [0.50, 0.36, 0.22]];

/// Returns a corridor along x with `rooms` rooms on its north side.
pub(super) fn corridor(rooms: usize) -> Scene {
    let ceiling = Material::tiled(Pattern::Panels, [0.84, 0.84, 0.82], [0.68, 0.68, 0.66]);
    let floor = Material::tiled(Pattern::Planks, [0.68, 0.52, 0.36], [0.50, 0.37, 0.25]);
    let size_m = [PITCH_M * rooms as f64 + WALL_M, DEEP_M, HEIGHT_M];
    let scene = Scene::new().room(
        size_m,
        paper(),
        lit(floor).every_m(2.048, 512),
        lit(ceiling).every_m(2.048, 256),
    );
    let partitions = (0..=rooms).map(|wall| middle_m(wall, rooms) - PITCH_M / 2.0);
    let scene = partitions.fold(scene, partition);
    (0..rooms).fold(scene, |scene, room| {
        let x = middle_m(room, rooms);
        let parts: [fn(Scene, f64) -> Scene; 4] = [front, table, walls, hall];
        parts.into_iter().fold(scene, |scene, add| add(scene, x))
    })
}

/// Returns the way through all rooms, one after the other, and back along the corridor.
pub(super) fn round(rooms: usize) -> Vec<Stop> {
    let stop = |x: f64, y: f64, yaw_rad: f64| Stop { at_m: [x, y], yaw_rad };
    let first = middle_m(0, rooms) - 1.1;
    let last = middle_m(rooms - 1, rooms) + 1.1;
    let mut stops = vec![stop(first, CORRIDOR, 0.0)];
    for room in 0..rooms {
        let turned = TAU * room as f64;
        let visit = visit(middle_m(room, rooms));
        stops.extend(visit.into_iter().map(|s| Stop { yaw_rad: s.yaw_rad + turned, ..s }));
    }
    let turned = TAU * rooms as f64;
    stops.push(stop(last, CORRIDOR, turned));
    stops.push(stop(last, CORRIDOR, turned + PI));
    stops.push(stop(first, CORRIDOR, turned + PI));
    stops.push(stop(first, CORRIDOR, turned + TAU));
    stops
}

/// Into the room whose middle is at `x`, round its table, and out again.
fn visit(x: f64) -> Vec<Stop> {
    const STEPS: usize = 8;
    const RADIUS_M: f64 = 1.15;
    let stop = |dx: f64, y: f64, yaw_rad: f64| Stop { at_m: [x + dx, y], yaw_rad };
    let mut stops = vec![stop(-0.6, CORRIDOR, 0.0), stop(0.0, FRONT - 0.6, FRAC_PI_2)];
    // While the way goes round once, the gaze turns half, from entering to leaving.
    stops.extend((0..=STEPS).map(|step| {
        let share = step as f64 / STEPS as f64;
        let (sin, cos) = (TAU * share - FRAC_PI_2).sin_cos();
        stop(RADIUS_M * cos, MIDDLE + RADIUS_M * sin, FRAC_PI_2 + PI * share)
    }));
    stops.extend([stop(0.0, FRONT - 0.6, 3.0 * FRAC_PI_2), stop(0.6, CORRIDOR, TAU)]);
    stops
}

fn middle_m(room: usize, rooms: usize) -> f64 {
    PITCH_M * (room as f64 - (rooms as f64 - 1.0) / 2.0)
}

fn lit(material: Material) -> Material {
    material.glowing(GLOW)
}

fn paper() -> Material {
    let paper = Material::tiled(Pattern::Wallpaper, [0.78, 0.74, 0.64], [0.52, 0.55, 0.50]);
    lit(paper).every_m(2.048, 512)
}

fn partition(scene: Scene, x: f64) -> Scene {
    scene.cuboid([x, MIDDLE, 0.0], [WALL_M, NORTH - FRONT, HEIGHT_M], 0.0, paper())
}

/// The wall to the corridor, with its doorway and an open door.
fn front(scene: Scene, x: f64) -> Scene {
    let [wide, high] = DOORWAY_M;
    let beside = (PITCH_M - wide) / 2.0;
    let frame = lit(wood(OAK)).every_m(0.512, 128);
    let door = lit(Material::fitted(Pattern::Door, [0.74, 0.66, 0.52], [0.62, 0.52, 0.38]));
    let mut scene = scene.cuboid([x, FRONT, high], [wide, WALL_M, HEIGHT_M - high], 0.0, paper());
    for side in [-1.0, 1.0] {
        let wall = [x + side * (wide + beside) / 2.0, FRONT, 0.0];
        let jamb = [x + side * (wide / 2.0 - 0.03), FRONT, 0.0];
        scene = scene.cuboid(wall, [beside, WALL_M, HEIGHT_M], 0.0, paper()).cuboid(
            jamb,
            [0.06, 0.16, high],
            0.0,
            frame,
        );
    }
    // Opened inwards, all the way to the wall.
    scene.cuboid([x + 1.05, FRONT + 0.1, 0.0], [0.9, 0.04, 2.04], 0.0, door)
}

fn table(scene: Scene, x: f64) -> Scene {
    let glaze = Material::fitted(Pattern::Marble, [0.2, 0.38, 0.55], [0.8, 0.82, 0.78]);
    let book = Material::fitted(Pattern::Poster, [0.25, 0.42, 0.36], [0.85, 0.8, 0.62]);
    let top = lit(wood(OAK)).every_m(1.024, 256);
    let mut scene = scene
        .cuboid([x, MIDDLE, 0.70], [1.0, 0.7, 0.04], 0.0, top)
        .cuboid([x - 0.2, MIDDLE - 0.1, 0.74], [0.21, 0.29, 0.04], 0.4, lit(book))
        .sphere([x + 0.25, MIDDLE + 0.1, 0.86], 0.12, lit(glaze).with_texels(128));
    for (dx, dy) in [(-0.45, -0.3), (0.45, -0.3), (-0.45, 0.3), (0.45, 0.3)] {
        scene = scene.cuboid([x + dx, MIDDLE + dy, 0.0], [0.06, 0.06, 0.7], 0.0, top);
    }
    chair(scene, [x + 0.1, MIDDLE + 0.45], -1.4)
}

/// What stands and hangs on a room's walls.
fn walls(scene: Scene, x: f64) -> Scene {
    let (west, east) = (x - PITCH_M / 2.0 + WALL_M / 2.0, x + PITCH_M / 2.0 - WALL_M / 2.0);
    let city = Material::fitted(Pattern::Poster, [0.7, 0.3, 0.24], [0.9, 0.8, 0.6]);
    let chart = Material::fitted(Pattern::Poster, [0.86, 0.86, 0.8], [0.6, 0.72, 0.8]);
    let sea = Material::fitted(Pattern::Painting, [0.16, 0.3, 0.42], [0.66, 0.6, 0.55]);
    let view = Material::fitted(Pattern::Window, [0.28, 0.46, 0.25], [0.6, 0.72, 0.86]);
    let front = Material::fitted(Pattern::Door, OAK[0], OAK[1]);
    let board = Material::fitted(Pattern::Cardboard, [0.66, 0.52, 0.36], [0.8, 0.72, 0.58]);
    let body = lit(wood(OAK)).every_m(1.024, 256);
    let scene = framed(scene, [west, MIDDLE + 0.3, 1.5], 0.0, [1.0, 0.75], lit(sea));
    let scene = framed(scene, [east, MIDDLE - 0.5, 1.55], PI, [0.7, 0.95], lit(city));
    let scene = framed(scene, [x - 1.2, FRONT + 0.05, 1.5], FRAC_PI_2, [0.8, 1.1], lit(chart));
    scene
        .picture([x, NORTH - 0.02, 1.5], -FRAC_PI_2, [1.6, 1.2], lit(view))
        .cuboid([x, NORTH - 0.08, 0.82], [1.8, 0.16, 0.03], 0.0, body)
        .cuboid([west + 0.19, MIDDLE - 0.4, 0.0], [0.38, 1.2, 0.75], 0.0, body)
        .picture([west + 0.385, MIDDLE - 0.4, 0.38], 0.0, [1.1, 0.62], lit(front))
        .cuboid([east - 0.25, NORTH - 0.35, 0.0], [0.4, 0.4, 0.45], 0.2, lit(board))
        .cuboid([east - 0.27, NORTH - 0.35, 0.45], [0.3, 0.26, 0.3], 0.7, lit(board))
}

/// What hangs and stands in the corridor before each room.
fn hall(scene: Scene, x: f64) -> Scene {
    let notice = Material::fitted(Pattern::Poster, [0.35, 0.5, 0.62], [0.9, 0.88, 0.8]);
    let plate = Material::fitted(Pattern::Poster, [0.8, 0.78, 0.7], [0.3, 0.3, 0.35]);
    let metal = Material::tiled(Pattern::Marble, [0.62, 0.63, 0.6], [0.75, 0.75, 0.72]);
    let scene = framed(scene, [x - 0.9, SOUTH, 1.5], FRAC_PI_2, [1.0, 0.7], lit(notice));
    let door = lit(Material::fitted(Pattern::Door, [0.70, 0.70, 0.66], [0.58, 0.58, 0.56]));
    scene
        .picture([x + 0.8, SOUTH + 0.02, 1.02], FRAC_PI_2, [0.92, 2.04], door)
        .picture([x - 0.85, FRONT - 0.06, 1.5], -FRAC_PI_2, [0.3, 0.4], lit(plate))
        .cuboid([x - 1.6, SOUTH + 0.1, 0.2], [0.5, 0.12, 0.55], 0.0, lit(metal).every_m(0.512, 128))
}
