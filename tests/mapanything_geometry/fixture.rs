//! Tensors of the reference implementation.

use std::path::{Path, PathBuf};

use image::RgbImage;
use nalgebra::{Matrix3, Matrix4, Point3, Quaternion, Vector3};
use recon_node::geometry::{Intrinsics, Se3};
use recon_node::raster::Raster;
use safetensors::{Dtype, SafeTensors};

/// A file of tensors with their names.
pub struct Fixture(Vec<u8>);

impl Fixture {
    pub fn read(path: &Path) -> Self {
        Self(std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    /// The committed file of that name.
    pub fn own(name: &str) -> Self {
        Self::read(&own_folder().join(name))
    }

    /// The unit vectors: all of them where the shared folder is, else those that are committed.
    pub fn units() -> Vec<Self> {
        let mut all = vec![Self::own("unit.safetensors")];
        all.extend(shared("unit/unit.safetensors").map(|path| Self::read(&path)));
        all
    }

    /// The committed cases, and with the shared folder all cases, with their names.
    pub fn cases() -> Vec<(String, Self)> {
        let own = ["v1_everything_4v", "v11_mixed_4v"];
        let own = own.map(|name| (name.to_owned(), Self::own(&format!("{name}.safetensors"))));
        let mut cases = Vec::from(own);
        for arch in ["v1", "v11"] {
            cases.extend(shared(arch).iter().flat_map(|folder| cases_in(folder)));
        }
        cases
    }

    pub fn has(&self, name: &str) -> bool {
        self.tensors().tensor(name).is_ok()
    }

    pub fn shape(&self, name: &str) -> Vec<usize> {
        self.tensors().tensor(name).unwrap().shape().to_vec()
    }

    pub fn floats(&self, name: &str) -> Vec<f32> {
        let tensors = self.tensors();
        let tensor = tensors.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(tensor.dtype(), Dtype::F32, "{name}");
        let values = tensor.data().chunks_exact(4);
        values.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let tensors = self.tensors();
        let tensor = tensors.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(tensor.dtype(), Dtype::U8, "{name}");
        tensor.data().to_vec()
    }

    /// Height × width × 3 of 8 bits.
    pub fn image(&self, name: &str) -> RgbImage {
        let shape = self.shape(name);
        RgbImage::from_raw(shape[1] as u32, shape[0] as u32, self.bytes(name)).unwrap()
    }

    pub fn raster(&self, name: &str) -> Raster<f32> {
        let (width, height) = self.plane(name, 1);
        Raster::new(width, height, self.floats(name)).unwrap()
    }

    pub fn mask(&self, name: &str) -> Raster<bool> {
        let (width, height) = self.plane(name, 1);
        Raster::new(width, height, self.bytes(name).iter().map(|&b| b != 0).collect()).unwrap()
    }

    pub fn vectors(&self, name: &str) -> Raster<Vector3<f32>> {
        let (width, height) = self.plane(name, 3);
        let values = self.floats(name);
        let vectors = values.chunks_exact(3).map(Vector3::from_column_slice).collect();
        Raster::new(width, height, vectors).unwrap()
    }

    pub fn points(&self, name: &str) -> Raster<Point3<f32>> {
        self.vectors(name).map(Point3::from)
    }

    pub fn list_of_vectors(&self, name: &str) -> Vec<Vector3<f32>> {
        self.floats(name).chunks_exact(3).map(Vector3::from_column_slice).collect()
    }

    pub fn quaternions(&self, name: &str) -> Vec<Quaternion<f32>> {
        let values = self.floats(name);
        values.chunks_exact(4).map(|q| Quaternion::new(q[3], q[0], q[1], q[2])).collect()
    }

    pub fn matrices(&self, name: &str) -> Vec<Matrix3<f32>> {
        self.floats(name).chunks_exact(9).map(Matrix3::from_row_slice).collect()
    }

    pub fn intrinsics(&self, name: &str) -> Intrinsics {
        let k: Vec<f64> = self.floats(name).iter().map(|&v| f64::from(v)).collect();
        Intrinsics { fx: k[0], fy: k[4], cx: k[2], cy: k[5] }
    }

    pub fn pose(&self, name: &str) -> Se3 {
        let matrix = Matrix4::from_row_slice(&self.floats(name)).cast::<f64>();
        let rotation = matrix.fixed_view::<3, 3>(0, 0).into_owned();
        let rotation = nalgebra::Rotation3::from_matrix(&rotation);
        let position = matrix.fixed_view::<3, 1>(0, 3).into_owned();
        Se3::from_parts(position.into(), rotation.into())
    }

    /// Width and height where a pixel has so many values and anything else has one.
    fn plane(&self, name: &str, channels: usize) -> (usize, usize) {
        let mut shape: Vec<usize> =
            self.shape(name).into_iter().skip_while(|&side| side == 1).collect();
        let has_channels = shape.len() == 3 && shape[2] == channels;
        shape.truncate(if has_channels { 2 } else { shape.len() });
        assert_eq!(shape.len(), 2, "{name}");
        (shape[1], shape[0])
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.0).unwrap()
    }
}

/// The committed JSON of that name.
pub fn json(name: &str) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(own_folder().join(name)).unwrap()).unwrap()
}

/// The path in the shared fixtures, where they are there.
pub fn shared(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shared = std::env::var_os("RECON_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| root.join("../shared"));
    let path = shared.join("fixtures/mapanything").join(name);
    if !path.exists() {
        println!("skipped {name}: {} is not there", path.display());
    }
    path.exists().then_some(path)
}

fn own_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/mapanything_unit")
}

/// All cases of an architecture, by the manifest.
fn cases_in(folder: &Path) -> Vec<(String, Fixture)> {
    let manifest = std::fs::read_to_string(folder.join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let names = manifest["cases"].as_object().unwrap().keys();
    let arch = folder.file_name().unwrap().to_string_lossy().into_owned();
    names
        .map(|name| {
            let fixture = Fixture::read(&folder.join(format!("{name}.safetensors")));
            (format!("{arch}/{name}"), fixture)
        })
        .collect()
}
