//! The furnished room that the demo records: 6 m by 5 m, 2.8 m high, its floor centred at the
//! origin, z up.

use std::f64::consts::{FRAC_PI_2, PI};

use nalgebra::{Point3, Vector3};

use super::material::{Material, Pattern, Rgb};
use super::random::{hash, unit};
use super::scene::Scene;
use super::shape::Rectangle;

const SIZE_M: [f64; 3] = [6.0, 5.0, 2.8];
const EAST: f64 = SIZE_M[0] / 2.0;
const NORTH: f64 = SIZE_M[1] / 2.0;
/// Directions that things on the walls look to, as yaw.
const TO_WEST: f64 = PI;
const TO_EAST: f64 = 0.0;
const TO_SOUTH: f64 = -FRAC_PI_2;
const TO_NORTH: f64 = FRAC_PI_2;

const OAK: [Rgb; 2] = [[0.66, 0.50, 0.34], [0.50, 0.36, 0.22]];
const WALNUT: [Rgb; 2] = [[0.42, 0.29, 0.20], [0.30, 0.20, 0.13]];

/// Returns the room with all its furniture and its lamps.
pub fn furnished_room() -> Scene {
    let parts: [fn(Scene) -> Scene; 9] = [
        shell,
        lamps,
        table_and_chairs,
        shelf_and_door,
        window_and_plant,
        sofa_and_pictures,
        cabinet_and_posters,
        parcels,
        skirting,
    ];
    parts.into_iter().fold(Scene::new(), |scene, add| add(scene))
}

fn shell(scene: Scene) -> Scene {
    let walls = Material::tiled(Pattern::Wallpaper, [0.78, 0.74, 0.64], [0.52, 0.55, 0.50]);
    let floor = Material::tiled(Pattern::Planks, [0.68, 0.52, 0.36], [0.50, 0.37, 0.25]);
    let ceiling = Material::tiled(Pattern::Panels, [0.86, 0.86, 0.83], [0.70, 0.70, 0.66]);
    let rug = Material::fitted(Pattern::Carpet, [0.55, 0.20, 0.18], [0.82, 0.72, 0.52]);
    scene.room(SIZE_M, walls.every_m(2.048, 1024), floor.every_m(2.048, 1024), ceiling).cuboid(
        [0.1, 0.0, 0.0],
        [2.6, 1.9, 0.012],
        0.0,
        rug.with_texels(1024),
    )
}

fn lamps(scene: Scene) -> Scene {
    let glass =
        Material::fitted(Pattern::Plaster, [0.90, 0.89, 0.85], [0.85, 0.85, 0.8]).glowing(0.9);
    let [panels, day] = [[1.9, 1.8, 1.6], [2.6, 2.8, 3.1]];
    let window = Point3::new(EAST - 0.06, 0.0, 1.55);
    let mut scene = scene
        .lamp(Rectangle::facing(window, -Vector3::x_axis(), -Vector3::y_axis(), [1.6, 1.3]), day);
    for x in [-1.5, 1.5] {
        let below = Point3::new(x, 0.0, SIZE_M[2] - 0.06);
        let area = Rectangle::facing(below, -Vector3::z_axis(), Vector3::x_axis(), [0.9, 0.6]);
        scene = scene
            .cuboid([x, 0.0, SIZE_M[2] - 0.04], [0.9, 0.6, 0.04], 0.0, glass)
            .lamp(area, panels);
    }
    pendant(scene)
}

/// The globe over the table.
fn pendant(scene: Scene) -> Scene {
    let paper =
        Material::fitted(Pattern::Fabric, [0.86, 0.80, 0.66], [0.74, 0.62, 0.44]).glowing(0.25);
    let cord = Material::tiled(Pattern::Plaster, [0.2; 3], [0.15; 3]);
    scene.sphere([0.0, 0.0, 1.95], 0.2, paper).column(
        [0.0, 0.0, 2.15],
        0.012,
        0.65,
        6,
        cord.with_texels(64),
    )
}

