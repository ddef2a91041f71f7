//! Changes to the tree of settings: files and single settings, checked against what is there.

use serde_json::Value;

use crate::error::{Error, Result};

/// Returns the tree of a YAML text; an empty text is an empty tree.
pub(super) fn parse(yaml: &str) -> Result<Value> {
    let is_blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    if yaml.lines().all(is_blank) {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    serde_saphyr::from_str(yaml).map_err(|error| {
        let first_line = error.to_string().lines().next().unwrap_or_default().to_owned();
        Error::config("(file)", format!("not valid YAML: {first_line}"))
    })
}

/// Puts the values of `changes` into `tree`, whose keys and kinds of values are all there are.
pub(super) fn merge(tree: &mut Value, changes: Value, path: &str) -> Result<()> {
    let name = if path.is_empty() { "(file)" } else { path };
    match (tree, changes) {
        (Value::Object(known), Value::Object(changes)) => {
            for (key, change) in changes {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let keys: Vec<String> = known.keys().cloned().collect();
                let slot = known.get_mut(&key).ok_or_else(|| unknown_key(&path, &key, &keys))?;
                merge(slot, change, &path)?;
            }
            Ok(())
        }
        (Value::Object(_), other) => {
            Err(Error::config(name, format!("expected a mapping of keys, found {other}")))
        }
        (leaf, change) => {
            let expected = expected_kind(leaf, &change);
            if let Some(expected) = expected {
                return Err(Error::config(name, format!("expected {expected}, found {change}")));
            }
            *leaf = change;
            Ok(())
        }
    }
}

/// Applies one `dotted.key=value`.
pub(super) fn set(tree: &mut Value, setting: &str) -> Result<()> {
    let (key, text) = setting
        .split_once('=')
        .ok_or_else(|| Error::config(setting, "expected key=value, e.g. map.voxel_size_m=0.02"))?;
    let value = serde_saphyr::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
    let nested = key.trim().rsplit('.').fold(value, |inner, part| {
        Value::Object(serde_json::Map::from_iter([(part.to_owned(), inner)]))
    });
    merge(tree, nested, "")
}

/// What was expected where `change` does not fit in the place of `leaf`.
fn expected_kind(leaf: &Value, change: &Value) -> Option<&'static str> {
    let (expected, fits) = match leaf {
        Value::Bool(_) => ("true or false", change.is_boolean()),
        Value::String(_) => ("a text", change.is_string()),
        Value::Number(n) if n.is_f64() => ("a number", change.is_number()),
        Value::Number(_) => ("a whole number, not negative", change.is_u64()),
        _ => ("something else", true),
    };
    (!fits).then_some(expected)
}

fn unknown_key(path: &str, key: &str, known: &[String]) -> Error {
    let distance = |candidate: &&String| strsim::damerau_levenshtein(key, candidate);
    let nearest = known.iter().filter(|k| k.contains(key)).chain(known).min_by_key(distance);
    let prefix = known.iter().find(|k| k.starts_with(key));
    let hint = prefix.or(nearest).map_or_else(String::new, |k| format!("; did you mean '{k}'?"));
    Error::config(path, format!("there is no such key{hint} ('recon config' lists all)"))
}
