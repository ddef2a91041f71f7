//! XFeat gives what the authors' package gives (`scripts/xfeat_fixture.py` made the reference).

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use recon_node::model::xfeat::{
    DESCRIPTOR_DIM, DenseFeatures, LocalFeatures, SparseConfig, XFeat, grey,
};
use recon_node::raster::Raster;
use safetensors::SafeTensors;

/// The reference's outputs.
struct Reference(Vec<u8>);

impl Reference {
    fn read() -> Self {
        let path = format!("{}/tests/data/xfeat/reference.safetensors", env!("CARGO_MANIFEST_DIR"));
        Self(std::fs::read(path).unwrap())
    }

    fn shape(&self, name: &str) -> Vec<usize> {
        SafeTensors::deserialize(&self.0).unwrap().tensor(name).unwrap().shape().to_vec()
    }

    fn bytes<const N: usize, T>(&self, name: &str, number: impl Fn([u8; N]) -> T) -> Vec<T> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let data = file.tensor(name).unwrap().data();
        data.chunks_exact(N).map(|bytes| number(bytes.try_into().unwrap())).collect()
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        self.bytes(name, f32::from_le_bytes)
    }

    fn indices(&self, name: &str) -> Vec<u32> {
        self.bytes(name, |bytes| i64::from_le_bytes(bytes) as u32)
    }

    fn pixels(&self, name: &str) -> Vec<[f32; 2]> {
        self.floats(name).chunks_exact(2).map(|p| [p[0], p[1]]).collect()
    }

    fn image(&self, which: usize) -> Raster<f32> {
        let name = format!("{which}.image");
        let shape = self.shape(&name);
        Raster::new(shape[1], shape[0], self.floats(&name)).unwrap()
    }
}

/// Largest difference over the largest expected number.
fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0f32, |a, b| a.max(b.abs()));
    let furthest = found.iter().zip(expected).fold(0.0f32, |d, (a, b)| d.max((a - b).abs()));
    furthest / largest
}

#[test]
fn dense_maps_are_those_of_the_reference() {
    let reference = Reference::read();
    let net = XFeat::bundled().unwrap();
    for which in 0..2 {
        let features = net.features(&reference.image(which)).unwrap();
        let expected = |name: &str| reference.floats(&format!("{which}.{name}"));
        assert!(difference(&features.reliability(), &expected("reliability")) < 1e-5);
        assert!(
            difference(features.keypoint_probability().values(), &expected("probability")) < 1e-5
        );
        let raw = expected("features");
        let unit: Vec<f32> = raw
            .chunks_exact(DESCRIPTOR_DIM)
            .flat_map(|d| {
                let length = d.iter().map(|v| v * v).sum::<f32>().sqrt();
                d.iter().map(move |v| v / length)
            })
            .collect();
        assert!(difference(&features.descriptors(), &unit) < 1e-5);
    }
}

#[test]
fn keypoints_are_those_of_the_reference() {
    let reference = Reference::read();
    let net = XFeat::bundled().unwrap();
    let config = SparseConfig { max_keypoints: 400, ..SparseConfig::default() };
    for which in 0..2 {
        let found = net.features(&reference.image(which)).unwrap().keypoints(&config);
        let expected = |name: &str| format!("{which}.{name}");
        let pixels = reference.pixels(&expected("keypoints"));
        assert!(pixels.len() > 100, "{}", pixels.len());
        assert_eq!(found.len(), pixels.len());
        assert!(difference(&found.scores, &reference.floats(&expected("scores"))) < 1e-5);
        let descriptors = reference.floats(&expected("descriptors"));
        // Keypoints whose scores differ by rounding alone may change places.
        let partner = same_places(&found.pixels, &pixels);
        for (i, j) in partner.into_iter().enumerate() {
            assert!(i.abs_diff(j) <= 1, "keypoint {i} is at {j}");
            let theirs = &descriptors[j * DESCRIPTOR_DIM..(j + 1) * DESCRIPTOR_DIM];
            assert!(difference(found.descriptor(i), theirs) < 2e-5);
        }
    }
}

