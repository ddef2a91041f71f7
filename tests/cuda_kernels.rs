//! The CUDA kernels, as far as they can be tested without a GPU: the committed PTX belongs to its
//! source, has the entry points that the library calls, and the index arithmetic, run on the host,
//! gives what plain loops give (`cuda_kernels/main.cpp`).

#![allow(clippy::expect_used, reason = "helpers of tests fail like tests")]

use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

const KERNELS: [&str; 4] = ["attention", "conv", "maps", "rows"];

fn below_root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(name: &str) -> String {
    let path = below_root("src/model/nn/cuda").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn committed_ptx_belongs_to_its_source() {
    for name in KERNELS {
        let source = text("warp.cuh") + &text(&format!("{name}.cu"));
        let hash: String = Sha256::digest(source).iter().map(|b| format!("{b:02x}")).collect();
        let expected = format!("// sha256 of warp.cuh and {name}.cu: {hash}");
        let ptx = text(&format!("{name}.ptx"));
        assert_eq!(ptx.lines().next(), Some(expected.as_str()), "run ./scripts/cuda_kernels");
    }
}

#[test]
fn every_source_has_its_ptx() {
    let folder = below_root("src/model/nn/cuda");
    let names = std::fs::read_dir(folder).expect("the folder of kernels").map(|entry| {
        let path = entry.expect("an entry").path();
        (path.extension().is_some_and(|e| e == "cu"), path.with_extension("ptx").is_file())
    });
    let sources: Vec<_> = names.filter(|(is_source, _)| *is_source).collect();
    assert_eq!(sources, [(true, true); KERNELS.len()]);
}

#[test]
fn ptx_runs_on_every_gpu_since_compute_capability_8() {
    for name in KERNELS {
        let ptx = text(&format!("{name}.ptx"));
        assert!(ptx.lines().any(|line| line == ".target sm_80"), "{name}");
    }
}

/// The parameters of an entry point: `u64`, `u32`, `f32`, in order.
fn parameters(ptx: &str, entry: &str) -> Vec<String> {
    let start = ptx.find(&format!(".entry {entry}(")).unwrap_or_else(|| panic!("no {entry}"));
    let (list, _) = ptx[start..].split_once("\n)").expect("a list of parameters");
    let types = list.lines().filter_map(|line| line.trim().strip_prefix(".param ."));
    types.map(|rest| rest.chars().take(3).collect()).collect()
}

#[test]
fn entry_points_take_what_the_library_hands_over() {
    let (attention, maps, rows) = (text("attention.ptx"), text("maps.ptx"), text("rows.ptx"));
    let shape = |ptx: &str, entry: &str| parameters(ptx, entry).join(" ");
    let addresses = |n: usize| vec!["u64"; n].join(" ");
    assert_eq!(shape(&attention, "attention_bf16"), addresses(10) + " u32 u32 f32");
    let conv = shape(&text("conv.ptx"), "conv3x3_tf32");
    assert_eq!(conv, addresses(5) + &" u32".repeat(8) + " f32 f32");
    for entry in ["gather3x3_f32", "gather3x3_f32x4"] {
        assert_eq!(shape(&maps, entry), addresses(2) + &" u32".repeat(7), "{entry}");
    }
    assert_eq!(shape(&maps, "resize_bilinear_f32"), addresses(2) + &" u32".repeat(5));
    for number in ["f32", "bf16"] {
        let rows = |entry: &str| shape(&rows, &format!("{entry}_{number}"));
        // The last address is the number of groups, a `long long`.
        for entry in ["bias", "bias_relu", "bias_gelu"] {
            assert_eq!(rows(entry), addresses(3) + " u32", "{entry}");
        }
        assert_eq!(rows("silu_gate"), addresses(4) + " u32");
        assert_eq!(rows("add_branch"), addresses(6) + " u32");
        assert_eq!(rows("layer_norm"), addresses(4) + " u32 u32 f32");
    }
}

#[test]
fn kernels_run_on_the_host_give_what_plain_loops_give() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("emulated");
    let source = below_root("tests/cuda_kernels");
    let compiler = Command::new("g++")
        .args(["-std=c++17", "-O1", "-Wno-unknown-pragmas", "-I"])
        .arg(&source)
        .arg(source.join("main.cpp"))
        .arg("-o")
        .arg(&program)
        .output();
    let Ok(compiled) = compiler else {
        println!("skipped: there is no g++ to compile the kernels for the host with");
        return;
    };
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let run = Command::new(&program).output().expect("the program that was just compiled");
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}{}", String::from_utf8_lossy(&run.stderr));
    assert!(said.lines().count() > 40, "too few kernels were compared:\n{said}");
}
