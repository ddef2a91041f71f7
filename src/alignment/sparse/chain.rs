//! A sample of one view seen from another: the point in the other camera's frame, and how it moves
//! with both cameras and with the sample's depth. Reprojections and pointmaps share this.

use nalgebra::{Matrix3, Point2, SMatrix, SVector, Vector3};

use super::factor::{Coupling, DepthTerm, Linearization, ViewBlock, ViewGradient};
use super::scene::Sample;
use super::state::{CAMERA_DIM, CENTRE, FOCAL, ROTATION, SIZE, SceneState, ViewState};
use crate::geometry::se3::skew;

/// The chain's own unknowns: relative motion of the source in the target's frame (rotation,
/// translation), the target's lens (focal length, principal point), the source's lens.
pub const CHAIN_DIM: usize = 12;
/// Where the target's lens begins among them.
pub const TARGET_LENS: usize = 6;
/// Where the source's lens begins among them.
pub const SOURCE_LENS: usize = 9;

/// A sample as the source view sees it.
#[derive(Debug, Clone, Copy)]
pub struct SourceSample {
    /// Index of the anchor.
    pub anchor: u32,
    /// Depth over the anchor's at the base focal length.
    pub depth_ratio: f64,
    /// Pixel in the source.
    pub pixel: Point2<f64>,
}

impl From<&Sample> for SourceSample {
    fn from(sample: &Sample) -> Self {
        let anchor = sample.anchor as u32;
        Self { anchor, depth_ratio: sample.depth_ratio, pixel: sample.pixel }
    }
}

/// The source's samples in the target's frame, at one state.
pub struct Chain<'a> {
    source: &'a ViewState,
    target: &'a ViewState,
    rotation: Matrix3<f64>,
    translation: Vector3<f64>,
    world_from_target: Matrix3<f64>,
    lens_shift: f64,
    focal_ratio: f64,
    inverse_focal: f64,
}

/// A sample's point in the target's frame.
pub struct ChainPoint {
    /// The point.
    pub point: Vector3<f64>,
    direction: Vector3<f64>,
    anchor_depth: f64,
    compensated: f64,
    offset: f64,
}

/// Derivatives of a point in the target's frame.
pub struct ChainJacobian {
    /// By the source's focal length (log) and principal point (shares of the image).
    pub lens: Matrix3<f64>,
    /// By the anchor's depth (shares of the median depth).
    pub depth: Vector3<f64>,
}

impl<'a> Chain<'a> {
    /// Returns the chain from view `source` to view `target`.
    pub fn new(state: &'a SceneState, source: usize, target: usize) -> Self {
        let (source, target) = (&state.views[source], &state.views[target]);
        let target_from_source = target.world_from_camera.inv_mul(&source.world_from_camera);
        let focal_ratio = source.base_focal_px / source.focal_px;
        Self {
            source,
            target,
            rotation: target_from_source.rotation.to_rotation_matrix().into_inner(),
            translation: target_from_source.translation.vector,
            world_from_target: target.world_from_camera.rotation.to_rotation_matrix().into_inner(),
            lens_shift: source.median_depth * (focal_ratio.recip() - 1.0),
            focal_ratio,
            inverse_focal: source.focal_px.recip(),
        }
    }

    /// Returns the point of a sample in the target's frame.
    pub fn point(&self, sample: &SourceSample) -> ChainPoint {
        let view = self.source;
        let at = (sample.pixel - view.principal_point_px) * self.inverse_focal;
        let offset = (sample.depth_ratio - 1.0) * self.focal_ratio;
        let anchor_depth =
            view.size * (view.anchor_depths[sample.anchor as usize] + self.lens_shift);
        let compensated = 1.0 + offset;
        let direction = Vector3::new(at.x, at.y, 1.0);
        let point = self.rotation * direction * (anchor_depth * compensated) + self.translation;
        ChainPoint { point, direction, anchor_depth, compensated, offset }
    }

