//! Made-up scenes with known truth: cameras on an arc before a wavy wall, each with depths in a
//! unit of its own.

use nalgebra::{Matrix3, Point2, Point3, UnitQuaternion, Vector2, Vector3};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use recon_node::alignment::sparse::{
    Match, MatchedPair, PairPointmap, Sample, SceneState, SparseScene, SparseView,
};
use recon_node::geometry::Se3;

/// What a made-up scene is like.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Views on the arc.
    pub views: usize,
    /// Width and height of the images, multiples of 8.
    pub image_size_px: [usize; 2],
    /// Matches that are tried for each pair of views.
    pub matches: usize,
    /// Views farther apart than this are no pair.
    pub reach: usize,
    /// Standard deviation of a matched pixel.
    pub noise_px: f64,
    /// Standard deviation of a depth as a share of it.
    pub depth_noise: f64,
    /// By how much focal lengths are off at the start, as a share.
    pub focal_error: f64,
    /// Share of matches that are wrong.
    pub outliers: f64,
    /// Seed of all that is random.
    pub seed: u64,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            views: 5,
            image_size_px: [96, 64],
            matches: 120,
            reach: 2,
            noise_px: 0.0,
            depth_noise: 0.0,
            focal_error: 0.0,
            outliers: 0.0,
            seed: 1,
        }
    }
}

/// A made-up scene with its truth.
pub struct Synthetic {
    /// What alignment is given.
    pub scene: SparseScene,
    /// True poses.
    pub world_from_camera: Vec<Se3>,
    /// True depths of each view's anchors, in metres.
    pub anchor_depths_m: Vec<Vec<f64>>,
    /// True metres for one unit of each view's depths.
    pub sizes: Vec<f64>,
    /// True intrinsics of all views.
    pub intrinsics: Matrix3<f64>,
}

struct Camera<'a> {
    world_from_camera: Se3,
    intrinsics: &'a Matrix3<f64>,
}

/// The wall's distance along z at a place.
fn wall_z(x: f64, y: f64) -> f64 {
    4.0 + 0.5 * (1.3 * x).sin() + 0.4 * (1.7 * y + 0.5).cos()
}

impl Camera<'_> {
    fn ray(&self, pixel: &Point2<f64>) -> Vector3<f64> {
        let k = self.intrinsics;
        Vector3::new((pixel.x - k[(0, 2)]) / k[(0, 0)], (pixel.y - k[(1, 2)]) / k[(1, 1)], 1.0)
    }

    /// The wall's depth at a pixel, by bisection along its ray.
    fn depth(&self, pixel: &Point2<f64>) -> f64 {
        let ray = self.ray(pixel);
        let is_behind = |depth: f64| {
            let p = self.world_from_camera * Point3::from(ray * depth);
            p.z > wall_z(p.x, p.y)
        };
        let (mut near, mut far) = (0.5, 20.0);
        for _ in 0..60 {
            let middle = 0.5 * (near + far);
            if is_behind(middle) { far = middle } else { near = middle }
        }
        near
    }

    fn point(&self, pixel: &Point2<f64>) -> Point3<f64> {
        self.world_from_camera * Point3::from(self.ray(pixel) * self.depth(pixel))
    }

    fn pixel(&self, point: &Point3<f64>) -> Point2<f64> {
        let p = self.world_from_camera.inverse_transform_point(point);
        let k = self.intrinsics;
        Point2::new(k[(0, 0)] * p.x / p.z + k[(0, 2)], k[(1, 1)] * p.y / p.z + k[(1, 2)])
    }
}

fn pose(index: usize, views: usize) -> Se3 {
    let along = index as f64 / views.max(2) as f64 - 0.5;
    let step = (0.35 * views as f64).min(6.0);
    let centre = Vector3::new(step * along, 0.3 * (5.0 * along).sin(), 0.4 * along * along);
    let turn = UnitQuaternion::from_euler_angles(0.1 * along, -0.5 * along, 0.2 * along);
    Se3::from_parts(centre.into(), turn)
}

