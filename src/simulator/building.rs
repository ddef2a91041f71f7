//! A building with a corridor that leads round a square and back to where it began.

use std::f64::consts::{FRAC_PI_2, TAU};

use super::material::{Material, Pattern, Rgb};
use super::random::{derive, hash, unit};
use super::room::{framed, wood};
use super::scene::Scene;
use super::walk::Stop;

/// Half the width of the corridor, and its height, metres.
const HALF_M: f64 = 1.2;
const HEIGHT_M: f64 = 2.6;
/// Width of the strips of wall of which each has one thing on it, metres.
const BAY_M: f64 = 1.6;
/// How many different posters, and colours of things, there are: no more than a building's own.
const POSTERS: u64 = 40;
/// There are no lamps, whose shadows would have to be looked for in all the building: surfaces
/// give off this much light instead.
const GLOW: f32 = 0.55;
const OAK: [Rgb; 2] = [[0.66, 0.50, 0.34], [0.50, 0.36, 0.22]];
const WALNUT: [Rgb; 2] = [[0.42, 0.29, 0.20], [0.30, 0.20, 0.13]];

/// Returns a square corridor, its middle line `side_m` long on each side and centred at the
/// origin, with doors, notices, cupboards and parcels along its walls, no two bays alike.
pub(super) fn building(side_m: f64) -> Scene {
    let (outer, inner) = (side_m + 2.0 * HALF_M, side_m - 2.0 * HALF_M);
    let walls = lit(Material::tiled(Pattern::Wallpaper, [0.76, 0.74, 0.66], [0.50, 0.55, 0.58]));
    let floor = lit(Material::tiled(Pattern::Planks, [0.66, 0.52, 0.38], [0.48, 0.37, 0.27]));
    let ceiling = lit(Material::tiled(Pattern::Panels, [0.84, 0.84, 0.82], [0.68, 0.68, 0.66]));
    let [walls, floor] = [walls, floor].map(|material| material.every_m(2.048, 512));
    let shell = Scene::new()
        .room([outer, outer, HEIGHT_M], walls, floor, ceiling.every_m(2.048, 256))
        .cuboid([0.0; 3], [inner, inner, HEIGHT_M], 0.0, walls);
    let sides = (0..4).map(|side| FRAC_PI_2 * f64::from(side));
    sides.enumerate().fold(shell, |scene, (side, turn)| {
        let scene = furnish(scene, outer, outer / 2.0, turn, side as u64);
        furnish(scene, inner, -inner / 2.0, turn, side as u64 + 4)
    })
}

/// Returns the way round the corridor, to the left.
pub(super) fn round(side_m: f64) -> Vec<Stop> {
    let (half, cut) = (side_m / 2.0, 1.0);
    let mut stops = Vec::new();
    for (corner, yaw_rad) in (0..4).map(|corner| (corner, FRAC_PI_2 * f64::from(corner))) {
        // Beside the middle line where a side begins and in the middle of it where it ends.
        for (along, yaw_rad) in [(cut - half, yaw_rad), (half - cut, yaw_rad)] {
            let (sin, cos) = (FRAC_PI_2 * f64::from(corner)).sin_cos();
            let (x, y) = (along, -half);
            stops.push(Stop { at_m: [x * cos - y * sin, x * sin + y * cos], yaw_rad });
        }
    }
    stops.push(Stop { yaw_rad: TAU, ..stops[0] });
    stops
}

/// Fills one wall, `length_m` long. It stands `offset_m` from the middle of the building (below
/// zero: it looks outwards), and looks to y before it is turned by `turn_rad` about the origin.
fn furnish(scene: Scene, length_m: f64, offset_m: f64, turn_rad: f64, wall: u64) -> Scene {
    // Corners stay free: the camera cuts them.
    let room_m = length_m - 2.0 * HALF_M;
    let count = (room_m / BAY_M).floor().max(1.0);
    let bays = (0..count as u64).map(|index| {
        let seed = hash(wall * 4096 + index);
        let middle = (index as f64 + 0.5 - count / 2.0) * room_m / count;
        Bay { along_m: middle, out_m: -offset_m, turn_rad, seed }
    });
    bays.fold(scene, |scene, bay| bay.furnish(scene))
}

fn lit(material: Material) -> Material {
    material.glowing(GLOW)
}

/// A strip of wall. Seen from above and before the wall is turned, x runs along the wall and y
/// out of it into the corridor.
struct Bay {
    along_m: f64,
    /// The wall's y.
    out_m: f64,
    turn_rad: f64,
    seed: u64,
}

impl Bay {
    fn furnish(&self, scene: Scene) -> Scene {
        match (8.0 * self.random(0)) as u32 {
            0 | 1 => self.door(scene),
            2 => self.poster(scene, [0.7, 0.95]),
            3 => self.poster(scene, [1.1, 0.75]),
            4 => self.cupboard(scene),
            5 => self.parcels(scene),
            6 => self.plant(scene),
            _ => self.pillar(scene),
        }
    }

    fn random(&self, part: u64) -> f64 {
        f64::from(unit(derive(self.seed, part)))
    }

