//! A recorded run of the reference.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use image::RgbImage;
use nalgebra::{Matrix3, Quaternion, Vector3};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::geometry::Intrinsics;
use crate::model::mapanything::inputs::{Calibration, Ignored, SourceView, ViewInput, fit_views};
use crate::model::mapanything::preprocess::TargetSize;
use crate::model::mapanything::priors::PosePrior;
use crate::raster::Raster;

/// A result of the reference.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Its name in the file, without a stride.
    pub name: String,
    /// The numbers: every `stride`th of the reference's.
    pub values: Vec<f32>,
    /// How much it is thinned out.
    pub stride: usize,
}

/// One case: tensors `raw_in.{view}.*` (as given), `proc_in.{view}.*` (at the network's size),
/// `mid.*` and `out.{view}.*`.
#[derive(Debug)]
pub struct Case {
    path: PathBuf,
    tensors: BTreeMap<String, Tensor>,
    about: Value,
    not_metric: BTreeSet<usize>,
    also_ignored: Ignored,
}

impl Case {
    /// Returns the case in the file `path`. What the tensors do not say (ignored inputs, which
    /// views are metric, how images were resized) comes from the file's own header, or from the
    /// entry of that name in a `manifest.json` beside it; without both, nothing is ignored and all
    /// is metric.
    ///
    /// # Errors
    /// Where a file cannot be read or is no safetensors file.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::io(path, "read the case"))?;
        let wrong = |e: &dyn std::fmt::Display| {
            Error::input(path, format!("no valid safetensors file ({e})"), "record it again")
        };
        let file = SafeTensors::deserialize(&bytes).map_err(|e| wrong(&e))?;
        let tensors =
            file.iter().filter_map(|(name, view)| Some((name.to_owned(), tensor(&view)?)));
        let tensors = tensors.collect();
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| wrong(&e))?;
        let header = header.metadata().clone().unwrap_or_default();
        let about = match header_entries(&header) {
            Value::Object(about) if about.is_empty() => manifest_entry(path).unwrap_or_default(),
            about => about,
        };
        let (not_metric, also_ignored) = (BTreeSet::new(), Ignored::default());
        Ok(Self { path: path.to_owned(), tensors, about, not_metric, also_ignored })
    }

    /// Takes `view` for one whose depth and pose are not metric, whatever the files say.
    pub fn set_not_metric(&mut self, view: usize) {
        self.not_metric.insert(view);
    }

    /// Ignores these inputs beside those that the files name.
    pub fn also_ignore(&mut self, ignored: Ignored) {
        self.also_ignored = ignored;
    }

    /// Returns which inputs the reference was told to ignore.
    pub fn ignored(&self) -> Ignored {
        let flag = |name: &str| {
            let name = format!("ignore_{name}_inputs");
            self.about["infer_flags"][&name].as_bool().unwrap_or(false)
        };
        Ignored {
            calibration: self.also_ignored.calibration || flag("calibration"),
            depth: self.also_ignored.depth || flag("depth"),
            pose: self.also_ignored.pose || flag("pose"),
            depth_scale: self.also_ignored.depth_scale || flag("depth_scale"),
            pose_scale: self.also_ignored.pose_scale || flag("pose_scale"),
        }
    }

    /// Returns the views as the network takes them: as recorded, or where that was left out,
    /// prepared from the images as given.
    ///
    /// # Errors
    /// Where there is no view, or inputs have shapes that make no sense.
    pub fn views(&self) -> Result<Vec<ViewInput>> {
        let recorded = self.count("proc_in");
        if recorded > 0 {
            return (0..recorded).map(|view| self.recorded_view(view)).collect();
        }
        self.prepared_views()
    }

    /// Returns the views prepared from the images as given.
    ///
    /// # Errors
    /// As [`Case::views`].
    pub fn prepared_views(&self) -> Result<Vec<ViewInput>> {
        let given = (0..self.count("raw_in"))
            .map(|view| Given::new(self, view))
            .collect::<Result<Vec<_>>>()?;
        let sources: Vec<_> = given.iter().map(Given::view).collect();
        fit_views(&sources, self.target()?)
    }

    /// Returns whether the case has images as given, to prepare views from.
    pub fn has_given_images(&self) -> bool {
        self.count("raw_in") > 0
    }

    /// Returns all results in the order of their names.
    pub fn results(&self) -> Vec<Recorded> {
        let is_result = |name: &str| name.starts_with("mid.") || name.starts_with("out.");
        self.tensors
            .iter()
            .filter(|(name, _)| is_result(name))
            .filter_map(|(name, tensor)| recorded(name, tensor))
            .collect()
    }

    fn count(&self, kind: &str) -> usize {
        (0..).take_while(|view| self.tensors.contains_key(&format!("{kind}.{view}.img"))).count()
    }

    fn target(&self) -> Result<TargetSize> {
        let call = &self.about["preprocess"];
        let side = |value: &Value| value.as_u64().map(|side| side as usize);
        let size = &call["size"];
        let target = match call["resize_mode"].as_str() {
            Some("fixed_size") => side(&size[0]).zip(side(&size[1])).map(TargetSize::Fixed),
            Some("longest_side") => side(size).map(TargetSize::LongestSide),
            Some("square") => side(size).map(TargetSize::Square),
            Some("fixed_mapping") | None => match side(&call["resolution_set"]) {
                Some(504) => Some(TargetSize::Mapping504),
                _ => Some(TargetSize::Mapping518),
            },
            _ => None,
        };
        target.ok_or_else(|| self.wrong(format!("'preprocess' is not understood: {call}")))
    }

    fn recorded_view(&self, view: usize) -> Result<ViewInput> {
        let (shape, colors) = self.numbers(&format!("proc_in.{view}.img"))?;
        let &[.., 3, height, width] = shape.as_slice() else {
            return Err(self.wrong(format!("proc_in.{view}.img has the shape {shape:?}")));
        };
        let known = Known::new(self, "proc_in", view, (width, height))?;
        Ok(ViewInput {
            calibration: known.calibration,
            depth_z: known.depth_z,
            world_from_camera: known.pose,
            is_metric_scale: known.is_metric_scale,
            ..ViewInput::from_colors((width, height), colors)
        })
    }

    fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Shape and numbers of a tensor.
    fn numbers(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>)> {
        let tensor = self.tensors.get(name);
        let tensor = tensor.ok_or_else(|| self.wrong(format!("there is no tensor '{name}'")))?;
        let values = tensor.to_dtype(DType::F32).and_then(|t| t.flatten_all()?.to_vec1());
        let values = values.map_err(|e| self.wrong(format!("tensor '{name}': {e}")))?;
        Ok((tensor.dims().to_vec(), values))
    }

    fn optional(&self, name: &str) -> Result<Option<Vec<f32>>> {
        self.has(name).then(|| Ok(self.numbers(name)?.1)).transpose()
    }

    fn is_metric_scale(&self, kind: &str, view: usize) -> Result<bool> {
        if self.not_metric.contains(&view) {
            return Ok(false);
        }
        let recorded = self.optional(&format!("{kind}.{view}.is_metric_scale"))?;
        if let Some(&flag) = recorded.as_ref().and_then(|values| values.first()) {
            return Ok(flag > 0.5);
        }
        Ok(self.about["views"][view]["is_metric_scale"].as_bool().unwrap_or(true))
    }

    fn wrong(&self, problem: String) -> Error {
        Error::input(&self.path, problem, "record the case again")
    }
}

