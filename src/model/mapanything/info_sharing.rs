//! The multi-view transformer: attention over all views and within each, by turns.

use candle_core::{DType, Result, Tensor};

use super::architecture::Architecture;
use super::block::{Block, NORM_EPSILON, channels_first};
use super::taps::Taps;
use super::tensors::VIEW_TABLE;
use crate::model::nn::{LayerNorm, Linear, Weights};

/// Views with tokens, before they know of each other.
#[derive(Debug)]
pub struct ViewTokens<'a> {
    /// `[N, h, w, C]`: fused patch tokens.
    pub patches: &'a Tensor,
    /// `[N, 1, C]`: class tokens, where they take part.
    pub class_token: Option<&'a Tensor>,
    /// `[C]`: the token that gathers the scale.
    pub scale_token: &'a Tensor,
}

/// Views that know of each other; all normalised.
#[derive(Debug)]
pub struct SharedViews {
    /// `[N, h, w, D]`: patch tokens after the first hook, the second hook, and the last block.
    pub levels: [Tensor; 3],
    /// `[1, D]`: the scale token after the last block.
    pub scale_token: Tensor,
}

/// Alternating attention.
#[derive(Debug)]
pub struct InfoSharing {
    proj_embed: Option<Linear>,
    /// `[1, D]`, added to all tokens of the first view: the only thing that sets it apart.
    view_pos_table: Tensor,
    self_attention_blocks: Vec<Block>,
    hooks: [usize; 2],
    norm: LayerNorm,
}

/// Sizes of a sequence: views, tokens of a view, patches of a view in rows and columns.
#[derive(Clone, Copy)]
struct Layout {
    views: usize,
    tokens: usize,
    h: usize,
    w: usize,
}

impl InfoSharing {
    /// Returns the transformer under `weights`.
    pub fn load(weights: &Weights, architecture: &Architecture) -> Result<Self> {
        let sizes = &architecture.info_sharing;
        let blocks = weights.scope("self_attention_blocks");
        let proj_embed = || Linear::load(&weights.scope("proj_embed"));
        Ok(Self {
            proj_embed: architecture.has_projection.then(proj_embed).transpose()?,
            view_pos_table: view_table(weights, sizes.width)?,
            self_attention_blocks: (0..sizes.depth)
                .map(|i| Block::load(&blocks.scope(i), sizes))
                .collect::<Result<_>>()?,
            hooks: architecture.hooks,
            norm: LayerNorm::load(&weights.scope("norm"), NORM_EPSILON)?,
        })
    }

    /// Returns the tokens after they have learned of each other.
    pub fn forward(&self, views: &ViewTokens, taps: &Taps) -> Result<SharedViews> {
        let (x, layout) = self.sequence(views)?;
        taps.record("info_sharing.block0_in", || Ok(x.clone()))?;
        let mut x = x;
        let mut hooked = Vec::with_capacity(2);
        for (i, block) in self.self_attention_blocks.iter().enumerate() {
            // Even blocks attend to all tokens, odd ones to those of the same view.
            x = if i % 2 == 0 { block.forward(&x)? } else { within_views(block, &x, layout)? };
            taps.record(format_args!("info_sharing.block{i}_out"), || {
                if i % 2 == 0 { Ok(x.clone()) } else { view_tokens(&x, layout) }
            })?;
            // Normalised here: the sequence of a hook need not be kept until the end.
            for _ in self.hooks.iter().filter(|&&hook| hook == i) {
                hooked.push(patch_maps(&self.norm.forward(&x)?, layout)?);
            }
        }
        let x = self.norm.forward(&x)?;
        self.shared(hooked, &x, layout, taps)
    }

    /// Gathers what the heads listen to.
    fn shared(
        &self,
        hooked: Vec<Tensor>,
        x: &Tensor,
        layout: Layout,
        taps: &Taps,
    ) -> Result<SharedViews> {
        let last = patch_maps(x, layout)?;
        let [first, second]: [Tensor; 2] = hooked.try_into().map_err(|found: Vec<_>| {
            candle_core::Error::Msg(format!("{} of two hooks were reached", found.len()))
        })?;
        let levels = [first, second, last];
        for (name, level) in ["hook0", "hook1", "final"].iter().zip(&levels) {
            taps.record(format_args!("info_sharing.{name}_nchw"), || channels_first(level))?;
        }
        let scale_token = x.narrow(1, layout.views * layout.tokens, 1)?.contiguous()?.squeeze(1)?;
        taps.record("info_sharing.scale_token_out", || scale_token.unsqueeze(2))?;
        Ok(SharedViews { levels, scale_token })
    }

    /// All views' tokens and the scale token, in one sequence `[1, L, D]`.
    fn sequence(&self, views: &ViewTokens) -> Result<(Tensor, Layout)> {
        let (n, h, w, width) = views.patches.dims4()?;
        let mut x = views.patches.reshape((n, h * w, width))?;
        if let Some(class_token) = views.class_token {
            x = Tensor::cat(&[&x, class_token], 1)?;
        }
        let (x, scale_token) =
            (self.projected(&x)?, self.projected(&views.scale_token.reshape((1, 1, width))?)?);
        let (_, tokens, width) = x.dims3()?;
        let reference = x.narrow(0, 0, 1)?.broadcast_add(&self.view_pos_table)?;
        let mut parts = vec![reference];
        if n > 1 {
            parts.push(x.narrow(0, 1, n - 1)?.reshape((1, (n - 1) * tokens, width))?);
        }
        parts.push(scale_token);
        Ok((Tensor::cat(&parts, 1)?, Layout { views: n, tokens, h, w }))
    }

    fn projected(&self, x: &Tensor) -> Result<Tensor> {
        match &self.proj_embed {
            Some(proj_embed) => proj_embed.forward(x)?.to_dtype(DType::F32),
            None => Ok(x.clone()),
        }
    }
}

/// The stored table, or what it holds by definition: the sinusoids of position 0.
fn view_table(weights: &Weights, width: usize) -> Result<Tensor> {
    let name = VIEW_TABLE.rsplit('.').next().unwrap_or(VIEW_TABLE);
    if weights.has(name) {
        return weights.tensor_f32(name);
    }
    let table = (0..width).map(|i| (i % 2) as f32).collect();
    Tensor::from_vec(table, (1, width), weights.device())
}

/// The tokens of each view `[N, T, D]`, without the scale token.
fn view_tokens(x: &Tensor, layout: Layout) -> Result<Tensor> {
    let (views, tokens) = (layout.views, layout.tokens);
    x.narrow(1, 0, views * tokens)?.reshape((views, tokens, ()))
}

/// The sequence after `block` has seen each view by itself; the scale token passes by.
fn within_views(block: &Block, x: &Tensor, layout: Layout) -> Result<Tensor> {
    let len = layout.views * layout.tokens;
    let views = block.forward(&view_tokens(x, layout)?)?.reshape((1, len, ()))?;
    Tensor::cat(&[&views, &x.narrow(1, len, 1)?], 1)
}

/// The patch tokens of a sequence as maps `[N, h, w, D]`.
fn patch_maps(x: &Tensor, layout: Layout) -> Result<Tensor> {
    let Layout { views, h, w, .. } = layout;
    view_tokens(x, layout)?.narrow(1, 0, h * w)?.contiguous()?.reshape((views, h, w, ()))
}
