//! Scenes for sparse alignment from safetensors files: what MASt3R-SfM's optimiser receives, with
//! ground truth, and what it made of them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nalgebra::{Matrix3, Point2, Point3, Rotation3, UnitQuaternion, Vector2, Vector3};
use recon_node::alignment::sparse::{
    LensFreedom, Match, MatchedPair, PairPointmap, Sample, SceneState, SparseConfig, SparseScene,
    SparseView,
};
use recon_node::geometry::{Se3, align_similarity};
use safetensors::{Dtype, SafeTensors};

/// A scene with its truth.
pub struct Fixture {
    /// What is aligned.
    pub scene: SparseScene,
    /// True poses.
    pub world_from_camera: Vec<Se3>,
    /// True intrinsics of all views.
    pub intrinsics: Matrix3<f64>,
}

/// A run of the reference with one set of options.
pub struct ReferenceRun {
    /// Name of the options.
    pub name: String,
    /// Loss at the end of the coarse and the fine stage.
    pub loss: [f64; 2],
    /// Poses after the coarse and the fine stage.
    pub world_from_camera: [Vec<Se3>; 2],
}

/// A trajectory's errors against the truth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Errors {
    /// Root mean square distance of the camera centres after the best similarity.
    pub ate: f64,
    /// Mean angle by which the relative rotations of all pairs of views are off.
    pub rotation_deg: f64,
}

/// Numbers of a safetensors file by name, all as f64.
struct Tensors<'a>(SafeTensors<'a>);

impl Tensors<'_> {
    fn get(&self, name: &str) -> Result<Vec<f64>> {
        let tensor = self.0.tensor(name).with_context(|| format!("tensor {name}"))?;
        let data = tensor.data();
        Ok(match tensor.dtype() {
            Dtype::F32 => words(data, |b| f64::from(f32::from_le_bytes(b))),
            Dtype::F64 => words(data, f64::from_le_bytes),
            Dtype::I64 => words(data, |b| i64::from_le_bytes(b) as f64),
            Dtype::I32 => words(data, |b| f64::from(i32::from_le_bytes(b))),
            other => anyhow::bail!("tensor {name} has type {other:?}: use F32, F64, I32 or I64"),
        })
    }

    /// A table of indices with rows of `N`.
    fn rows<const N: usize>(&self, name: &str) -> Result<Vec<[usize; N]>> {
        let values = self.get(name)?;
        ensure!(values.iter().all(|v| *v >= 0.0), "tensor {name} has an index below zero");
        let row = |row: &[f64]| std::array::from_fn(|i| row[i] as usize);
        Ok(values.chunks_exact(N).map(row).collect())
    }

    /// The numbers of one row of a table.
    fn row<const N: usize>(&self, name: &str, row: usize) -> Result<[f64; N]> {
        let all = self.get(name)?;
        let found = all.get(N * row..N * (row + 1)).and_then(|row| row.try_into().ok());
        found.with_context(|| format!("tensor {name} has no row {row}"))
    }

    fn has(&self, name: &str) -> bool {
        self.0.tensor(name).is_ok()
    }

    fn poses(&self, name: &str) -> Result<Vec<Se3>> {
        Ok(self.get(name)?.chunks_exact(16).map(pose).collect())
    }
}

fn words<const N: usize>(data: &[u8], value: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    data.chunks_exact(N).map(|c| value(std::array::from_fn(|i| c[i]))).collect()
}

fn pose(m: &[f64]) -> Se3 {
    let rotation = Matrix3::new(m[0], m[1], m[2], m[4], m[5], m[6], m[8], m[9], m[10]);
    let rotation = Rotation3::from_matrix(&rotation);
    Se3::from_parts(
        Vector3::new(m[3], m[7], m[11]).into(),
        UnitQuaternion::from_rotation_matrix(&rotation),
    )
}

/// Returns the scene of a `levelB` file.
pub fn read_scene(path: &Path) -> Result<Fixture> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file = Tensors(SafeTensors::deserialize(&bytes)?);
    let count = file.rows::<2>("imsizes_wh")?.len();
    let views: Vec<SparseView> = (0..count).map(|i| view(&file, i)).collect::<Result<_>>()?;
    let slices = file.rows::<6>("corres3d.slices")?;
    let scene = SparseScene {
        pairs: pairs(&slices, &file.get("corres3d.conf")?)?,
        pointmaps: pointmaps(&file, &slices)?,
        root: file.rows::<1>("mst.root")?.first().context("tensor mst.root is empty")?[0],
        views,
    };
    let world_from_camera = file.poses("gt.cam2w")?;
    let intrinsics = Matrix3::from_row_slice(&file.row::<9>("gt.K", 0)?);
    Ok(Fixture { scene, world_from_camera, intrinsics })
}

fn view(file: &Tensors<'_>, i: usize) -> Result<SparseView> {
    let pixels = file.rows::<3>(&format!("anchors.{i}.pixels"))?;
    let anchors = file.rows::<1>(&format!("anchors.{i}.idxs"))?;
    let ratios = file.get(&format!("anchors.{i}.offsets"))?;
    let sample = |((p, a), r): ((&[usize; 3], &[usize; 1]), &f64)| Sample {
        anchor: a[0],
        depth_ratio: *r,
        pixel: Point2::new(p[0] as f64, p[1] as f64),
    };
    let confidence = file.row::<1>("canon_conf_mean", i).map_or(1.0, |[mean]| mean);
    Ok(SparseView {
        image_size_px: Vector2::from(file.row::<2>("imsizes_wh", i)?),
        base_focal_px: file.row::<1>("base_focals", i)?[0],
        principal_point_px: Point2::from(file.row::<2>("pps", i)?),
        anchor_depths: file.get(&format!("core_depth.{i}"))?,
        confidence,
        samples: pixels.iter().zip(&anchors).zip(&ratios).map(sample).collect(),
    })
}

