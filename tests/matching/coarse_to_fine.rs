//! Windows for fine matching.

use nalgebra::{Matrix3, Vector2};
use proptest::prelude::*;
use recon_node::matching::{
    CoarseView, ImageSize, Window, WindowPair, fit_window, greedy_cover, pixel_in_full,
    select_window_pairs, window_grid, window_pairs,
};

use crate::fixture::Fixture;

fn windows(fixture: &Fixture, name: &str) -> Vec<Window> {
    let window = |[left, top, right, bottom]: [i64; 4]| Window { left, top, right, bottom };
    fixture.rows::<4>(name).into_iter().map(|row| window(row.map(|v| v as i64))).collect()
}

fn size(height_width: &[f64]) -> ImageSize {
    ImageSize { width: height_width[1] as usize, height: height_width[0] as usize }
}

fn pixels(fixture: &Fixture, name: &str) -> Vec<Vector2<f64>> {
    fixture.rows::<2>(name).into_iter().map(Vector2::from).collect()
}

#[test]
fn windows_and_their_order_are_those_of_the_reference() {
    let Some(fixture) = Fixture::shared("coarse_to_fine/select.safetensors") else { return };
    let resolutions = fixture.rows::<2>("in.forced.res");
    let (in_a, in_b) = (pixels(&fixture, "in.p1"), pixels(&fixture, "in.p2"));
    let view = |name, resolution: &[f64], pixels| CoarseView {
        size: size(&fixture.numbers(name)),
        resolution: size(resolution),
        pixels,
    };
    let a = view("in.hw1", &resolutions[0], in_a.as_slice());
    let b = view("in.hw2", &resolutions[1], in_b.as_slice());

    let grid = window_grid(a.size, 512);
    assert_eq!(grid, windows(&fixture, "out.grid1"));
    let resolution = ImageSize { width: 512, height: 384 };
    let fitted: Vec<_> = grid.iter().map(|w| fit_window(w, resolution, a.size)).collect();
    assert_eq!(fitted, windows(&fixture, "out.grid1_norm"));

    let pairs = window_pairs(&a, &b);
    let of_a: Vec<_> = pairs.iter().map(|pair| pair.a).collect();
    let of_b: Vec<_> = pairs.iter().map(|pair| pair.b).collect();
    assert_eq!(of_a, windows(&fixture, "out.score.cell1"));
    assert_eq!(of_b, windows(&fixture, "out.score.cell2"));
    let weights = pairs.iter().flat_map(|pair| &pair.weights);
    for (found, expected) in weights.zip(fixture.numbers("out.score.weights")) {
        assert!((found - expected).abs() <= 1e-12, "{found} {expected}");
    }
    let order: Vec<f64> = greedy_cover(&pairs).into_iter().map(|i| i as f64).collect();
    assert_eq!(order, fixture.numbers("out.greedy_order"));

    let chosen = select_window_pairs(&a, &b);
    let of_a: Vec<_> = chosen.iter().map(|pair| pair.a).collect();
    let of_b: Vec<_> = chosen.iter().map(|pair| pair.b).collect();
    assert_eq!(of_a, windows(&fixture, "out.forced.cell1"));
    assert_eq!(of_b, windows(&fixture, "out.forced.cell2"));
}

proptest! {
    #[test]
    fn a_grid_covers_its_image(width in 600usize..3000, height in 600usize..3000) {
        let grid = window_grid(ImageSize { width, height }, 512);
        let last = grid[grid.len() - 1];
        prop_assert_eq!((grid[0].left, grid[0].top), (0, 0));
        prop_assert_eq!((last.right, last.bottom), (width as i64, height as i64));
        for pair in grid.windows(2).filter(|pair| pair[0].top == pair[1].top) {
            let shared = pair[0].right - pair[1].left;
            prop_assert!(2 * shared >= (pair[0].right - pair[0].left) - 1, "{:?}", pair);
        }
    }

    #[test]
    fn greedy_order_covers_nine_tenths(
        weights in prop::collection::vec(prop::collection::vec(0.0..1.0f64, 12), 1..9)
    ) {
        let window = Window { left: 0, top: 0, right: 16, bottom: 16 };
        let pairs: Vec<_> =
            weights.iter().map(|w| WindowPair { a: window, b: window, weights: w.clone() }).collect();
        let order = greedy_cover(&pairs);
        let largest = |rows: &[usize]| -> f64 {
            (0..12).map(|m| rows.iter().map(|&r| weights[r][m]).fold(0.0, f64::max)).sum()
        };
        let all: Vec<usize> = (0..weights.len()).collect();
        prop_assert!(largest(&order) >= 0.9 * largest(&all) - 1e-9);
        prop_assert!(order.len() == 1 || largest(&order[..order.len() - 1]) < 0.9 * largest(&all));
    }
}

#[test]
fn too_few_matches_give_no_windows() {
    let pixels: Vec<_> = (0..9).map(|i| Vector2::new(f64::from(i), 5.0)).collect();
    let size = ImageSize { width: 512, height: 384 };
    let view = CoarseView { size, resolution: size, pixels: &pixels };
    assert!(select_window_pairs(&view, &view).is_empty());
}

#[test]
fn corners_stay_corners_in_the_full_image() {
    let doubled = Matrix3::new(2.0, 0.0, 100.0, 0.0, 2.0, 50.0, 0.0, 0.0, 1.0);
    let corner = pixel_in_full(&Vector2::new(-0.5, -0.5), &doubled);
    assert!((corner - Vector2::new(99.5, 49.5)).norm() < 1e-12);
    let first = pixel_in_full(&Vector2::new(0.0, 0.0), &doubled);
    assert!((first - Vector2::new(100.5, 50.5)).norm() < 1e-12);
}
