//! MapAnything against the reference.

use std::path::Path;

use recon_node::model::mapanything::parity::{Case, Limits, compare};
use recon_node::model::mapanything::{LoadOptions, MapAnything};

#[test]
fn everything_is_within_the_limits() {
    for v in ["v1", "v11"] {
        let dir = Path::new("/work/shared/fixtures/mapanything").join(v);
        let model = MapAnything::open(&dir, &LoadOptions::default()).unwrap();
        let mut names: Vec<_> =
            std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
        names.sort();
        for path in names {
            let stem = path.file_stem().unwrap().to_str().unwrap();
            if path.extension().unwrap() != "safetensors"
                || stem == "model"
                || stem == "encoder_518"
            {
                continue;
            }
            let case = Case::open(&path).unwrap();
            let found = compare(&model, &case, Limits::Absolute).unwrap();
            println!("{v} {stem}: {} compared", found.len());
            for c in &found {
                if !c.holds() {
                    println!("   BROKEN {c:?}");
                }
            }
            let worst = found.iter().filter(|c| c.limit.is_some()).max_by(|a, b| {
                (a.error / a.limit.unwrap()).total_cmp(&(b.error / b.limit.unwrap()))
            });
            println!("   worst {worst:?}");
            assert_eq!(case.prepared_views().unwrap() == case.views().unwrap(), true);
        }
    }
}
