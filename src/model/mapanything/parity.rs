//! Comparison with recorded runs of the reference implementation.
//!
//! A case is a safetensors file with inputs, intermediate results and outputs of one call. Part of
//! the library, so that any program can check a model on the machine where it is to run.

mod case;
mod outputs;
mod rules;

use std::collections::BTreeMap;

use candle_core::Tensor;

pub use case::{Case, Recorded};
pub use rules::{Comparison, Limits};

use super::inputs::ViewInput;
use super::model::{InferOptions, MapAnything};
use super::outputs::{ViewOutput, confidence_by_agreement, view_outputs};
use super::postprocess::AgreementThresholds;
use super::taps::Taps;
use crate::error::{Error, Result};
use outputs::output;
use rules::Judge;

/// Returns how each recorded result of `case` compares with ours, sorted by name.
///
/// # Errors
/// Where the case cannot be understood, or the network cannot be computed.
pub fn compare(model: &MapAnything, case: &Case, limits: Limits) -> Result<Vec<Comparison>> {
    let views = case.views()?;
    let options = InferOptions { ignored: case.ignored(), mask: None, ..InferOptions::default() };
    let results = case.results();
    let wanted = results.iter().filter_map(|recorded| recorded.name.strip_prefix("mid."));
    let taps = Taps::on(wanted.map(ToOwned::to_owned));
    let raw = model.infer_raw(&views, &options, &taps)?;
    let ours = Ours {
        outputs: view_outputs(&raw).map_err(|error| unreadable(&error))?,
        taps: taps.into_results(),
        colors: views.iter().map(ViewInput::plain_colors).collect(),
    };
    let judge = Judge::new(limits, &ours.outputs);
    results.iter().filter_map(|recorded| ours.comparison(recorded, &judge)).collect()
}

/// All that we computed for a case.
struct Ours {
    outputs: Vec<ViewOutput>,
    taps: BTreeMap<String, Tensor>,
    colors: Vec<Vec<f32>>,
}

impl Ours {
    /// How a recorded result compares; `None` where ours has no counterpart because the input it
    /// depends on was absent, so that the reference's stands for nothing.
    fn comparison(&self, recorded: &Recorded, judge: &Judge) -> Option<Result<Comparison>> {
        let ours = match recorded.name.split_once('.')? {
            ("mid", name) => self.intermediate(name)?,
            ("out", name) => self.output(name)?,
            _ => return None,
        };
        Some(ours.and_then(|ours| judge.compare(recorded, &ours, &self.outputs)))
    }

    /// The tapped values, and those of the reference that they are to be compared with.
    fn intermediate(&self, name: &str) -> Option<Result<Values>> {
        if let Some(tensor) = self.taps.get(name) {
            return Some(numbers(tensor).map(Values::all));
        }
        // Inputs of the encoders of priors: of those views only that have them.
        let parts: Vec<Option<&Tensor>> =
            (0..self.outputs.len()).map(|view| self.taps.get(&format!("{name}[{view}]"))).collect();
        let per_view = parts.iter().flatten().next()?.elem_count();
        Some(Values::of_parts(&parts, per_view))
    }

    fn output(&self, name: &str) -> Option<Result<Values>> {
        let (view, name) = name.split_once('.')?;
        let view: usize = view.parse().ok()?;
        if let Some(thresholds) = agreement_thresholds(name) {
            let mut views = self.outputs.clone();
            confidence_by_agreement(&mut views, &thresholds);
            return Some(Ok(Values::all(views.get(view)?.confidence.values().to_vec())));
        }
        let values = output(self.outputs.get(view)?, self.colors.get(view)?, name)?;
        Some(values.map(Values::all))
    }
}

/// Numbers of ours; `NaN` never stands for "none" here, hence the options.
struct Values(Vec<Option<f32>>);

impl Values {
    fn all(values: Vec<f32>) -> Self {
        Self(values.into_iter().map(Some).collect())
    }

    fn of_parts(parts: &[Option<&Tensor>], per_view: usize) -> Result<Self> {
        let mut values = Vec::with_capacity(parts.len() * per_view);
        for part in parts {
            match part {
                Some(part) => values.extend(numbers(part)?.into_iter().map(Some)),
                None => values.extend(std::iter::repeat_n(None, per_view)),
            }
        }
        Ok(Self(values))
    }
}

fn numbers(tensor: &Tensor) -> Result<Vec<f32>> {
    let values = tensor
        .to_device(&candle_core::Device::Cpu)
        .and_then(|t| t.to_dtype(candle_core::DType::F32)?.flatten_all()?.to_vec1());
    values.map_err(|error| unreadable(&error))
}

/// The thresholds in names like `mv_conf_abs0.3_rel0.3`.
fn agreement_thresholds(name: &str) -> Option<AgreementThresholds> {
    let (absolute, relative) = name.strip_prefix("mv_conf_abs")?.split_once("_rel")?;
    Some(AgreementThresholds {
        absolute_m: absolute.parse().ok()?,
        relative: relative.parse().ok()?,
    })
}

fn unreadable(error: &candle_core::Error) -> Error {
    Error::Inference {
        model: super::NAME,
        problem: format!("its results cannot be read ({error})"),
        remedy: "use another device",
    }
}
