//! The innermost loop of descriptor search: the largest dot product of each query with a block of
//! candidates. Written once, compiled for the widest vectors that this processor has.
#![allow(unsafe_code)]

/// Candidates that lie side by side in a panel.
pub(super) const LANES: usize = 16;
/// Candidates that one step of the widest kernel looks at; blocks are multiples of it.
pub(super) const STEP: usize = 4 * LANES;
/// Queries that share the loads of a step; lists of queries are multiples of it.
pub(super) const QUERIES: usize = 4;

/// One component of [`LANES`] descriptors.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct Lanes(pub [f32; LANES]);

/// Which instructions the loop is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Instructions {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Instructions {
    /// Returns the widest that this processor has. AVX2 and AVX-512 give the same bits; the
    /// portable loop rounds after multiplying where the others have a fused step.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                return Self::Avx512;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Self::Avx2;
            }
        }
        Self::Portable
    }
}

/// Writes to `maxima` the largest dot product of each query (`dim` numbers each) with the
/// candidates of `panels`: for each [`LANES`] candidates `dim` rows of lanes. Products are added
/// in the order of the components, so that a score depends on its two descriptors alone.
pub(super) fn block_maxima(
    instructions: Instructions,
    dim: usize,
    queries: &[f32],
    panels: &[Lanes],
    maxima: &mut [f32],
) {
    match instructions {
        // SAFETY: `detect` returns these only where the processor has what they are compiled for.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512 => unsafe { maxima_avx512(dim, queries, panels, maxima) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => unsafe { maxima_avx2(dim, queries, panels, maxima) },
        Instructions::Portable => maxima_of::<1, 1, false>(dim, queries, panels, maxima),
    }
}

/// Writes to `scores` the dot products of one query with the candidates of `panels`, to the bit
/// those that [`block_maxima`] compares.
pub(super) fn scores(
    instructions: Instructions,
    query: &[f32],
    panels: &[Lanes],
    scores: &mut [f32],
) {
    match instructions {
        // SAFETY: as in `block_maxima`.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512 => unsafe { scores_avx512(query, panels, scores) },
        // SAFETY: as in `block_maxima`.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => unsafe { scores_avx2(query, panels, scores) },
        Instructions::Portable => scores_of::<false>(query, panels, scores),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn maxima_avx512(dim: usize, queries: &[f32], panels: &[Lanes], maxima: &mut [f32]) {
    maxima_of::<QUERIES, 4, true>(dim, queries, panels, maxima);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn maxima_avx2(dim: usize, queries: &[f32], panels: &[Lanes], maxima: &mut [f32]) {
    maxima_of::<QUERIES, 1, true>(dim, queries, panels, maxima);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn scores_avx512(query: &[f32], panels: &[Lanes], scores: &mut [f32]) {
    scores_of::<true>(query, panels, scores);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn scores_avx2(query: &[f32], panels: &[Lanes], scores: &mut [f32]) {
    scores_of::<true>(query, panels, scores);
}

/// `Q` queries and `P` panels share their loads; `Q · P` sums stay in registers. The counts are
/// powers of two, which the compiler turns into vectors most reliably.
#[inline(always)]
fn maxima_of<const Q: usize, const P: usize, const FUSED: bool>(
    dim: usize,
    queries: &[f32],
    panels: &[Lanes],
    maxima: &mut [f32],
) {
    for (queries, maxima) in queries.chunks_exact(Q * dim).zip(maxima.chunks_exact_mut(Q)) {
        let rows: [&[f32]; Q] = std::array::from_fn(|q| &queries[q * dim..(q + 1) * dim]);
        let mut best = [Lanes([f32::NEG_INFINITY; LANES]); Q];
        for group in panels.chunks_exact(P * dim) {
            let columns: [&[Lanes]; P] = std::array::from_fn(|p| &group[p * dim..(p + 1) * dim]);
            let sums = products::<Q, P, FUSED>(dim, &rows, &columns);
            for (best, sums) in best.iter_mut().zip(&sums) {
                sums.iter().for_each(|sum| keep_larger(best, sum));
            }
        }
        for (maximum, best) in maxima.iter_mut().zip(&best) {
            *maximum = best.0.iter().fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a });
        }
    }
}

#[inline(always)]
fn products<const Q: usize, const P: usize, const FUSED: bool>(
    dim: usize,
    rows: &[&[f32]; Q],
    columns: &[&[Lanes]; P],
) -> [[Lanes; P]; Q] {
    let mut sums = [[Lanes([0.0; LANES]); P]; Q];
    for d in 0..dim {
        for q in 0..Q {
            for p in 0..P {
                add_product::<FUSED>(&mut sums[q][p], rows[q][d], &columns[p][d]);
            }
        }
    }
    sums
}

#[inline(always)]
fn add_product<const FUSED: bool>(sum: &mut Lanes, factor: f32, lanes: &Lanes) {
    for l in 0..LANES {
        sum.0[l] = if FUSED {
            factor.mul_add(lanes.0[l], sum.0[l])
        } else {
            factor * lanes.0[l] + sum.0[l]
        };
    }
}

#[inline(always)]
fn keep_larger(best: &mut Lanes, sum: &Lanes) {
    for l in 0..LANES {
        best.0[l] = if sum.0[l] > best.0[l] { sum.0[l] } else { best.0[l] };
    }
}

#[inline(always)]
fn scores_of<const FUSED: bool>(query: &[f32], panels: &[Lanes], scores: &mut [f32]) {
    let panels = panels.chunks_exact(query.len());
    for (panel, scores) in panels.zip(scores.chunks_exact_mut(LANES)) {
        let [[sum]] = products::<1, 1, FUSED>(query.len(), &[query], &[panel]);
        scores.copy_from_slice(&sum.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_instructions_agree() {
        let number = |i: usize| ((i * 7919 + 13) % 1009) as f32 / 1009.0 - 0.5;
        for dim in [3, 24, 64] {
            let queries: Vec<f32> = (0..8 * dim).map(number).collect();
            let panels: Vec<Lanes> = (0..8 * dim)
                .map(|i| Lanes(std::array::from_fn(|l| number(7 * i + 3 * l + 5))))
                .collect();
            let mut expected = [0.0; 8];
            block_maxima(Instructions::Portable, dim, &queries, &panels, &mut expected);
            let mut found = [0.0; 8];
            block_maxima(Instructions::detect(), dim, &queries, &panels, &mut found);
            for (a, b) in expected.iter().zip(&found) {
                assert!((a - b).abs() <= 1e-5, "{a} {b}");
            }
            let mut row = vec![0.0; 8 * LANES];
            scores(Instructions::detect(), &queries[..dim], &panels, &mut row);
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(largest.to_bits(), found[0].to_bits());
        }
    }
}
