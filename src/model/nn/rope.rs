//! Rotary position embedding in two dimensions.
//!
//! After "RoFormer" (Su et al., 2021), in the form that CroCo v2 (Weinzaepfel et al., 2023) gave it:
//! the first half of a head turns with the row, the second with the column, and in each half the
//! number at place k turns with the one a quarter of the head further on.

use candle_core::{D, DType, Device, Result, Tensor, bail};
use rayon::prelude::*;

use super::host::Host;

/// Angles of the tokens of one map of patches.
#[derive(Debug, Clone)]
pub struct RopeTable {
    /// `[T, 2, head_dim / 4]`: token, row or column, frequency.
    cos: Tensor,
    sin: Tensor,
    quarter: usize,
}

impl RopeTable {
    /// Returns the angles of `rows` × `columns` tokens in row order for heads of `head_dim`
    /// numbers: place times `base^(-k / (head_dim / 4))`.
    pub fn new(
        (rows, columns): (usize, usize),
        head_dim: usize,
        base: f64,
        device: &Device,
    ) -> Result<Self> {
        let places = (0..rows).flat_map(|row| (0..columns).map(move |column| [row, column]));
        Self::at(&places.collect::<Vec<_>>(), head_dim, base, device)
    }

    /// Returns the angles of tokens at `places`, each row and column.
    pub fn at(places: &[[usize; 2]], head_dim: usize, base: f64, device: &Device) -> Result<Self> {
        if head_dim == 0 || !head_dim.is_multiple_of(4) {
            bail!("rotary positions need heads of 4·n numbers, not {head_dim}");
        }
        let quarter = head_dim / 4;
        // The angle is rounded to f32 before its sine is taken, as the reference does.
        let frequency = |k: usize| base.powf(-(k as f64) / quarter as f64) as f32;
        let frequencies: Vec<f32> = (0..quarter).map(frequency).collect();
        let angles = places.iter().flatten().flat_map(|&place| {
            frequencies.iter().map(move |frequency| f64::from(place as f32 * frequency))
        });
        let angles: Vec<f64> = angles.collect();
        let table = |f: fn(f64) -> f64| {
            let values: Vec<f32> = angles.iter().map(|&angle| f(angle) as f32).collect();
            Tensor::from_vec(values, (places.len(), 2, quarter), device)
        };
        Ok(Self { cos: table(f64::cos)?, sin: table(f64::sin)?, quarter })
    }

    /// Returns `x` `[B, T, heads, head_dim]` turned by the tokens' angles.
    pub fn rotate(&self, x: &Tensor) -> Result<Tensor> {
        let (_, tokens, _, head_dim) = x.dims4()?;
        if tokens != self.cos.dim(0)? || head_dim != 4 * self.quarter {
            bail!("angles of {:?} do not fit tokens {:?}", self.cos.dims(), x.dims());
        }
        if x.device().is_cpu() { self.rotate_on_cpu(x) } else { self.rotate_anywhere(x) }
    }

