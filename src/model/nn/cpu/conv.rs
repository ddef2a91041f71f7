//! The rows of a 3×3 convolution's matrix product, which never exist as a whole.

use super::gemm::Rows;

/// The neighbourhoods of the pixels of `[N, H, W, C]` maps, ordered by (dy, dx, c).
#[derive(Debug, Clone, Copy)]
pub struct Neighbourhoods<'a> {
    values: &'a [f32],
    height: usize,
    width: usize,
    channels: usize,
    stride: usize,
    rectified: bool,
}

impl<'a> Neighbourhoods<'a> {
    /// Returns the neighbourhoods of every `stride`th pixel of maps of `[height, width, channels]`;
    /// `rectified` ones count negative numbers as zero.
    pub fn new(
        values: &'a [f32],
        [height, width, channels]: [usize; 3],
        stride: usize,
        rectified: bool,
    ) -> Self {
        Self { values, height, width, channels, stride, rectified }
    }

    /// Returns how many maps there are, and their height, width and channels.
    pub fn size(&self) -> [usize; 4] {
        let map = self.height * self.width * self.channels;
        [self.values.len() / map.max(1), self.height, self.width, self.channels]
    }

    /// Returns the channels of a pixel, or `None` beyond the edges.
    #[inline(always)]
    pub fn pixel(&self, map: usize, [y, x]: [usize; 2]) -> Option<&[f32]> {
        if y >= self.height || x >= self.width {
            return None;
        }
        let at = ((map * self.height + y) * self.width + x) * self.channels;
        Some(&self.values[at..at + self.channels])
    }

    /// Returns whether negative numbers count as zero.
    pub fn is_rectified(&self) -> bool {
        self.rectified
    }

    /// Returns height and width of the result.
    pub fn out_size(&self) -> (usize, usize) {
        (self.height.div_ceil(self.stride), self.width.div_ceil(self.stride))
    }
}

impl Rows for Neighbourhoods<'_> {
    fn depth(&self) -> usize {
        9 * self.channels
    }

    #[inline(always)]
    fn piece_end(&self, depth: usize) -> usize {
        (depth / self.channels + 1) * self.channels
    }

    #[inline(always)]
    fn piece(&self, row: usize, depth: usize, length: usize) -> Option<&[f32]> {
        let (out_height, out_width) = self.out_size();
        let (map, pixel) = (row / (out_height * out_width), row % (out_height * out_width));
        let (tap, channel) = (depth / self.channels, depth % self.channels);
        // One less than the neighbour's place, so that what lies outside wraps around to large.
        let y = (pixel / out_width * self.stride + tap / 3).wrapping_sub(1);
        let x = (pixel % out_width * self.stride + tap % 3).wrapping_sub(1);
        Some(&self.pixel(map, [y, x])?[channel..channel + length])
    }

    fn rectified(&self) -> bool {
        self.rectified
    }
}
