//! The map as a plan for things that drive: what is free, what is occupied, what nobody has seen.
//!
//! Worlds here have z up. A cell is occupied where the map has points within a band of heights above
//! the floor, free where a ray to a measured point goes through it within that band or below, and
//! unknown where neither is so.

use nalgebra::{Point3, Vector2};
use rayon::prelude::*;

use super::GlobalMap;
use crate::cloud::SurfaceCloud;
use crate::error::{Error, Result};
use crate::keyframe::Keyframe;

/// Of every how many pixels, in both directions, one ray is followed.
const RAY_STRIDE: usize = 3;
/// Height of the layers among which the floor is looked for, metres.
const FLOOR_LAYER_M: f64 = 0.02;
/// A floor has at least this share of all points that face up.
const MIN_FLOOR_SHARE: f64 = 0.1;
/// Cosine of the angle from the vertical at which a point faces up.
const UPWARD_COSINE: f32 = 0.9;
/// Cells at most: a square kilometre at 20 cm.
const MAX_CELLS: f64 = 25e6;

/// What counts as an obstacle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OccupancyConfig {
    /// Edge of the cells, metres.
    pub cell_size_m: f64,
    /// From this height above the floor on, metres.
    pub min_height_m: f64,
    /// Up to this height above the floor, metres.
    pub max_height_m: f64,
    /// Points of the map within the band that make a cell occupied.
    pub min_points: u32,
    /// Height of the floor in the world, where it is known; else the lowest level with many points.
    pub floor_m: Option<f64>,
}

impl Default for OccupancyConfig {
    fn default() -> Self {
        Self {
            cell_size_m: 0.05,
            min_height_m: 0.1,
            max_height_m: 1.5,
            min_points: 3,
            floor_m: None,
        }
    }
}

/// What is known of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Occupancy {
    /// Nobody has looked.
    #[default]
    Unknown,
    /// It was looked through.
    Free,
    /// Something is there.
    Occupied,
}

/// A plan: columns along x, rows along y.
#[derive(Debug, Clone, PartialEq)]
pub struct OccupancyGrid {
    /// Number of cells along x.
    pub width: usize,
    /// Number of cells along y.
    pub height: usize,
    /// The corner of the first cell with the least x and y, metres in the world.
    pub origin_m: [f64; 2],
    /// Edge of the cells, metres.
    pub cell_size_m: f64,
    /// Height of the floor in the world, metres.
    pub floor_m: f64,
    /// The cells, row by row, from the least y on.
    pub cells: Vec<Occupancy>,
}

impl GlobalMap {
    /// Returns the plan of the map, whose world has z up; `surface` is what [`GlobalMap::surface`]
    /// says of it.
    ///
    /// # Errors
    /// [`Error::Usage`] where no floor is found or the plan would be too large.
    pub fn occupancy(
        &self,
        surface: &SurfaceCloud,
        config: &OccupancyConfig,
    ) -> Result<OccupancyGrid> {
        let floor_m = match config.floor_m {
            Some(floor_m) => floor_m,
            None => find_floor(surface).ok_or_else(no_floor)?,
        };
        let mut grid = self.blank(surface, config, floor_m)?;
        let keyframes: Vec<&Keyframe> = self.keyframes().collect();
        let top_m = floor_m + config.max_height_m;
        let free: Vec<Vec<usize>> =
            keyframes.par_iter().map(|keyframe| grid.looked_through(keyframe, top_m)).collect();
        for index in free.into_iter().flatten() {
            grid.cells[index] = Occupancy::Free;
        }
        grid.occupy(surface, config);
        Ok(grid)
    }

    fn blank(
        &self,
        surface: &SurfaceCloud,
        config: &OccupancyConfig,
        floor_m: f64,
    ) -> Result<OccupancyGrid> {
        let cameras = self.keyframes().map(|k| k.world_from_camera.translation.vector.xy());
        let points = surface.cloud.points.iter().map(|p| p.coords.xy().cast::<f64>());
        let (mut low, mut high) = (Vector2::repeat(f64::INFINITY), Vector2::repeat(-f64::INFINITY));
        for point in cameras.chain(points) {
            (low, high) = (low.inf(&point), high.sup(&point));
        }
        let size = (high - low).map(|metres| (metres / config.cell_size_m).floor() + 3.0);
        let cells = size.x * size.y;
        if cells.is_nan() || cells > MAX_CELLS {
            return Err(Error::Usage(format!(
                "the occupancy map would have {} x {} cells: choose larger ones (--cell, or \
                 grid_cell_size), or leave out far points (--max-range, or sensor.max_range_m)",
                size.x, size.y
            )));
        }
        let (width, height) = (size.x as usize, size.y as usize);
        Ok(OccupancyGrid {
            width,
            height,
            origin_m: [low.x - config.cell_size_m, low.y - config.cell_size_m],
            cell_size_m: config.cell_size_m,
            floor_m,
            cells: vec![Occupancy::Unknown; width * height],
        })
    }
}

