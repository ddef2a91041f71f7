//! Names and shapes of the networks' tensors, beside those of recorded networks and of releases.

use std::collections::BTreeMap;

use candle_core::{Device, safetensors};
use recon_node::model::dust3r::Family;
use recon_node::model::dust3r::tensors::FamilySizes;

use crate::support::{data, shared};

/// The sizes of the recorded networks.
fn tiny(family: Family) -> FamilySizes {
    FamilySizes {
        family,
        encoder: (32, 3),
        decoder: (32, 12),
        level_widths: [8, 12, 16, 24],
        fusion_width: 24,
        last_width: 12,
        descriptor_hidden: 32,
    }
}

type Shapes = BTreeMap<String, Vec<usize>>;

fn recorded(folder: &str) -> Shapes {
    let file = data(folder).join("model.safetensors");
    let tensors = safetensors::load(file, &Device::Cpu).unwrap();
    tensors.into_iter().map(|(name, tensor)| (name, tensor.dims().to_vec())).collect()
}

#[test]
fn the_tensors_are_those_of_recorded_networks() {
    for (folder, family) in [("mast3r", Family::Mast3r), ("fast3r", Family::Fast3r)] {
        let ours: Shapes = tiny(family).tensors().into_iter().collect();
        let mut theirs = recorded(folder);
        // Training needs this one, the network does not.
        theirs.remove("mask_token");
        assert_eq!(ours, theirs, "{folder}");
    }
}

/// The list of a release: each line a name, in which `{i}` stands for a number and `{1,2}` for two
/// heads, a shape, and how many there are.
fn released(file: &str) -> Option<BTreeMap<String, usize>> {
    let text = std::fs::read_to_string(shared(file)?).unwrap();
    let parameters = text.lines().filter_map(|line| {
        let [name, shape, count] = line.split('\t').collect::<Vec<_>>()[..] else { return None };
        Some((format!("{name} {shape}"), count.strip_prefix('x')?.parse().ok()?))
    });
    Some(parameters.collect())
}

/// The name as such a list writes it.
fn pattern(name: &str) -> String {
    let part = |part: &str| if part.parse::<u32>().is_ok() { "{i}" } else { part }.to_owned();
    let (head, blocks) = (name.contains("downstream_head"), name.contains("_blocks"));
    let name = if blocks {
        name.split('.').map(part).collect::<Vec<_>>().join(".")
    } else {
        name.to_owned()
    };
    if head {
        name.replace("_head1.", "_head{1,2}.").replace("_head2.", "_head{1,2}.")
    } else {
        name
    }
}

#[test]
fn the_released_sizes_have_the_names_and_shapes_of_the_releases() {
    let lists = [
        ("tensors_mast3r_512.tsv", Family::Mast3r),
        ("tensors_dust3r_512_dpt.tsv", Family::Dust3r),
        ("tensors_fast3r.tsv", Family::Fast3r),
    ];
    for (file, family) in lists {
        let Some(theirs) = released(file) else { return };
        let mut ours: BTreeMap<String, usize> = BTreeMap::new();
        for (name, shape) in FamilySizes::released(family).tensors() {
            *ours.entry(format!("{} {shape:?}", pattern(&name))).or_default() += 1;
        }
        for (tensor, count) in &ours {
            assert!(theirs.get(tensor).is_some_and(|c| c >= count), "{file}: {tensor} x{count}");
        }
        // One is for training only, some are stored under a second name.
        let is_more =
            |tensor: &&String| ["mask_token", "layer_rn."].iter().any(|n| tensor.contains(n));
        let left = theirs.keys().filter(|tensor| !ours.contains_key(*tensor));
        let left: Vec<_> = left.filter(|tensor| !is_more(tensor)).collect();
        assert!(left.is_empty(), "{file}: {left:?}");
    }
}
