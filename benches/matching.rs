//! How long matching takes: `cargo bench --bench matching`.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use criterion::{Criterion, criterion_group, criterion_main};
use recon_node::matching::retrieval::{AsmkConfig, AsmkIndex, Codebook};
use recon_node::matching::{DescriptorMap, MapPair, Seeds};
use recon_node::model::xfeat::{SparseConfig, XFeat};
use recon_node::raster::Raster;

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

fn xfeat(c: &mut Criterion) {
    let net = XFeat::bundled().unwrap();
    let image = Raster::from_fn(640, 480, |x, y| {
        let (u, v) = (x as f32, y as f32);
        0.5 + 0.2 * ((0.11 * u).sin() * (0.07 * v).cos() + (0.013 * u * (1.0 + 0.002 * v)).sin())
    });
    let mut group = c.benchmark_group("XFeat, 640x480");
    group.sample_size(20);
    group.bench_function("dense features", |bench| bench.iter(|| net.features(&image).unwrap()));
    let features = net.features(&image).unwrap();
    let config = SparseConfig { max_keypoints: 2048, ..SparseConfig::default() };
    group.bench_function("keypoints of them", |bench| bench.iter(|| features.keypoints(&config)));
    group.bench_function("cells at two sizes", |bench| {
        bench.iter(|| net.cells_at_two_sizes(&image, 4096).unwrap());
    });
    let cells = net.cells_at_two_sizes(&image, 4096).unwrap();
    let pairs: Vec<(u32, u32)> = (0..1000).map(|i| (i, i)).collect();
    group.bench_function("1000 refined matches", |bench| {
        bench.iter(|| net.refine(&cells, &cells, &pairs));
    });
}

/// As many words as MASt3R's retrieval model has, and tokens of one image.
fn words(c: &mut Criterion) {
    let (dim, words, tokens) = (1024, 65_536, 300);
    let book = Codebook::new(dim, descriptors(words, 1, dim, [0.0, 0.0], 1)).unwrap();
    let image = descriptors(tokens, 1, dim, [5.0, 3.0], 2);
    let index = AsmkIndex::new(book, AsmkConfig::default());
    let mut group = c.benchmark_group("places by 65,536 words of 1024 numbers");
    group.sample_size(10);
    group.bench_function("an image of 300 tokens looked for", |bench| {
        bench.iter(|| index.scores(&image).unwrap());
    });
}

criterion_group!(benches, reciprocal, xfeat, words);
criterion_main!(benches);
