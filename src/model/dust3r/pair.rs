//! DUSt3R's and MASt3R's network: two views in, their points in the frame of the first out.

use std::path::Path;

use candle_core::{DType, Device};

use super::checkpoint::{Checkpoint, Family};
use super::config::FamilyConfig;
use super::decoder::Decoder;
use super::encoder::{Encoded, Encoder, ImagePlanes};
use super::failed;
use super::heads::{Head, HeadTokens};
use super::maps::ViewMaps;
use crate::error::{Error, Result};
use crate::model::mapanything::taps::Taps;
use crate::model::nn::{Weights, run_on, set_precision};

/// What the network says of a pair, both in the frame of the first view.
#[derive(Debug, Clone, PartialEq)]
pub struct PairMaps {
    /// The first view in its own frame.
    pub first: ViewMaps,
    /// The second view in the first one's frame.
    pub second: ViewMaps,
}

/// What the network says of a pair in both orders.
#[derive(Debug, Clone, PartialEq)]
pub struct SymmetricMaps {
    /// The pair as it was given.
    pub forward: PairMaps,
    /// The pair turned around: its first is the pair's second view.
    pub backward: PairMaps,
}

/// The network of one checkpoint. Results are the same whatever the number of threads.
#[derive(Debug)]
pub struct PairNetwork {
    encoder: Encoder,
    decoder: Decoder,
    heads: [Head; 2],
    config: FamilyConfig,
    family: Family,
}

impl PairNetwork {
    /// Returns the network at `path`: see [`Checkpoint::open`].
    ///
    /// # Errors
    /// As [`Checkpoint::open`], where the checkpoint is Fast3R's, and where tensors are missing.
    pub fn open(path: &Path, device: &Device, dtype: DType) -> Result<Self> {
        set_precision(dtype);
        let checkpoint = Checkpoint::open(path, device, dtype)?;
        if checkpoint.family == Family::Fast3r {
            let remedy = "choose --model fast3r for it";
            return Err(Error::input(path, "the weights are Fast3R's", remedy));
        }
        Self::load(&checkpoint)
    }

    /// Returns the network of a checkpoint of DUSt3R or MASt3R.
    ///
    /// # Errors
    /// Where tensors are missing or do not fit.
    pub fn load(checkpoint: &Checkpoint) -> Result<Self> {
        let Checkpoint { weights, family, config, head } = checkpoint;
        let loaded = |weights: &Weights| {
            let head = |name: &str| Head::load(&weights.scope(name), *head);
            Ok(Self {
                encoder: Encoder::load(weights, config)?,
                decoder: Decoder::load(weights, config)?,
                heads: [head("downstream_head1")?, head("downstream_head2")?],
                config: config.clone(),
                family: *family,
            })
        };
        loaded(weights).map_err(failed(family.name()))
    }

    /// Returns whose network it is.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Returns whether it says by which descriptors pixels can be matched.
    pub fn has_descriptors(&self) -> bool {
        self.family == Family::Mast3r
    }

    /// Returns how many numbers a token of the encoder has.
    pub fn token_width(&self) -> usize {
        self.encoder.width()
    }

    /// Returns where it computes.
    pub fn device(&self) -> &Device {
        self.encoder.device()
    }

    /// Returns the tokens of images of one size.
    ///
    /// # Errors
    /// Where they are not of one size, or the device fails.
    pub fn encode(&self, images: &[&ImagePlanes]) -> Result<Encoded> {
        run_on(self.device(), || self.encoder.forward(images, &Taps::off()))
            .map_err(failed(self.family.name()))
    }

    /// Returns what the network says of two views, which may differ in size.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn pair(&self, first: &Encoded, second: &Encoded) -> Result<PairMaps> {
        let pairs =
            self.pairs([first, second], &Taps::off()).map_err(failed(self.family.name()))?;
        only(pairs, self.family)
    }

    /// Returns what the network says of two views in both orders.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn symmetric(&self, first: &Encoded, second: &Encoded) -> Result<SymmetricMaps> {
        if first.patches != second.patches {
            let (forward, backward) = (self.pair(first, second)?, self.pair(second, first)?);
            return Ok(SymmetricMaps { forward, backward });
        }
        let both = || {
            let there = Encoded::cat(&[first, second])?;
            let back = Encoded::cat(&[second, first])?;
            self.pairs([&there, &back], &Taps::off())
        };
        let mut pairs = both().map_err(failed(self.family.name()))?;
        let backward = only(pairs.split_off(1), self.family)?;
        Ok(SymmetricMaps { forward: only(pairs, self.family)?, backward })
    }

    /// Returns what the network says of two images, for who listens to `taps`.
    ///
    /// # Errors
    /// Where the device fails.
    pub(super) fn tapped(&self, images: [&ImagePlanes; 2], taps: &Taps) -> Result<PairMaps> {
        let name = self.family.name();
        let encoded = if images[0].size() == images[1].size() {
            let both = self.encoder.forward(&images, taps).map_err(failed(name))?;
            [both.view(0), both.view(1)].map(|view| view.map_err(failed(name)))
        } else {
            images.map(|image| self.encode(&[image]))
        };
        let [first, second] = encoded;
        only(self.pairs([&first?, &second?], taps).map_err(failed(name))?, self.family)
    }

    fn pairs(&self, views: [&Encoded; 2], taps: &Taps) -> candle_core::Result<Vec<PairMaps>> {
        run_on(self.device(), || self.maps(views, taps))
    }

    fn maps(&self, views: [&Encoded; 2], taps: &Taps) -> candle_core::Result<Vec<PairMaps>> {
        let [first, second] = self.decoder.forward(views, taps)?;
        let maps = |side: usize, tokens: &HeadTokens| {
            let name = ["head1", "head2"][side];
            let mut all = Vec::new();
            // One view at a time: the maps of the heads are large.
            for view in 0..tokens.len()? {
                let output = self.heads[side].forward(&tokens.view(view)?, name, taps)?;
                all.extend(ViewMaps::of(&output, &self.config)?);
            }
            Ok::<_, candle_core::Error>(all)
        };
        let pairs = maps(0, &first)?.into_iter().zip(maps(1, &second)?);
        Ok(pairs.map(|(first, second)| PairMaps { first, second }).collect())
    }
}

fn only(mut pairs: Vec<PairMaps>, family: Family) -> Result<PairMaps> {
    let one = pairs.pop().filter(|_| pairs.is_empty());
    one.ok_or_else(|| Error::Inference {
        model: family.name(),
        problem: "it was given several views where one is meant".into(),
        remedy: "give one view of each side",
    })
}