    /// The point `along` the wall from the middle of the bay and `out` of the wall.
    fn at(&self, along: f64, out: f64, z: f64) -> [f64; 3] {
        let shift = 0.3 * (self.random(1) - 0.5);
        let (x, y) = (self.along_m + shift + along, self.out_m + out);
        let (sin, cos) = self.turn_rad.sin_cos();
        [x * cos - y * sin, x * sin + y * cos, z]
    }

    /// The direction that the wall looks to.
    fn yaw(&self) -> f64 {
        self.turn_rad + FRAC_PI_2
    }

    fn color(&self, part: u64) -> Rgb {
        let kind = (POSTERS as f64 * self.random(part)) as u64;
        std::array::from_fn(|channel| 0.15 + 0.7 * unit(hash(kind * 16 + channel as u64)))
    }

    fn print(&self, pattern: Pattern) -> Material {
        let [base, accent] = [self.color(2), self.color(2).map(|c| 1.0 - c)];
        lit(Material::fitted(pattern, base, accent)).with_texels(128)
    }

    fn door(&self, scene: Scene) -> Scene {
        let color = [OAK, WALNUT, [[0.70, 0.70, 0.66], [0.58, 0.58, 0.56]]];
        let [base, accent] = color[(2.99 * self.random(3)) as usize];
        let door = lit(Material::fitted(Pattern::Door, base, accent));
        let frame = lit(wood(WALNUT)).every_m(0.512, 128);
        let mut scene = scene.picture(self.at(0.0, 0.02, 1.02), self.yaw(), [0.92, 2.04], door);
        for along in [-0.49, 0.49] {
            scene = scene.cuboid(self.at(along, 0.0, 0.0), [0.07, 0.14, 2.1], self.turn_rad, frame);
        }
        let plate = self.print(Pattern::Poster);
        scene = scene.cuboid(self.at(0.0, 0.0, 2.06), [1.05, 0.14, 0.07], self.turn_rad, frame);
        scene.picture(self.at(0.66, 0.01, 1.5), self.yaw(), [0.18, 0.25], plate)
    }

    fn poster(&self, scene: Scene, size_m: [f64; 2]) -> Scene {
        let drawing = if self.random(4) < 0.5 { Pattern::Poster } else { Pattern::Painting };
        let center = self.at(0.0, 0.0, 1.45 + 0.2 * self.random(5));
        framed(scene, center, self.yaw(), size_m, self.print(drawing))
    }

    fn cupboard(&self, scene: Scene) -> Scene {
        let [wide, high] = [0.7 + 0.5 * self.random(6), 0.7 + 1.1 * self.random(7)];
        let body = lit(wood(if self.random(8) < 0.5 { OAK } else { WALNUT })).every_m(1.024, 256);
        let scene = scene.cuboid(self.at(0.0, 0.18, 0.0), [wide, 0.36, high], self.turn_rad, body);
        let size_m = [wide - 0.1, high - 0.12];
        let front = self.print(Pattern::Door);
        let scene = scene.picture(self.at(0.0, 0.365, high / 2.0), self.yaw(), size_m, front);
        let vase = self.print(Pattern::Marble);
        scene.sphere(self.at(0.15, 0.18, high + 0.11), 0.12, vase)
    }

    fn parcels(&self, scene: Scene) -> Scene {
        let board = self.print(Pattern::Cardboard);
        let turned = self.turn_rad + 0.8 * (self.random(6) - 0.5);
        let scene = scene.cuboid(self.at(0.0, 0.27, 0.0), [0.5, 0.4, 0.42], turned, board);
        let smaller = [0.36, 0.3, 0.28];
        scene.cuboid(self.at(0.05, 0.27, 0.42), smaller, turned + self.random(7), board)
    }

    fn plant(&self, scene: Scene) -> Scene {
        let pot = lit(Material::fitted(Pattern::Marble, [0.62, 0.36, 0.24], [0.75, 0.5, 0.36]));
        let leaves = lit(Material::fitted(Pattern::Leaves, [0.12, 0.26, 0.1], [0.42, 0.58, 0.24]));
        let turned = self.turn_rad + self.random(6);
        let mut scene =
            scene.cuboid(self.at(0.0, 0.22, 0.0), [0.3, 0.3, 0.4], turned, pot.with_texels(128));
        for leaf in 0..4 {
            let random = |part: u64| self.random(10 + 4 * leaf + part);
            let (along, out) = (0.3 * (random(0) - 0.5), 0.16 + 0.12 * random(1));
            let center = self.at(along, out, 0.55 + 0.6 * random(2));
            scene = scene.sphere(center, 0.11 + 0.07 * random(3), leaves);
        }
        scene
    }

    fn pillar(&self, scene: Scene) -> Scene {
        let stone = lit(Material::tiled(Pattern::Marble, self.color(2), [0.75, 0.73, 0.70]));
        let size_m = [0.3, 0.2, HEIGHT_M];
        let stone = stone.every_m(1.024, 256);
        scene.cuboid(self.at(0.0, 0.1, 0.0), size_m, self.turn_rad, stone)
    }
}
