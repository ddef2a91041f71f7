//! The fine stage's term: matches of a pair, as distances in the image of one of the two.

use nalgebra::{Matrix2x3, Point2, Vector2, Vector3};

use super::chain::{
    CHAIN_DIM, Chain, ChainJacobian, ChainNormal, SOURCE_LENS, SourceSample, TARGET_LENS,
};
use super::factor::{DepthCost, Factor, Linearization, Softening};
use super::loss::{GammaLoss, SoftenedLoss};
use super::scene::{MatchedPair, SparseScene};
use super::state::{SceneState, ViewState};

/// Points nearer than this to the target's plane project as if they were there.
const MIN_DEPTH: f64 = 1e-3;
/// Projections are held within this range, pixels; what is held no longer pulls.
const PIXEL_RANGE: [f64; 2] = [-1000.0, 2000.0];
/// Residuals below this length, pixels, weigh no more: the loss has a kink at zero.
const SHORTEST_PX: f64 = 1e-3;

/// Matches of a pair: samples of the source, reprojected into the target.
#[derive(Debug, Clone)]
pub struct Reprojection {
    source: usize,
    target: usize,
    loss: GammaLoss,
    observations: Vec<Observation>,
}

#[derive(Debug, Clone, Copy)]
struct Observation {
    sample: SourceSample,
    pixel: Point2<f64>,
    weight: f64,
}

/// A projection with its derivative by the point and by the target's lens.
struct Projection {
    pixel: Point2<f64>,
    by_point: Matrix2x3<f64>,
    by_focal: Vector2<f64>,
    /// Derivative of each coordinate by its principal point, in pixels.
    by_centre: f64,
}

impl Reprojection {
    /// Returns the two terms of a pair: each view's samples in the other's image.
    pub fn both_ways(scene: &SparseScene, pair: &MatchedPair, loss: GammaLoss) -> [Self; 2] {
        [[0, 1], [1, 0]].map(|[from, to]| {
            let (source, target) = (pair.views[from], pair.views[to]);
            let observation = |m: &super::scene::Match| Observation {
                sample: (&scene.views[source].samples[m.samples[from]]).into(),
                pixel: scene.views[target].samples[m.samples[to]].pixel,
                weight: m.weight,
            };
            let mut observations: Vec<_> = pair.matches.iter().map(observation).collect();
            // Depths are summed up one after another.
            observations.sort_by_key(|o| o.sample.anchor);
            Self { source, target, loss, observations }
        })
    }

    /// Returns the lengths of the residuals in pixels, each with its weight.
    pub fn lengths<'a>(&'a self, state: &'a SceneState) -> impl Iterator<Item = (f64, f64)> + 'a {
        let chain = Chain::new(state, self.source, self.target);
        self.observations.iter().map(move |o| {
            let pixel = project(chain.target(), &chain.point(&o.sample).point);
            ((pixel - o.pixel).norm(), o.weight)
        })
    }

    /// Returns the view whose samples are projected, and the one into whose image they are.
    pub fn views(&self) -> [usize; 2] {
        [self.source, self.target]
    }
}

impl Factor for Reprojection {
    fn cost(&self, state: &SceneState, softening: Softening) -> f64 {
        let chain = Chain::new(state, self.source, self.target);
        let loss = self.loss.softened(softening.0);
        self.observations.iter().map(|o| cost_of(&chain, o, &loss)).sum()
    }

    fn depth_costs(&self, state: &SceneState, costs: &mut Vec<DepthCost>) {
        let chain = Chain::new(state, self.source, self.target);
        let loss = self.loss.softened(0.0);
        let of = |o: &Observation| DepthCost {
            view: self.source,
            anchor: o.sample.anchor as usize,
            cost: cost_of(&chain, o, &loss),
        };
        costs.extend(self.observations.iter().map(of));
    }

