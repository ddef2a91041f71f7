//! MapAnything against the reference.
#![allow(missing_docs)]
use candle_core::{DType, Device, Tensor};
use recon_node::model::mapanything::{
    Checkpoint, fusion::ViewPriors, network::Network, taps::Taps,
};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

fn priors(case: &HashMap<String, Tensor>, meta: &serde_json::Value, n: usize) -> Vec<ViewPriors> {
    let flag = |k: &str| meta["infer_flags"][k].as_bool().unwrap_or(false);
    let row = |name: &str, i: usize| -> Vec<f32> {
        let t = case[&format!("mid.{name}_encoder.input")].get(i).unwrap();
        if t.dims().len() == 3 {
            t.permute((1, 2, 0)).unwrap().flatten_all().unwrap().to_vec1().unwrap()
        } else {
            t.flatten_all().unwrap().to_vec1().unwrap()
        }
    };
    (0..n)
        .map(|i| {
            let has = |k: &str| case.contains_key(&format!("proc_in.{i}.{k}"));
            let metric = meta["views"][i]["is_metric_scale"].as_bool().unwrap_or(true);
            let rays = has("intrinsics") && !flag("ignore_calibration_inputs");
            let depth = has("depth_z") && !flag("ignore_depth_inputs");
            let pose =
                (has("camera_poses") || has("camera_pose_trans")) && !flag("ignore_pose_inputs");
            ViewPriors {
                ray_directions: rays.then(|| row("ray_dirs", i)),
                log_depth: depth.then(|| row("depth", i)),
                log_depth_scale: (depth && metric && !flag("ignore_depth_scale_inputs"))
                    .then(|| row("depth_scale", i)[0]),
                rotation: pose.then(|| row("cam_rot", i).try_into().unwrap()),
                translation: pose.then(|| row("cam_trans", i).try_into().unwrap()),
                log_translation_scale: (pose && metric && !flag("ignore_pose_scale_inputs"))
                    .then(|| row("cam_trans_scale", i)[0]),
            }
        })
        .collect()
}

#[test]
fn raw() {
    for v in ["v1", "v11"] {
        let dir = Path::new("/work/shared/fixtures/mapanything").join(v);
        let checkpoint = Checkpoint::open(&dir, (&Device::Cpu, DType::F32), false).unwrap();
        println!("{:?}", checkpoint.architecture);
        let net = Network::load(&checkpoint.weights, &checkpoint.architecture).unwrap();
        let manifest: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(dir.join("manifest.json")).unwrap())
                .unwrap();
        for (name, meta) in manifest["cases"].as_object().unwrap() {
            let case = candle_core::safetensors::load(
                dir.join(format!("{name}.safetensors")),
                &Device::Cpu,
            )
            .unwrap();
            let n = (0..).take_while(|i| case.contains_key(&format!("proc_in.{i}.img"))).count();
            let imgs: Vec<_> = (0..n)
                .map(|i| {
                    case[&format!("proc_in.{i}.img")]
                        .permute((0, 2, 3, 1))
                        .unwrap()
                        .contiguous()
                        .unwrap()
                })
                .collect();
            let imgs = Tensor::cat(&imgs, 0).unwrap();
            let taps = Taps::on();
            let t = std::time::Instant::now();
            let enc = net.encode(&imgs, &taps).unwrap();
            net.infer(&enc, &priors(&case, meta, n), 1, &taps).unwrap();
            let el = t.elapsed();
            let got: BTreeMap<String, Tensor> = taps.into_results();
            let mut worst = (0f32, String::new());
            for (k, t) in &case {
                let Some(k) = k.strip_prefix("mid.") else { continue };
                if k.contains("_encoder.") {
                    continue;
                }
                let Some(g) = got.get(k) else {
                    println!("  {name}: no {k}");
                    continue;
                };
                assert_eq!(g.dims(), t.dims(), "{k}");
                let e =
                    (g - t).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
                if e > worst.0 {
                    worst = (e, k.to_string())
                }
            }
            println!("{v} {name}: worst {worst:?} {el:?}");
        }
    }
}