    /// Returns how that point moves.
    pub fn jacobian(&self, at: &ChainPoint) -> ChainJacobian {
        let view = self.source;
        let depth = at.anchor_depth * at.compensated;
        // Of the depth by the log of the focal length: the plane at median depth slides, and
        // the sample's offset from its anchor shrinks.
        let slide = view.size * view.median_depth / self.focal_ratio;
        let by_focal = slide * at.compensated - at.anchor_depth * at.offset;
        let d = &at.direction;
        let moved = Vector3::new(d.x * (by_focal - depth), d.y * (by_focal - depth), by_focal);
        let shift = view.image_size_px * (-depth * self.inverse_focal);
        let lens = Matrix3::from_columns(&[
            self.rotation * moved,
            self.rotation.column(0) * shift.x,
            self.rotation.column(1) * shift.y,
        ]);
        let depth = self.rotation * d * (view.size * view.median_depth * at.compensated);
        ChainJacobian { lens, depth }
    }

    /// Returns the state of the target.
    pub fn target(&self) -> &ViewState {
        self.target
    }

    /// Returns how the chain's unknowns follow from the target's and the source's.
    fn embedding(&self) -> [SMatrix<f64, CHAIN_DIM, CAMERA_DIM>; 2] {
        let target_from_world = self.world_from_target.transpose();
        let mut of_target = SMatrix::<f64, CHAIN_DIM, CAMERA_DIM>::zeros();
        let mut of_source = of_target;
        for block in [0, 3] {
            of_target.fixed_view_mut::<3, 3>(block, block).copy_from(&-target_from_world);
            of_source.fixed_view_mut::<3, 3>(block, block).copy_from(&target_from_world);
        }
        let lever = skew(&self.translation) * target_from_world;
        of_source.fixed_view_mut::<3, 3>(CENTRE, ROTATION).copy_from(&lever);
        let identity = Matrix3::identity();
        of_target.fixed_view_mut::<3, 3>(TARGET_LENS, FOCAL).copy_from(&identity);
        of_source.fixed_view_mut::<3, 3>(SOURCE_LENS, FOCAL).copy_from(&identity);
        [of_target, of_source]
    }
}

/// Normal equations in the chain's own unknowns and one depth.
#[derive(Debug, Clone)]
pub struct ChainNormal {
    hessian: [[f64; CHAIN_DIM]; CHAIN_DIM],
    gradient: [f64; CHAIN_DIM],
    depths: Vec<AnchorNormal>,
}

#[derive(Debug, Clone, Copy)]
struct AnchorNormal {
    anchor: u32,
    hessian: f64,
    gradient: f64,
    coupling: [f64; CHAIN_DIM],
}

impl ChainNormal {
    /// Returns normal equations without any term.
    pub fn new() -> Self {
        let hessian = [[0.0; CHAIN_DIM]; CHAIN_DIM];
        Self { hessian, gradient: [0.0; CHAIN_DIM], depths: Vec::new() }
    }

    /// Adds a residual of `N` rows, the last entry of each row of its Jacobian being the depth's;
    /// residuals of one anchor come one after another.
    #[allow(clippy::needless_range_loop, reason = "indices run over several arrays at once")]
    pub fn add_rows<const N: usize>(
        &mut self,
        anchor: u32,
        rows: &[[f64; CHAIN_DIM + 1]; N],
        residual: &[f64; N],
        weight: f64,
    ) {
        if self.depths.last().is_none_or(|last| last.anchor != anchor) {
            let coupling = [0.0; CHAIN_DIM];
            self.depths.push(AnchorNormal { anchor, hessian: 0.0, gradient: 0.0, coupling });
        }
        let Some(depth) = self.depths.last_mut() else { return };
        let by_depth: [f64; N] = std::array::from_fn(|k| weight * rows[k][CHAIN_DIM]);
        for k in 0..N {
            depth.hessian += by_depth[k] * rows[k][CHAIN_DIM];
            depth.gradient += by_depth[k] * residual[k];
            for c in 0..CHAIN_DIM {
                depth.coupling[c] += rows[k][c] * by_depth[k];
                self.gradient[c] += weight * rows[k][c] * residual[k];
            }
        }
        // Both triangles, and all rows of the residual at once: the loops have fixed bounds.
        for r in 0..CHAIN_DIM {
            let values: [f64; N] = std::array::from_fn(|k| weight * rows[k][r]);
            for c in 0..CHAIN_DIM {
                let mut sum = self.hessian[r][c];
                for k in 0..N {
                    sum += values[k] * rows[k][c];
                }
                self.hessian[r][c] = sum;
            }
        }
    }

