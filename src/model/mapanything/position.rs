//! The encoder's position table, fitted to other image sizes.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use candle_core::{Result, Tensor};

/// Added to the size before the factor between the grids is taken. DINOv2 was trained with this
/// guard against rounding, so that it belongs to the weights.
const SIZE_OFFSET: f64 = 0.1;
/// Sharpness of the bicubic kernel, as PyTorch has it.
const CUBIC_A: f64 = -0.75;

/// A square table of positions, and what has been made of it for each size so far.
#[derive(Debug)]
pub struct PositionTable {
    /// `[1, 1 + side², C]`; the first is that of the class token.
    table: Tensor,
    side: usize,
    fitted: Mutex<BTreeMap<(usize, usize), Tensor>>,
}

impl PositionTable {
    /// Returns the table `[1, 1 + side², C]`.
    pub fn new(table: Tensor) -> Result<Self> {
        let (_, rows, _) = table.dims3()?;
        let side = (rows - 1).isqrt();
        Ok(Self { table, side, fitted: Mutex::default() })
    }

    /// Returns the positions of the class token and of `h` × `w` patches, `[1, 1 + h·w, C]`.
    pub fn at(&self, h: usize, w: usize) -> Result<Tensor> {
        if (h, w) == (self.side, self.side) {
            return Ok(self.table.clone());
        }
        let mut fitted = self.fitted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = fitted.get(&(h, w)) {
            return Ok(known.clone());
        }
        let positions = self.interpolated(h, w)?;
        fitted.insert((h, w), positions.clone());
        Ok(positions)
    }

    fn interpolated(&self, h: usize, w: usize) -> Result<Tensor> {
        let (side, device) = (self.side, self.table.device());
        let (_, _, width) = self.table.dims3()?;
        let grid = self.table.narrow(1, 1, side * side)?.contiguous()?;
        let rows = Tensor::from_vec(cubic_matrix(h, side), (h, side), device)?;
        let columns = Tensor::from_vec(cubic_matrix(w, side), (w, side), device)?;
        // Rows first: [h, side] · [side, side · C]; then columns, for each row by itself.
        let grid = rows.matmul(&grid.reshape((side, side * width))?)?;
        let grid = grid.reshape((h, side, width))?;
        let grid = columns.unsqueeze(0)?.broadcast_as((h, w, side))?.contiguous()?.matmul(&grid)?;
        Tensor::cat(&[&self.table.narrow(1, 0, 1)?, &grid.reshape((1, h * w, width))?], 1)
    }
}

/// Returns the `to` × `from` matrix that resizes an axis bicubically, without antialiasing,
/// border values repeated.
fn cubic_matrix(to: usize, from: usize) -> Vec<f32> {
    let step = from as f64 / (to as f64 + SIZE_OFFSET);
    let mut matrix = vec![0.0f64; to * from];
    for (i, row) in matrix.chunks_exact_mut(from).enumerate() {
        let source = (i as f64 + 0.5) * step - 0.5;
        for tap in -1..=2 {
            let at = source.floor() + f64::from(tap);
            let column = at.clamp(0.0, (from - 1) as f64) as usize;
            row[column] += cubic(source - at);
        }
    }
    matrix.into_iter().map(|weight| weight as f32).collect()
}

/// The cubic convolution kernel (Keys, 1981).
fn cubic(distance: f64) -> f64 {
    let (a, x) = (CUBIC_A, distance.abs());
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((x - 5.0) * x + 8.0) * a * x - 4.0 * a
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    #[test]
    fn weights_of_each_row_add_up_to_one() {
        for to in [1, 3, 18, 37, 40] {
            for row in cubic_matrix(to, 37).chunks_exact(37) {
                assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn the_trained_size_is_the_table_itself() {
        let table = Tensor::rand(-1f32, 1.0, (1, 1370, 4), &Device::Cpu).unwrap();
        let positions = PositionTable::new(table.clone()).unwrap();
        let same = (positions.at(37, 37).unwrap() - &table).unwrap().abs().unwrap();
        assert!(same.max_all().unwrap().to_scalar::<f32>().unwrap() <= 0.0);
        let other = positions.at(36, 37).unwrap();
        assert_eq!(other.dims(), [1, 1 + 36 * 37, 4]);
        assert_eq!(other.dtype(), DType::F32);
    }
}
