//! Minimal filtering against the definition of a convolution.

use proptest::prelude::*;
use recon_node::model::nn::cpu::conv::Neighbourhoods;
use recon_node::model::nn::cpu::gemm::{Finish, Matrix, Panels, Then, multiply};
use recon_node::model::nn::cpu::simd::Level;
use recon_node::model::nn::cpu::winograd::{Kernels, convolve};

use super::reference::{self, assert_close, numbers};

const PLAIN: Finish<'static> = Finish { bias: None, then: Then::Nothing };

fn check([h, w, c]: [usize; 3], outputs: usize) {
    let x = numbers(2 * h * w * c, 1);
    let weight = numbers(outputs * 9 * c, 2);
    let positive: Vec<f32> = x.iter().map(|x| x.max(0.0)).collect();
    for (rectified, same) in [(false, &x), (true, &positive)] {
        let expected: Vec<f64> = same
            .chunks_exact(h * w * c)
            .flat_map(|map| reference::conv3x3(map, [h, w, c], &weight, 1))
            .collect();
        let maps = Neighbourhoods::new(&x, [h, w, c], 1, rectified);
        for level in Level::available() {
            let kernels = Kernels::new(&weight, outputs, c, level);
            assert_eq!((kernels.outputs(), kernels.channels()), (outputs, c));
            let found = convolve(&maps, &kernels, PLAIN);
            // Twice as much as for the plain sum: each pixel is a sum of sums.
            let limit = 4e-6 * (9.0 * c as f64).sqrt();
            assert_close(&found, &expected, limit, &format!("{level:?} {h}×{w}×{c} to {outputs}"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn filters_of_any_shape(
        (h, w, c) in (1usize..13, 1usize..13, 1usize..40),
        outputs in 1usize..70,
    ) {
        check([h, w, c], outputs);
    }
}

#[test]
fn more_channels_than_the_cache_has_room_for() {
    check([7, 9, 700], 40);
}

#[test]
fn what_follows_a_filter_is_what_follows_a_product() {
    let ([h, w, c], outputs) = ([11, 7, 20], 45);
    let (x, weight) = (numbers(h * w * c, 1), numbers(outputs * 9 * c, 2));
    let (bias, scale, to) = (numbers(outputs, 3), numbers(outputs, 4), numbers(h * w * outputs, 5));
    let maps = Neighbourhoods::new(&x, [h, w, c], 1, false);
    for level in Level::available() {
        let kernels = Kernels::new(&weight, outputs, c, level);
        let panels = Panels::new(Matrix::F32(&weight), outputs, 9 * c, level);
        for then in [
            Then::Nothing,
            Then::Relu,
            Then::Gelu,
            Then::Add(&to),
            Then::ScaleAdd { scale: &scale, to: &to },
        ] {
            let finish = Finish { bias: Some(&bias), then };
            let plain = multiply(&maps, h * w, &panels, finish);
            let expected: Vec<f64> = plain.into_iter().map(f64::from).collect();
            assert_close(&convolve(&maps, &kernels, finish), &expected, 5e-5, "finished");
        }
    }
}

#[test]
fn filters_do_not_depend_on_the_number_of_threads() {
    let ([h, w, c], outputs) = ([37, 28, 33], 50);
    let (x, weight) = (numbers(h * w * c, 1), numbers(outputs * 9 * c, 2));
    let maps = Neighbourhoods::new(&x, [h, w, c], 1, true);
    for level in Level::available() {
        let kernels = Kernels::new(&weight, outputs, c, level);
        let found = [1, 2, 7].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let found = pool.install(|| convolve(&maps, &kernels, PLAIN));
            found.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        });
        assert!(found[0] == found[1] && found[0] == found[2], "{level:?}");
    }
}

#[test]
fn no_map_gives_nothing() {
    let kernels = Kernels::new(&numbers(9 * 4 * 3, 1), 3, 4, Level::best());
    let maps = Neighbourhoods::new(&[], [2, 3, 4], 1, false);
    assert!(convolve(&maps, &kernels, PLAIN).is_empty());
}