    fn rotate_on_cpu(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, tokens, heads, head_dim) = x.dims4()?;
        let x = x.to_dtype(DType::F32)?;
        let x = if x.stride().last() == Some(&1) { x } else { x.contiguous()? };
        let host = Host::new(&x);
        let (from, strides) = (host.strided()?, host.strides().to_vec());
        let (cos, sin) = (Host::new(&self.cos), Host::new(&self.sin));
        let (cos, sin, quarter) = (cos.values()?, sin.values()?, self.quarter);
        let mut to = vec![0.0f32; batch * tokens * heads * head_dim];
        to.par_chunks_mut(heads * head_dim).enumerate().for_each(|(i, to)| {
            let (b, token) = (i / tokens, i % tokens);
            let angles = token * 2 * quarter..(token + 1) * 2 * quarter;
            let (cos, sin) = (&cos[angles.clone()], &sin[angles]);
            for (head, to) in to.chunks_exact_mut(head_dim).enumerate() {
                let start = b * strides[0] + token * strides[1] + head * strides[2];
                turn(&from[start..start + head_dim], to, (cos, sin), quarter);
            }
        });
        Tensor::from_vec(to, (batch, tokens, heads, head_dim), x.device())
    }

    fn rotate_anywhere(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, tokens, heads, head_dim) = x.dims4()?;
        let parts = x.to_dtype(DType::F32)?.reshape(&[batch, tokens, heads, 2, 2, self.quarter])?;
        let (a, b) = (parts.narrow(4, 0, 1)?, parts.narrow(4, 1, 1)?);
        let table = |t: &Tensor| t.reshape(&[1, tokens, 1, 2, 1, self.quarter]);
        let (cos, sin) = (table(&self.cos)?, table(&self.sin)?);
        let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
        let second = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
        let turned = Tensor::cat(&[&first, &second], D::Minus2)?;
        turned.reshape((batch, tokens, heads, head_dim))?.to_dtype(x.dtype())
    }
}

/// Turns one head: each half has its own row of the table.
fn turn(from: &[f32], to: &mut [f32], (cos, sin): (&[f32], &[f32]), quarter: usize) {
    let halves = from.chunks_exact(2 * quarter).zip(to.chunks_exact_mut(2 * quarter));
    let table = cos.chunks_exact(quarter).zip(sin.chunks_exact(quarter));
    for ((from, to), (cos, sin)) in halves.zip(table) {
        let ((a, b), (first, second)) = (from.split_at(quarter), to.split_at_mut(quarter));
        for k in 0..quarter {
            first[k] = a[k] * cos[k] - b[k] * sin[k];
            second[k] = b[k] * cos[k] + a[k] * sin[k];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(seed: f32) -> Tensor {
        let values: Vec<f32> = (0..2 * 6 * 3 * 8).map(|i| (i as f32 * 0.37 + seed).sin()).collect();
        Tensor::from_vec(values, (2, 6, 3, 8), &Device::Cpu).expect("it fits")
    }

    fn numbers(x: &Tensor) -> Vec<f32> {
        x.flatten_all().and_then(|x| x.to_vec1()).expect("f32")
    }

    #[test]
    fn both_ways_to_turn_agree_and_keep_lengths() {
        let table = RopeTable::new((2, 3), 8, 100.0, &Device::Cpu).expect("fits");
        let x = head(0.1);
        let (fast, plain) = (table.rotate(&x).expect("fits"), table.rotate_anywhere(&x));
        let (fast, plain) = (numbers(&fast), numbers(&plain.expect("fits")));
        assert!(fast.iter().zip(&plain).all(|(a, b)| (a - b).abs() < 1e-6));
        let norm = |x: &[f32]| x.iter().map(|v| v * v).sum::<f32>();
        for (a, b) in fast.chunks(8).zip(numbers(&x).chunks(8)) {
            assert!((norm(a) - norm(b)).abs() < 1e-5);
        }
    }

    #[test]
    fn products_depend_on_the_way_between_tokens_alone() {
        let product = |places: [[usize; 2]; 2]| {
            let table = |p| RopeTable::at(&[p], 8, 100.0, &Device::Cpu).expect("fits");
            let one = |x: Tensor| x.narrow(0, 0, 1)?.narrow(1, 0, 1)?.narrow(2, 0, 1);
            let [q, k] = [0.3, 1.7].map(|seed| one(head(seed)).expect("fits"));
            let q = table(places[0]).rotate(&q).expect("fits");
            let k = table(places[1]).rotate(&k).expect("fits");
            numbers(&q).iter().zip(numbers(&k)).map(|(a, b)| a * b).sum::<f32>()
        };
        let (near, far) = (product([[1, 2], [4, 3]]), product([[11, 7], [14, 8]]));
        assert!((near - far).abs() < 1e-5, "{near} {far}");
    }
}
