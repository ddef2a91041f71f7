//! Which depth image belongs to which colour image.

use crate::stamp::Stamp;

/// How many depth images before and after a colour image are looked at.
const NEIGHBOURS: usize = 8;

/// Returns for each colour stamp the index of its depth stamp: pairs are made in order of their
/// difference, none above `max_difference_secs`, and no depth image serves twice.
pub(super) fn associate(
    colors: &[Stamp],
    depths: &[Stamp],
    max_difference_secs: f64,
) -> Vec<Option<usize>> {
    let mut by_time: Vec<usize> = (0..depths.len()).collect();
    by_time.sort_by_key(|&index| depths[index]);
    let limit = (max_difference_secs * 1e9).round() as u64;
    let mut candidates: Vec<(u64, usize, usize)> = Vec::new();
    for (color, stamp) in colors.iter().enumerate() {
        let after = by_time.partition_point(|&index| depths[index] < *stamp);
        let range = after.saturating_sub(NEIGHBOURS)..depths.len().min(after + NEIGHBOURS);
        candidates.extend(
            by_time[range]
                .iter()
                .map(|&depth| (stamp.nanos().abs_diff(depths[depth].nanos()), color, depth))
                .filter(|(difference, _, _)| *difference <= limit),
        );
    }
    candidates.sort_unstable();
    let mut partners = vec![None; colors.len()];
    let mut used = vec![false; depths.len()];
    for (_, color, depth) in candidates {
        if partners[color].is_none() && !used[depth] {
            partners[color] = Some(depth);
            used[depth] = true;
        }
    }
    partners
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(values: &[i64]) -> Vec<Stamp> {
        values.iter().map(|ms| Stamp::from_nanos(ms * 1_000_000)).collect()
    }

    #[test]
    fn pairs_are_the_nearest_and_unique() {
        let cases = [
            (vec![0, 33, 67], vec![1, 34, 66], vec![Some(0), Some(1), Some(2)]),
            (vec![0, 33], vec![18], vec![None, Some(0)]),
            (vec![0, 33], vec![60], vec![None, None]),
            (vec![10, 12], vec![11], vec![Some(0), None]),
            (vec![0, 33], vec![33, 0], vec![Some(1), Some(0)]),
            (vec![0], vec![], vec![None]),
        ];
        for (colors, depths, expected) in cases {
            assert_eq!(associate(&millis(&colors), &millis(&depths), 0.02), expected);
        }
    }

    #[test]
    fn a_huge_difference_does_not_take_long() {
        let stamps: Vec<Stamp> = (0..20_000).map(Stamp::from_nanos).collect();
        let partners = associate(&stamps, &stamps, 1e6);
        assert!(partners.iter().enumerate().all(|(index, partner)| *partner == Some(index)));
    }
}
