//! What `config.json` says that tensor shapes do not.

use serde_json::Value;

/// The content of a `config.json`; everything in it is optional.
#[derive(Debug, Clone, Default)]
pub struct ModelConfig(Value);

impl ModelConfig {
    /// Returns the configuration in `text`. Released files hold bare `Infinity`, `-Infinity` and
    /// `NaN`, which are no JSON: they are read as null.
    ///
    /// # Errors
    /// What is wrong with the text otherwise.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(&without_bare_numbers(text)).map(Self)
    }

    /// Returns how many blocks of the encoder are kept.
    pub fn encoder_depth(&self) -> Option<usize> {
        self.number("/encoder_config/keep_first_n_layers")
            .or_else(|| self.number("/encoder_config/_tiny/depth"))
    }

    /// Returns the number of attention heads of the encoder.
    pub fn encoder_heads(&self) -> Option<usize> {
        self.number("/encoder_config/_tiny/num_heads")
    }

    /// Returns whether the encoder's tokens are normalised at its end.
    pub fn encoder_norm(&self) -> Option<bool> {
        self.0.pointer("/encoder_config/norm_returned_features")?.as_bool()
    }

    /// Returns the number of blocks of the multi-view transformer.
    pub fn info_sharing_depth(&self) -> Option<usize> {
        self.number("/info_sharing_config/module_args/depth")
    }

    /// Returns the number of attention heads of the multi-view transformer.
    pub fn info_sharing_heads(&self) -> Option<usize> {
        self.number("/info_sharing_config/module_args/num_heads")
    }

    /// Returns the two blocks of the multi-view transformer after which the dense head listens.
    pub fn hooks(&self) -> Option<[usize; 2]> {
        let hooks = self.0.pointer("/info_sharing_config/module_args/indices")?.as_array()?;
        match hooks.as_slice() {
            [a, b] => Some([a.as_u64()? as usize, b.as_u64()? as usize]),
            _ => None,
        }
    }

    /// Returns whether the encoder's class token takes part in the multi-view transformer.
    pub fn uses_class_token(&self) -> Option<bool> {
        self.0.pointer("/use_register_tokens_from_encoder")?.as_bool()
    }

    fn number(&self, pointer: &str) -> Option<usize> {
        self.0.pointer(pointer)?.as_u64().map(|n| n as usize)
    }
}

/// The text with `null` for bare words that Python's JSON writes for numbers without digits.
fn without_bare_numbers(text: &str) -> String {
    // Odd pieces lie within quotation marks; an escaped quotation mark ends no string.
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(quote) = rest.find('"') {
        clean.push_str(&nulled(&rest[..quote]));
        let string_len = string_len(&rest[quote..]);
        clean.push_str(&rest[quote..quote + string_len]);
        rest = &rest[quote + string_len..];
    }
    clean + &nulled(rest)
}

fn nulled(text: &str) -> String {
    text.replace("-Infinity", "null").replace("Infinity", "null").replace("NaN", "null")
}

/// Bytes of the string literal, marks included, at the start of `text`.
fn string_len(text: &str) -> usize {
    let mut is_escaped = false;
    for (i, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !is_escaped => return i + 1,
            b'\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_infinity_is_null_and_text_is_left_alone() {
        let text = r#"{"a": -Infinity, "b": [Infinity, NaN], "name \" NaN": "Infinity \\",
            "info_sharing_config": {"module_args": {"indices": [3, 5], "depth": 8}}}"#;
        let config = ModelConfig::parse(text).unwrap();
        assert_eq!(config.0["a"], Value::Null);
        assert_eq!(config.0["b"][1], Value::Null);
        assert_eq!(config.0["name \" NaN"], "Infinity \\");
        assert_eq!(config.hooks(), Some([3, 5]));
        assert_eq!(config.info_sharing_depth(), Some(8));
        assert_eq!(config.encoder_heads(), None);
    }

    #[test]
    fn what_is_no_json_otherwise_is_an_error() {
        assert!(ModelConfig::parse(r#"{"a": 1,, }"#).is_err());
        assert!(ModelConfig::parse(r#"{"a": "no end"#).is_err());
    }
}
