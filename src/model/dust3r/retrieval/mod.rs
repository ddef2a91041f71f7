//! What tokens are retrieved by: MASt3R-SfM's whitening and its choice of tokens.

mod arrays;
mod released;
mod unpickle;

use std::collections::HashMap;

use candle_core::{DType, Tensor};
use nalgebra::{DMatrix, RowDVector};

use crate::error::{Error, Result};
use crate::keyframe::KeyframeId;
use crate::matching::retrieval::{AsmkConfig, AsmkIndex, Codebook, ImageWords};

pub(super) use released::is_retrieval;
pub use released::{retrieval_beside, retrieval_files};

/// Tokens of an image that count, where the checkpoint does not say how many.
pub const TOKENS_PER_IMAGE: usize = 300;

/// An affine map that makes components alike.
#[derive(Debug)]
struct Whitening {
    mean: RowDVector<f64>,
    matrix: DMatrix<f64>,
}

/// One layer.
#[derive(Debug)]
struct Projector {
    /// By columns, so that rows of tokens are multiplied from the left.
    matrix: DMatrix<f64>,
    bias: RowDVector<f64>,
    /// Whether its input is added to what it says.
    is_residual: bool,
}

/// What tensors leave open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetrievalOptions {
    /// Whether the projector's input is added to its output.
    pub is_residual: bool,
    /// Tokens of an image that count.
    pub tokens_per_image: usize,
}

impl Default for RetrievalOptions {
    fn default() -> Self {
        Self { is_residual: true, tokens_per_image: TOKENS_PER_IMAGE }
    }
}

/// The retrieval model of one release, and its words.
#[derive(Debug)]
pub struct RetrievalModel {
    before: Option<Whitening>,
    projector: Option<Projector>,
    after: Option<Whitening>,
    /// Holds the words, and no image.
    index: AsmkIndex,
    tokens_per_image: usize,
}

/// The tokens of an image that count, the most telling first.
#[derive(Debug, Clone, PartialEq)]
pub struct RetrievalTokens {
    /// Places among all tokens.
    pub places: Vec<usize>,
    /// Their features, one after the other.
    pub features: Vec<f32>,
}

impl RetrievalModel {
    /// Returns the model of these tensors: any of `prewhiten.m`, `prewhiten.p`,
    /// `projector.0.weight`, `projector.0.bias`, `postwhiten.m`, `postwhiten.p`; and its words.
    ///
    /// # Errors
    /// Where sizes do not fit.
    pub fn new(
        tensors: &HashMap<String, Tensor>,
        codebook: Codebook,
        options: &RetrievalOptions,
    ) -> Result<Self> {
        let model = Self {
            before: Whitening::of(tensors, "prewhiten")?,
            projector: Projector::of(tensors, options.is_residual)?,
            after: Whitening::of(tensors, "postwhiten")?,
            index: AsmkIndex::new(codebook, AsmkConfig::default()),
            tokens_per_image: options.tokens_per_image,
        };
        model.check().map(|()| model)
    }

    /// Each part takes what the one before it gives.
    fn check(&self) -> Result<()> {
        let whitening = |part: &Option<Whitening>| {
            part.as_ref().map(|part| ("whitening", part.matrix.nrows(), part.matrix.ncols()))
        };
        let projector = self.projector.as_ref().map(|part| &part.matrix);
        let projector = projector.map(|matrix| ("projector", matrix.nrows(), matrix.ncols()));
        let dim = self.codebook().dim();
        let words = Some(("codebook", dim, dim));
        let parts = [whitening(&self.before), projector, whitening(&self.after), words];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        let unfit = parts.windows(2).find(|two| two[0].2 != two[1].1);
        unfit.map_or(Ok(()), |two| {
            let ((first, _, given), (second, taken, _)) = (two[0], two[1]);
            let text = format!("its {first} gives {given} numbers and its {second} takes {taken}");
            Err(Error::Usage(text))
        })
    }

    /// Returns the words that features fall into.
    pub fn codebook(&self) -> &Codebook {
        self.index.codebook()
    }

    /// Returns how many numbers a token has.
    pub fn token_width(&self) -> usize {
        let whitening = self.before.as_ref().map(|part| part.matrix.nrows());
        let projector = self.projector.as_ref().map(|part| part.matrix.nrows());
        let after = self.after.as_ref().map(|part| part.matrix.nrows());
        whitening.or(projector).or(after).unwrap_or(self.codebook().dim())
    }

    /// Returns once it is known that tokens of a network have as many numbers as the model takes.
    ///
    /// # Errors
    /// [`Error::Usage`] for the model of another network.
    pub fn check_width(&self, given: usize) -> Result<()> {
        let taken = self.token_width();
        if taken == given {
            return Ok(());
        }
        Err(Error::Usage(format!(
            "the retrieval model takes tokens of {taken} numbers, and the network has {given}; use \
             the files of one release"
        )))
    }

    /// Returns how many tokens of an image count.
    pub fn tokens_per_image(&self) -> usize {
        self.tokens_per_image
    }

