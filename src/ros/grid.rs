//! The plan of the map as `nav_msgs/OccupancyGrid` has it.

use super::config::{GridFloor, NodeConfig};
use crate::map::{Occupancy, OccupancyConfig, OccupancyGrid};

/// Returns what counts as an obstacle by the node's settings.
///
/// # Errors
/// One sentence, for a band of heights without height.
pub fn config_of(node: &NodeConfig) -> Result<OccupancyConfig, String> {
    if node.grid_min_height >= node.grid_max_height {
        return Err("grid_min_height has to be less than grid_max_height".to_owned());
    }
    Ok(OccupancyConfig {
        cell_size_m: node.grid_cell_size,
        min_height_m: node.grid_min_height,
        max_height_m: node.grid_max_height,
        floor_m: match node.grid_floor {
            GridFloor::Auto => None,
            GridFloor::Base => Some(0.0),
        },
        ..OccupancyConfig::default()
    })
}

/// Returns the cells row by row, from the least y on: 0 free, 100 occupied, -1 unknown.
pub fn cells(grid: &OccupancyGrid) -> Vec<i8> {
    let value = |cell: &Occupancy| match cell {
        Occupancy::Unknown => -1,
        Occupancy::Free => 0,
        Occupancy::Occupied => 100,
    };
    grid.cells.iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_have_the_values_of_nav2_and_keep_their_order() {
        let grid = OccupancyGrid {
            width: 3,
            height: 1,
            origin_m: [0.0; 2],
            cell_size_m: 0.1,
            floor_m: 0.0,
            cells: vec![Occupancy::Occupied, Occupancy::Unknown, Occupancy::Free],
        };
        assert_eq!(cells(&grid), [100, -1, 0]);
    }

    #[test]
    fn the_band_of_heights_is_checked_and_the_floor_may_be_that_of_the_base() {
        let mut node = NodeConfig::default();
        assert_eq!(config_of(&node).unwrap().floor_m, None);
        node.grid_floor = GridFloor::Base;
        assert_eq!(config_of(&node).unwrap().floor_m, Some(0.0));
        node.grid_max_height = node.grid_min_height;
        assert!(config_of(&node).unwrap_err().contains("grid_max_height"));
    }
}
