//! Listening to a network at work, for comparison with the reference.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;

use candle_core::{Result, Tensor};

/// Intermediate results by name; costs nothing while off.
#[derive(Debug, Default)]
pub struct Taps(Option<RefCell<BTreeMap<String, Tensor>>>);

impl Taps {
    /// Returns taps that record nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// Returns taps that record everything.
    pub fn on() -> Self {
        Self(Some(RefCell::default()))
    }

    /// Records a result under `name`, if anybody listens.
    pub fn record(
        &self,
        name: impl Display,
        result: impl FnOnce() -> Result<Tensor>,
    ) -> Result<()> {
        if let Some(results) = &self.0 {
            let result = result()?;
            results.borrow_mut().insert(name.to_string(), result);
        }
        Ok(())
    }

    /// Returns what has been recorded.
    pub fn into_results(self) -> BTreeMap<String, Tensor> {
        self.0.map(RefCell::into_inner).unwrap_or_default()
    }
}
