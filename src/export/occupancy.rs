//! Occupancy maps as nav2's map server reads them: a PGM picture and a YAML file.

use std::path::Path;

use super::write_atomically;
use crate::error::{Error, Result};
use crate::map::{Occupancy, OccupancyGrid};

/// Returns once `yaml`, and the picture of the same name with the ending `pgm`, hold `grid`: north
/// (+y) is up; free is white, occupied black, unknown grey.
///
/// # Errors
/// [`Error::Usage`] for a path that has no name; else as [`write_atomically`].
pub fn write_occupancy(yaml: &Path, grid: &OccupancyGrid) -> Result<()> {
    let picture = yaml.with_extension("pgm");
    let name = picture.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.ok_or_else(|| Error::Usage(format!("{}: not a file", yaml.display())))?;
    write_atomically(&picture, |file| {
        write!(file, "P5\n{} {}\n255\n", grid.width, grid.height)?;
        for row in grid.cells.chunks(grid.width).rev() {
            let shades: Vec<u8> = row.iter().map(|cell| shade(*cell)).collect();
            file.write_all(&shades)?;
        }
        Ok(())
    })?;
    let [x, y] = grid.origin_m;
    let (cell, floor) = (grid.cell_size_m, grid.floor_m);
    write_atomically(yaml, |file| {
        write!(
            file,
            "# the floor is at {floor:.3} m along z\nimage: {name}\nmode: trinary\n\
             resolution: {cell}\norigin: [{x:.6}, {y:.6}, 0.0]\nnegate: 0\n\
             occupied_thresh: 0.65\nfree_thresh: 0.196\n"
        )
    })
}

fn shade(cell: Occupancy) -> u8 {
    match cell {
        Occupancy::Free => 254,
        Occupancy::Occupied => 0,
        Occupancy::Unknown => 205,
    }
}