fn gauss(random: &mut SmallRng) -> f64 {
    // The sum of twelve uniform numbers has variance one.
    (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0
}

/// Returns the scene of a recipe.
pub fn synthesize(recipe: &Recipe) -> Synthetic {
    let mut random = SmallRng::seed_from_u64(recipe.seed);
    let [width, height] = recipe.image_size_px.map(|v| v as f64);
    let focal = 0.9 * width;
    let intrinsics = Matrix3::new(focal, 0.0, width / 2.0, 0.0, focal, height / 2.0, 0.0, 0.0, 1.0);
    let world_from_camera: Vec<Se3> = (0..recipe.views).map(|i| pose(i, recipe.views)).collect();
    let cameras: Vec<Camera<'_>> = world_from_camera
        .iter()
        .map(|&world_from_camera| Camera { world_from_camera, intrinsics: &intrinsics })
        .collect();
    let anchor_depths_m: Vec<Vec<f64>> =
        cameras.iter().map(|camera| anchor_depths(camera, recipe)).collect();
    let sizes: Vec<f64> = (0..recipe.views).map(|_| random.random_range(0.7..1.5)).collect();
    let mut views: Vec<SparseView> = Vec::new();
    for (depths, size) in anchor_depths_m.iter().zip(&sizes) {
        let noisy = |d: &f64| d / size * (1.0 + recipe.depth_noise * gauss(&mut random));
        let anchor_depths = depths.iter().map(noisy).collect();
        views.push(SparseView {
            image_size_px: Vector2::new(width, height),
            base_focal_px: focal * (1.0 + recipe.focal_error * gauss(&mut random)),
            principal_point_px: Point2::new(width / 2.0, height / 2.0),
            anchor_depths,
            confidence: 2.0,
            samples: Vec::new(),
        });
    }
    let mut scene = SparseScene { views, ..Default::default() };
    for first in 0..recipe.views {
        for second in first + 1..recipe.views.min(first + recipe.reach + 1) {
            let both = [first, second];
            let matches =
                matches(&mut scene, &cameras, &anchor_depths_m, both, recipe, &mut random);
            scene.pairs.push(MatchedPair { views: both, matches });
        }
    }
    Synthetic { scene, anchor_depths_m, sizes, intrinsics, world_from_camera }
}

/// Depths at the anchors: the middle of each 8-pixel cell.
fn anchor_depths(camera: &Camera<'_>, recipe: &Recipe) -> Vec<f64> {
    let [columns, rows] = recipe.image_size_px.map(|v| v / 8);
    let cell = |i: usize| ((i % columns * 8 + 4) as f64, (i / columns * 8 + 4) as f64);
    (0..columns * rows).map(|i| camera.depth(&Point2::new(cell(i).0, cell(i).1))).collect()
}

fn matches(
    scene: &mut SparseScene,
    cameras: &[Camera<'_>],
    depths: &[Vec<f64>],
    views: [usize; 2],
    recipe: &Recipe,
    random: &mut SmallRng,
) -> Vec<Match> {
    let [width, height] = recipe.image_size_px.map(|v| v as f64);
    let mut found = Vec::new();
    for _ in 0..recipe.matches {
        let mut at = || {
            Point2::new(
                random.random_range(1.0..width - 1.0),
                random.random_range(1.0..height - 1.0),
            )
        };
        let (start, stray) = (at(), at());
        let mut end = cameras[views[1]].pixel(&cameras[views[0]].point(&start));
        if random.random::<f64>() < recipe.outliers {
            end = stray;
        }
        let inside = end.x > 1.0 && end.x < width - 1.0 && end.y > 1.0 && end.y < height - 1.0;
        if !inside {
            continue;
        }
        let samples = [(views[0], start), (views[1], end)].map(|(view, pixel)| {
            let anchor =
                pixel.y as usize / 8 * (recipe.image_size_px[0] / 8) + pixel.x as usize / 8;
            let depth_ratio = cameras[view].depth(&pixel) / depths[view][anchor];
            let noise = Vector2::new(gauss(random), gauss(random)) * recipe.noise_px;
            scene.views[view].samples.push(Sample { anchor, depth_ratio, pixel: pixel + noise });
            scene.views[view].samples.len() - 1
        });
        found.push(Match { samples, weight: random.random_range(1.0..30.0) });
    }
    found
}

impl Synthetic {
    /// Returns the state of the truth.
    pub fn true_state(&self) -> SceneState {
        let mut state = SceneState::new(&self.scene);
        for (view, state) in state.views.iter_mut().enumerate() {
            state.world_from_camera = self.world_from_camera[view];
            state.size = self.sizes[view];
            state.focal_px = self.intrinsics[(0, 0)];
            state.base_focal_px = self.intrinsics[(0, 0)];
            let own = self.anchor_depths_m[view].iter().map(|depth| depth / self.sizes[view]);
            state.anchor_depths = own.collect();
        }
        state
    }

    /// Returns a view's true samples in another camera's frame.
    pub fn pointmap(&self, view: usize, seen_from: usize) -> PairPointmap {
        let truth = self.true_state();
        let from_view = self.world_from_camera[seen_from].inverse() * self.world_from_camera[view];
        let samples = &self.scene.views[view].samples;
        let points: Vec<Point3<f64>> =
            samples.iter().map(|s| from_view * Point3::from(truth.views[view].point(s))).collect();
        let weights = vec![1.5; points.len()];
        PairPointmap { view, seen_from, points, weights }
    }

    /// Takes the confidence of a pair's matches away, and gives it pointmaps both ways instead.
    pub fn fail_pair(&mut self, pair: usize) {
        let [first, second] = self.scene.pairs[pair].views;
        for m in &mut self.scene.pairs[pair].matches {
            m.weight = 1.0;
        }
        for (view, seen_from) in [(first, second), (second, first)] {
            let pointmap = self.pointmap(view, seen_from);
            self.scene.pointmaps.push(pointmap);
        }
    }
}
