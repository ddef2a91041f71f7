//! Fast reciprocal matching.

use proptest::prelude::*;
use recon_node::matching::{
    ConfidentMap, ConfidentMatch, DescriptorIndex, DescriptorMap, MapPair, PixelMatch, Seeds,
    inside_border, one_order_matches, symmetric_matches,
};

use crate::fixture::Fixture;

/// A descriptor map that owns its values.
#[derive(Debug)]
struct Owned {
    width: usize,
    height: usize,
    dim: usize,
    values: Vec<f32>,
}

impl Owned {
    fn of(fixture: &Fixture, name: &str) -> Self {
        let shape = fixture.shape(name);
        let values = fixture.floats(name);
        Self { width: shape[1], height: shape[0], dim: shape[2], values }
    }

    fn map(&self) -> DescriptorMap<'_> {
        DescriptorMap::new(self.width, self.height, self.dim, &self.values).unwrap()
    }
}

fn expected(fixture: &Fixture, name: &str) -> Vec<PixelMatch> {
    let pixels = |which: &str| fixture.rows::<2>(&format!("out.{name}.{which}"));
    let pairs = pixels("xy1").into_iter().zip(pixels("xy2"));
    pairs.map(|(a, b)| PixelMatch { a: a.map(|v| v as u32), b: b.map(|v| v as u32) }).collect()
}

fn assert_confident(fixture: &Fixture, name: &str, found: &[ConfidentMatch]) {
    let pixels: Vec<_> = found.iter().map(|m| m.pixels).collect();
    assert_eq!(pixels, expected(fixture, name), "{name}");
    for (m, confidence) in found.iter().zip(fixture.floats(&format!("out.{name}.conf"))) {
        assert!((m.confidence - confidence).abs() <= 1e-6 * confidence, "{name}");
    }
}

#[test]
fn lists_are_those_of_the_reference() {
    for scene in ["small", "hard", "asym"] {
        let Some(fixture) = Fixture::shared(&format!("fast_nn/{scene}.safetensors")) else {
            return;
        };
        let (a, b) = (Owned::of(&fixture, "in.A"), Owned::of(&fixture, "in.B"));
        let mut pair = MapPair::new(a.map(), b.map());
        for step in [8, 4, 2].into_iter().filter(|s| fixture.has(&format!("out.S{s}.xy1"))) {
            let grid = Seeds::Grid { step };
            assert_eq!(pair.matches(&grid).unwrap(), expected(&fixture, &format!("S{step}")));
            let name = format!("S{step}.basin");
            let (matches, basins) = pair.matches_with_basins(&grid).unwrap();
            assert_eq!(matches, expected(&fixture, &name), "{scene} {name}");
            let basins: Vec<f64> = basins.into_iter().map(f64::from).collect();
            assert_eq!(basins, fixture.numbers(&format!("out.{name}.map")), "{scene} {name}");
        }
        for tolerance_px in [5.0, 2.0] {
            let pixels = Seeds::grid_pixels(&a.map(), 8);
            let found = pair.matches(&Seeds::Near { pixels, tolerance_px }).unwrap();
            assert_eq!(found, expected(&fixture, &format!("tol{tolerance_px}")), "{scene}");
        }
    }
}

#[test]
fn confidences_are_those_of_the_reference() {
    for scene in ["small", "asym"] {
        let Some(fixture) = Fixture::shared(&format!("fast_nn/{scene}.safetensors")) else {
            return;
        };
        let maps = ["A", "B", "A2", "B2"].map(|n| Owned::of(&fixture, &format!("in.{n}")));
        let confidences = ["A", "B", "A2", "B2"].map(|n| fixture.floats(&format!("in.q{n}")));
        let view = |i: usize| ConfidentMap::new(maps[i].map(), &confidences[i]).unwrap();
        let symmetric = symmetric_matches([[view(0), view(1)], [view(2), view(3)]], 8).unwrap();
        assert_confident(&fixture, "sym", &symmetric);
        for (name, tolerance_px) in [("nonsym_tol0", None), ("nonsym_tol5", Some(5.0))] {
            let found = one_order_matches(view(0), view(1), 8, tolerance_px).unwrap();
            assert_confident(&fixture, name, &found);
        }
    }
}

#[test]
fn exhaustive_neighbours_are_those_of_the_reference() {
    let Some(fixture) = Fixture::shared("fast_nn/small.safetensors") else { return };
    let (a, b) = (Owned::of(&fixture, "in.A"), Owned::of(&fixture, "in.B"));
    let all: Vec<u32> = (0..a.map().len() as u32).collect();
    let nearest = DescriptorIndex::new(&b.map()).nearest(&a.map(), &all).unwrap();
    let backward = DescriptorIndex::new(&a.map()).nearest(&b.map(), &all).unwrap();
    let mutual: Vec<f64> = all.iter().map(|&i| f64::from(nearest[i as usize])).collect();
    assert_eq!(mutual, fixture.numbers("out.brute.nn_A"));
    let backward: Vec<f64> = backward.into_iter().map(f64::from).collect();
    assert_eq!(backward, fixture.numbers("out.brute.nn_B"));
}