/// A view as given.
struct Given {
    image: RgbImage,
    known: Known,
}

impl Given {
    fn new(case: &Case, view: usize) -> Result<Self> {
        let name = format!("raw_in.{view}.img");
        let (shape, colors) = case.numbers(&name)?;
        let wrong = || case.wrong(format!("{name} has the shape {shape:?}"));
        let &[height, width, 3] = shape.as_slice() else { return Err(wrong()) };
        let bytes = colors.into_iter().map(|value| value as u8).collect();
        let image = RgbImage::from_raw(width as u32, height as u32, bytes).ok_or_else(wrong)?;
        Ok(Self { image, known: Known::new(case, "raw_in", view, (width, height))? })
    }

    fn view(&self) -> SourceView<'_> {
        SourceView {
            calibration: self.known.calibration.clone(),
            depth_z: self.known.depth_z.as_ref(),
            world_from_camera: self.known.pose,
            is_metric_scale: self.known.is_metric_scale,
            ..SourceView::new(&self.image)
        }
    }
}

/// What a case says of one view beside its image.
struct Known {
    calibration: Option<Calibration>,
    depth_z: Option<Raster<f32>>,
    pose: Option<PosePrior>,
    is_metric_scale: bool,
}

impl Known {
    fn new(case: &Case, kind: &str, view: usize, (width, height): (usize, usize)) -> Result<Self> {
        let values = |name: &str| case.optional(&format!("{kind}.{view}.{name}"));
        let rays = values("ray_directions")?.map(|rays| {
            let rays = rays.chunks_exact(3).map(Vector3::from_column_slice).collect();
            Raster::new(width, height, rays).map(Calibration::Rays)
        });
        let intrinsics = values("intrinsics")?.map(|k| intrinsics(&k));
        let depth_z = values("depth_z")?.map(|depth| Raster::new(width, height, depth));
        let pose = match values("camera_poses")? {
            Some(matrix) => Some(pose_from_matrix(&matrix)),
            None => values("camera_pose_quat_xyzw")?
                .zip(values("camera_pose_trans")?)
                .map(|(quaternion, translation)| pose_from_parts(&quaternion, &translation)),
        };
        let is_metric_scale = case.is_metric_scale(kind, view)?;
        let calibration = rays.transpose()?.or(intrinsics);
        Ok(Self { calibration, depth_z: depth_z.transpose()?, pose, is_metric_scale })
    }
}

