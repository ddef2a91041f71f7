//! Cameras, masks and confidence against the reference.

use recon_node::geometry::Intrinsics;
use recon_node::model::mapanything::postprocess::{
    AgreementThresholds, EdgeThresholds, MaskInput, MaskOptions, PlacedDepth, apply_mask,
    depth_edge, edge_mask, final_mask, intrinsics_from_rays, multi_view_confidence, normal_edge,
    normals, quantile,
};
use recon_node::model::mapanything::priors::rays_from_intrinsics;
use recon_node::raster::Raster;

use crate::fixture::Fixture;

fn unit() -> Fixture {
    Fixture::own("unit.safetensors")
}

fn worst(a: &Intrinsics, b: &Intrinsics) -> f64 {
    let differences = [a.fx - b.fx, a.fy - b.fy, a.cx - b.cx, a.cy - b.cy];
    differences.iter().fold(0.0, |worst, d| d.abs().max(worst))
}

#[test]
fn a_camera_from_its_rays() {
    let unit = unit();
    let rays = unit.vectors("rays.a.dirs");
    let found = intrinsics_from_rays(&rays);
    assert!(worst(&found, &unit.intrinsics("rays.a.K")) < 2e-4, "{found:?}");
    let noisy = intrinsics_from_rays(&unit.vectors("rays.a.noisy"));
    let expected = unit.intrinsics("rays.a.noisy_K");
    assert!(worst(&noisy, &expected) < 2e-3, "{noisy:?} {expected:?}");
}

#[test]
fn a_large_image_is_fitted_by_five_rays() {
    let unit = unit();
    let rays = rays_from_intrinsics(&unit.intrinsics("rays.bigpath_K_in"), 1400, 1050);
    let found = intrinsics_from_rays(&rays);
    let expected = unit.intrinsics("rays.bigpath_K");
    assert!(worst(&found, &expected) < 0.05, "{found:?} {expected:?}");
}

#[test]
fn quantiles_are_exact() {
    let unit = unit();
    let (values, expected) = (unit.floats("quantile.in"), unit.floats("quantile.p10_p33"));
    // Two quantiles of two rows.
    for (row, values) in values.chunks_exact(1001).enumerate() {
        let found = [0.1, 0.33].map(|fraction| quantile(values, fraction).unwrap());
        assert_eq!(found, [expected[row], expected[2 + row]], "{row}");
    }
    assert!(quantile(&[], 0.5).is_err());
    assert!(quantile(&[1.0], 1.5).unwrap_err().to_string().contains("150"));
    assert_eq!(quantile(&[3.0, 1.0, 2.0], 1.0).unwrap(), 3.0);
}

#[test]
fn normals_and_edges_are_exact() {
    let unit = unit();
    for scene in ["s1", "s2"] {
        let name = |what: &str| format!("edge.{scene}.{what}");
        let (points, depth) = (unit.points(&name("pts")), unit.raster(&name("depth")));
        let mask = unit.mask(&name("mask"));
        let found = normals(&points, &mask);
        assert_eq!(found.valid, unit.mask(&name("normals_mask")), "{scene}");
        assert_eq!(found.vectors, unit.vectors(&name("normals")), "{scene}");
        assert_eq!(normal_edge(&found, 5.0), unit.mask(&name("normal_edge")), "{scene}");
        assert_eq!(depth_edge(&depth, &mask, 0.03), unit.mask(&name("depth_edge")), "{scene}");
        let edges = edge_mask(&points, &depth, &mask, &EdgeThresholds::default());
        // The fixture holds what is no edge.
        assert_eq!(edges.map(|edge| !edge), unit.mask(&name("edge_mask")), "{scene}");
    }
}

/// The prediction of one view of a case.
struct Predicted {
    unambiguous: Raster<bool>,
    confidence: Raster<f32>,
    points: Raster<nalgebra::Point3<f32>>,
    depth: Raster<f32>,
}

impl Predicted {
    fn of(case: &Fixture, view: usize) -> Self {
        let name = |what: &str| format!("out.{view}.{what}");
        Self {
            unambiguous: case.mask(&name("non_ambiguous_mask")),
            confidence: case.raster(&name("conf")),
            points: case.points(&name("pts3d")),
            depth: case.raster(&name("depth_z")),
        }
    }

    fn mask(&self, options: &MaskOptions) -> Raster<bool> {
        let input = MaskInput {
            unambiguous: &self.unambiguous,
            confidence: &self.confidence,
            points_in_world: &self.points,
            depth_z_m: &self.depth,
        };
        final_mask(&input, options).unwrap()
    }
}

