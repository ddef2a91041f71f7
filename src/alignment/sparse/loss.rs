//! The family of robust losses of MASt3R-SfM: `rho(e) = (e + o)^gamma - o^gamma` with the offset
//! `o = (1 / gamma)^(1 / (gamma - 1))`, which makes the slope at zero one. Near zero it counts
//! distances, not squares; far out it grows with the power gamma.

/// A robust loss of a residual's length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GammaLoss {
    gamma: f64,
    offset: f64,
    at_zero: f64,
}

impl GammaLoss {
    /// Returns the loss with the given power, above zero; one is the plain length.
    pub fn new(gamma: f64) -> Self {
        let plain = (gamma - 1.0).abs() < 1e-9;
        let offset = if plain { 0.0 } else { gamma.recip().powf((gamma - 1.0).recip()) };
        Self { gamma, offset, at_zero: if plain { 0.0 } else { offset.powf(gamma) } }
    }

    /// Returns the loss of a residual of the given length.
    pub fn cost(&self, length: f64) -> f64 {
        let x = length + self.offset;
        self.power(x) - self.at_zero
    }

    /// Returns the loss rounded off near zero: of `sqrt(length² + softening²)`.
    pub fn softened(self, softening: f64) -> SoftenedLoss {
        let at_zero = self.power(softening + self.offset);
        SoftenedLoss { loss: self, squared_softening: softening * softening, at_zero }
    }

    /// Returns the loss with its first and second derivative.
    pub fn derivatives(&self, length: f64) -> [f64; 3] {
        let x = length + self.offset;
        let power = self.power(x);
        let slope = self.gamma * power / x.max(f64::MIN_POSITIVE);
        [power - self.at_zero, slope, slope * (self.gamma - 1.0) / x.max(f64::MIN_POSITIVE)]
    }

    fn power(&self, x: f64) -> f64 {
        // The two stages' powers are worth a square root instead of a logarithm.
        match self.gamma {
            g if (g - 0.5).abs() < 1e-12 => x.sqrt(),
            g if (g - 1.5).abs() < 1e-12 => x * x.sqrt(),
            g if (g - 1.0).abs() < 1e-9 => x,
            g => x.powf(g),
        }
    }
}

/// A [`GammaLoss`] rounded off near zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SoftenedLoss {
    loss: GammaLoss,
    squared_softening: f64,
    at_zero: f64,
}

impl SoftenedLoss {
    /// Returns the loss of a residual of the given squared length.
    pub fn cost(&self, squared_length: f64) -> f64 {
        let rounded = (squared_length + self.squared_softening).sqrt();
        self.loss.power(rounded + self.loss.offset) - self.at_zero
    }

    /// Returns the weight `rho'(e) / e` of the square of a length in the reweighted problem; lengths
    /// below `shortest` weigh no more, since the loss has a kink at zero.
    pub fn weight(&self, squared_length: f64, shortest: f64) -> f64 {
        let rounded = (squared_length + self.squared_softening).sqrt().max(shortest);
        let x = rounded + self.loss.offset;
        self.loss.gamma * self.loss.power(x) / (x * rounded)
    }
}

#[cfg(test)]
mod tests {
    use super::GammaLoss;

    #[test]
    fn offsets_are_those_of_the_reference() {
        for (gamma, offset) in [(1.5, 0.444_44), (0.5, 0.25), (1.1, 0.385_54), (1.0, 0.0)] {
            assert!((GammaLoss::new(gamma).offset - offset).abs() < 1e-5, "{gamma}");
        }
    }

    #[test]
    fn slope_and_curvature_are_those_of_the_loss() {
        for gamma in [0.5, 0.8, 1.0, 1.1, 1.5] {
            let loss = GammaLoss::new(gamma);
            assert!(loss.cost(0.0).abs() < 1e-15);
            assert!((loss.derivatives(0.0)[1] - 1.0).abs() < 1e-9 || (gamma - 1.0).abs() < 1e-9);
            for e in [0.01, 0.3, 2.0, 40.0] {
                let h = 1e-5;
                let [value, slope, curvature] = loss.derivatives(e);
                let (up, down) = (loss.cost(e + h), loss.cost(e - h));
                assert!((value - loss.cost(e)).abs() < 1e-12);
                assert!((slope - (up - down) / (2.0 * h)).abs() < 1e-8, "{gamma} {e}");
                let slope_at = |e: f64| loss.derivatives(e)[1];
                let second = (slope_at(e + h) - slope_at(e - h)) / (2.0 * h);
                assert!((curvature - second).abs() < 1e-6, "{gamma} {e}: {curvature} {second}");
            }
        }
    }
}
