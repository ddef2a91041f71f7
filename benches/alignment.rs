//! How long sparse alignment takes: both stages on the reference's room (its own optimiser needs 17
//! CPU seconds), and the fine stage on a made-up bundle of 100 keyframes with 30,000 anchors.

#![expect(clippy::unwrap_used, reason = "a bench that fails says where")]
#![expect(clippy::print_stderr, reason = "accuracy is told beside speed")]
#![allow(missing_docs, reason = "criterion makes functions without documentation")]
#![allow(dead_code, reason = "the modules serve tests and the example too")]

#[path = "../examples/align_fixture/fixture.rs"]
mod fixture;
#[path = "../tests/sparse_alignment/synthetic.rs"]
mod synthetic;

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use recon_node::alignment::sparse::{
    LensFreedom, SparseConfig, align_coarse, align_fine, align_sparse,
};

fn room(criterion: &mut Criterion) {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sparse_ga/room_levelB.safetensors");
    let made = fixture::read_scene(&path).unwrap();
    let config = SparseConfig::default();
    let result = align_sparse(&made.scene, &[], &config).unwrap();
    let losses = [&result.coarse, &result.fine].map(|stage| stage.evidence.loss[1]);
    eprintln!("room: losses {losses:?}, the reference's longest run 0.082687 and 0.425245");
    let mut group = criterion.benchmark_group("sparse_alignment");
    group.sample_size(10);
    group.bench_function("room, coarse", |bencher| {
        bencher.iter(|| align_coarse(black_box(&made.scene), &[], &config).unwrap());
    });
    group.bench_function("room, both stages", |bencher| {
        bencher.iter(|| align_sparse(black_box(&made.scene), &[], &config).unwrap());
    });
    group.finish();
}

fn bundle(criterion: &mut Criterion) {
    let recipe = synthetic::Recipe {
        views: 100,
        image_size_px: [160, 120],
        matches: 300,
        reach: 4,
        noise_px: 0.3,
        depth_noise: 0.02,
        focal_error: 0.01,
        outliers: 0.02,
        seed: 7,
    };
    let made = synthetic::synthesize(&recipe);
    let anchors: usize = made.scene.views.iter().map(|view| view.anchor_depths.len()).sum();
    let matches: usize = made.scene.pairs.iter().map(|pair| pair.matches.len()).sum();
    let config = SparseConfig {
        focal_length: LensFreedom::Shared,
        principal_point: LensFreedom::Shared,
        ..SparseConfig::default()
    };
    let coarse = align_coarse(&made.scene, &[], &config).unwrap();
    let fine = align_fine(&made.scene, &coarse.state, &[], &config).unwrap();
    let ate = |state| fixture::errors(&fixture::poses(state), &made.world_from_camera).unwrap().ate;
    eprintln!(
        "bundle: {anchors} anchors, {matches} matches; ATE {:.4} m, then {:.4} m; {} iterations",
        ate(&coarse.state),
        ate(&fine.state),
        fine.evidence.iterations
    );
    let mut group = criterion.benchmark_group("sparse_alignment");
    group.sample_size(10);
    group.bench_function("100 keyframes, 30,000 anchors, fine", |bencher| {
        bencher.iter(|| align_fine(black_box(&made.scene), &coarse.state, &[], &config).unwrap());
    });
    group.finish();
}

criterion_group!(benches, room, bundle);
criterion_main!(benches);