    fn linearize(&self, state: &SceneState, softening: Softening) -> Linearization {
        let chain = Chain::new(state, self.source, self.target);
        let loss = self.loss.softened(softening.0);
        let mut normal = ChainNormal::new();
        for observation in &self.observations {
            add(&chain, observation, &loss, &mut normal);
        }
        normal.expand(&chain, self.source, self.target)
    }
}

fn cost_of(chain: &Chain<'_>, o: &Observation, loss: &SoftenedLoss) -> f64 {
    let pixel = project(chain.target(), &chain.point(&o.sample).point);
    o.weight * loss.cost((pixel - o.pixel).norm_squared())
}

fn add(chain: &Chain<'_>, o: &Observation, loss: &SoftenedLoss, normal: &mut ChainNormal) {
    let at = chain.point(&o.sample);
    let projection = Projection::of(chain.target(), &at.point);
    let residual = projection.pixel - o.pixel;
    let weight = loss.weight(residual.norm_squared(), SHORTEST_PX) * o.weight;
    let rows = projection.rows(chain.target(), &chain.jacobian(&at), &at.point);
    normal.add_rows(o.sample.anchor, &rows, &residual.into(), weight);
}

/// The pixel of a point in the camera's frame, held within [`PIXEL_RANGE`].
fn project(view: &ViewState, point: &Vector3<f64>) -> Point2<f64> {
    held(raw_projection(view, point))
}

fn held(pixel: Point2<f64>) -> Point2<f64> {
    let [least, most] = PIXEL_RANGE;
    Point2::new(pixel.x.clamp(least, most), pixel.y.clamp(least, most))
}

fn raw_projection(view: &ViewState, point: &Vector3<f64>) -> Point2<f64> {
    let inverse = point.z.max(MIN_DEPTH).recip();
    let centre = view.principal_point_px.coords * (point.z * inverse);
    (point.xy() * (view.focal_px * inverse) + centre).into()
}

impl Projection {
    fn of(view: &ViewState, point: &Vector3<f64>) -> Self {
        let raw = raw_projection(view, point);
        let inverse = point.z.max(MIN_DEPTH).recip();
        let scale = view.focal_px * inverse;
        let by_z = if point.z > MIN_DEPTH {
            -point.xy() * (scale * inverse)
        } else {
            view.principal_point_px.coords * inverse
        };
        let mut by_point = Matrix2x3::new(scale, 0.0, by_z.x, 0.0, scale, by_z.y);
        let mut by_focal = point.xy() * scale;
        let held = held(raw);
        for r in (0..2).filter(|&r| (held[r] - raw[r]).abs() > 0.0) {
            by_point.row_mut(r).fill(0.0);
            by_focal[r] = 0.0;
        }
        Self { pixel: held, by_point, by_focal, by_centre: point.z * inverse }
    }

    /// The two rows of the Jacobian by the chain's unknowns and the depth.
    fn rows(
        &self,
        target: &ViewState,
        chain: &ChainJacobian,
        point: &Vector3<f64>,
    ) -> [[f64; CHAIN_DIM + 1]; 2] {
        let lens = self.by_point * chain.lens;
        let depth = self.by_point * chain.depth;
        std::array::from_fn(|r| {
            let g =
                Vector3::new(self.by_point[(r, 0)], self.by_point[(r, 1)], self.by_point[(r, 2)]);
            let turn = point.cross(&g);
            let mut row = [0.0; CHAIN_DIM + 1];
            row[..3].copy_from_slice(turn.as_slice());
            row[3..6].copy_from_slice(g.as_slice());
            row[TARGET_LENS] = self.by_focal[r];
            // A held coordinate has no derivative at all.
            if g.amax() > 0.0 {
                row[TARGET_LENS + 1 + r] = self.by_centre * target.image_size_px[r];
            }
            for c in 0..3 {
                row[SOURCE_LENS + c] = lens[(r, c)];
            }
            row[CHAIN_DIM] = depth[r];
            row
        })
    }
}
