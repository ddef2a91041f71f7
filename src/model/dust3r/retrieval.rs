//! What tokens are retrieved by: MASt3R-SfM's whitening and its choice of tokens.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor, safetensors};
use nalgebra::{DMatrix, RowDVector};

use crate::error::{Error, Result};
use crate::keyframe::KeyframeId;
use crate::matching::retrieval::{AsmkConfig, AsmkIndex, Codebook};

/// Tokens of an image that count.
pub const TOKENS_PER_IMAGE: usize = 300;

/// An affine map that makes components alike.
#[derive(Debug)]
struct Whitening {
    mean: RowDVector<f64>,
    matrix: DMatrix<f64>,
}

/// One layer with its input added.
#[derive(Debug)]
struct Projector {
    /// By columns, so that rows of tokens are multiplied from the left.
    matrix: DMatrix<f64>,
    bias: RowDVector<f64>,
}

/// The retrieval model of one release, and its words.
#[derive(Debug)]
pub struct RetrievalModel {
    before: Option<Whitening>,
    projector: Option<Projector>,
    after: Option<Whitening>,
    codebook: Codebook,
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
    /// Returns the model in a safetensors file with `centroids`, and any of `prewhiten.m`,
    /// `prewhiten.p`, `projector.0.weight`, `projector.0.bias`, `postwhiten.m`, `postwhiten.p`.
    ///
    /// # Errors
    /// Where the file cannot be read or lacks the centroids.
    pub fn open(path: &Path) -> Result<Self> {
        let remedy = "convert the retrieval checkpoint and its codebook to one safetensors file";
        let problem = |text: String| Error::input(path, text, remedy);
        let tensors = safetensors::load(path, &Device::Cpu)
            .map_err(|error| problem(format!("no safetensors file ({error})")))?;
        Self::new(&tensors).map_err(|error| problem(error.to_string()))
    }

    /// Returns the model of these tensors.
    ///
    /// # Errors
    /// Where the centroids are missing, or sizes do not fit.
    pub fn new(tensors: &HashMap<String, Tensor>) -> Result<Self> {
        let missing = || Error::Usage("'centroids' is missing".into());
        let centroids = matrix(tensors, "centroids")?.ok_or_else(missing)?;
        let values = centroids.transpose().iter().map(|v| *v as f32).collect();
        Ok(Self {
            before: Whitening::of(tensors, "prewhiten")?,
            projector: Projector::of(tensors)?,
            after: Whitening::of(tensors, "postwhiten")?,
            codebook: Codebook::new(centroids.ncols(), values)?,
        })
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

    /// Returns how alike images are, by the tokens of each; the rows are queries.
    ///
    /// # Errors
    /// Where features have another width than the words.
    pub fn similarity(&self, images: &[RetrievalTokens]) -> Result<DMatrix<f64>> {
        let mut index = AsmkIndex::new(self.codebook.clone(), AsmkConfig::default());
        for (id, image) in (0u32..).zip(images) {
            index.insert(KeyframeId(id), &image.features)?;
        }
        let mut all = DMatrix::zeros(images.len(), images.len());
        for (i, image) in images.iter().enumerate() {
            for (j, score) in index.scores(&image.features)?.into_iter().enumerate() {
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
        Ok(Some(Self { mean: mean.row(0).into_owned(), matrix }))
    }

    fn apply(&self, x: &DMatrix<f64>) -> Result<DMatrix<f64>> {
        fits(x, self.mean.ncols())?;
        let mut centred = x.clone();
        centred.row_iter_mut().for_each(|mut row| row -= &self.mean);
        Ok(centred * &self.matrix)
    }
}

impl Projector {
    fn of(tensors: &HashMap<String, Tensor>) -> Result<Option<Self>> {
        let Some(weight) = matrix(tensors, "projector.0.weight")? else { return Ok(None) };
        if tensors.keys().any(|name| name.starts_with("projector.1")) || !weight.is_square() {
            return Err(Error::Usage("its projector is no single square layer".into()));
        }
        let bias = matrix(tensors, "projector.0.bias")?;
        let bias =
            bias.map_or_else(|| RowDVector::zeros(weight.nrows()), |b| b.row(0).into_owned());
        Ok(Some(Self { matrix: weight.transpose(), bias }))
    }

    fn apply(&self, x: &DMatrix<f64>) -> Result<DMatrix<f64>> {
        fits(x, self.matrix.nrows())?;
        let mut projected = x * &self.matrix + x;
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