/// Descriptors of few different values, so that ties are common and sums are exact.
fn coarse_map(max_side: usize, dim: usize) -> impl Strategy<Value = Owned> {
    (1..max_side, 1..max_side).prop_flat_map(move |(width, height)| {
        prop::collection::vec(-2i8..=2, width * height * dim).prop_map(move |values| Owned {
            width,
            height,
            dim,
            values: values.into_iter().map(f32::from).collect(),
        })
    })
}

/// The first index with the largest dot product, the plain way.
fn plain_nearest(query: &[f32], map: &DescriptorMap<'_>) -> u32 {
    let score = |i: usize| -> f32 { query.iter().zip(map.at(i)).map(|(a, b)| a * b).sum() };
    let best = (0..map.len()).map(score).fold(f32::NEG_INFINITY, f32::max);
    (0..map.len()).find(|&i| score(i) >= best).unwrap() as u32
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nearest_is_the_first_of_the_largest((a, b) in (coarse_map(24, 5), coarse_map(40, 5))) {
        let (a, b) = (a.map(), b.map());
        let all: Vec<u32> = (0..a.len() as u32).collect();
        let found = DescriptorIndex::new(&b).nearest(&a, &all).unwrap();
        for (i, found) in found.into_iter().enumerate() {
            prop_assert_eq!(found, plain_nearest(a.at(i), &b));
        }
    }

    #[test]
    fn every_match_is_mutual_and_directions_agree((a, b) in (coarse_map(20, 8), coarse_map(20, 8))) {
        let (a, b) = (a.map(), b.map());
        let index = |p: [u32; 2], map: &DescriptorMap<'_>| (p[1] as usize) * map.width() + p[0] as usize;
        let matches = MapPair::new(a, b).matches(&Seeds::Grid { step: 2 }).unwrap();
        for m in &matches {
            let (i, j) = (index(m.a, &a), index(m.b, &b));
            prop_assert_eq!(plain_nearest(a.at(i), &b) as usize, j);
            prop_assert_eq!(plain_nearest(b.at(j), &a) as usize, i);
        }
        let swapped = MapPair::new(b, a).matches_backward(&Seeds::Grid { step: 2 }).unwrap();
        let swapped: Vec<_> = swapped.iter().map(|m| PixelMatch { a: m.b, b: m.a }).collect();
        prop_assert_eq!(matches, swapped);
    }

    #[test]
    fn pixels_as_seeds_give_what_comes_back((a, b) in (coarse_map(12, 6), coarse_map(12, 6))) {
        let (a, b) = (a.map(), b.map());
        let pixels = Seeds::grid_pixels(&a, 1);
        let mut pair = MapPair::new(a, b);
        let exact = pair.matches(&Seeds::Pixels(pixels.clone())).unwrap();
        let near = pair.matches(&Seeds::Near { pixels, tolerance_px: 0.5 }).unwrap();
        prop_assert_eq!(&exact, &near);
        prop_assert_eq!(exact, pair.matches(&Seeds::Grid { step: 1 }).unwrap().into_iter()
            .filter(|m| near.contains(m)).collect::<Vec<_>>());
    }
}

#[test]
fn threads_do_not_change_matches() {
    let number = |i: usize| ((i * 2_654_435_761) % 4093) as f32 / 4093.0 - 0.5;
    let values: Vec<f32> = (0..2 * 90 * 70 * 24).map(number).collect();
    let (a, b) = values.split_at(90 * 70 * 24);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let map = |v| DescriptorMap::new(90, 70, 24, v).unwrap();
        pool.install(|| MapPair::new(map(a), map(b)).matches(&Seeds::Grid { step: 4 }).unwrap())
    };
    let single = run(1);
    assert!(single.len() > 10);
    assert_eq!(single, run(2));
    assert_eq!(single, run(5));
}

#[test]
fn maps_that_do_not_fit_are_refused() {
    let values = [0.5; 24];
    assert!(DescriptorMap::new(2, 3, 5, &values).is_err());
    assert!(DescriptorMap::new(0, 0, 4, &[]).is_err());
    let (a, b) =
        (DescriptorMap::list(4, &values).unwrap(), DescriptorMap::list(8, &values).unwrap());
    let message = MapPair::new(a, b).matches(&Seeds::Grid { step: 1 }).unwrap_err().to_string();
    assert_eq!(message, "numbers of a descriptor: expected 8, found 4");
    assert!(ConfidentMap::new(a, &values[..5]).is_err());
}

#[test]
fn matches_near_a_border_are_dropped() {
    let values = [1.0; 100];
    let map = DescriptorMap::new(10, 10, 1, &values).unwrap();
    let at = |a, b| PixelMatch { a, b };
    let all = vec![at([3, 3], [6, 6]), at([2, 5], [5, 5]), at([5, 5], [5, 7]), at([6, 3], [3, 6])];
    assert_eq!(inside_border(all.clone(), &map, &map, 3), [all[0], all[3]]);
}
