//! The list of tensors that a checkpoint must hold.

use std::fmt::Write as _;

use recon_node::model::mapanything::Architecture;
use recon_node::model::mapanything::tensors::{ExpectedTensor, expected_tensors, parameter_count};
use sha2::{Digest, Sha256};

use crate::support::shared;

/// Architecture, tensors, names with all aliases, parameters, and the digest of the lines of
/// [`listing`] for the reference's own list.
fn releases() -> [(&'static str, Architecture, [usize; 3], &'static str); 2] {
    [
        (
            "v1",
            Architecture::v1(),
            [804, 880, 563_335_382],
            "f499fca49e2368fbf15db2faf4d4b0c30dda3282b7161186185fd95aceea50d9",
        ),
        (
            "v11",
            Architecture::v11(),
            [736, 812, 1_228_491_222],
            "960977523e0232d37b52507b3788b2890332f3d76021b3f4f47596fba0bb4178",
        ),
    ]
}

/// One line for each tensor: name, shape, aliases, whether it is a buffer.
fn listing(tensors: &[ExpectedTensor]) -> String {
    let mut lines = String::new();
    for tensor in tensors {
        let (shape, aliases) = (&tensor.shape, tensor.aliases.join(","));
        writeln!(lines, "{} {shape:?} {aliases} {}", tensor.name, tensor.is_buffer).unwrap();
    }
    lines
}

#[test]
fn the_lists_are_those_of_the_released_networks() {
    for (name, architecture, [count, names, parameters], digest) in releases() {
        let tensors = expected_tensors(&architecture);
        let names_found: usize = tensors.iter().map(|t| 1 + t.aliases.len()).sum();
        assert_eq!(tensors.len(), count, "{name}");
        assert_eq!(names_found, names, "{name}");
        assert_eq!(parameter_count(&architecture), parameters, "{name}");
        let found: String =
            Sha256::digest(listing(&tensors)).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, digest, "{name}");
    }
}

#[test]
fn the_lists_are_those_of_the_whole_fixtures() {
    let Some(shared) = shared() else { return };
    for (name, architecture, ..) in releases() {
        let text = std::fs::read_to_string(shared.join(format!("names_{name}.json"))).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let list = json["tensors"].as_array().unwrap();
        let strings = |value: &serde_json::Value| -> Vec<String> {
            let mut strings: Vec<String> = serde_json::from_value(value.clone()).unwrap();
            strings.sort();
            strings
        };
        let mut reference: Vec<ExpectedTensor> = list
            .iter()
            .map(|tensor| ExpectedTensor {
                name: tensor["name"].as_str().unwrap().to_owned(),
                shape: serde_json::from_value(tensor["shape"].clone()).unwrap(),
                aliases: strings(&tensor["aliases"]),
                is_buffer: tensor["buffer"].as_bool().unwrap(),
            })
            .collect();
        reference.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(expected_tensors(&architecture), reference);
    }
}

#[test]
fn the_released_networks_are_recognised_without_a_configuration() {
    use recon_node::model::mapanything::config::ModelConfig;
    for (_, architecture, ..) in releases() {
        let tensors = expected_tensors(&architecture);
        let shapes = tensors.iter().map(|t| (t.name.clone(), t.shape.clone())).collect();
        assert_eq!(
            Architecture::derive(&shapes, &ModelConfig::default()),
            Ok(architecture.clone())
        );
        let by_alias = |t: &ExpectedTensor| t.aliases.last().unwrap_or(&t.name).clone();
        let shapes = tensors.iter().map(|t| (by_alias(t), t.shape.clone())).collect();
        assert_eq!(Architecture::derive(&shapes, &ModelConfig::default()), Ok(architecture));
    }
}