fn intrinsics(k: &[f32]) -> Calibration {
    let at = |i: usize| f64::from(k.get(i).copied().unwrap_or(f32::NAN));
    Calibration::Intrinsics(Intrinsics { fx: at(0), fy: at(4), cx: at(2), cy: at(5) })
}

fn pose_from_matrix(matrix: &[f32]) -> PosePrior {
    let at = |row: usize, column: usize| matrix.get(4 * row + column).copied().unwrap_or(f32::NAN);
    let rotation = Matrix3::from_fn(at);
    PosePrior::from_matrix(&rotation, Vector3::new(at(0, 3), at(1, 3), at(2, 3)))
}

fn pose_from_parts(quaternion: &[f32], translation: &[f32]) -> PosePrior {
    let at = |values: &[f32], i: usize| values.get(i).copied().unwrap_or(f32::NAN);
    let [x, y, z, w] = [0, 1, 2, 3].map(|i| at(quaternion, i));
    let translation = Vector3::from_fn(|i, _| at(translation, i));
    PosePrior { rotation: Quaternion::new(w, x, y, z), translation }
}

/// The result in a tensor called `name`, or `name@stride` where it is thinned out.
fn recorded(name: &str, tensor: &Tensor) -> Option<Recorded> {
    let (name, stride) = match name.split_once('@') {
        Some((name, stride)) => (name, stride.parse().ok().filter(|&stride| stride > 0)?),
        None => (name, 1),
    };
    let values = tensor.to_dtype(DType::F32).and_then(|t| t.flatten_all()?.to_vec1()).ok()?;
    Some(Recorded { name: name.to_owned(), values, stride })
}

/// The tensor of a file, or `None` for numbers of a type that no case needs.
fn tensor(view: &TensorView<'_>) -> Option<Tensor> {
    let dtype = match view.dtype() {
        Dtype::BOOL | Dtype::U8 => DType::U8,
        Dtype::I64 => DType::I64,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        _ => return None,
    };
    Tensor::from_raw_buffer(view.data(), dtype, view.shape(), &Device::Cpu).ok()
}

/// What the header of the file says of it: JSON under the same keys as in a manifest.
fn header_entries(header: &HashMap<String, String>) -> Value {
    let entry = |key: &str| {
        let value = serde_json::from_str(header.get(key)?).ok()?;
        Some((key.to_owned(), value))
    };
    Value::Object(["preprocess", "infer_flags", "views"].into_iter().filter_map(entry).collect())
}

/// What the manifest beside the file says of it.
fn manifest_entry(path: &Path) -> Option<Value> {
    let text = std::fs::read_to_string(path.with_file_name("manifest.json")).ok()?;
    let manifest: Value = serde_json::from_str(&text).ok()?;
    manifest.get("cases")?.get(path.file_stem()?.to_str()?).cloned()
}
