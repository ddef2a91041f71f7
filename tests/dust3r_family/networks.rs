//! Every output of every recorded call.

use std::path::Path;

use candle_core::{DType, Device, safetensors};
use recon_node::model::dust3r::Network;
use recon_node::model::dust3r::parity::{LIMIT, compare};
use recon_node::model::nn::RopeTable;

use crate::support::{data, shared};

/// Compares all cases in a folder; returns how many results were compared.
fn check(model: &Path, folder: &Path, cases: &[&str], limit: f64) -> usize {
    let network = Network::open(model, &Device::Cpu, DType::F32).unwrap();
    let mut compared = 0;
    for case in cases {
        let path = folder.join(format!("{case}.safetensors"));
        for comparison in compare(&network, &path, limit).unwrap() {
            assert!(comparison.holds(), "{}: {comparison:?}", path.display());
            compared += 1;
        }
    }
    compared
}

#[test]
fn mast3r_is_the_reference() {
    let folder = data("mast3r");
    assert_eq!(check(&folder, &folder, &["land_odd", "mixed"], LIMIT), 16);
}

#[test]
fn dust3r_from_the_released_container_is_the_reference() {
    let folder = data("dust3r");
    assert_eq!(check(&folder, &folder, &["land_odd", "mixed"], LIMIT), 8);
}

#[test]
fn dust3r_with_linear_heads_is_the_reference() {
    let folder = data("dust3r_linear");
    assert_eq!(check(&folder, &folder, &["land_odd", "mixed"], LIMIT), 8);
}

#[test]
fn fast3r_is_the_reference_for_drawn_ids_and_different_sizes() {
    let folder = data("fast3r");
    // A wrong ε in the fusion shows as 7e-6.
    assert_eq!(check(&folder, &folder, &["random_ids", "diff_res"], 5e-6), 32);
}

#[test]
fn every_shared_case_and_intermediate_result_is_the_reference() {
    let pairs = ["land_even", "land_odd", "mixed"];
    let fast3r = ["seq_ids", "random_ids", "diff_res"];
    for (model, cases, at_least) in [
        ("mast3r_catmlpdpt", pairs, 24 + 30),
        ("dust3r_dpt", pairs, 12 + 30),
        ("dust3r_linear", pairs, 12 + 28),
        ("fast3r", fast3r, 48 + 15),
    ] {
        let Some(folder) = shared(model) else { return };
        let compared = check(&folder, &folder, &cases, LIMIT);
        assert!(compared >= at_least, "{model}: {compared}");
    }
}

#[test]
fn rotary_positions_are_the_reference() {
    let case = safetensors::load(data("rope100.safetensors"), &Device::Cpu).unwrap();
    let (tokens, theirs) = (&case["in.tokens"], &case["out.tokens"]);
    let places = case["in.pos_yx"].get(0).unwrap().to_vec2::<i64>().unwrap();
    let places: Vec<[usize; 2]> = places.iter().map(|p| [p[0] as usize, p[1] as usize]).collect();
    let head_dim = tokens.dims()[3];
    let table = RopeTable::at(&places, head_dim, 100.0, &Device::Cpu).unwrap();
    // The reference has heads before tokens.
    let ours = table.rotate(&tokens.get(0).unwrap().unsqueeze(0).unwrap().transpose(1, 2).unwrap());
    let ours = ours.unwrap().transpose(1, 2).unwrap();
    let difference = (ours - theirs.get(0).unwrap().unsqueeze(0).unwrap()).unwrap();
    let worst = difference.abs().unwrap().flatten_all().unwrap().max(0).unwrap();
    let largest = theirs.abs().unwrap().flatten_all().unwrap().max(0).unwrap();
    let error = worst.to_scalar::<f32>().unwrap() / largest.to_scalar::<f32>().unwrap();
    assert!(error < 1e-6, "{error}");
}
