//! How long matching takes: `cargo bench --bench matching`.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use candle_core::{Device, Tensor};
use criterion::{Criterion, criterion_group, criterion_main};
use rayon::prelude::*;
use recon_node::keyframe::KeyframeId;
use recon_node::matching::retrieval::{AsmkConfig, AsmkIndex, Codebook};
use recon_node::matching::{DescriptorMap, MapPair, Seeds};
use recon_node::model::dust3r::retrieval::{RetrievalModel, RetrievalOptions};
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

/// Numbers in -0.5..0.5.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..count).map(|_| next()).collect()
}

/// Tokens of an image: each is near some word.
fn tokens(book: &Codebook, count: usize, seed: u32) -> Vec<f32> {
    let noise = numbers(count * book.dim(), seed);
    let word = |i: usize| book.centroid((i * 7919 + seed as usize * 104_729) % book.len());
    let near = (0..count).flat_map(|i| word(i).iter().copied());
    near.zip(noise).map(|(v, n)| 0.6 * v + 0.8 * n).collect()
}

/// The nearest words as they were found before: by comparing with all.
fn compared_with_all(book: &Codebook, image: &[f32], count: usize) -> Vec<Vec<u32>> {
    let rows = image.par_chunks(32 * book.dim());
    let of_rows = |rows: &[f32]| -> Vec<Vec<u32>> {
        let mut best = vec![Vec::new(); rows.len() / book.dim()];
        for word in 0..book.len() {
            for (best, row) in best.iter_mut().zip(rows.chunks_exact(book.dim())) {
                keep(best, count, squared_distance(row, book.centroid(word)), word as u32);
            }
        }
        best.into_iter().map(|best| best.into_iter().map(|(_, word)| word).collect()).collect()
    };
    rows.flat_map_iter(of_rows).collect()
}

fn keep(best: &mut Vec<(f32, u32)>, count: usize, distance: f32, word: u32) {
    if best.len() == count && best.last().is_none_or(|&(worst, _)| distance >= worst) {
        return;
    }
    best.insert(best.partition_point(|&(d, _)| d <= distance), (distance, word));
    best.truncate(count);
}

fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        for l in 0..8 {
            lanes[l] += (a[l] - b[l]) * (a[l] - b[l]);
        }
    }
    lanes.iter().sum()
}

/// As many words as MASt3R's retrieval model has, and as many tokens of an image.
fn words(c: &mut Criterion) {
    let (dim, words, count) = (1024, 65_536, 300);
    let book = Codebook::new(dim, numbers(dim * words, 1)).unwrap();
    let image = tokens(&book, count, 1);
    assert_eq!(book.nearest(&image, 5), compared_with_all(&book, &image, 5));
    let mut index = AsmkIndex::new(book.clone(), AsmkConfig::default());
    let seen = index.words_of(&image).unwrap();
    for id in 0..1000 {
        // Images with other words each: finding those of a thousand would take minutes.
        let mut other = seen.clone();
        other.known.words.iter_mut().for_each(|word| *word = (*word + 31 * id) % words as u32);
        other.known.words.sort_unstable();
        index.insert_words(KeyframeId(id), &other).unwrap();
    }
    let mut group = c.benchmark_group("places by 65,536 words of 1024 numbers");
    group.sample_size(10);
    group.bench_function("words of an image of 300 tokens", |bench| {
        bench.iter(|| index.words_of(&image).unwrap());
    });
    group.bench_function("the same by comparing with all", |bench| {
        bench.iter(|| compared_with_all(&book, &image, 5));
    });
    group.bench_function("a search among 1,000 images", |bench| {
        bench.iter(|| index.query_words(&seen, 5, |_| false).unwrap());
    });
}

/// What comes before the words: whitening and projecting the tokens of a photograph of 512x384.
fn telling_tokens(c: &mut Criterion) {
    let (dim, count) = (1024, 768);
    let tensor = |shape: &[usize], seed: u32| {
        let values = numbers(shape.iter().product(), seed);
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    };
    let tensors =
        ["prewhiten.m", "prewhiten.p", "projector.0.weight", "postwhiten.m", "postwhiten.p"];
    let shape = |name: &str| if name.ends_with('m') { vec![1, dim] } else { vec![dim, dim] };
    let named = tensors
        .iter()
        .zip(0..)
        .map(|(name, seed)| ((*name).to_owned(), tensor(&shape(name), seed + 1)));
    let book = Codebook::new(dim, numbers(dim, 1)).unwrap();
    let options = RetrievalOptions::default();
    let model = RetrievalModel::new(&named.collect(), book, &options).unwrap();
    let tokens = numbers(dim * count, 9);
    let mut group = c.benchmark_group("places by 65,536 words of 1024 numbers");
    group.sample_size(10);
    group.bench_function("300 most telling of 768 tokens", |bench| {
        bench.iter(|| model.tokens(&tokens, dim, 300).unwrap());
    });
}

criterion_group!(benches, reciprocal, xfeat, words, telling_tokens);
criterion_main!(benches);
