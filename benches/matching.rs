//! How long matching takes: `cargo bench --bench matching`.

use criterion::{Criterion, criterion_group, criterion_main};
use recon_node::matching::{DescriptorMap, MapPair, Seeds};

/// A map of unit descriptors that drifts smoothly, with noise: neighbours resemble each other, as
/// a network's do. `shift` moves the content.
fn descriptors(width: usize, height: usize, dim: usize, shift: [f32; 2], seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    let mut values = Vec::with_capacity(width * height * dim);
    for y in 0..height {
        for x in 0..width {
            let (u, v) = (x as f32 + shift[0], y as f32 + shift[1]);
            let start = values.len();
            for d in 0..dim {
                let f = 0.02 + 0.013 * d as f32;
                values.push((f * u + 0.7 * d as f32).sin() * (0.9 * f * v).cos() + 0.1 * noise());
            }
            let norm = values[start..].iter().map(|v| v * v).sum::<f32>().sqrt();
            values[start..].iter_mut().for_each(|v| *v /= norm);
        }
    }
    values
}

fn reciprocal(c: &mut Criterion) {
    let mut group = c.benchmark_group("reciprocal matches");
    group.sample_size(10);
    for (name, width, height, dim, step) in [
        ("512x384, 24 numbers, step 8", 512, 384, 24, 8),
        ("80x60, 64 numbers, step 1", 80, 60, 64, 1),
    ] {
        let a = descriptors(width, height, dim, [0.0, 0.0], 1);
        let b = descriptors(width, height, dim, [17.0, 9.0], 2);
        group.bench_function(name, |bench| {
            bench.iter(|| {
                let map = |v| DescriptorMap::new(width, height, dim, v).unwrap();
                MapPair::new(map(&a), map(&b)).matches(&Seeds::Grid { step }).unwrap()
            });
        });
    }
}

criterion_group!(benches, reciprocal);
criterion_main!(benches);