/// Returns planed wood.
pub(super) fn wood([base, accent]: [Rgb; 2]) -> Material {
    Material::tiled(Pattern::Wood, base, accent)
}

fn table_and_chairs(scene: Scene) -> Scene {
    let mut scene = scene.cuboid([0.0, 0.0, 0.70], [1.3, 0.8, 0.04], 0.0, wood(OAK));
    for (x, y) in [(-0.58, -0.33), (0.58, -0.33), (-0.58, 0.33), (0.58, 0.33)] {
        scene = scene.cuboid([x, y, 0.0], [0.06, 0.06, 0.70], 0.0, wood(OAK));
    }
    for (x, y, yaw) in [(-0.35, 0.62, -1.5), (0.45, -0.66, 1.75), (-0.80, -0.15, 0.2)] {
        scene = chair(scene, [x, y], yaw);
    }
    on_the_table(scene)
}

fn on_the_table(scene: Scene) -> Scene {
    let glaze = Material::fitted(Pattern::Marble, [0.20, 0.38, 0.55], [0.80, 0.82, 0.78]);
    let apple = Material::fitted(Pattern::Marble, [0.62, 0.16, 0.12], [0.80, 0.55, 0.18]);
    let book = Material::fitted(Pattern::Poster, [0.25, 0.42, 0.36], [0.85, 0.80, 0.62]);
    let mut scene = scene
        .sphere([0.25, 0.08, 0.86], 0.12, glaze)
        .cuboid([-0.25, -0.12, 0.74], [0.21, 0.29, 0.03], 0.35, book)
        .cuboid([-0.22, -0.10, 0.77], [0.17, 0.24, 0.02], 0.9, wood(WALNUT).with_texels(256));
    for (x, y) in [(0.47, -0.18), (0.55, -0.13), (0.50, -0.09)] {
        scene = scene.sphere([x, y, 0.78], 0.04, apple.with_texels(128));
    }
    scene
}

/// Returns the scene with a chair at `[x, y]` that looks along `yaw`.
pub(super) fn chair(scene: Scene, [x, y]: [f64; 2], yaw: f64) -> Scene {
    let cloth = Material::fitted(Pattern::Fabric, [0.30, 0.42, 0.40], [0.70, 0.66, 0.50]);
    let at = |ahead: f64, left: f64, height: f64| {
        let (sin, cos) = yaw.sin_cos();
        [x + ahead * cos - left * sin, y + ahead * sin + left * cos, height]
    };
    let mut scene = scene.cuboid(at(0.0, 0.0, 0.42), [0.42, 0.42, 0.05], yaw, cloth).cuboid(
        at(-0.20, 0.0, 0.60),
        [0.03, 0.40, 0.32],
        yaw,
        wood(WALNUT),
    );
    for (ahead, left, height) in
        [(0.18, 0.18, 0.42), (0.18, -0.18, 0.42), (-0.20, 0.18, 0.60), (-0.20, -0.18, 0.60)]
    {
        let size = [0.035, 0.035, height];
        scene = scene.cuboid(at(ahead, left, 0.0), size, yaw, wood(WALNUT));
    }
    scene
}

/// The north wall.
fn shelf_and_door(scene: Scene) -> Scene {
    let door = Material::fitted(Pattern::Door, [0.74, 0.66, 0.52], [0.62, 0.52, 0.38]);
    let (depth, front) = (0.30, NORTH - 0.15);
    let mut scene = scene
        .cuboid([1.6, NORTH - 0.02, 0.0], [0.9, 0.04, 2.05], 0.0, door.with_texels(512))
        .sphere([1.25, NORTH - 0.08, 1.02], 0.035, wood(WALNUT).with_texels(128));
    for x in [-2.1, -0.3] {
        scene = scene.cuboid([x, front, 0.0], [0.03, depth, 2.0], 0.0, wood(OAK));
    }
    for level in 0..5 {
        let z = 0.05 + 0.48 * f64::from(level);
        scene = scene.cuboid([-1.2, front, z], [1.77, depth, 0.03], 0.0, wood(OAK));
    }
    let back = Material::tiled(Pattern::Wood, [0.45, 0.34, 0.24], [0.36, 0.27, 0.18]);
    scene = scene.picture([-1.2, NORTH - 0.012, 1.0], TO_SOUTH, [1.8, 2.0], back);
    let painting = Material::fitted(Pattern::Painting, [0.20, 0.36, 0.22], [0.45, 0.55, 0.66]);
    framed(books(scene), [0.45, NORTH, 1.55], TO_SOUTH, [0.8, 0.6], painting.with_texels(512))
}

