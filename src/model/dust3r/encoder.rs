//! The image encoder: CroCo's vision transformer on patches of 16 pixels.

use candle_core::{DType, Device, Result, Tensor};

use super::block::{Block, BlockSizes, NORM_EPSILON, count};
use super::config::FamilyConfig;
use crate::error;
use crate::model::mapanything::taps::Taps;
use crate::model::nn::{LayerNorm, Linear, RopeTable, Weights};

/// Side of a patch in pixels.
pub(super) const PATCH_PX: usize = 16;

/// An image as the networks are given it: three planes of colours in -1..1.
#[derive(Debug, Clone, PartialEq)]
pub struct ImagePlanes {
    width: usize,
    height: usize,
    values: Vec<f32>,
}

impl ImagePlanes {
    /// Returns the image of `values`, red, green and blue planes by rows.
    ///
    /// # Errors
    /// [`error::Error::ShapeMismatch`] where they do not fit, or a side is no multiple of 16.
    pub fn new(width: usize, height: usize, values: Vec<f32>) -> error::Result<Self> {
        let fits = |side: usize| side > 0 && side.is_multiple_of(PATCH_PX);
        if fits(width) && fits(height) && values.len() == 3 * width * height {
            return Ok(Self { width, height, values });
        }
        Err(error::Error::ShapeMismatch {
            what: "an image for the network",
            expected: "three planes with sides that are multiples of 16".into(),
            found: format!("{} numbers of {width}x{height}", values.len()),
        })
    }

    /// Returns the number of columns and rows.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// Returns the planes.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    fn tensor(&self) -> Result<Tensor> {
        let planes =
            Tensor::from_slice(&self.values, (1, 3, self.height, self.width), &Device::Cpu)?;
        planes.permute((0, 2, 3, 1))?.contiguous()
    }
}

/// Tokens of views of one size.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// `[N, h · w, C]`.
    pub(super) tokens: Tensor,
    /// Rows and columns of patches.
    pub(super) patches: (usize, usize),
}

impl Encoded {
    /// Returns the number of columns and rows of the images.
    pub fn image_size(&self) -> (usize, usize) {
        (self.patches.1 * PATCH_PX, self.patches.0 * PATCH_PX)
    }

    /// Returns the number of views.
    pub fn len(&self) -> usize {
        self.tokens.dims().first().copied().unwrap_or(0)
    }

    /// Returns whether there is no view.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of tokens of a view, at least one.
    pub fn token_count(&self) -> usize {
        (self.patches.0 * self.patches.1).max(1)
    }

    /// Returns view `i` alone, in memory of its own.
    ///
    /// # Errors
    /// Where there is no such view.
    pub fn view(&self, i: usize) -> Result<Self> {
        Ok(Self { tokens: self.tokens.narrow(0, i, 1)?.force_contiguous()?, ..*self })
    }

    /// Returns `views` one after the other.
    ///
    /// # Errors
    /// Where they are not of one size, or there is none.
    pub fn cat(views: &[&Self]) -> Result<Self> {
        let Some(first) = views.first() else { candle_core::bail!("there is no view") };
        if views.iter().any(|view| view.patches != first.patches) {
            candle_core::bail!("views of different sizes cannot be put together");
        }
        let tokens: Vec<&Tensor> = views.iter().map(|view| &view.tokens).collect();
        Ok(Self { tokens: Tensor::cat(&tokens, 0)?, patches: first.patches })
    }

    /// Returns a vector of length one by which views of one place find each other: the mean of the
    /// third powers of the first view's tokens, third root drawn (GeM pooling, Radenović et al.,
    /// 2018), as MapAnything's.
    pub(super) fn descriptor(&self) -> Result<Vec<f32>> {
        let tokens = self.tokens.narrow(0, 0, 1)?.to_dtype(DType::F32)?.maximum(1e-6)?;
        let pooled = (tokens.sqr()? * &tokens)?.mean(1)?.powf(1.0 / 3.0)?;
        let length = pooled.sqr()?.sum_keepdim(1)?.sqrt()?;
        pooled.broadcast_div(&length)?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()
    }

    /// Returns the tokens of view `i`, one after the other: what retrieval goes by.
    ///
    /// # Errors
    /// Where there is no such view.
    pub fn features(&self, i: usize) -> Result<Vec<f32>> {
        let view = self.tokens.narrow(0, i, 1)?.to_device(&Device::Cpu)?;
        view.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
    }
}

/// The encoder.
#[derive(Debug)]
pub(super) struct Encoder {
    patch_embed: Linear,
    blocks: Vec<Block>,
    norm: LayerNorm,
    sizes: BlockSizes,
    rope_base: f64,
    device: Device,
}

impl Encoder {
    pub(super) fn load(weights: &Weights, config: &FamilyConfig) -> Result<Self> {
        let sizes = BlockSizes { heads: config.encoder_heads, scale: 1.0, epsilon: NORM_EPSILON };
        let blocks = weights.scope("enc_blocks");
        Ok(Self {
            patch_embed: Linear::load(&weights.scope("patch_embed.proj"))?,
            blocks: (0..count(weights, "enc_blocks"))
                .map(|i| Block::load(&blocks.scope(i), sizes))
                .collect::<Result<_>>()?,
            norm: LayerNorm::load(&weights.scope("enc_norm"), NORM_EPSILON)?,
            sizes,
            rope_base: config.rope_base,
            device: weights.device().clone(),
        })
    }

    pub(super) fn width(&self) -> usize {
        self.norm.width()
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// Returns the tokens of images of one size.
    pub(super) fn forward(&self, images: &[&ImagePlanes], taps: &Taps) -> Result<Encoded> {
        let images = images.iter().map(|image| image.tensor()).collect::<Result<Vec<_>>>()?;
        let images = Tensor::cat(&images, 0)?.to_device(&self.device)?;
        let patches = patches(&images)?;
        let (n, h, w, pixels) = patches.dims4()?;
        let tokens = self.patch_embed.forward(&patches.reshape((n, h * w, pixels))?)?;
        let mut x = tokens.to_dtype(DType::F32)?;
        taps.record("patch_embed", || Ok(x.clone()))?;
        let head_dim = x.dim(2)? / self.sizes.heads_of(x.dim(2)?);
        let rope = RopeTable::new((h, w), head_dim, self.rope_base, &self.device)?;
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(&x, Some(&rope))?;
            taps.record(format_args!("enc_blocks.{i}"), || Ok(x.clone()))?;
        }
        let tokens = self.norm.forward(&x)?;
        taps.record("enc_norm", || Ok(tokens.clone()))?;
        Ok(Encoded { tokens, patches: (h, w) })
    }
}

/// The patches of `[N, H, W, 3]` as `[N, h, w, 3 · 16 · 16]`, in the order in which a convolution
/// sees them: by channel, row and column.
fn patches(images: &Tensor) -> Result<Tensor> {
    let (n, height, width, channels) = images.dims4()?;
    let (h, w) = (height / PATCH_PX, width / PATCH_PX);
    let parts = images.reshape(&[n, h, PATCH_PX, w, PATCH_PX, channels])?;
    let parts = parts.permute(vec![0, 1, 3, 5, 2, 4])?;
    parts.reshape((n, h, w, channels * PATCH_PX * PATCH_PX))
}
