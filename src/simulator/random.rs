//! Randomness as a function of its place: every value is a hash of a seed and of where it is
//! used, so that no order of evaluation can change it.

use std::sync::LazyLock;

/// Returns 64 well mixed bits of `key` (the finaliser of SplitMix64).
#[inline]
pub(super) fn hash(key: u64) -> u64 {
    let mut bits = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Returns the seed of part `index` of whatever `seed` stands for.
#[inline]
pub(super) fn derive(seed: u64, index: u64) -> u64 {
    hash(seed ^ index.wrapping_mul(0xd6e8_feb8_6659_fd93))
}

/// Returns a number in 0..1 from the upper bits of a hash.
#[inline]
pub(super) fn unit(bits: u64) -> f32 {
    (bits >> 40) as f32 / (1u64 << 24) as f32
}

/// Returns three uncorrelated numbers of about normal distribution (each a sum of bytes), with
/// mean 0, standard deviation 1 and no value beyond 5.
pub(super) fn gaussian_triple(bits: u64) -> [f32; 3] {
    const LANES: u64 = 0x00ff_00ff_00ff_00ff;
    /// Standard deviation of the sum of four bytes.
    const SCALE: f32 = 1.0 / 147.801;
    // Bytes are added in parallel: first to each its neighbour, then the halves of each half.
    let (even, odd) = (bits & LANES, (bits >> 8) & LANES);
    let halves = |pairs: u64| {
        let fours = (pairs & 0x0000_ffff_0000_ffff) + ((pairs >> 16) & 0x0000_ffff_0000_ffff);
        [fours as u32 as i32, (fours >> 32) as i32]
    };
    let ([a, b], [c, d]) = (halves(even + odd), halves(even + (LANES - odd)));
    let third = (c + d - 1020) as f32 * std::f32::consts::FRAC_1_SQRT_2;
    [(a - 510) as f32 * SCALE, (b - 510) as f32 * SCALE, third * SCALE]
}

/// Numbers of about normal distribution, to be read from any place on.
static NORMALS: LazyLock<Vec<f32>> = LazyLock::new(|| {
    (0..(NORMAL_STARTS + LONGEST_ROW) as u64 / 3 + 1)
        .flat_map(|i| gaussian_triple(hash(i)))
        .collect()
});
const NORMAL_STARTS: usize = 1 << 17;
/// Four numbers for each pixel of the widest image.
const LONGEST_ROW: usize = 4 * 4096;

/// Returns `count` numbers (at most four for each of 4096 pixels) of about normal distribution
/// with mean 0 and standard deviation 1: a part of one long list, from where `seed` says.
pub(super) fn normals(seed: u64, count: usize) -> &'static [f32] {
    let start = hash(seed) as usize % NORMAL_STARTS;
    &NORMALS[start..start + count]
}

/// Random numbers in -1..1 for the corners of noise, side by side: looking one up is several times
/// as fast as hashing its place, and baking the textures asks for hundreds of millions.
static CORNERS: LazyLock<Vec<f32>> =
    LazyLock::new(|| (0..(SIDE * SIDE) as u64).map(|i| unit(hash(i)) * 2.0 - 1.0).collect());
const SIDE: usize = 256;

/// Returns fractal noise of about -1..1 at `(u, v)` in 0..1: the coarsest of `octaves` has
/// `cells` cells (powers of two), each finer one twice as many and about two thirds of the
/// strength. It tiles.
pub(super) fn fractal(seed: u64, [u, v]: [f32; 2], cells: [i32; 2], octaves: u32) -> f32 {
    let corners: &[f32] = &CORNERS;
    let (mut sum, mut strength, mut total) = (0.0, 1.0, 0.0);
    for octave in 0..octaves {
        let period = [cells[0] << octave, cells[1] << octave];
        let place = seed.rotate_left(7 * octave);
        let at = [u * period[0] as f32, v * period[1] as f32];
        sum += strength * value_noise(corners, place, at, period);
        total += strength * strength;
        strength *= 0.68;
    }
    sum / f32::sqrt(total)
}

/// Smooth noise in -1..1 at a point in cells (0 or more) that repeats after `period` cells.
#[inline]
fn value_noise(corners: &[f32], place: u64, [x, y]: [f32; 2], period: [i32; 2]) -> f32 {
    let (x0, y0) = (x as i32, y as i32);
    let (sx, sy) = (ease(x - x0 as f32), ease(y - y0 as f32));
    let (shift_x, shift_y) = (place as i32, (place >> 32) as i32);
    let column = |x: i32| ((x & (period[0] - 1)).wrapping_add(shift_x) & 255) as usize;
    let row = |y: i32| (((y & (period[1] - 1)).wrapping_add(shift_y) & 255) << 8) as usize;
    let ((left, right), (top, bottom)) = ((column(x0), column(x0 + 1)), (row(y0), row(y0 + 1)));
    let above = mix(corners[top + left], corners[top + right], sx);
    let below = mix(corners[bottom + left], corners[bottom + right], sx);
    mix(above, below, sy)
}

/// Returns the value at share `t` between `a` (0) and `b` (1).
#[inline]
pub(super) fn mix(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

fn ease(t: f32) -> f32 {
    t * t * t * (t * (t * 6.0 - 15.0) + 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaussian_triples_have_zero_mean_unit_variance_and_no_correlation() {
        let triples: Vec<[f32; 3]> = (0..40_000).map(|i| gaussian_triple(hash(i))).collect();
        let mean = |f: &dyn Fn(&[f32; 3]) -> f32| triples.iter().map(f).sum::<f32>() / 40_000.0;
        for a in 0..3 {
            assert!(mean(&|t| t[a]).abs() < 0.02);
            for b in 0..3 {
                let expected = if a == b { 1.0 } else { 0.0 };
                assert!((mean(&|t| t[a] * t[b]) - expected).abs() < 0.03, "{a} {b}");
            }
        }
    }

    #[test]
    fn fractal_noise_tiles_and_is_continuous() {
        for i in 0..50 {
            let v = i as f32 / 50.0;
            let at = |u: f32| fractal(7, [u, v], [4, 8], 3);
            assert!((at(0.0) - at(1.0)).abs() < 1e-3);
            assert!((at(0.37) - at(0.3701)).abs() < 2e-2);
        }
    }
}
