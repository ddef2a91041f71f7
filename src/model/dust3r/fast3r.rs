//! Fast3R's network: many views in, all their points in the frame of the first out.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::index::sample;

use super::block::{Block, BlockSizes, NORM_EPSILON, count};
use super::checkpoint::{Checkpoint, Family};
use super::encoder::{Encoded, Encoder, ImagePlanes};
use super::heads::{Head, HeadTokens};
use super::maps::ViewMaps;
use super::{FamilyConfig, failed};
use crate::error::{Error, Result};
use crate::model::mapanything::taps::Taps;
use crate::model::nn::{LayerNorm, Linear, Weights, run_on, set_precision};

/// The ε of the fusion's blocks: PyTorch's default, unlike everywhere else in the family.
const FUSION_EPSILON: f64 = 1e-5;
/// Views that have an index of their own.
const MAX_VIEWS: usize = 1000;

/// The index by which the network tells views apart. The first view always has 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageIds {
    /// Drawn without repetition from 1..=999, always the same for one seed: the network was trained
    /// with random ones.
    Seeded(u64),
    /// One for each view.
    Given(Vec<usize>),
}

impl ImageIds {
    fn of(&self, views: usize) -> Result<Vec<usize>> {
        let ids = match self {
            Self::Given(ids) => ids.clone(),
            Self::Seeded(seed) if (1..=MAX_VIEWS).contains(&views) => {
                let mut random = SmallRng::seed_from_u64(*seed);
                let drawn = sample(&mut random, MAX_VIEWS - 1, views - 1);
                std::iter::once(0).chain(drawn.into_iter().map(|id| id + 1)).collect()
            }
            Self::Seeded(_) => Vec::new(),
        };
        if views > 0 && ids.len() == views && ids.iter().all(|id| *id < MAX_VIEWS) {
            return Ok(ids);
        }
        Err(Error::ShapeMismatch {
            what: "views of Fast3R",
            expected: format!("1 to {MAX_VIEWS}, each with an index below that"),
            found: format!("{views} views, {} indices", ids.len()),
        })
    }
}

/// What the network says of a view.
#[derive(Debug, Clone, PartialEq)]
pub struct Fast3rView {
    /// Points in the frame of the first view.
    pub global: ViewMaps,
    /// Points in the view's own frame, from checkpoints that have such a head.
    pub local: Option<ViewMaps>,
}

/// The network of one checkpoint. Results are the same whatever the number of threads.
#[derive(Debug)]
pub struct Fast3rNetwork {
    encoder: Encoder,
    embed: Linear,
    blocks: Vec<Block>,
    norm: LayerNorm,
    global: Head,
    local: Option<Head>,
    config: FamilyConfig,
}

impl Fast3rNetwork {
    /// Returns the network at `path`: see [`Checkpoint::open`].
    ///
    /// # Errors
    /// As [`Checkpoint::open`], where the checkpoint is another's, and where tensors are missing.
    pub fn open(path: &Path, device: &Device, dtype: DType) -> Result<Self> {
        set_precision(dtype);
        let checkpoint = Checkpoint::open(path, device, dtype)?;
        if checkpoint.family != Family::Fast3r {
            let problem = format!("the weights are those of {}", checkpoint.family.name());
            return Err(Error::input(path, problem, "choose the model that they are of"));
        }
        Self::load(&checkpoint)
    }

    /// Returns the network of a checkpoint of Fast3R.
    ///
    /// # Errors
    /// Where tensors are missing or do not fit.
    pub fn load(checkpoint: &Checkpoint) -> Result<Self> {
        let Checkpoint { weights, config, head, .. } = checkpoint;
        let loaded = |weights: &Weights| {
            let decoder = weights.scope("decoder");
            let sizes = BlockSizes {
                heads: config.decoder_heads,
                scale: config.fusion_scale,
                epsilon: FUSION_EPSILON,
            };
            let block = |i| Block::load(&decoder.scope("dec_blocks").scope(i), sizes);
            let local = weights.scope("downstream_head_local");
            let has_local = super::HeadKind::of(&local).is_some();
            Ok(Self {
                encoder: Encoder::load(&weights.scope("encoder"), config)?,
                embed: Linear::load(&decoder.scope("decoder_embed"))?,
                blocks: (0..count(&decoder, "dec_blocks")).map(block).collect::<Result<_, _>>()?,
                norm: LayerNorm::load(&decoder.scope("dec_norm"), NORM_EPSILON)?,
                global: Head::load(&weights.scope("downstream_head"), *head)?,
                local: has_local.then(|| Head::load(&local, *head)).transpose()?,
                config: config.clone(),
            })
        };
        loaded(weights).map_err(failed(Family::Fast3r.name()))
    }

    /// Returns where it computes.
    pub fn device(&self) -> &Device {
        self.encoder.device()
    }

