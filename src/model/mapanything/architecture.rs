//! The sizes that make one network of the family, from the tensors of a checkpoint.

use std::collections::BTreeMap;

use super::config::ModelConfig;

/// Shapes of a checkpoint's tensors, by name.
pub type Shapes = BTreeMap<String, Vec<usize>>;

/// Side of a patch in pixels.
pub const PATCH_PX: usize = 14;

/// The feed-forward part of a transformer block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedForward {
    /// Two layers with GELU between.
    Gelu {
        /// Width between the layers.
        hidden: usize,
    },
    /// Two layers with a SiLU gate between.
    SwiGlu {
        /// Width behind the gate.
        hidden: usize,
    },
}

/// Sizes of a transformer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransformerSizes {
    /// Width of a token.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads of a block.
    pub heads: usize,
    /// Feed-forward part of a block.
    pub feed_forward: FeedForward,
    /// Whether the result of each half of a block is scaled by a learned vector.
    pub layer_scale: bool,
    /// Whether a last normalisation belongs to it.
    pub final_norm: bool,
}

/// Sizes of one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Architecture {
    /// The image encoder.
    pub encoder: TransformerSizes,
    /// Side of the encoder's position table, in patches.
    pub position_table: usize,
    /// The multi-view transformer.
    pub info_sharing: TransformerSizes,
    /// Whether tokens are projected from the encoder's width to that of the multi-view transformer.
    pub has_projection: bool,
    /// Whether the encoder's class token takes part in the multi-view transformer.
    pub uses_class_token: bool,
    /// The blocks of the multi-view transformer after which the dense head listens.
    pub hooks: [usize; 2],
    /// Inner widths of `ray_dirs_encoder`.
    pub ray_dirs_encoder: [usize; 3],
    /// Inner widths of `depth_encoder`.
    pub depth_encoder: [usize; 3],
    /// Inner widths of the four encoders of [`GLOBAL_ENCODERS`].
    pub global_encoders: [[usize; 3]; 4],
    /// Widths of the dense head's four levels.
    pub level_widths: [usize; 4],
    /// Width of the dense head's fusion.
    pub fusion_width: usize,
    /// Widths of the dense head's last two convolutions but one.
    pub regressor_widths: [usize; 2],
    /// Width of the pose head.
    pub pose_width: usize,
    /// Width of the scale head.
    pub scale_width: usize,
}

/// The encoders of inputs that hold for a whole view, and how many numbers each takes.
pub const GLOBAL_ENCODERS: [(&str, usize); 4] = [
    ("cam_rot_encoder", 4),
    ("cam_trans_encoder", 3),
    ("depth_scale_encoder", 1),
    ("cam_trans_scale_encoder", 1),
];

impl Architecture {
    /// Returns the sizes of `map-anything-v1` and `map-anything-apache-v1`.
    pub fn v1() -> Self {
        let block = FeedForward::Gelu { hidden: 4096 };
        let encoder = TransformerSizes {
            width: 1024,
            depth: 24,
            heads: 16,
            feed_forward: block,
            layer_scale: true,
            final_norm: true,
        };
        let info_sharing = TransformerSizes {
            width: 768,
            heads: 12,
            feed_forward: FeedForward::Gelu { hidden: 3072 },
            layer_scale: false,
            ..encoder
        };
        Self {
            encoder,
            position_table: 37,
            info_sharing,
            has_projection: true,
            uses_class_token: false,
            hooks: [11, 17],
            ray_dirs_encoder: [588, 768, 1024],
            depth_encoder: [588, 768, 1024],
            global_encoders: [[128, 256, 512]; 4],
            level_widths: [96, 192, 384, 768],
            fusion_width: 256,
            regressor_widths: [128, 128],
            pose_width: 784,
            scale_width: 196,
        }
    }

    /// Returns the sizes of `map-anything` and `map-anything-apache` (1.1).
    pub fn v11() -> Self {
        let encoder = TransformerSizes {
            width: 1536,
            depth: 24,
            heads: 24,
            feed_forward: FeedForward::SwiGlu { hidden: 4096 },
            layer_scale: true,
            final_norm: false,
        };
        Self {
            encoder,
            info_sharing: TransformerSizes { depth: 16, final_norm: true, ..encoder },
            has_projection: false,
            uses_class_token: true,
            hooks: [7, 11],
            ..Self::v1()
        }
    }

    /// Returns the network whose tensors have `shapes`. What the shapes leave open comes from
    /// `config`, and what that does not say is as in the released network that is nearer: then the
    /// check against [`super::tensors::expected_tensors`] names what is missing.
    ///
    /// # Errors
    /// Where the number of heads can neither be read nor be derived.
    pub fn derive(shapes: &Shapes, config: &ModelConfig) -> Result<Self, String> {
        let found = Found(shapes);
        let is_gated = shapes.keys().any(|name| name.ends_with(".mlp.w12.weight"));
        let release = if is_gated { Self::v11() } else { Self::v1() };
        let has_projection = shapes.contains_key("info_sharing.proj_embed.weight");
        let said = Said { depth: config.info_sharing_depth(), heads: config.info_sharing_heads() };
        let blocks = "info_sharing.self_attention_blocks";
        let info_sharing = found.transformer(blocks, said, release.info_sharing)?;
        let said = Said { depth: config.encoder_depth(), heads: config.encoder_heads() };
        let encoder = found.transformer("encoder.model.blocks", said, release.encoder)?;
        let final_norm = config.encoder_norm().unwrap_or(encoder.final_norm);
        let mut architecture = Self {
            encoder: TransformerSizes { final_norm, ..encoder },
            info_sharing,
            has_projection,
            uses_class_token: config.uses_class_token().unwrap_or(!has_projection),
            hooks: config.hooks().unwrap_or_else(|| default_hooks(info_sharing.depth)),
            ..release
        };
        architecture.read_table(&found);
        architecture.read_priors(&found);
        architecture.read_heads(&found);
        architecture.checked()
    }

