//! Parameters: every setting of the node and of the pipeline, with its meaning, type and range.

use serde_json::{Map, Value};

use super::config::{CHANGEABLE, NodeConfig};
use crate::config::{Config, schema_of, with_changes};

/// All settings of a running node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// The node's own.
    pub node: NodeConfig,
    /// The pipeline's.
    pub pipeline: Config,
}

/// What kind of value a parameter has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// True or false.
    Bool,
    /// A whole number.
    Integer,
    /// A number.
    Double,
    /// A text.
    Text,
}

/// What is told of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct Descriptor {
    /// Its name, dotted for the pipeline's.
    pub name: String,
    /// What it means.
    pub description: String,
    /// The kind of its values.
    pub kind: Kind,
    /// The least and the most that is accepted, where numbers are bounded.
    pub range: Option<(f64, f64)>,
    /// Whether it stays as it was when the node started.
    pub read_only: bool,
    /// What is accepted beside the range, such as a list of words.
    pub constraints: String,
}

impl Settings {
    /// Returns the descriptors of all parameters, in order.
    pub fn descriptors(&self) -> Vec<Descriptor> {
        let mut found = Vec::new();
        describe(&schema_of::<NodeConfig>(), &tree_of(&self.node), "", &mut found);
        describe(&schema_of::<Config>(), &tree_of(&self.pipeline), "", &mut found);
        found
    }

    /// Returns the value of a parameter.
    pub fn get(&self, name: &str) -> Option<Value> {
        let pointer = format!("/{}", name.replace('.', "/"));
        [tree_of(&self.node), tree_of(&self.pipeline)]
            .iter()
            .find_map(|tree| tree.pointer(&pointer).filter(|value| !value.is_object()).cloned())
    }

    /// Sets a parameter before the node starts.
    ///
    /// # Errors
    /// The reason, where there is no such parameter or the value is not accepted.
    pub fn preset(&mut self, name: &str, value: Value) -> Result<(), String> {
        let value = self.fitted(name, value);
        let changes = nested(name, value);
        let is_own = tree_of(&self.node).get(name).is_some();
        let outcome = if is_own {
            with_changes(&self.node, changes).map(|node| self.node = node)
        } else {
            with_changes(&self.pipeline, changes).map(|pipeline| self.pipeline = pipeline)
        };
        outcome.map_err(|error| error.to_string())
    }

    /// Sets a parameter while the node runs.
    ///
    /// # Errors
    /// The reason, as [`Settings::preset`], and for parameters that are read-only.
    pub fn set(&mut self, name: &str, value: Value) -> Result<(), String> {
        let fixed = self.get(name).is_some() && !CHANGEABLE.contains(&name);
        if fixed && self.get(name) != Some(self.fitted(name, value.clone())) {
            return Err(format!(
                "'{name}' is read when the node starts: give it with --ros-args -p {name}:=... or \
                 in a file of parameters"
            ));
        }
        self.preset(name, value)
    }

    /// A whole number where a number is wanted is one: people write 1 for 1.0.
    fn fitted(&self, name: &str, value: Value) -> Value {
        match (self.get(name), value.as_i64()) {
            (Some(Value::Number(wanted)), Some(whole)) if wanted.is_f64() => {
                Value::from(whole as f64)
            }
            _ => value,
        }
    }
}

fn tree_of<T: serde::Serialize>(settings: &T) -> Value {
    // Plain numbers, texts and truth values always make a tree.
    serde_json::to_value(settings).unwrap_or_default()
}

fn nested(name: &str, value: Value) -> Value {
    name.rsplit('.')
        .fold(value, |inner, part| Value::Object(Map::from_iter([(part.to_owned(), inner)])))
}

fn describe(schema: &Value, tree: &Value, prefix: &str, found: &mut Vec<Descriptor>) {
    let Value::Object(fields) = tree else { return };
    for (key, value) in fields {
        let schema = &schema["properties"][key];
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match kind_of(value) {
            Some(kind) => found.push(descriptor(name, kind, schema)),
            None => describe(schema, value, &name, found),
        }
    }
}

fn kind_of(value: &Value) -> Option<Kind> {
    match value {
        Value::Bool(_) => Some(Kind::Bool),
        Value::Number(number) if number.is_f64() => Some(Kind::Double),
        Value::Number(_) => Some(Kind::Integer),
        Value::String(_) => Some(Kind::Text),
        _ => None,
    }
}

fn descriptor(name: String, kind: Kind, schema: &Value) -> Descriptor {
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let words = words_of(schema);
    Descriptor {
        description: text.replace('\n', " "),
        kind,
        range: bound("minimum").zip(bound("maximum")),
        read_only: !CHANGEABLE.contains(&name.as_str()),
        constraints: if words.is_empty() { words } else { format!("one of {words}") },
        name,
    }
}

/// The words that a text may be.
fn words_of(schema: &Value) -> String {
    let listed = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    let described = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    let words: Vec<&str> = listed
        .chain(described.filter_map(|choice| choice.get("const")))
        .filter_map(Value::as_str)
        .collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_described_and_has_a_value() {
        let settings = Settings::default();
        let descriptors = settings.descriptors();
        assert!(descriptors.len() > 50, "{}", descriptors.len());
        for descriptor in &descriptors {
            assert!(!descriptor.description.is_empty(), "{} has no description", descriptor.name);
            assert!(settings.get(&descriptor.name).is_some(), "{}", descriptor.name);
            let numeric = matches!(descriptor.kind, Kind::Integer | Kind::Double);
            assert_eq!(descriptor.range.is_some(), numeric, "{}", descriptor.name);
        }
        for name in CHANGEABLE {
            assert!(descriptors.iter().any(|d| d.name == name && !d.read_only), "{name}");
        }
        let transport = descriptors.iter().find(|d| d.name == "depth_transport").unwrap();
        assert_eq!(transport.constraints, "one of raw, compressed, compressedDepth");
    }

    #[test]
    fn bad_values_are_refused_with_the_reason_and_change_nothing() {
        let mut settings = Settings::default();
        let cases = [
            ("map_rate", Value::from(99.0), "at most 10"),
            ("map_rate", Value::from("often"), "expected a number"),
            ("map_max_points", Value::from(-1), "whole number"),
            ("publish_tf", Value::from(1), "true or false"),
            ("map_frame", Value::from("world"), "when the node starts"),
            ("tracking.max_points", Value::from(1000), "when the node starts"),
            ("no_such_thing", Value::from(1), "no such key"),
            ("tracking", Value::from(1), "expected a mapping"),
        ];
        for (name, value, reason) in cases {
            let error = settings.set(name, value).unwrap_err();
            assert!(error.contains(reason) && error.contains(name), "{name}: {error}");
        }
        let error = settings.preset("depth_transport", Value::from("theora")).unwrap_err();
        assert!(error.contains("theora") && error.contains("compressedDepth"), "{error}");
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn good_values_are_taken() {
        let mut settings = Settings::default();
        settings.preset("tracking.max_points", Value::from(1234)).unwrap();
        settings.preset("sensor.max_range_m", Value::from(4)).unwrap();
        settings.preset("base_frame", Value::from("camera_link")).unwrap();
        settings.set("map_rate", Value::from(1)).unwrap();
        settings.set("base_frame", Value::from("camera_link")).unwrap();
        assert_eq!(settings.get("tracking.max_points"), Some(Value::from(1234)));
        assert_eq!(settings.get("sensor.max_range_m"), Some(Value::from(4.0)));
        assert_eq!(settings.node.base_frame, "camera_link");
        assert!((settings.node.map_rate - 1.0).abs() < 1e-12);
    }
}