    /// Returns the `count` most telling of an image's tokens, which have `width` numbers each, with
    /// their features.
    ///
    /// # Errors
    /// Where tokens have another width than the model.
    pub fn tokens(&self, tokens: &[f32], width: usize, count: usize) -> Result<RetrievalTokens> {
        let (weights, features) = self.features(tokens, width)?;
        let mut places: Vec<usize> = (0..weights.len()).collect();
        places.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]).then(a.cmp(&b)));
        places.truncate(count);
        let row =
            |&place: &usize| features.row(place).iter().map(|v| *v as f32).collect::<Vec<_>>();
        Ok(RetrievalTokens { features: places.iter().flat_map(row).collect(), places })
    }

    /// Returns how telling each token is, and the features of all.
    ///
    /// # Errors
    /// Where tokens have another width than the model.
    pub fn features(&self, tokens: &[f32], width: usize) -> Result<(Vec<f64>, DMatrix<f64>)> {
        let rows = tokens.len() / width.max(1);
        let mut x = DMatrix::from_row_iterator(rows, width, tokens.iter().map(|v| f64::from(*v)));
        if let Some(whitening) = &self.before {
            x = rounded(whitening.apply(&x)?);
        }
        if let Some(projector) = &self.projector {
            x = rounded(projector.apply(&x)?);
        }
        let weights = x.row_iter().map(|row| row.norm()).collect();
        if let Some(whitening) = &self.after {
            x = rounded(whitening.apply(&x)?);
        }
        Ok((weights, x))
    }

    /// Returns the words of an image, by its tokens that count.
    ///
    /// # Errors
    /// Where features have another width than the words.
    pub fn words(&self, image: &RetrievalTokens) -> Result<ImageWords> {
        self.index.words_of(&image.features)
    }

    /// Returns whether words that were kept are of a codebook like this model's.
    pub fn fits(&self, image: &ImageWords) -> bool {
        self.index.fits(image)
    }

    /// Returns how alike images are, by the words of each; the rows are queries.
    ///
    /// # Errors
    /// Where words are of another codebook.
    pub fn similarity(&self, images: &[ImageWords]) -> Result<DMatrix<f64>> {
        let mut index = self.index.clone();
        for (id, image) in (0u32..).zip(images) {
            index.insert_words(KeyframeId(id), image)?;
        }
        let mut all = DMatrix::zeros(images.len(), images.len());
        for (i, image) in images.iter().enumerate() {
            for (j, score) in index.scores_of_words(image)?.into_iter().enumerate() {
                all[(i, j)] = score;
            }
        }
        Ok(all)
    }
}

impl Whitening {
    fn of(tensors: &HashMap<String, Tensor>, name: &str) -> Result<Option<Self>> {
        let part = |part: &str| matrix(tensors, &format!("{name}.{part}"));
        let (Some(mean), Some(matrix)) = (part("m")?, part("p")?) else { return Ok(None) };
        if mean.len() != matrix.nrows() {
            return Err(Error::Usage(format!("'{name}.m' and '{name}.p' do not fit")));
        }
        Ok(Some(Self { mean: RowDVector::from_iterator(mean.len(), mean.iter().copied()), matrix }))
    }

    fn apply(&self, x: &DMatrix<f64>) -> Result<DMatrix<f64>> {
        fits(x, self.mean.ncols())?;
        let mut centred = x.clone();
        centred.row_iter_mut().for_each(|mut row| row -= &self.mean);
        Ok(centred * &self.matrix)
    }
}

impl Projector {
    fn of(tensors: &HashMap<String, Tensor>, is_residual: bool) -> Result<Option<Self>> {
        let is_more =
            |name: &String| name.starts_with("projector.") && !name.starts_with("projector.0.");
        if let Some(name) = tensors.keys().filter(|name| is_more(name)).min() {
            return Err(Error::Usage(format!("its projector has more than one layer ('{name}')")));
        }
        let Some(weight) = matrix(tensors, "projector.0.weight")? else { return Ok(None) };
        if is_residual && !weight.is_square() {
            return Err(Error::Usage("what its projector is added to has another size".into()));
        }
        let bias = matrix(tensors, "projector.0.bias")?;
        let bias =
            bias.map_or_else(|| RowDVector::zeros(weight.nrows()), |b| b.row(0).into_owned());
        if bias.len() != weight.nrows() {
            return Err(Error::Usage("weight and bias of its projector do not fit".into()));
        }
        Ok(Some(Self { matrix: weight.transpose(), bias, is_residual }))
    }

    fn apply(&self, x: &DMatrix<f64>) -> Result<DMatrix<f64>> {
        fits(x, self.matrix.nrows())?;
        let mut projected = x * &self.matrix;
        if self.is_residual {
            projected += x;
        }
        projected.row_iter_mut().for_each(|mut row| row += &self.bias);
        Ok(projected)
    }
}

fn fits(x: &DMatrix<f64>, width: usize) -> Result<()> {
    if x.ncols() == width {
        return Ok(());
    }
    Err(Error::ShapeMismatch {
        what: "width of tokens for retrieval",
        expected: width.to_string(),
        found: x.ncols().to_string(),
    })
}

/// The reference keeps single precision between its steps.
fn rounded(x: DMatrix<f64>) -> DMatrix<f64> {
    x.map(|v| f64::from(v as f32))
}

/// A tensor of at most two dimensions in double precision.
fn matrix(tensors: &HashMap<String, Tensor>, name: &str) -> Result<Option<DMatrix<f64>>> {
    let Some(tensor) = tensors.get(name) else { return Ok(None) };
    let read = || -> candle_core::Result<DMatrix<f64>> {
        let columns = tensor.dims().last().copied().unwrap_or(1);
        let values: Vec<f64> = tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
        Ok(DMatrix::from_row_slice(values.len() / columns.max(1), columns, &values))
    };
    read().map(Some).map_err(|error| Error::Usage(format!("'{name}': {error}")))
}
