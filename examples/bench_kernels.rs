//! Times the CPU's kernels one by one, at each level of instructions, beside candle and faer.

#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use candle_core::{Device, Tensor};
use recon_node::model::nn::cpu::attention::{AttentionShape, Heads, attention};
use recon_node::model::nn::cpu::conv::Neighbourhoods;
use recon_node::model::nn::cpu::gemm::{Dense, Finish, Matrix, Panels, Then, multiply};
use recon_node::model::nn::cpu::resize::resize;
use recon_node::model::nn::cpu::rows::{Norm, gelu, silu_gate};
use recon_node::model::nn::cpu::simd::Level;
use recon_node::model::nn::cpu::winograd::{Kernels, convolve};

const PLAIN: Finish<'static> = Finish { bias: None, then: Then::Nothing };
const ROUNDS: usize = 9;

/// Rows, depth and columns of the products of ViT-L at 224×168 (two views) and 518×392.
const PRODUCTS: [[usize; 3]; 5] =
    [[386, 1024, 3072], [386, 1024, 4096], [386, 4096, 1024], [385, 768, 2304], [1036, 1024, 4096]];

fn main() -> anyhow::Result<()> {
    println!(
        "fastest of {ROUNDS} runs, {} threads; GFLOP/s of one processor",
        rayon::current_num_threads()
    );
    for shape in PRODUCTS {
        products(shape)?;
    }
    for level in Level::available() {
        attentions(level);
        maps(level);
        rows(level);
    }
    Ok(())
}

fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i * 7919 % 1009) as f32 / 504.5 - 1.0).collect()
}

/// Prints the fastest run, and what a processor does in a second where there is work to count.
/// Processor time is what the rest of the machine disturbs least.
fn time(what: &str, operations: usize, mut run: impl FnMut()) {
    let (mut wall, mut processor) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..ROUNDS {
        let (start, used) = (Instant::now(), processor_seconds());
        run();
        wall = wall.min(start.elapsed().as_secs_f64());
        processor = processor.min(processor_seconds() - used);
    }
    let rate = operations as f64 / processor / 1e9;
    let (wall, processor) = (1e3 * wall, 1e3 * processor);
    println!("{what:<50} {wall:>8.2} ms, processor {processor:>8.2} ms, {rate:>4.0} GFLOP/s");
}

/// What all threads have used so far, as Linux counts it; 0 elsewhere.
fn processor_seconds() -> f64 {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return 0.0 };
    let nanoseconds = threads.flatten().filter_map(|thread| {
        let counts = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        counts.split(' ').next()?.parse::<f64>().ok()
    });
    1e-9 * nanoseconds.sum::<f64>()
}

fn products([rows, depth, columns]: [usize; 3]) -> anyhow::Result<()> {
    let (x, w) = (numbers(rows * depth), numbers(columns * depth));
    let work = 2 * rows * depth * columns;
    let shape = format!("{rows} × {depth} × {columns}");
    let left = Tensor::from_slice(&x, (rows, depth), &Device::Cpu)?;
    let right = Tensor::from_slice(&w, (columns, depth), &Device::Cpu)?.t()?;
    time(&format!("product {shape} candle"), work, || drop(black_box(left.matmul(&right))));
    let mut out = faer::Mat::<f32>::zeros(columns, rows);
    time(&format!("product {shape} faer, 1 thread"), work, || {
        // Column-major, so that the transposed product is row-major.
        let a = faer::MatRef::from_row_major_slice(&w, columns, depth);
        let b = faer::MatRef::from_column_major_slice(&x, depth, rows);
        faer::linalg::matmul::matmul(&mut out, faer::Accum::Replace, a, b, 1.0, faer::Par::Seq);
    });
    for level in Level::available() {
        let panels = Panels::new(Matrix::F32(&w), columns, depth, level);
        time(&format!("product {shape} {level:?}"), work, || {
            black_box(multiply(&Dense { values: &x, depth }, rows, &panels, PLAIN));
        });
    }
    let half: Vec<_> = w.iter().map(|x| half::bf16::from_f32(*x)).collect();
    let panels = Panels::new(Matrix::Bf16(&half), columns, depth, Level::best());
    time(&format!("product {shape} {:?}, bf16 weights", Level::best()), work, || {
        black_box(multiply(&Dense { values: &x, depth }, rows, &panels, PLAIN));
    });
    let whole: Vec<i8> = w.iter().map(|x| (127.0 * x) as i8).collect();
    let scales = vec![half::f16::from_f32(1.0 / 127.0); w.len() / 32];
    let matrix = Matrix::Q8 { numbers: &whole, scales: &scales };
    let panels = Panels::new(matrix, columns, depth, Level::best());
    time(&format!("product {shape} {:?}, q8_0 weights", Level::best()), work, || {
        black_box(multiply(&Dense { values: &x, depth }, rows, &panels, PLAIN));
    });
    Ok(())
}

fn attentions(level: Level) {
    for (batch, tokens, heads) in [(2, 193, 16), (1, 385, 12), (1, 1036, 16), (1, 4145, 12)] {
        let row = 3 * heads * 64;
        let qkv = numbers(batch * tokens * row);
        let part = |i: usize| Heads {
            values: &qkv[i * heads * 64..],
            strides: [tokens * row, row, 64],
            tokens,
        };
        let shape = AttentionShape { batch, heads, head_dim: 64, scale: 0.125 };
        let what = format!("attention {batch} × {tokens}, {heads} heads {level:?}");
        time(&what, 4 * batch * tokens * tokens * heads * 64, || {
            black_box(attention([part(0), part(1), part(2)], shape, level));
        });
    }
}

fn maps(level: Level) {
    let size = [96, 128, 256];
    let (x, w) = (numbers(size.iter().product()), numbers(256 * 9 * 256));
    let panels = Panels::new(Matrix::F32(&w), 256, 9 * 256, level);
    time(
        &format!("convolution 3×3, 256 → 256, 96 × 128 {level:?}"),
        2 * 96 * 128 * w.len(),
        || {
            let rows = Neighbourhoods::new(&x, size, 1, false);
            black_box(multiply(&rows, 96 * 128, &panels, PLAIN));
        },
    );
    let kernels = Kernels::new(&w, 256, 256, level);
    time(&format!("the same, filtered {level:?}"), 2 * 96 * 128 * w.len(), || {
        black_box(convolve(&Neighbourhoods::new(&x, size, 1, false), &kernels, PLAIN));
    });
    let mut out = vec![0.0; 4 * x.len()];
    time(&format!("bilinear × 2, 256 × 96 × 128 {level:?}"), 0, || {
        resize(&x, size, &mut out, (192, 256), level);
    });
}

fn rows(level: Level) {
    let x = numbers(1036 * 4096);
    let mut out = vec![0.0; x.len()];
    time(&format!("GELU 1036 × 4096 {level:?}"), 0, || gelu(&x, &mut out, level));
    time(&format!("SiLU gate 518 × 4096 {level:?}"), 0, || {
        silu_gate(&x, &mut out[..x.len() / 2], 4096, level);
    });
    let weight = numbers(1024);
    let norm = Norm { weight: &weight, bias: &weight, epsilon: 1e-6 };
    time(&format!("normalisation 4144 × 1024 {level:?}"), 0, || norm.apply(&x, &mut out, level));
}
