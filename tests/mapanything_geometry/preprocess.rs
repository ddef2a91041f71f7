//! Every byte and every float of preprocessing is that of the reference.

use recon_node::model::mapanything::preprocess::{Fitting, TargetSize, normalize};
use recon_node::raster::Raster;

use crate::fixture::{Fixture, json};

#[test]
fn the_size_is_the_trained_one_that_is_nearest_in_shape() {
    for row in json("unit.json")["closest"].as_array().unwrap() {
        let mapping = match row[1].as_u64().unwrap() {
            518 => TargetSize::Mapping518,
            _ => TargetSize::Mapping504,
        };
        let (width, height) = mapping.for_ratio(row[0].as_f64().unwrap());
        assert_eq!(serde_json::json!([width, height]), row[2], "{row}");
    }
}

#[test]
fn other_ways_to_choose_the_size() {
    let cases = [
        (TargetSize::Square(300), vec![(640, 480)], (294, 294)),
        (TargetSize::Fixed((300, 200)), vec![(640, 480)], (294, 196)),
        (TargetSize::LongestSide(518), vec![(640, 480)], (518, 392)),
        (TargetSize::LongestSide(518), vec![(480, 640)], (392, 518)),
        // 37 / 2 = 18.5 and 37 / 2.96 = 12.5 patches round to the even number.
        (TargetSize::LongestSide(518), vec![(200, 100)], (518, 252)),
        (TargetSize::LongestSide(518), vec![(296, 100)], (518, 168)),
        // The mean of 4/3 and 3/4 is 1.04, that of the sizes would be 1.
        (TargetSize::Mapping518, vec![(400, 300), (300, 400)], (518, 518)),
        (TargetSize::Mapping518, vec![(1200, 300), (300, 300)], (518, 252)),
    ];
    for (mode, images, expected) in cases {
        assert_eq!(mode.choose(&images).unwrap(), expected, "{mode:?} {images:?}");
    }
}

#[test]
fn a_size_without_whole_patches_is_refused() {
    let refused = [
        (TargetSize::LongestSide(500), (640, 480), "500x364"),
        (TargetSize::Square(13), (640, 480), "0x0"),
        (TargetSize::LongestSide(140), (10_000, 10), "140x0"),
    ];
    for (mode, image, size) in refused {
        let message = mode.choose(&[image]).unwrap_err().to_string();
        assert!(message.contains(size) && message.contains("multiples of 14"), "{message}");
    }
    for images in [vec![], vec![(0, 4)]] {
        assert!(TargetSize::Mapping518.choose(&images).is_err());
    }
}

/// Runs one unit case and returns how many tensors of it there were to compare.
fn compare_unit_case(unit: &Fixture, case: &serde_json::Value) -> usize {
    let name = case["name"].as_str().unwrap();
    let pair = |key: &str, a: usize, b: usize| {
        let side = |i: usize| case[key][i].as_u64().unwrap() as usize;
        (side(a), side(b))
    };
    let (original, target) = (pair("in_hw", 1, 0), pair("size_wh", 0, 1));
    let tensor = |what: &str| format!("prep.{name}.{what}");
    let mut compared = 0;
    for (with_intrinsics, suffix) in [(true, "with_K"), (false, "no_K")] {
        let expected = tensor(&format!("out_img_{suffix}"));
        if unit.has(&expected) {
            let fitting = Fitting::new(original, target, with_intrinsics);
            let image = fitting.image(&unit.image(&tensor("img"))).unwrap();
            assert!(image == unit.image(&expected), "{expected}");
            compared += 1;
        }
    }
    let fitting = Fitting::new(original, target, true);
    assert_eq!(fitting.target(), target);
    let k = fitting.intrinsics(&unit.intrinsics(&tensor("K")));
    assert_eq!(k, unit.intrinsics(&tensor("out_K")), "{name}");
    if unit.has(&tensor("depth")) {
        let depth = fitting.depth(&unit.raster(&tensor("depth"))).unwrap();
        assert_eq!(depth, unit.raster(&tensor("out_depth")), "{name}");
        compared += 1;
    }
    compared + 1
}

#[test]
fn images_depths_and_cameras_of_the_unit_cases_are_exact() {
    for unit in Fixture::units() {
        let cases = json("unit.json");
        let cases = cases["prep"].as_array().unwrap();
        let compared: usize = cases.iter().map(|case| compare_unit_case(&unit, case)).sum();
        println!("{compared} tensors are equal");
        assert!(compared >= 25);
    }
}

fn compare_view(name: &str, case: &Fixture, view: usize) {
    let raw = |what: &str| format!("raw_in.{view}.{what}");
    let proc = |what: &str| format!("proc_in.{view}.{what}");
    let image = case.image(&raw("img"));
    let shape = case.shape(&proc("img"));
    let original = (image.width() as usize, image.height() as usize);
    let with_intrinsics = case.has(&raw("intrinsics"));
    let fitting = Fitting::new(original, (shape[3], shape[2]), with_intrinsics);
    let fitted = fitting.image(&image).unwrap();
    assert!(normalize(&fitted) == case.floats(&proc("img")), "{name} view {view}");
    if with_intrinsics {
        let k = fitting.intrinsics(&case.intrinsics(&raw("intrinsics")));
        assert_eq!(k, case.intrinsics(&proc("intrinsics")), "{name} view {view}");
    }
    if case.has(&raw("depth_z")) {
        let depth = fitting.depth(&case.raster(&raw("depth_z"))).unwrap();
        assert_eq!(depth, case.raster(&proc("depth_z")), "{name} view {view}");
    }
}

#[test]
fn the_inputs_of_the_cases_are_exact() {
    let mut compared = 0;
    for (name, case) in Fixture::cases() {
        for view in (0..8).filter(|view| case.has(&format!("raw_in.{view}.img"))) {
            compare_view(&name, &case, view);
            compared += 1;
        }
    }
    println!("{compared} views are equal");
    assert!(compared >= 1);
}

#[test]
fn an_image_of_another_size_is_told() {
    let fitting = Fitting::new((20, 10), (28, 14), false);
    let image = image::RgbImage::new(10, 20);
    let message = fitting.image(&image).unwrap_err().to_string();
    assert!(message.contains("20x10") && message.contains("10x20"), "{message}");
    assert!(fitting.depth(&Raster::filled(10, 20, 1.0)).is_err());
}
