//! A rectangle of values in row order.

use crate::error::{Error, Result};

/// A `width` × `height` grid of values, rows first.
#[derive(Debug, Clone, PartialEq)]
pub struct Raster<T> {
    width: usize,
    height: usize,
    values: Vec<T>,
}

impl<T: Copy> Raster<T> {
    /// Returns a grid over `values` in row order.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] unless there are `width * height` values.
    pub fn new(width: usize, height: usize, values: Vec<T>) -> Result<Self> {
        if values.len() == width * height {
            return Ok(Self { width, height, values });
        }
        Err(Error::ShapeMismatch {
            what: "values of an image",
            expected: format!("{width}x{height}"),
            found: format!("{} values", values.len()),
        })
    }

    /// The grid over values that are known to be as many as there are pixels.
    pub(crate) fn from_values(width: usize, height: usize, values: Vec<T>) -> Self {
        debug_assert_eq!(values.len(), width * height);
        Self { width, height, values }
    }

    /// Returns a grid of one value.
    pub fn filled(width: usize, height: usize, value: T) -> Self {
        Self { width, height, values: vec![value; width * height] }
    }

    /// Returns the grid whose value at column `x`, row `y` is `value(x, y)`.
    pub fn from_fn(width: usize, height: usize, value: impl Fn(usize, usize) -> T) -> Self {
        let mut values = Vec::with_capacity(width * height);
        for y in 0..height {
            values.extend((0..width).map(|x| value(x, y)));
        }
        Self { width, height, values }
    }

    /// Returns the number of columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Returns the number of rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Returns the value at column `x`, row `y`; panics outside the grid.
    #[inline]
    pub fn at(&self, x: usize, y: usize) -> T {
        self.values[y * self.width + x]
    }

    /// Returns the value at column `x`, row `y`, or `None` outside the grid.
    pub fn get(&self, x: i64, y: i64) -> Option<T> {
        let inside = x >= 0 && y >= 0 && (x as usize) < self.width && (y as usize) < self.height;
        inside.then(|| self.at(x as usize, y as usize))
    }

    /// Returns all values in row order.
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// Returns all values in row order, to be changed.
    pub fn values_mut(&mut self) -> &mut [T] {
        &mut self.values
    }

    /// Returns the grid of `change(value)`.
    pub fn map<U: Copy>(&self, change: impl Fn(T) -> U) -> Raster<U> {
        Raster {
            width: self.width,
            height: self.height,
            values: self.values.iter().map(|&v| change(v)).collect(),
        }
    }
}