fn books(mut scene: Scene) -> Scene {
    const COLORS: [Rgb; 7] = [
        [0.55, 0.18, 0.15],
        [0.18, 0.30, 0.50],
        [0.22, 0.40, 0.26],
        [0.75, 0.66, 0.42],
        [0.35, 0.22, 0.40],
        [0.80, 0.78, 0.72],
        [0.15, 0.15, 0.18],
    ];
    for level in 0..4 {
        let (z, mut x, end) = (0.08 + 0.48 * f64::from(level), -2.06, -0.38);
        let end = if level == 2 { end - 0.6 } else { end };
        let mut number = u64::from(level as u32) * 100;
        while x < end {
            let random = |part: u64| f64::from(unit(hash(number * 8 + part)));
            let (wide, deep, high) =
                (0.035 + 0.06 * random(0), 0.17 + 0.06 * random(1), 0.24 + 0.14 * random(2));
            let base = COLORS[(random(3) * 6.99) as usize];
            let spine = Material::fitted(Pattern::Spine, base, [0.86, 0.76, 0.45]).with_texels(128);
            let y = NORTH - 0.02 - deep / 2.0;
            scene = scene.cuboid([x + wide / 2.0, y, z], [wide, deep, high], 0.0, spine);
            let gap = if random(4) > 0.85 { 0.07 } else { 0.003 };
            (x, number) = (x + wide + gap, number + 1);
        }
    }
    let bust = Material::fitted(Pattern::Marble, [0.80, 0.78, 0.72], [0.50, 0.48, 0.45]);
    scene.sphere([-0.65, NORTH - 0.16, 1.17], 0.13, bust)
}

/// Returns the scene with a picture in a wooden frame on the wall at `center`, which looks along `yaw`.
pub(super) fn framed(
    scene: Scene,
    center: [f64; 3],
    yaw: f64,
    size_m: [f64; 2],
    picture: Material,
) -> Scene {
    let out = |by: f64, z: f64| [center[0] + by * yaw.cos(), center[1] + by * yaw.sin(), z];
    let base = out(0.015, center[2] - size_m[1] / 2.0);
    scene.cuboid(base, [0.03, size_m[0], size_m[1]], yaw, wood(WALNUT)).picture(
        out(0.033, center[2]),
        yaw,
        size_m.map(|metres| metres - 0.06),
        picture,
    )
}

/// The east wall.
fn window_and_plant(scene: Scene) -> Scene {
    let view = Material::fitted(Pattern::Window, [0.28, 0.46, 0.25], [0.60, 0.72, 0.86]);
    let curtain = Material::tiled(Pattern::Fabric, [0.60, 0.30, 0.22], [0.80, 0.62, 0.40])
        .every_m(0.512, 256);
    let metal =
        Material::tiled(Pattern::Plaster, [0.80, 0.80, 0.78], [0.6, 0.6, 0.58]).every_m(0.512, 256);
    let mut scene = scene
        .picture([EAST - 0.03, 0.0, 1.55], TO_WEST, [1.7, 1.4], view.with_texels(512).glowing(0.9))
        .cuboid([EAST - 0.08, 0.0, 0.80], [0.16, 1.8, 0.03], 0.0, wood(OAK))
        .cuboid([EAST - 0.05, 0.0, 0.15], [0.03, 1.2, 0.55], 0.0, metal);
    for rib in 0..12 {
        let y = -0.55 + 0.1 * f64::from(rib);
        scene = scene.cuboid([EAST - 0.09, y, 0.15], [0.05, 0.05, 0.55], 0.0, metal);
    }
    for side in [-1.0, 1.0] {
        for fold in 0..3 {
            let y = side * (0.88 + 0.11 * f64::from(fold));
            let depth = if fold == 1 { 0.10 } else { 0.06 };
            scene = scene.cuboid([EAST - depth / 2.0, y, 0.3], [depth, 0.11, 2.1], 0.0, curtain);
        }
    }
    plant(scene)
}