/// For each pixel the index of the same one in another list.
fn same_places(found: &[[f32; 2]], expected: &[[f32; 2]]) -> Vec<usize> {
    let near = |a: &[f32; 2], b: &[f32; 2]| (a[0] - b[0]).hypot(a[1] - b[1]) < 1e-3;
    found.iter().map(|a| expected.iter().position(|b| near(a, b)).unwrap()).collect()
}

#[test]
fn cells_and_refined_matches_are_those_of_the_reference() {
    let reference = Reference::read();
    let net = XFeat::bundled().unwrap();
    let theirs = [0, 1].map(|which| cells_of(&reference, which));
    for (which, theirs) in theirs.iter().enumerate() {
        let found = net.cells_at_two_sizes(&reference.image(which), 400).unwrap();
        assert_eq!(found.scales, theirs.scales);
        let partner = same_cells(&found, theirs);
        for (i, j) in partner.into_iter().enumerate() {
            assert!(difference(found.descriptor(i), theirs.descriptor(j)) < 2e-5);
        }
    }
    let pairs: Vec<(u32, u32)> =
        reference.indices("matches").chunks_exact(2).map(|p| (p[0], p[1])).collect();
    let refined = net.refine(&theirs[0], &theirs[1], &pairs);
    let found: Vec<f32> =
        refined.iter().flat_map(|m| m.pixel_a.into_iter().chain(m.pixel_b)).collect();
    let expected = reference.floats("refined");
    assert!(expected.len() > 4 * 50, "{}", expected.len());
    assert!(difference(&found, &expected) < 1e-5);
}

fn cells_of(reference: &Reference, which: usize) -> LocalFeatures {
    let name = |name: &str| format!("{which}.{name}");
    let pixels = reference.pixels(&name("cells"));
    LocalFeatures {
        scores: vec![1.0; pixels.len()],
        pixels,
        descriptors: reference.floats(&name("cell_descriptors")),
        scales: reference.floats(&name("cell_scales")),
    }
}

fn same_cells(found: &LocalFeatures, expected: &LocalFeatures) -> Vec<usize> {
    let same = |i: usize, j: usize| {
        let (a, b) = (found.pixels[i], expected.pixels[j]);
        (a[0] - b[0]).hypot(a[1] - b[1]) < 1e-3
            && (found.scales[i] - expected.scales[j]).abs() < 1e-6
    };
    (0..found.len()).map(|i| (0..found.len()).find(|&j| same(i, j)).unwrap()).collect()
}

#[test]
fn brightness_contrast_and_threads_do_not_matter() {
    let net = XFeat::bundled().unwrap();
    let image = Reference::read().image(0);
    let run = |threads: usize, image: &Raster<f32>| -> DenseFeatures {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| net.features(image).unwrap())
    };
    let (single, many) = (run(1, &image), run(3, &image));
    assert_eq!(single.descriptors(), many.descriptors());
    let config = SparseConfig::default();
    assert_eq!(single.keypoints(&config), many.keypoints(&config));
    let other = run(1, &image.map(|v| 40.0 + 3.0 * v));
    assert!(difference(&other.descriptors(), &single.descriptors()) < 0.02);
}

#[test]
fn images_without_structure_give_no_keypoints() {
    let net = XFeat::bundled().unwrap();
    let black = grey(&image::RgbImage::new(96, 64));
    let features = net.features(&black).unwrap();
    assert_eq!(features.size(), (12, 8));
    assert!(features.keypoints(&SparseConfig::default()).is_empty());
    assert!(features.descriptors().iter().all(|v| v.is_finite()));
}

#[test]
fn images_that_are_too_small_and_files_that_are_none_are_refused() {
    let net = XFeat::bundled().unwrap();
    let message = net.features(&Raster::filled(31, 64, 0.5)).unwrap_err().to_string();
    assert_eq!(message, "size of an image for features: expected 32x32 or more, found 31x64");
    let message = XFeat::load(b"no tensors").unwrap_err().to_string();
    assert!(message.starts_with("xfeat.safetensors: not safetensors"), "{message}");
}
