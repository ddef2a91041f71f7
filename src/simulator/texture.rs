//! Textures that are sampled without aliasing: each holds itself at half sizes as well (mipmaps).

use rayon::prelude::*;

/// A colour of linear light; the fourth lane is padding, so that four lanes fit one register.
pub(super) type Light = [f32; 4];

const STEPS: f32 = 65535.0;

/// A square, tiling texture of albedo in linear light.
pub(super) struct Texture {
    levels: Vec<Level>,
}

struct Level {
    size: usize,
    texels: Vec<[u16; 4]>,
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

    /// Returns the albedo at texture coordinate `[u, v]` (it repeats beyond 0..1), averaged over
    /// about `2^lod` texels.
    #[inline]
    pub(super) fn sample(&self, uv: [f32; 2], lod: f32) -> Light {
        let lod = lod.clamp(0.0, (self.levels.len() - 1) as f32);
        let finer = lod as usize;
        let coarser = (finer + 1).min(self.levels.len() - 1);
        let (fine, coarse) = (self.levels[finer].sample(uv), self.levels[coarser].sample(uv));
        blend(fine, coarse, lod - finer as f32)
    }
}

impl Level {
    /// Returns this level at half the size, or `None` for a single texel.
    fn halved(&self) -> Option<Self> {
        let size = (self.size > 1).then_some(self.size / 2)?;
        let texel = |i: usize| {
            let first = (i / size) * 2 * self.size + (i % size) * 2;
            let four = [first, first + 1, first + self.size, first + self.size + 1];
            std::array::from_fn(|c| {
                (four.iter().map(|&k| u32::from(self.texels[k][c])).sum::<u32>() / 4) as u16
            })
        };
        Some(Self { size, texels: (0..size * size).map(texel).collect() })
    }

    #[inline]
    fn sample(&self, [u, v]: [f32; 2]) -> Light {
        let mask = self.size as i32 - 1;
        let (x, y) = (u * self.size as f32 - 0.5, v * self.size as f32 - 0.5);
        let (fx, fy) = (x.floor(), y.floor());
        let (x0, y0) = (fx as i32 & mask, fy as i32 & mask);
        let (x1, y1) = ((x0 + 1) & mask, (y0 + 1) & mask);
        let texel = |x: i32, y: i32| {
            let stored = &self.texels[y as usize * self.size + x as usize];
            stored.map(f32::from)
        };
        let top = blend(texel(x0, y0), texel(x1, y0), x - fx);
        let bottom = blend(texel(x0, y1), texel(x1, y1), x - fx);
        blend(top, bottom, y - fy).map(|c| c * (1.0 / STEPS))
    }
}

fn stored(albedo: [f32; 3]) -> [u16; 4] {
    let [r, g, b] = albedo.map(|c| (c.clamp(0.0, 1.0) * STEPS).round() as u16);
    [r, g, b, 0]
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
        let sample = texture.sample([2.5 / 8.0, 6.5 / 8.0], 0.0);
        for (found, expected) in sample.iter().zip([2.5 / 8.0, 6.5 / 8.0, 0.5]) {
            assert!((found - expected).abs() < 1e-4);
        }
    }

    #[test]
    fn the_coarsest_level_is_the_mean_so_detail_never_aliases() {
        let texture = Texture::bake(64, |[u, _]| [((u * 64.0) as i32 % 2) as f32; 3]);
        for i in 0..20 {
            let sample = texture.sample([i as f32 * 0.137, 0.3], 6.0);
            assert!((sample[0] - 0.5).abs() < 1e-3);
        }
    }

    #[test]
    fn textures_tile() {
        let texture = Texture::bake(16, |[u, v]| [u, v, u * v]);
        let (here, there) = (texture.sample([0.1, 0.2], 1.5), texture.sample([3.1, -1.8], 1.5));
        for c in 0..3 {
            assert!((here[c] - there[c]).abs() < 1e-4);
        }
    }
}
