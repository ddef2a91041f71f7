//! Where keyframes stand, so that those near a place are found without looking at all.

use std::collections::{BTreeMap, BTreeSet};

use nalgebra::{Point3, Vector3};

use crate::keyframe::KeyframeId;

/// Side of the cells that keyframes are sorted into, metres: about as far as a camera indoors sees.
const CELL_M: f64 = 2.0;

type Cell = [i64; 3];

/// Keyframes by where they stand.
#[derive(Debug, Clone, Default)]
pub struct Places {
    cells: BTreeMap<Cell, BTreeSet<KeyframeId>>,
    positions: BTreeMap<KeyframeId, Point3<f64>>,
}

impl Places {
    /// Takes note of where a keyframe stands now.
    pub fn set(&mut self, id: KeyframeId, position: Point3<f64>) {
        let cell = cell_of(&position);
        let before = self.positions.insert(id, position).map(|before| cell_of(&before));
        if before == Some(cell) {
            return;
        }
        if let Some(before) = before
            && let Some(members) = self.cells.get_mut(&before)
        {
            members.remove(&id);
            if members.is_empty() {
                self.cells.remove(&before);
            }
        }
        self.cells.entry(cell).or_default().insert(id);
    }

    /// Returns the keyframes within `reach_m` of a place, oldest first.
    pub fn within(&self, place: &Point3<f64>, reach_m: f64) -> Vec<KeyframeId> {
        let reach = Vector3::repeat(reach_m.max(0.0));
        let (low, high) = (cell_of(&(place - reach)), cell_of(&(place + reach)));
        let is_near = |id: &KeyframeId| {
            self.positions.get(id).is_some_and(|there| (there - place).norm() <= reach_m)
        };
        let mut found = Vec::new();
        for x in low[0]..=high[0] {
            for y in low[1]..=high[1] {
                let column = self.cells.range([x, y, low[2]]..=[x, y, high[2]]);
                found.extend(column.flat_map(|(_, members)| members).copied().filter(is_near));
            }
        }
        found.sort_unstable();
        found
    }
}

fn cell_of(position: &Point3<f64>) -> Cell {
    // Far beyond any building cells would have no number; what is there is in the last one.
    let index = |v: f64| (v / CELL_M).floor().clamp(-1e9, 1e9) as i64;
    [index(position.x), index(position.y), index(position.z)]
}