fn views(case: &Fixture) -> std::ops::Range<usize> {
    0..(0..).find(|view| !case.has(&format!("out.{view}.conf"))).unwrap()
}

#[test]
fn masks_of_the_cases_are_exact() {
    let edges = Some(EdgeThresholds::default());
    let kinds = [
        ("mask", MaskOptions::default()),
        ("mask_no_edges", MaskOptions { edges: None, ..MaskOptions::default() }),
        ("mask_conf30", MaskOptions { edges, confidence_percentile: Some(30.0) }),
    ];
    for (name, case) in Fixture::cases() {
        for view in views(&case) {
            let predicted = Predicted::of(&case, view);
            for (kind, options) in &kinds {
                let expected = case.mask(&format!("out.{view}.{kind}"));
                let found = predicted.mask(options);
                let different =
                    found.values().iter().zip(expected.values()).filter(|(a, b)| a != b).count();
                assert_eq!(different, 0, "{name} view {view} {kind}: pixels");
            }
        }
    }
}

#[test]
fn cameras_of_the_cases_fit_their_rays() {
    for (name, case) in Fixture::cases() {
        for view in views(&case) {
            let found = intrinsics_from_rays(&case.vectors(&format!("out.{view}.ray_directions")));
            let expected = case.intrinsics(&format!("out.{view}.intrinsics"));
            assert!(worst(&found, &expected) < 2e-2, "{name} {view}: {found:?} {expected:?}");
        }
    }
}

#[test]
fn confidence_by_agreement_of_views() {
    const KEY: &str = "mv_conf_abs0.3_rel0.3";
    let thresholds = AgreementThresholds { absolute_m: 0.3, relative: 0.3 };
    let cases = Fixture::cases();
    for (name, case) in cases.iter().filter(|(_, case)| case.has(&format!("out.0.{KEY}"))) {
        let predicted: Vec<_> = views(case).map(|view| Predicted::of(case, view)).collect();
        let placed = predicted.iter().enumerate().map(|(view, predicted)| PlacedDepth {
            depth_z_m: &predicted.depth,
            unambiguous: &predicted.unambiguous,
            intrinsics: case.intrinsics(&format!("out.{view}.intrinsics")),
            world_from_camera: case.pose(&format!("out.{view}.camera_poses")),
        });
        let found = multi_view_confidence(&placed.collect::<Vec<_>>(), &thresholds);
        for (view, found) in found.iter().enumerate() {
            let expected = case.raster(&format!("out.{view}.{KEY}"));
            let different = found
                .values()
                .iter()
                .zip(expected.values())
                .filter(|(a, b)| (*a - *b).abs() > 1e-5)
                .count();
            let share = different as f64 / expected.values().len() as f64;
            println!("{name} view {view}: {:.3} % differ", 100.0 * share);
            assert!(share < 0.005, "{name} view {view}: {share}");
        }
    }
}

#[test]
fn outside_the_mask_all_is_zero() {
    let mask = Raster::new(3, 1, vec![true, false, true]).unwrap();
    let mut depth = Raster::new(3, 1, vec![1.0_f32, 2.0, 3.0]).unwrap();
    apply_mask(&mut depth, &mask);
    assert_eq!(depth.values(), [1.0, 0.0, 3.0]);
}

#[test]
fn an_empty_mask_has_no_edges_and_stays_empty() {
    let predicted = Predicted {
        unambiguous: Raster::filled(9, 7, false),
        confidence: Raster::filled(9, 7, 1.0),
        points: Raster::filled(9, 7, nalgebra::Point3::origin()),
        depth: Raster::filled(9, 7, 0.0),
    };
    let edges = edge_mask(
        &predicted.points,
        &predicted.depth,
        &predicted.unambiguous,
        &EdgeThresholds::default(),
    );
    assert!(!edges.values().contains(&true));
    assert_eq!(predicted.mask(&MaskOptions::default()), predicted.unambiguous);
}

#[test]
fn grids_of_different_sizes_are_refused() {
    let grid = Raster::filled(4, 3, 1.0);
    let input = MaskInput {
        unambiguous: &Raster::filled(4, 3, true),
        confidence: &Raster::filled(3, 4, 1.0),
        points_in_world: &Raster::filled(4, 3, nalgebra::Point3::origin()),
        depth_z_m: &grid,
    };
    let message = final_mask(&input, &MaskOptions::default()).unwrap_err().to_string();
    assert!(message.contains("4x3") && message.contains("3x4"), "{message}");
}