fn plant(scene: Scene) -> Scene {
    let pot = Material::tiled(Pattern::Marble, [0.62, 0.36, 0.24], [0.75, 0.50, 0.36])
        .every_m(0.512, 256);
    let leaves = Material::fitted(Pattern::Leaves, [0.12, 0.26, 0.10], [0.42, 0.58, 0.24]);
    let mut scene = scene.cuboid([2.6, -2.1, 0.0], [0.34, 0.34, 0.38], 0.3, pot).column(
        [2.6, -2.1, 0.38],
        0.025,
        0.55,
        8,
        wood(WALNUT).with_texels(128),
    );
    for (x, y, z, radius) in [
        (2.60, -2.10, 1.10, 0.24),
        (2.42, -2.02, 0.92, 0.15),
        (2.76, -2.02, 0.95, 0.16),
        (2.55, -2.22, 1.36, 0.17),
        (2.70, -1.95, 1.25, 0.14),
    ] {
        scene = scene.sphere([x, y, z], radius, leaves);
    }
    scene
}

/// The south wall.
fn sofa_and_pictures(scene: Scene) -> Scene {
    let cloth = Material::tiled(Pattern::Fabric, [0.24, 0.34, 0.48], [0.50, 0.58, 0.62])
        .every_m(0.512, 256);
    let cushion = Material::fitted(Pattern::Carpet, [0.78, 0.55, 0.22], [0.30, 0.20, 0.24]);
    let abstracts = Material::fitted(Pattern::Poster, [0.80, 0.70, 0.55], [0.30, 0.45, 0.55]);
    let sea = Material::fitted(Pattern::Painting, [0.16, 0.30, 0.42], [0.66, 0.60, 0.55]);
    let y = -NORTH + 0.45;
    let mut scene = scene
        .cuboid([-0.7, y, 0.0], [2.0, 0.85, 0.40], 0.0, cloth)
        .cuboid([-0.7, y - 0.33, 0.40], [2.0, 0.20, 0.42], 0.0, cloth)
        .cuboid([-1.78, y, 0.0], [0.18, 0.85, 0.60], 0.0, cloth)
        .cuboid([0.38, y, 0.0], [0.18, 0.85, 0.60], 0.0, cloth);
    for (x, turn) in [(-1.35, 0.25), (0.0, -0.3)] {
        scene = scene.cuboid([x, y - 0.12, 0.40], [0.42, 0.14, 0.38], turn, cushion);
    }
    scene = framed(scene, [-1.25, -NORTH, 1.6], TO_NORTH, [0.7, 0.95], abstracts.with_texels(512));
    scene = framed(scene, [0.05, -NORTH, 1.6], TO_NORTH, [1.1, 0.75], sea.with_texels(512));
    floor_lamp(scene)
}

fn floor_lamp(scene: Scene) -> Scene {
    let steel = Material::tiled(Pattern::Plaster, [0.35; 3], [0.25; 3]).with_texels(64);
    let shade = Material::tiled(Pattern::Fabric, [0.86, 0.74, 0.52], [0.66, 0.50, 0.32])
        .every_m(0.512, 256);
    scene
        .cuboid([1.2, -2.1, 0.0], [0.30, 0.30, 0.03], 0.0, steel)
        .column([1.2, -2.1, 0.03], 0.018, 1.42, 8, steel)
        .column([1.2, -2.1, 1.45], 0.19, 0.34, 20, shade.glowing(0.3))
}