fn no_floor() -> Error {
    Error::Usage(
        "no floor was found in the map: say how high it is (--floor METRES along z, or grid_floor)"
            .to_owned(),
    )
}

/// The height of the lowest level that many points lie on that face up.
fn find_floor(surface: &SurfaceCloud) -> Option<f64> {
    let upward = surface.cloud.points.iter().zip(&surface.normals);
    let mut heights: Vec<f64> =
        upward.filter(|(_, n)| n.z > UPWARD_COSINE).map(|(p, _)| f64::from(p.z)).collect();
    heights.sort_by(f64::total_cmp);
    let needed = ((heights.len() as f64 * MIN_FLOOR_SHARE).ceil() as usize).max(1);
    // The first place, from below, where so many points lie within three layers.
    let dense = heights.windows(needed).find(|w| w[needed - 1] - w[0] <= 3.0 * FLOOR_LAYER_M)?;
    let level: Vec<f64> =
        heights.iter().copied().filter(|h| (h - dense[0]).abs() <= 3.0 * FLOOR_LAYER_M).collect();
    level.get(level.len() / 2).copied()
}

impl OccupancyGrid {
    /// Returns the index of the cell of a place, or `None` outside.
    pub fn index(&self, x_m: f64, y_m: f64) -> Option<usize> {
        let column = ((x_m - self.origin_m[0]) / self.cell_size_m).floor();
        let row = ((y_m - self.origin_m[1]) / self.cell_size_m).floor();
        let inside =
            column >= 0.0 && row >= 0.0 && column < self.width as f64 && row < self.height as f64;
        inside.then(|| row as usize * self.width + column as usize)
    }

    /// The cells that the rays of a keyframe go through below `top_m`, each once.
    fn looked_through(&self, keyframe: &Keyframe, top_m: f64) -> Vec<usize> {
        let mut seen = vec![false; self.cells.len()];
        let eye = Point3::from(keyframe.world_from_camera.translation.vector);
        let map = &keyframe.pointmap;
        for y in (0..map.height()).step_by(RAY_STRIDE) {
            for x in (0..map.width()).step_by(RAY_STRIDE) {
                let Some(point) = map.point(x, y) else { continue };
                let point = keyframe.world_from_camera * Point3::from(point.cast::<f64>());
                self.follow(&eye, &point, top_m, &mut seen);
            }
        }
        seen.iter().enumerate().filter(|(_, seen)| **seen).map(|(index, _)| index).collect()
    }

    /// Marks the cells of a ray where it is above the floor and below the top, but for its end.
    fn follow(&self, eye: &Point3<f64>, point: &Point3<f64>, top_m: f64, seen: &mut [bool]) {
        let way = point - eye;
        let steps = (way.xy().norm() / (0.5 * self.cell_size_m)).ceil().max(1.0);
        let lowest_m = self.floor_m - self.cell_size_m;
        for step in 0..(steps as usize).saturating_sub(1) {
            let place = eye + way * (step as f64 / steps);
            if place.z > top_m || place.z < lowest_m {
                continue;
            }
            if let Some(index) = self.index(place.x, place.y) {
                seen[index] = true;
            }
        }
    }

    fn occupy(&mut self, surface: &SurfaceCloud, config: &OccupancyConfig) {
        let (low_m, high_m) =
            (self.floor_m + config.min_height_m, self.floor_m + config.max_height_m);
        let mut counts = vec![0u32; self.cells.len()];
        for point in &surface.cloud.points {
            let [x, y, z] = [point.x, point.y, point.z].map(f64::from);
            let index = self.index(x, y).filter(|_| (low_m..=high_m).contains(&z));
            index.into_iter().for_each(|index| counts[index] += 1);
        }
        for (cell, count) in self.cells.iter_mut().zip(counts) {
            if count >= config.min_points {
                *cell = Occupancy::Occupied;
            }
        }
    }
}