    /// Returns the tokens of one image.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn encode(&self, image: &ImagePlanes) -> Result<Encoded> {
        run_on(self.device(), || self.encoder.forward(&[image], &Taps::off()))
            .map_err(failed(Family::Fast3r.name()))
    }

    /// Returns what the network says of views, which may differ in size and shape.
    ///
    /// # Errors
    /// Where ids do not fit the views, or the device fails.
    pub fn infer(&self, views: &[&Encoded], ids: &ImageIds) -> Result<Vec<Fast3rView>> {
        self.infer_tapped(views, ids, &Taps::off())
    }

    pub(super) fn infer_tapped(
        &self,
        views: &[&Encoded],
        ids: &ImageIds,
        taps: &Taps,
    ) -> Result<Vec<Fast3rView>> {
        let ids = ids.of(views.len())?;
        let all = || {
            let tokens = self.fuse(views, &ids, taps)?;
            let mut start = 0;
            let view = |view: &&Encoded| {
                let span = (start, view.tokens.dim(1)?);
                start += span.1;
                self.view(&tokens.span(span, view.patches)?, taps)
            };
            views.iter().map(view).collect::<candle_core::Result<_>>()
        };
        run_on(self.device(), all).map_err(failed(Family::Fast3r.name()))
    }

    /// All tokens of all views after they have seen each other.
    fn fuse(
        &self,
        views: &[&Encoded],
        ids: &[usize],
        taps: &Taps,
    ) -> candle_core::Result<HeadTokens> {
        let encoded: Vec<&Tensor> = views.iter().map(|view| &view.tokens).collect();
        let encoded = Tensor::cat(&encoded, 1)?;
        let embedded = self.embed.forward(&encoded)?.to_dtype(DType::F32)?;
        taps.record("decoder_embed", || Ok(embedded.clone()))?;
        let counts: Vec<usize> = views.iter().map(|view| view.patches.0 * view.patches.1).collect();
        let mut x = (&embedded + index_rows(ids, &counts, embedded.dim(2)?, self.device())?)?;
        let mut tokens = HeadTokens::new(encoded, (0, 0));
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(&x, None)?;
            taps.record(format_args!("dec_blocks.{i}"), || Ok(x.clone()))?;
            tokens.listen(i + 1, self.blocks.len(), &x);
        }
        let last = self.norm.forward(&x)?;
        taps.record("dec_norm", || Ok(last.clone()))?;
        tokens.set_last(last);
        Ok(tokens)
    }

    fn view(&self, tokens: &HeadTokens, taps: &Taps) -> candle_core::Result<Fast3rView> {
        let maps = |head: &Head, name| {
            let maps = ViewMaps::of(&head.forward(tokens, name, taps)?, &self.config)?;
            let one = maps.into_iter().next();
            one.ok_or_else(|| candle_core::Error::Msg("a head said nothing".into()))
        };
        Ok(Fast3rView {
            global: maps(&self.global, "global")?,
            local: self.local.as_ref().map(|head| maps(head, "local")).transpose()?,
        })
    }
}

/// The embedding of each token's view, `[1, T, width]`: sines, then cosines, of the index at
/// frequencies that fall from 1 to 1/10000.
fn index_rows(
    ids: &[usize],
    counts: &[usize],
    width: usize,
    device: &Device,
) -> candle_core::Result<Tensor> {
    let half = width / 2;
    let mut values: Vec<f32> = Vec::with_capacity(counts.iter().sum::<usize>() * width);
    for (id, count) in ids.iter().zip(counts) {
        let angle = |k: usize| *id as f64 * 10_000f64.powf(-(k as f64) / half as f64);
        let sines = (0..half).map(|k| angle(k).sin() as f32);
        let row: Vec<f32> = sines.chain((0..half).map(|k| angle(k).cos() as f32)).collect();
        values.extend(row.iter().cycle().take(count * row.len()));
    }
    let tokens = counts.iter().sum::<usize>();
    Tensor::from_vec(values, (1, tokens, width), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_ids_are_different_and_the_first_view_is_zero() {
        let ids = ImageIds::Seeded(7).of(400).expect("enough ids");
        assert_eq!(ids[0], 0);
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), 400);
        assert_eq!(ids, ImageIds::Seeded(7).of(400).expect("enough ids"));
        assert_ne!(ids, ImageIds::Seeded(8).of(400).expect("enough ids"));
    }

    #[test]
    fn views_without_an_index_are_refused() {
        assert!(ImageIds::Seeded(1).of(1001).is_err());
        assert!(ImageIds::Seeded(1).of(0).is_err());
        assert!(ImageIds::Given(vec![0, 1000]).of(2).is_err());
        assert!(ImageIds::Given(vec![0]).of(2).is_err());
    }
}