    fn read_table(&mut self, found: &Found) {
        if let Some(rows) = found.size("encoder.model.pos_embed", 1) {
            self.position_table = rows.saturating_sub(1).isqrt();
        }
    }

    fn read_priors(&mut self, found: &Found) {
        for (name, widths) in [
            ("ray_dirs_encoder", &mut self.ray_dirs_encoder),
            ("depth_encoder", &mut self.depth_encoder),
        ] {
            let layers = ["conv_in", "encoder.0.conv1", "encoder.1.conv1"];
            found.rows_of(name, layers, widths);
        }
        for ((name, _), widths) in GLOBAL_ENCODERS.iter().zip(&mut self.global_encoders) {
            found.rows_of(name, ["encoder.0.0.0.0", "encoder.0.0.1", "encoder.0.1"], widths);
        }
    }

    fn read_heads(&mut self, found: &Found) {
        let levels = ["0.0.0", "1.0.0", "2.0.0", "3.0.0"];
        found.rows_of("dense_head.0.input_process", levels, &mut self.level_widths);
        let fusion = std::slice::from_mut(&mut self.fusion_width);
        found.rows_of("dense_head.0.scratch", ["refinenet1.out_conv"], fusion);
        found.rows_of("dense_head.1", ["conv1", "conv2.0"], &mut self.regressor_widths);
        found.rows_of("pose_head", ["proj"], std::slice::from_mut(&mut self.pose_width));
        found.rows_of("scale_head", ["proj"], std::slice::from_mut(&mut self.scale_width));
    }

    fn checked(self) -> Result<Self, String> {
        let [first, second] = self.hooks;
        if first > second || second >= self.info_sharing.depth {
            let depth = self.info_sharing.depth;
            return Err(format!("hooks {first} and {second} do not fit {depth} blocks"));
        }
        let (encoder, info_sharing) = (self.encoder.width, self.info_sharing.width);
        if !self.has_projection && encoder != info_sharing {
            return Err(format!(
                "tokens of width {encoder} need 'info_sharing.proj_embed' to get width {info_sharing}"
            ));
        }
        Ok(self)
    }
}

/// Half and three quarters of the way, as in both releases.
fn default_hooks(depth: usize) -> [usize; 2] {
    [(depth / 2).saturating_sub(1), (3 * depth / 4).saturating_sub(1)]
}

/// What the configuration says of a transformer.
struct Said {
    depth: Option<usize>,
    heads: Option<usize>,
}

/// Reads sizes out of the shapes that were found.
struct Found<'a>(&'a Shapes);

impl Found<'_> {
    /// One side of a tensor, by any of its names.
    fn size(&self, name: &str, side: usize) -> Option<usize> {
        let by_alias = || super::tensors::aliases(name).into_iter().find_map(|a| self.0.get(&a));
        self.0.get(name).or_else(by_alias)?.get(side).copied()
    }

    /// Puts the number of rows of each layer that was found into `sizes`.
    fn rows_of<const N: usize>(&self, prefix: &str, layers: [&str; N], sizes: &mut [usize]) {
        for (layer, size) in layers.iter().zip(sizes) {
            if let Some(rows) = self.size(&format!("{prefix}.{layer}.weight"), 0) {
                *size = rows;
            }
        }
    }

    fn transformer(
        &self,
        blocks: &str,
        said: Said,
        release: TransformerSizes,
    ) -> Result<TransformerSizes, String> {
        let layer = |name: &str| format!("{blocks}.0.{name}.weight");
        let width = self.size(&layer("attn.proj"), 0).unwrap_or(release.width);
        let is_release = width == release.width;
        let depth = said.depth.or_else(|| is_release.then_some(release.depth));
        let heads = said.heads.unwrap_or(width / 64);
        if heads == 0 || !width.is_multiple_of(heads) {
            return Err(format!(
                "'{blocks}' has width {width}, from which the number of attention heads cannot be \
                 told; it belongs into config.json"
            ));
        }
        let feed_forward = match (self.size(&layer("mlp.fc1"), 0), self.size(&layer("mlp.w3"), 1)) {
            (Some(hidden), _) => FeedForward::Gelu { hidden },
            (None, Some(hidden)) => FeedForward::SwiGlu { hidden },
            (None, None) => release.feed_forward,
        };
        let layer_scale =
            release.layer_scale || self.0.contains_key(&format!("{blocks}.0.ls1.gamma"));
        Ok(TransformerSizes {
            width,
            depth: depth.unwrap_or_else(|| self.count(blocks)),
            heads,
            feed_forward,
            layer_scale,
            final_norm: release.final_norm,
        })
    }

    /// Blocks under `prefix`, by the highest number.
    fn count(&self, prefix: &str) -> usize {
        let number = |name: &String| {
            let rest = name.strip_prefix(prefix)?.strip_prefix('.')?;
            rest.split('.').next()?.parse::<usize>().ok()
        };
        self.0.keys().filter_map(number).max().map_or(0, |last| last + 1)
    }
}
