//! How often something happens, and how long it takes.

use std::collections::VecDeque;

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
}
