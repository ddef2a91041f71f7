//! What the types of the configuration say of each key: its meaning and its range.

use serde_json::Value;

use super::Config;
use crate::error::{Error, Result};

/// Returns the JSON schema of the configuration, with all references resolved.
pub(super) fn of_config() -> Value {
    let root = schemars::schema_for!(Config).to_value();
    let definitions = root.get("$defs").cloned().unwrap_or(Value::Null);
    resolved(&root, &definitions)
}

/// A copy of a schema in which references are replaced by what they refer to; a description at the
/// reference is kept, since it says what this use of the type is for.
fn resolved(schema: &Value, definitions: &Value) -> Value {
    let mut schema = schema.clone();
    let reference = schema.get("$ref").and_then(Value::as_str).map(str::to_owned);
    if let Some(name) = reference.as_deref().and_then(|r| r.rsplit('/').next()) {
        let mut target = definitions.get(name).cloned().unwrap_or(Value::Null);
        if let (Some(own), Value::Object(target)) = (schema.get("description"), &mut target) {
            target.insert("description".to_owned(), own.clone());
        }
        schema = target;
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for property in properties.values_mut() {
            *property = resolved(property, definitions);
        }
    }
    schema
}

/// Refuses numbers out of the range that the schema states, and words that it does not list.
pub(super) fn check_values(schema: &Value, value: &Value, path: &str) -> Result<()> {
    match value {
        Value::Object(fields) => fields.iter().try_for_each(|(key, field)| {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            check_values(&schema["properties"][key], field, &path)
        }),
        Value::String(word) => check_word(schema, word, path),
        _ => value.as_f64().map_or(Ok(()), |number| check_range(schema, number, path)),
    }
}

fn check_range(schema: &Value, number: f64, path: &str) -> Result<()> {
    let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
    let refuse = |words: &str, limit: f64| {
        Err(Error::config(path, format!("{number} is out of range: {words} {limit} is accepted")))
    };
    match (bound("minimum"), bound("maximum")) {
        (Some(least), _) if number < least => refuse("at least", least),
        (_, Some(most)) if number > most => refuse("at most", most),
        _ => Ok(()),
    }
}

fn check_word(schema: &Value, word: &str, path: &str) -> Result<()> {
    let words = words(schema);
    if words.is_empty() || words.contains(&word) {
        return Ok(());
    }
    Err(Error::config(path, format!("there is no '{word}'; accepted: {}", words.join(", "))))
}

/// The words that a schema lists; none where any text is accepted.
fn words(schema: &Value) -> Vec<&str> {
    let list = |name: &str| schema.get(name).and_then(Value::as_array).into_iter().flatten();
    let described = list("oneOf").filter_map(|word| word.get("const")?.as_str());
    described.chain(list("enum").filter_map(Value::as_str)).collect()
}

/// Returns the tree as YAML, each key under a comment with its description and range.
pub(super) fn to_yaml(schema: &Value, tree: &Value) -> String {
    let mut yaml = String::new();
    write_fields(&mut yaml, schema, tree, 0);
    yaml
}

fn write_fields(yaml: &mut String, schema: &Value, tree: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    let Value::Object(fields) = tree else { return };
    for (key, value) in fields {
        let schema = &schema["properties"][key];
        let comment = comment(schema).replace('\n', &format!("\n{indent}# "));
        yaml.push_str(&format!("{indent}# {comment}\n"));
        if value.is_object() {
            yaml.push_str(&format!("{indent}{key}:\n"));
            write_fields(yaml, schema, value, depth + 1);
        } else {
            yaml.push_str(&format!("{indent}{key}: {value}\n"));
        }
    }
}

fn comment(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let words = words(schema);
    match (schema.get("minimum"), schema.get("maximum")) {
        (Some(least), Some(most)) => format!("{text} [{least} .. {most}]"),
        _ if !words.is_empty() => format!("{text} [{}]", words.join(", ")),
        _ => text.to_owned(),
    }
}