/// The file lists each pair in both orders; one is enough, since the loss is a mean.
fn pairs(slices: &[[usize; 6]], confidence: &[f64]) -> Result<Vec<MatchedPair>> {
    let (mut pairs, mut seen) = (Vec::new(), BTreeMap::new());
    let mut at = 0;
    for &[i, start, end, j, other, _] in slices {
        let length = end.checked_sub(start).context("a slice of corres3d ends before it begins")?;
        ensure!(at + length <= confidence.len(), "corres3d.conf is shorter than its slices");
        if seen.insert((j, other, i, start), ()).is_none()
            && !seen.contains_key(&(i, start, j, other))
        {
            let one = |k| Match { samples: [start + k, other + k], weight: confidence[at + k] };
            pairs.push(MatchedPair { views: [i, j], matches: (0..length).map(one).collect() });
        }
        at += length;
    }
    Ok(pairs)
}

fn pointmaps(file: &Tensors<'_>, slices: &[[usize; 6]]) -> Result<Vec<PairPointmap>> {
    let mut all = Vec::new();
    for &[view, _, _, seen_from, ..] in slices {
        let name = format!("preds_21.frame{seen_from}.of{view}");
        if file.has(&format!("{name}.pts")) {
            let points = file.get(&format!("{name}.pts"))?;
            let points = points.chunks_exact(3).map(|p| Point3::new(p[0], p[1], p[2])).collect();
            let weights = file.get(&format!("{name}.conf"))?;
            all.push(PairPointmap { view, seen_from, points, weights });
        }
    }
    Ok(all)
}

/// Returns the runs of a `results` file, in order of their names.
pub fn read_runs(path: &Path) -> Result<Vec<ReferenceRun>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file = Tensors(SafeTensors::deserialize(&bytes)?);
    let names = file.0.names().into_iter().filter_map(|name| name.strip_suffix(".losses"));
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    names.sort();
    names.into_iter().map(|name| run(&file, name)).collect()
}

fn run(file: &Tensors<'_>, name: String) -> Result<ReferenceRun> {
    let losses = file.get(&format!("{name}.losses"))?;
    ensure!(losses.len() >= 2, "{name}.losses has fewer than two entries");
    // The fine stage begins where the loss jumps.
    let jump = |i: &usize| losses[i + 1] / losses[*i];
    let split = (0..losses.len() - 1).max_by(|a, b| jump(a).total_cmp(&jump(b))).unwrap_or(0);
    let poses = |stage: &str| file.poses(&format!("{name}.{stage}.cam2w"));
    let world_from_camera = [poses("coarse")?, poses("fine")?];
    Ok(ReferenceRun { loss: [losses[split], losses[losses.len() - 1]], world_from_camera, name })
}

/// Returns the scene and the configuration that stand for a run's options.
pub fn with_options(fixture: &Fixture, name: &str) -> (SparseScene, SparseConfig) {
    let (mut scene, mut config) = (fixture.scene.clone(), SparseConfig::default());
    match name {
        "shared" => {
            config.focal_length = LensFreedom::Shared;
            config.principal_point = LensFreedom::Shared;
        }
        "nopp" => config.principal_point = LensFreedom::Fixed,
        "nodepth" => config.free_depths = false,
        "thr0" => config.min_pair_confidence = 0.0,
        "init_K" => {
            for view in &mut scene.views {
                view.base_focal_px =
                    0.5 * (fixture.intrinsics[(0, 0)] + fixture.intrinsics[(1, 1)]);
                view.principal_point_px =
                    Point2::new(fixture.intrinsics[(0, 2)], fixture.intrinsics[(1, 2)]);
            }
        }
        _ => {}
    }
    (scene, config)
}

/// Returns the poses of all views.
pub fn poses(state: &SceneState) -> Vec<Se3> {
    state.views.iter().map(|view| view.world_from_camera).collect()
}

/// Returns the errors of poses against the truth.
pub fn errors(estimate: &[Se3], truth: &[Se3]) -> Result<Errors> {
    ensure!(estimate.len() == truth.len(), "{} poses, {} true", estimate.len(), truth.len());
    let centres = |poses: &[Se3]| -> Vec<Point3<f64>> {
        poses.iter().map(|pose| pose.translation.vector.into()).collect()
    };
    let ate = align_similarity(&centres(estimate), &centres(truth), None)?.rmse_m;
    let (mut sum, mut count) = (0.0, 0);
    for i in 0..truth.len() {
        for j in i + 1..truth.len() {
            let between = |poses: &[Se3]| poses[i].rotation.inverse() * poses[j].rotation;
            sum += between(estimate).angle_to(&between(truth)).to_degrees();
            count += 1;
        }
    }
    Ok(Errors { ate, rotation_deg: sum / f64::from(count) })
}