/// The west wall.
fn cabinet_and_posters(scene: Scene) -> Scene {
    let front = Material::fitted(Pattern::Door, OAK[0], OAK[1]);
    let screen = Material::fitted(Pattern::Poster, [0.20, 0.28, 0.40], [0.55, 0.66, 0.72]);
    let globe = Material::fitted(Pattern::Leaves, [0.20, 0.36, 0.58], [0.60, 0.56, 0.34]);
    let city = Material::fitted(Pattern::Poster, [0.70, 0.30, 0.24], [0.90, 0.80, 0.60]);
    let chart = Material::fitted(Pattern::Poster, [0.86, 0.86, 0.80], [0.60, 0.72, 0.80]);
    let x = -EAST + 0.24;
    let mut scene = scene.cuboid([x, 0.2, 0.0], [0.46, 1.8, 0.72], 0.0, wood(OAK));
    for door in 0..3 {
        let y = 0.2 + 0.6 * f64::from(door - 1);
        scene = scene.picture([x + 0.234, y, 0.38], TO_EAST, [0.56, 0.62], front);
    }
    scene = scene
        .cuboid([x - 0.05, 0.45, 0.74], [0.05, 0.80, 0.48], 0.08, screen.glowing(0.4))
        .cuboid([x, 0.45, 0.72], [0.20, 0.30, 0.02], 0.0, wood(WALNUT))
        .sphere([x, -0.45, 0.88], 0.16, globe);
    scene = framed(scene, [-EAST, -0.35, 1.65], TO_EAST, [0.6, 0.85], city.with_texels(512));
    framed(scene, [-EAST, 1.55, 1.55], TO_EAST, [0.9, 1.2], chart.with_texels(512))
}

fn parcels(scene: Scene) -> Scene {
    let board = Material::fitted(Pattern::Cardboard, [0.66, 0.52, 0.36], [0.80, 0.72, 0.58]);
    let crate_ = Material::fitted(Pattern::Cardboard, [0.56, 0.44, 0.32], [0.40, 0.46, 0.52]);
    let ball = Material::fitted(Pattern::Marble, [0.78, 0.30, 0.16], [0.90, 0.84, 0.70]);
    let basket = Material::tiled(Pattern::Fabric, [0.58, 0.44, 0.28], [0.34, 0.25, 0.16])
        .every_m(0.512, 256);
    scene
        .cuboid([2.45, 1.75, 0.0], [0.60, 0.45, 0.40], 0.35, board)
        .cuboid([2.50, 1.80, 0.40], [0.42, 0.36, 0.30], 0.80, crate_)
        .cuboid([2.48, 1.78, 0.70], [0.30, 0.22, 0.18], 0.15, board)
        .sphere([1.95, 2.2, 0.13], 0.13, ball)
        .cuboid([-2.6, -1.9, 0.0], [0.45, 0.45, 0.55], -0.4, basket)
        .cuboid([-2.6, -1.9, 0.55], [0.36, 0.36, 0.22], 0.1, crate_)
        .cuboid([-2.45, 2.1, 0.0], [0.40, 0.40, 0.45], 0.2, board)
}

fn skirting(scene: Scene) -> Scene {
    let paint = wood([[0.82, 0.80, 0.74], [0.72, 0.69, 0.62]]);
    let (high, thick) = (0.09, 0.015);
    scene
        .cuboid([0.0, -NORTH + thick / 2.0, 0.0], [SIZE_M[0], thick, high], 0.0, paint)
        .cuboid([0.4, NORTH - thick / 2.0, 0.0], [1.4, thick, high], 0.0, paint)
        .cuboid([EAST - thick / 2.0, 0.0, 0.0], [thick, SIZE_M[1], high], 0.0, paint)
        .cuboid([-EAST + thick / 2.0, 0.0, 0.0], [thick, SIZE_M[1], high], 0.0, paint)
}
