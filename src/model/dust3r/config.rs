//! What the shapes of tensors leave open.

use super::literal::Literal;

/// An activation `min + exp(x)`, at most `max`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExpMode {
    /// Smallest value.
    pub min: f32,
    /// Largest value.
    pub max: f32,
}

impl ExpMode {
    /// Returns the value for a network's number.
    pub fn value(self, raw: f32) -> f32 {
        self.min + raw.exp().min(self.max - self.min)
    }
}

/// Settings of one checkpoint; what it does not say is as in the releases.
#[derive(Debug, Clone, PartialEq)]
pub struct FamilyConfig {
    /// Attention heads of the encoder; `None` for heads of 64 numbers.
    pub encoder_heads: Option<usize>,
    /// Attention heads of the decoder; `None` for heads of 64 numbers.
    pub decoder_heads: Option<usize>,
    /// Base of the rotary positions.
    pub rope_base: f64,
    /// Confidence of points.
    pub confidence: ExpMode,
    /// Confidence of descriptors.
    pub descriptor_confidence: ExpMode,
    /// Whether descriptors have a confidence of their own.
    pub two_confidences: bool,
    /// Numbers of a descriptor.
    pub descriptor_dim: usize,
    /// What Fast3R's fusion multiplies the usual scale of scores by.
    pub fusion_scale: f64,
}

impl Default for FamilyConfig {
    fn default() -> Self {
        Self {
            encoder_heads: None,
            decoder_heads: None,
            rope_base: 100.0,
            confidence: ExpMode { min: 1.0, max: f32::INFINITY },
            descriptor_confidence: ExpMode { min: 0.0, max: f32::INFINITY },
            two_confidences: true,
            descriptor_dim: 24,
            // Fast3R was trained on 20 views; beyond that softmax would flatten.
            fusion_scale: (137.0_f64.ln() / 20.0_f64.ln()).sqrt(),
        }
    }
}

impl FamilyConfig {
    /// Returns the settings in the text of a `config.json`, or of the call in a `.pth` file.
    ///
    /// # Errors
    /// With what cannot be read, or names an activation that no release has.
    pub fn parse(text: &str) -> Result<Self, String> {
        let value = Literal::parse(text)?;
        let default = Self::default();
        let anywhere = |name: &str| {
            [&["head_args", name][..], &["encoder_args", name], &["decoder_args", name], &[name]]
                .into_iter()
                .find_map(|path| value.field(path))
        };
        let size = |paths: [&[&str]; 2]| paths.into_iter().find_map(|p| value.field(p)?.size());
        check_depth_mode(anywhere("depth_mode"))?;
        let confidence = exp_mode("conf_mode", anywhere("conf_mode"))?;
        let confidence = confidence.unwrap_or(default.confidence);
        // A model that was trained without the second setting uses the first.
        let descriptor_confidence =
            exp_mode("desc_conf_mode", anywhere("desc_conf_mode"))?.unwrap_or(confidence);
        let is_biased = anywhere("attn_bias_for_inference_enabled").and_then(Literal::truth);
        Ok(Self {
            encoder_heads: size([&["enc_num_heads"], &["encoder_args", "num_heads"]]),
            decoder_heads: size([&["dec_num_heads"], &["decoder_args", "num_heads"]]),
            rope_base: rope_base(anywhere("pos_embed"))?.unwrap_or(default.rope_base),
            confidence,
            descriptor_confidence,
            two_confidences: anywhere("two_confs").and_then(Literal::truth).unwrap_or(false),
            descriptor_dim: descriptor_dim(anywhere("output_mode")).unwrap_or(24),
            fusion_scale: if is_biased == Some(false) { 1.0 } else { default.fusion_scale },
        })
    }
}

fn check_depth_mode(mode: Option<&Literal>) -> Result<(), String> {
    let Some(mode) = mode.and_then(Literal::list) else { return Ok(()) };
    let numbers: Vec<f64> = mode.iter().skip(1).filter_map(Literal::number).collect();
    let is_known = mode.first().and_then(Literal::text) == Some("exp")
        && numbers == [f64::NEG_INFINITY, f64::INFINITY];
    if is_known { Ok(()) } else { Err(format!("depth_mode {mode:?} is not that of a release")) }
}

fn exp_mode(name: &str, mode: Option<&Literal>) -> Result<Option<ExpMode>, String> {
    let Some(mode) = mode.and_then(Literal::list) else { return Ok(None) };
    match mode {
        [kind, min, max] if kind.text() == Some("exp") => {
            let limits = min.number().zip(max.number());
            let (min, max) = limits.ok_or_else(|| format!("{name} has no limits"))?;
            Ok(Some(ExpMode { min: min as f32, max: max as f32 }))
        }
        _ => Err(format!("{name} {mode:?} is not that of a release")),
    }
}

fn rope_base(name: Option<&Literal>) -> Result<Option<f64>, String> {
    let Some(name) = name.and_then(Literal::text) else { return Ok(None) };
    let base = name.strip_prefix("RoPE").and_then(|base| base.parse().ok());
    base.map(Some).ok_or_else(|| format!("pos_embed '{name}' is not that of a release"))
}

fn descriptor_dim(mode: Option<&Literal>) -> Option<usize> {
    mode?.text()?.split_once("desc")?.1.parse().ok()
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "what is compared for equality is promised exactly")]
mod tests {
    use super::*;

    #[test]
    fn confidences_follow_the_checkpoint() {
        let both = "M(conf_mode=('exp', 1, inf), two_confs=True, desc_conf_mode=('exp', 0, inf))";
        let config = FamilyConfig::parse(both).expect("as released");
        assert!(config.two_confidences && config.descriptor_confidence.min == 0.0);
        let unset = "M(conf_mode=('exp', 1, inf), two_confs=True)";
        let config = FamilyConfig::parse(unset).expect("as in the demo");
        assert!(config.descriptor_confidence.min == 1.0);
    }

    #[test]
    fn other_activations_are_refused() {
        for text in ["M(conf_mode=('sigmoid', 0, 1))", "M(depth_mode=('linear', -inf, inf))"] {
            assert!(FamilyConfig::parse(text).is_err_and(|problem| problem.contains("mode")));
        }
        assert!(FamilyConfig::parse("M(pos_embed='cosine')").is_err());
    }
}
