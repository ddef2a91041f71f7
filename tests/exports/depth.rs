//! Depth images.

use recon_node::export::{depth_scale, write_depth_png};
use recon_node::raster::Raster;

fn written(depth: Vec<f32>, units_per_metre: f64) -> Vec<u16> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("depth.png");
    let depth = Raster::new(depth.len(), 1, depth).unwrap();
    write_depth_png(&path, &depth, units_per_metre).unwrap();
    let image = image::open(&path).unwrap();
    assert_eq!(image.color(), image::ColorType::L16);
    assert_eq!((image.width() as usize, image.height() as usize), (depth.width(), 1));
    image.into_luma16().into_raw()
}

#[test]
fn depths_are_rounded_and_what_is_none_is_zero() {
    let depths = vec![0.0, 1.0, 1.2344, 1.2346, 65.535, 65.6, -1.0, f32::NAN, f32::INFINITY];
    assert_eq!(written(depths, 1000.0), [0, 1000, 1234, 1235, 65535, 0, 0, 0, 0]);
    assert_eq!(written(vec![0.5, 300.0], 100.0), [50, 30000]);
}

#[test]
fn the_scale_is_millimetres_as_long_as_all_fits() {
    let cases = [(0.0, 1000.0), (65.535, 1000.0), (65.6, 100.0), (7000.0, 1.0), (1e9, 1.0)];
    for (max_depth_m, scale) in cases {
        assert_eq!(depth_scale(max_depth_m), scale, "{max_depth_m}");
    }
    assert_eq!(depth_scale(6553.0), 10.0);
}
