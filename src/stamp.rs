//! Time stamps: whole nanoseconds, so that what is read is what is written.

use std::fmt;
use std::str::FromStr;

/// A point in time of the data (never of the machine), in nanoseconds.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Stamp(i64);

/// A text that is not a time in seconds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a time in seconds")]
pub struct ParseStampError(String);

impl Stamp {
    /// Returns the stamp at `nanos` nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Returns the stamp nearest to `secs` seconds.
    pub fn from_secs(secs: f64) -> Self {
        Self((secs * 1e9).round() as i64)
    }

    /// Returns the nanoseconds.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Returns the seconds, rounded to the nearest double.
    pub fn secs(self) -> f64 {
        self.0 as f64 * 1e-9
    }

    /// Returns `self - earlier` in seconds, exact to the nanosecond.
    pub fn secs_since(self, earlier: Stamp) -> f64 {
        self.0.saturating_sub(earlier.0) as f64 * 1e-9
    }

    /// Returns the stamp `secs` seconds later.
    pub fn plus_secs(self, secs: f64) -> Self {
        Self(self.0.saturating_add((secs * 1e9).round() as i64))
    }
}

/// Decimal seconds: at least six decimals, nine where the nanoseconds ask for them.
impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let nanos = self.0.unsigned_abs();
        let (secs, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
        if rest.is_multiple_of(1000) {
            write!(f, "{sign}{secs}.{:06}", rest / 1000)
        } else {
            write!(f, "{sign}{secs}.{rest:09}")
        }
    }
}

/// Reads decimal seconds digit by digit: a double would lose the nanoseconds of today's dates.
impl FromStr for Stamp {
    type Err = ParseStampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || ParseStampError(text.to_owned());
        if text.contains(['e', 'E']) {
            let secs: f64 =
                text.parse().ok().filter(|s: &f64| s.abs() < 9e9).ok_or_else(invalid)?;
            return Ok(Self::from_secs(secs));
        }
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
            return Err(invalid());
        }
        let nanos: String = fraction.chars().chain("000000000".chars()).take(9).collect();
        let secs: i64 = whole.parse().ok().filter(|&s| s < 9_000_000_000).ok_or_else(invalid)?;
        let magnitude = secs * 1_000_000_000 + nanos.parse::<i64>().ok().ok_or_else(invalid)?;
        Ok(Self(if negative { -magnitude } else { magnitude }))
    }
}
