//! Textures that are sampled without aliasing: each holds itself at half sizes as well (mipmaps).

use rayon::prelude::*;

/// A colour of linear light; the fourth lane is padding, so that four lanes fit one register.
pub(super) type Light = [f32; 4];

/// A square, tiling texture of albedo. Texels hold the square root of albedo, which is what eight
/// bits are enough for; smaller sizes are averages of albedo itself.
pub(super) struct Texture {
    levels: Vec<Level>,
}

struct Level {
    size: usize,
    texels: Vec<[u8; 4]>,
}

impl Texture {
    /// Returns the texture of `size` × `size` texels (a power of two) whose albedo at the texture
    /// coordinate `[u, v]` in 0..1 is `albedo([u, v])`.
    pub(super) fn bake(size: usize, albedo: impl Fn([f32; 2]) -> [f32; 3] + Sync) -> Self {
        debug_assert!(size.is_power_of_two());
        let at = |i: usize| (i as f32 + 0.5) / size as f32;
        let texels = (0..size * size)
            .into_par_iter()
            .map(|i| stored(albedo([at(i % size), at(i / size)])))
            .collect();
        let mut levels = vec![Level { size, texels }];
        while let Some(coarser) = levels.last().and_then(Level::halved) {
            levels.push(coarser);
        }
        Self { levels }
    }

    /// Returns the number of texels along one side.
    pub(super) fn size(&self) -> usize {
        self.levels[0].size
    }

    /// Returns the albedo at texture coordinate `[u, v]` (above -1; it repeats beyond 0..1) in the
    /// size of texture that `level` says: 0 is the largest.
    #[inline]
    pub(super) fn sample(&self, uv: [f32; 2], level: usize) -> Light {
        let root = self.levels[level.min(self.levels.len() - 1)].sample(uv);
        root.map(|c| c * c * (1.0 / (255.0 * 255.0)))
    }
}

impl Level {
    /// Returns this level at half the size, or `None` for a single texel.
    fn halved(&self) -> Option<Self> {
        let size = (self.size > 1).then_some(self.size / 2)?;
        let texel = |i: usize| {
            let first = (i / size) * 2 * self.size + (i % size) * 2;
            let four = [first, first + 1, first + self.size, first + self.size + 1];
            let light = |c: usize| four.iter().map(|&k| square(self.texels[k][c])).sum::<f32>();
            stored([light(0), light(1), light(2)].map(|sum| sum / 4.0))
        };
        Some(Self { size, texels: (0..size * size).map(texel).collect() })
    }

    #[inline]
    fn sample(&self, [u, v]: [f32; 2]) -> Light {
        // Cutting off the fraction rounds down only above zero.
        const AWAY: f32 = 2.0;
        let (size, mask) = (self.size as f32, self.size - 1);
        let (x, y) = ((u + AWAY) * size - 0.5, (v + AWAY) * size - 0.5);
        let (whole_x, whole_y) = (x as i32, y as i32);
        let (dx, dy) = (x - whole_x as f32, y - whole_y as f32);
        let (x0, y0) = (whole_x as usize & mask, whole_y as usize & mask);
        let (x1, y1) = ((x0 + 1) & mask, (y0 + 1) & mask);
        let texel = |x: usize, y: usize| self.texels[y * self.size + x].map(f32::from);
        let top = blend(texel(x0, y0), texel(x1, y0), dx);
        let bottom = blend(texel(x0, y1), texel(x1, y1), dx);
        blend(top, bottom, dy)
    }
}

fn stored(albedo: [f32; 3]) -> [u8; 4] {
    let [r, g, b] = albedo.map(|c| (255.0 * c.clamp(0.0, 1.0).sqrt()).round() as u8);
    [r, g, b, 0]
}

/// The albedo of a stored value.
fn square(stored: u8) -> f32 {
    (f32::from(stored) / 255.0).powi(2)
}

/// Returns the colour at share `t` between `a` (0) and `b` (1).
#[inline]
pub(super) fn blend(a: Light, b: Light, t: f32) -> Light {
    std::array::from_fn(|c| a[c] + (b[c] - a[c]) * t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sampling_at_texel_centres_returns_the_albedo() {
        let texture = Texture::bake(8, |[u, v]| [u, v, 0.5]);
        let sample = texture.sample([2.5 / 8.0, 6.5 / 8.0], 0);
        for (found, expected) in sample.iter().zip([2.5 / 8.0, 6.5 / 8.0, 0.5]) {
            assert!((found - expected).abs() < 5e-3);
        }
    }

    #[test]
    fn the_coarsest_level_is_the_mean_so_detail_never_aliases() {
        let texture = Texture::bake(64, |[u, _]| [((u * 64.0) as i32 % 2) as f32; 3]);
        for i in 0..20 {
            let sample = texture.sample([i as f32 * 0.137, 0.3], 6);
            assert!((sample[0] - 0.5).abs() < 5e-3);
        }
    }

    #[test]
    fn textures_tile() {
        let texture = Texture::bake(16, |[u, v]| [u, v, u * v]);
        let (here, there) = (texture.sample([0.1, 0.2], 1), texture.sample([3.1, -0.8], 1));
        for c in 0..3 {
            assert!((here[c] - there[c]).abs() < 1e-4);
        }
    }
}
