//! How often something happens, and how long it takes.

use std::collections::VecDeque;

use crate::stamp::Stamp;

/// Over how many seconds a rate is taken.
const WINDOW_SECS: f64 = 2.0;
/// Of how many values quantiles are taken.
const WINDOW_VALUES: usize = 512;

/// Counts events and tells their rate; times are seconds of the caller's clock.
#[derive(Debug, Clone, Default)]
pub struct RateMeter {
    times_secs: VecDeque<f64>,
    count: u64,
}

impl RateMeter {
    /// Takes note of an event.
    pub fn tick(&mut self, now_secs: f64) {
        self.count += 1;
        self.times_secs.push_back(now_secs);
        self.forget(now_secs);
    }

    /// Returns the events per second of the last two seconds.
    pub fn hz(&mut self, now_secs: f64) -> f64 {
        self.forget(now_secs);
        self.times_secs.len() as f64 / WINDOW_SECS
    }

    /// Returns the number of all events.
    pub fn count(&self) -> u64 {
        self.count
    }

    fn forget(&mut self, now_secs: f64) {
        while self.times_secs.front().is_some_and(|&time| time < now_secs - WINDOW_SECS) {
            self.times_secs.pop_front();
        }
    }
}

/// Tells from stamps that should be evenly apart how many are missing between them.
#[derive(Debug, Clone, Default)]
pub struct GapMeter {
    last: Option<Stamp>,
    steps: Durations,
}

/// Steps that are short against most others tell the period: with many gaps, the median would not.
const PERIOD_QUANTILE: f64 = 0.1;

impl GapMeter {
    /// Takes note of a stamp; after one that goes back, all begins anew.
    pub fn push(&mut self, stamp: Stamp) {
        match self.last.replace(stamp).map(|last| stamp.secs_since(last)) {
            Some(step) if step > 0.0 => self.steps.push(step),
            Some(_) => self.steps = Durations::default(),
            None => {}
        }
    }

    /// Returns the share of stamps that is missing among the latest.
    pub fn missing_frac(&self) -> f64 {
        let period = self.steps.quantile_secs(PERIOD_QUANTILE);
        let (due, came) = (self.steps.total_secs() / period.max(1e-9), self.steps.len() as f64);
        if due > 0.0 { (1.0 - came / due).max(0.0) } else { 0.0 }
    }
}

/// The latest durations.
#[derive(Debug, Clone, Default)]
pub struct Durations {
    secs: VecDeque<f64>,
}

impl Durations {
    /// Takes note of a duration.
    pub fn push(&mut self, secs: f64) {
        if self.secs.len() == WINDOW_VALUES {
            self.secs.pop_front();
        }
        self.secs.push_back(secs);
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.secs.len()
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.secs.is_empty()
    }

    /// Returns the sum of them.
    pub fn total_secs(&self) -> f64 {
        self.secs.iter().sum()
    }

    /// Returns the duration that the share `frac` of the latest stays below; 0 where there is none.
    pub fn quantile_secs(&self, frac: f64) -> f64 {
        let mut sorted: Vec<f64> = self.secs.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let index = frac.clamp(0.0, 1.0) * sorted.len().saturating_sub(1) as f64;
        sorted.get(index.round() as usize).copied().unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let mut meter = RateMeter::default();
        (0..90).for_each(|index| meter.tick(f64::from(index) / 30.0));
        assert!((meter.hz(3.0) - 30.0).abs() < 1.0, "{}", meter.hz(3.0));
        assert!(meter.hz(9.0) < 1e-9);
        assert_eq!(meter.count(), 90);
    }

    #[test]
    fn quantiles_are_of_the_latest_values() {
        let mut durations = Durations::default();
        assert!(durations.quantile_secs(0.5) < 1e-12);
        (0..2000).for_each(|index| durations.push(f64::from(index)));
        assert!((durations.quantile_secs(1.0) - 1999.0).abs() < 1e-9);
        assert!(durations.quantile_secs(0.0) > 1400.0);
        assert_eq!(durations.secs.len(), WINDOW_VALUES);
    }

    #[test]
    fn what_is_missing_shows_in_the_gaps() {
        let missing = |kept: fn(usize) -> bool| {
            let mut meter = GapMeter::default();
            let stamps = (0..600).filter(|&index| kept(index));
            stamps.for_each(|index| meter.push(Stamp::from_secs(index as f64 / 30.0)));
            meter.missing_frac()
        };
        let is_about =
            |found: f64, expected: f64| assert!((found - expected).abs() < 0.01, "{found}");
        is_about(missing(|_| true), 0.0);
        is_about(missing(|index| index % 10 != 0), 0.1);
        is_about(missing(|index| index % 13 < 2), 11.0 / 13.0);
        assert!(GapMeter::default().missing_frac() < 1e-12);
    }
}