    /// Returns the same in the unknowns of the two views.
    pub fn expand(&self, chain: &Chain<'_>, source: usize, target: usize) -> Linearization {
        let embedding = chain.embedding();
        let views = [target, source];
        let hessian = SMatrix::<f64, CHAIN_DIM, CHAIN_DIM>::from(self.hessian);
        let gradient = SVector::from(self.gradient);
        let mut out = Linearization { depths_of: source, seen_from: target, ..Default::default() };
        out.depths = self.depths.iter().map(|depth| depth.expand(chain)).collect();
        let scaling = self.scaling(chain.source);
        for (a, b) in [(0, 0), (0, 1), (1, 1)] {
            let mut block = ViewBlock::zeros();
            let cameras = embedding[a].tr_mul(&hessian) * embedding[b];
            block.fixed_view_mut::<CAMERA_DIM, CAMERA_DIM>(0, 0).copy_from(&cameras);
            if b == 1 {
                let column = embedding[a].tr_mul(&scaling.coupling);
                block.fixed_view_mut::<CAMERA_DIM, 1>(0, SIZE).copy_from(&column);
            }
            if a == 1 {
                let row = embedding[b].tr_mul(&scaling.coupling).transpose();
                block.fixed_view_mut::<1, CAMERA_DIM>(SIZE, 0).copy_from(&row);
                block[(SIZE, SIZE)] = scaling.hessian;
            }
            out.push([views[a], views[b]], block);
        }
        for (side, embedding) in embedding.iter().enumerate() {
            let mut slope = ViewGradient::zeros();
            slope.fixed_rows_mut::<CAMERA_DIM>(0).copy_from(&embedding.tr_mul(&gradient));
            slope[SIZE] = if side == 1 { scaling.gradient } else { 0.0 };
            out.gradients.push((views[side], slope));
        }
        out
    }

    /// What a change of the source's size does: all its depths move together.
    fn scaling(&self, source: &ViewState) -> Scaling {
        let mut scaling = Scaling { hessian: 0.0, gradient: 0.0, coupling: SVector::zeros() };
        for depth in &self.depths {
            let share = source.depth(depth.anchor as usize) / (source.size * source.median_depth);
            scaling.hessian += share * share * depth.hessian;
            scaling.gradient += share * depth.gradient;
            scaling.coupling += SVector::from(depth.coupling) * share;
        }
        scaling
    }
}

struct Scaling {
    hessian: f64,
    gradient: f64,
    coupling: SVector<f64, CHAIN_DIM>,
}

impl AnchorNormal {
    /// The same in the unknowns of the two views: [`Chain::embedding`] written out, since there
    /// are many depths.
    fn expand(&self, chain: &Chain<'_>) -> DepthTerm {
        let part = |at: usize| Vector3::from_column_slice(&self.coupling[at..at + 3]);
        let turn = chain.world_from_target * part(ROTATION);
        let shift = chain.world_from_target * part(CENTRE);
        let lever = chain.world_from_target * part(CENTRE).cross(&chain.translation);
        let camera = |turn: Vector3<f64>, shift: Vector3<f64>, lens: Vector3<f64>| {
            Coupling::from_fn(|i, _| match i / 3 {
                0 => turn[i],
                1 => shift[i - 3],
                _ => lens[i - 6],
            })
        };
        DepthTerm {
            anchor: self.anchor as usize,
            hessian: self.hessian,
            gradient: self.gradient,
            own: camera(turn + lever, shift, part(SOURCE_LENS)),
            seen: camera(-turn, -shift, part(TARGET_LENS)),
        }
    }
}
