//! Listening to a network at work, for comparison with the reference.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

use candle_core::{Result, Tensor};

/// Intermediate results by name. They cost nothing while off, and memory only for those that are
/// wanted.
#[derive(Debug, Default)]
pub struct Taps(Option<Listening>);

#[derive(Debug)]
struct Listening {
    wanted: BTreeSet<String>,
    results: Mutex<BTreeMap<String, Tensor>>,
}

impl Taps {
    /// Returns taps that record nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// Returns taps that record results of these names; a result of one view alone has the name
    /// that is wanted and the view's number in brackets behind it.
    pub fn on(wanted: impl IntoIterator<Item = String>) -> Self {
        let (wanted, results) = (wanted.into_iter().collect(), Mutex::default());
        Self(Some(Listening { wanted, results }))
    }

    /// Returns whether anybody listens.
    pub fn are_on(&self) -> bool {
        self.0.is_some()
    }

    /// Records a result under `name`, if anybody wants it.
    pub fn record(
        &self,
        name: impl Display,
        result: impl FnOnce() -> Result<Tensor>,
    ) -> Result<()> {
        let Some(listening) = &self.0 else { return Ok(()) };
        let name = name.to_string();
        let base = name.split('[').next().unwrap_or(&name);
        if listening.wanted.contains(base) {
            let result = result()?;
            let mut results = listening.results.lock().unwrap_or_else(PoisonError::into_inner);
            results.insert(name, result);
        }
        Ok(())
    }

    /// Returns what has been recorded.
    pub fn into_results(self) -> BTreeMap<String, Tensor> {
        let results = |listening: Listening| listening.results.into_inner();
        self.0.map(|l| results(l).unwrap_or_else(PoisonError::into_inner)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn only_what_is_wanted_is_computed() {
        let taps = Taps::on(["a".to_owned()]);
        let result = || Tensor::new(1.0f32, &Device::Cpu);
        taps.record("a", result).unwrap();
        taps.record("a[3]", result).unwrap();
        taps.record("b", || panic!("nobody wants it")).unwrap();
        Taps::off().record("a", || panic!("nobody listens")).unwrap();
        let names: Vec<String> = taps.into_results().into_keys().collect();
        assert_eq!(names, ["a", "a[3]"]);
    }
}
