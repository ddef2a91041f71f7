//! How well places are recognised in recordings whose poses are known:
//!
//!     cargo run --release --example recognize -- [--half] FOLDER GROUNDTRUTH.txt [STEP]
//!
//! Every STEPth frame is a keyframe. Prints how well retrieval finds keyframes that see the same
//! place, for several ways to describe an image, and how well two views that share something are
//! put together by matching and verification, by the angle between them.
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use nalgebra::Vector2;
use recon_node::dataset::{OpenOptions, open, read_trajectory};
use recon_node::geometry::{Camera, Se3, se3};
use recon_node::inference::{ReconstructionModel, View};
use recon_node::keyframe::KeyframeId;
use recon_node::matching::mutual_nearest;
use recon_node::matching::retrieval::{AsmkConfig, AsmkIndex, Codebook, RetrievalIndex};
use recon_node::matching::two_view::{
    Correspondence, Observation, TwoViewConfig, VerifiedView, co_location, verify,
};
use recon_node::model::SensorDepth;
use recon_node::model::xfeat::{DESCRIPTOR_DIM, LocalFeatures, SparseConfig, XFeat, grey};
use recon_node::pointmap::Pointmap;
use recon_node::sensor::SensorConfig;
use recon_node::simulator::{Simulator, SimulatorConfig};
use recon_node::source::SourceItem;

/// Views share a place from this share of each other's points on.
const SAME_PLACE_FRAC: f64 = 0.3;
/// Keyframes nearer than this in time are not looked for, seconds.
const RECENT_SECS: f64 = 2.0;

struct Place {
    secs: f64,
    world_from_camera: Se3,
    camera: Camera,
    pointmap: Pointmap,
    keypoints: LocalFeatures,
    cells: LocalFeatures,
    /// Unit descriptors of the dense map.
    dense: Vec<f32>,
}

impl Place {
    fn view(&self) -> VerifiedView<'_> {
        VerifiedView { camera: &self.camera, pointmap: &self.pointmap }
    }
}

fn main() -> Result<()> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let half = args.first().is_some_and(|arg| arg == "--half");
    args.drain(..usize::from(half));
    let [folder, truth, rest @ ..] = args.as_slice() else { bail!("FOLDER GROUNDTRUTH [STEP]") };
    let step = rest.first().map_or(Ok(5), |step| step.parse())?;
    let net = XFeat::bundled()?;
    let places = places(&net, Path::new(folder), Path::new(truth), (step, half))?;
    let shared = shared(&places);
    let pairs = shared.iter().flatten().filter(|&&frac| frac >= SAME_PLACE_FRAC).count() / 2;
    println!("{} keyframes, {pairs} pairs of one place", places.len());
    retrieval(&net, &places, &shared)?;
    for (name, matcher) in MATCHERS {
        verification(&net, &places, &shared, (name, matcher))?;
    }
    Ok(())
}

fn places(
    net: &XFeat,
    folder: &Path,
    truth: &Path,
    (step, half): (usize, bool),
) -> Result<Vec<Place>> {
    let truth = read_trajectory(truth)?;
    let mut source = open(folder, &OpenOptions::default())?;
    let mut model = SensorDepth::new(SensorConfig::default());
    let (mut places, mut count, mut spent) = (Vec::new(), 0, 0.0);
    while let Some(item) = source.next_item()? {
        let SourceItem::Frame(frame) = item else { continue };
        let Some(pose) = truth.nearest(frame.stamp, 0.02) else { continue };
        count += 1;
        if (count - 1) % step != 0 {
            continue;
        }
        let frame = if half { frame.reduced(2) } else { *frame };
        let view = View::measured(&frame);
        let mut prediction = model.infer(&[view])?;
        let geometry = prediction.views.pop().context("a view")?;
        let image = grey(&frame.color);
        let started = Instant::now();
        let features = net.features(&image)?;
        let keypoints =
            features.keypoints(&SparseConfig { max_keypoints: 2048, min_probability: 0.05 });
        spent += started.elapsed().as_secs_f64();
        places.push(Place {
            secs: frame.stamp.secs(),
            world_from_camera: pose.world_from_camera,
            camera: geometry.camera,
            pointmap: geometry.pointmap,
            dense: features.descriptors(),
            cells: net.cells_at_two_sizes(&image, 4096)?,
            keypoints,
        });
    }
    let each = spent / places.len().max(1) as f64;
    println!("{:.1} ms for the keypoints of an image", 1e3 * each);
    Ok(places)
}

/// The root of the mean square of descriptors, signs kept, of unit length: generalised mean pooling.
fn pooled(descriptors: &[f32]) -> Vec<f32> {
    let mut mean = vec![0.0f32; DESCRIPTOR_DIM];
    for row in descriptors.chunks_exact(DESCRIPTOR_DIM) {
        mean.iter_mut().zip(row).for_each(|(m, v)| *m += v * v.abs());
    }
    mean.iter_mut().for_each(|m| *m = m.abs().sqrt().copysign(*m));
    unit(mean)
}

fn unit(mut values: Vec<f32>) -> Vec<f32> {
    let length = values.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-12);
    values.iter_mut().for_each(|v| *v /= length);
    values
}

/// For each pair the share of each other's points that they see, by the true poses.
fn shared(places: &[Place]) -> Vec<Vec<f64>> {
    let share = |a: &Place, b: &Place| {
        let pose = b.world_from_camera.inverse() * a.world_from_camera;
        let found = co_location(&a.view(), &b.view(), &pose);
        if found.agreeing_frac > 0.5 { found.overlap_frac * found.agreeing_frac } else { 0.0 }
    };
    places.iter().map(|a| places.iter().map(|b| share(a, b)).collect()).collect()
}

/// Prints how often the best candidates see the place of the query.
fn retrieval(net: &XFeat, places: &[Place], shared: &[Vec<f64>]) -> Result<()> {
    println!(
        "retrieval, {RECENT_SECS} s or more apart: share of queries with a hit among the first 1, 3, 5; mean average precision"
    );
    let started = Instant::now();
    let mut index = RetrievalIndex::new(DESCRIPTOR_DIM);
    for (id, place) in (0..).zip(places) {
        index.insert(KeyframeId(id), &place.dense)?;
    }
    let scores: Vec<Vec<f64>> =
        places.iter().map(|p| Ok(index.scores(&p.dense)?)).collect::<Result<_>>()?;
    let each = 1e3 * started.elapsed().as_secs_f64() / places.len() as f64;
    report(&format!("second-order pooling, dense map ({each:.1} ms)"), places, shared, &scores);
    let gem: Vec<_> = places.iter().map(|p| pooled(&p.dense)).collect();
    report("generalised mean, dense map", places, shared, &cosines(&gem));
    let simulated = simulated(net)?;
    for words in [64, 512] {
        let codebook = Codebook::train(DESCRIPTOR_DIM, &sample(&simulated, 50_000), words, 6)?;
        let vlad: Vec<_> = places.iter().map(|p| vlad(&codebook, &p.dense)).collect();
        report(&format!("VLAD, {words} words, dense map"), places, shared, &cosines(&vlad));
        for multiple in [1, 5] {
            let (dense, each) = asmk(&codebook, multiple, places, |p| &p.dense)?;
            let name = format!("ASMK, {words} words, {multiple} for each of the query's");
            report(&format!("{name}, dense map ({each:.1} ms)"), places, shared, &dense);
            let best = 1000 * DESCRIPTOR_DIM;
            let sparse = |p: &'_ Place| p.keypoints.descriptors.len().min(best);
            let (scores, each) =
                asmk(&codebook, multiple, places, |p| &p.keypoints.descriptors[..sparse(p)])?;
            report(&format!("{name}, 1000 keypoints ({each:.1} ms)"), places, shared, &scores);
        }
    }
    Ok(())
}

fn cosines(rows: &[Vec<f32>]) -> Vec<Vec<f64>> {
    let cosine = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum();
    rows.iter().map(|a| rows.iter().map(|b| cosine(a, b)).collect()).collect()
}

/// Descriptors of the dense maps of a simulated recording.
fn simulated(net: &XFeat) -> Result<Vec<f32>> {
    let mut simulator = Simulator::new(SimulatorConfig::default())?;
    let mut all = Vec::new();
    for index in (0..SimulatorConfig::default().frame_count()).step_by(6) {
        let image = grey(&simulator.render(index)?.color);
        all.extend(net.features(&image)?.descriptors());
    }
    Ok(all)
}

/// About `count` evenly spaced descriptors.
fn sample(descriptors: &[f32], count: usize) -> Vec<f32> {
    let rows = descriptors.chunks_exact(DESCRIPTOR_DIM);
    let stride = rows.len().div_ceil(count).max(1);
    rows.step_by(stride).flatten().copied().collect()
}

fn vlad(codebook: &Codebook, descriptors: &[f32]) -> Vec<f32> {
    let mut sums = vec![0.0f32; codebook.centroids().len()];
    let nearest = codebook.nearest(descriptors, 1).concat();
    for (descriptor, word) in descriptors.chunks_exact(DESCRIPTOR_DIM).zip(nearest) {
        let word = word as usize;
        let sum = &mut sums[word * DESCRIPTOR_DIM..(word + 1) * DESCRIPTOR_DIM];
        for ((s, d), c) in sum.iter_mut().zip(descriptor).zip(codebook.centroid(word)) {
            *s += d - c;
        }
    }
    let words = sums.chunks_exact(DESCRIPTOR_DIM).flat_map(|word| unit(word.to_vec()));
    unit(words.collect())
}

/// Scores of all pairs, and milliseconds for each image.
fn asmk<'a>(
    codebook: &Codebook,
    multiple: usize,
    places: &'a [Place],
    descriptors: impl Fn(&'a Place) -> &'a [f32],
) -> Result<(Vec<Vec<f64>>, f64)> {
    let started = Instant::now();
    let config = AsmkConfig { words_per_query_descriptor: multiple, ..AsmkConfig::default() };
    let mut index = AsmkIndex::new(codebook.clone(), config);
    for (id, place) in (0..).zip(places) {
        index.insert(KeyframeId(id), descriptors(place))?;
    }
    let scores = places.iter().map(|p| Ok(index.scores(descriptors(p))?)).collect::<Result<_>>()?;
    Ok((scores, 1e3 * started.elapsed().as_secs_f64() / places.len() as f64))
}

fn report(name: &str, places: &[Place], shared: &[Vec<f64>], scores: &[Vec<f64>]) {
    let (mut queries, mut hits, mut precision) = (0, [0usize; 3], 0.0);
    for (q, query) in places.iter().enumerate() {
        let distant = |i: &usize| (places[*i].secs - query.secs).abs() >= RECENT_SECS;
        let mut order: Vec<usize> = (0..places.len()).filter(distant).collect();
        order.sort_by(|&a, &b| scores[q][b].total_cmp(&scores[q][a]));
        let same = |i: &usize| shared[q][*i] >= SAME_PLACE_FRAC;
        let relevant = order.iter().filter(|i| same(i)).count();
        if relevant == 0 {
            continue;
        }
        queries += 1;
        for (hits, first) in hits.iter_mut().zip([1, 3, 5]) {
            *hits += usize::from(order.iter().take(first).any(same));
        }
        let places_of_hits = order.iter().enumerate().filter(|(_, i)| same(i)).map(|(n, _)| n);
        let sum: f64 =
            places_of_hits.enumerate().map(|(k, n)| (k + 1) as f64 / (n + 1) as f64).sum();
        precision += sum / relevant as f64;
    }
    let share = |n: f64| n / f64::from(queries).max(1.0);
    let [first, three, five] = hits.map(|n| share(n as f64));
    println!(
        "  {first:.2} {three:.2} {five:.2}  {:.3}  {name} ({queries} queries)",
        share(precision)
    );
}

/// Pixels of matches in the first and the second view.
type Pixels = Vec<([f32; 2], [f32; 2])>;
type Matcher = fn(&XFeat, &Place, &Place) -> Result<Pixels>;

const MATCHERS: [(&str, Matcher); 3] = [
    ("keypoints", |_, a, b| keypoint_matches(a, b, -1.0)),
    ("keypoints, cosine 0.82 or more", |_, a, b| keypoint_matches(a, b, 0.82)),
    ("cells at two sizes, refined", cell_matches),
];

fn keypoint_matches(a: &Place, b: &Place, min_cosine: f32) -> Result<Pixels> {
    let (a, b) = (&a.keypoints, &b.keypoints);
    let pairs = mutual_nearest(DESCRIPTOR_DIM, &a.descriptors, &b.descriptors, min_cosine)?;
    Ok(pairs.into_iter().map(|(i, j)| (a.pixels[i as usize], b.pixels[j as usize])).collect())
}

fn cell_matches(net: &XFeat, a: &Place, b: &Place) -> Result<Pixels> {
    let (a, b) = (&a.cells, &b.cells);
    let pairs = mutual_nearest(DESCRIPTOR_DIM, &a.descriptors, &b.descriptors, -1e9)?;
    let refined = net.refine(a, b, &pairs);
    Ok(refined.into_iter().map(|m| (m.pixel_a, m.pixel_b)).collect())
}

/// What came of the pairs of one range of angles.
#[derive(Default)]
struct Tally {
    pairs: usize,
    accepted: usize,
    wrong: usize,
    errors_m: Vec<f64>,
    errors_deg: Vec<f64>,
}

fn verification(
    net: &XFeat,
    places: &[Place],
    shared: &[Vec<f64>],
    (name, matcher): (&str, Matcher),
) -> Result<()> {
    let config = TwoViewConfig::default();
    let mut tallies: [Tally; 5] = Default::default();
    let mut unrelated = Tally::default();
    let (mut spent, mut done) = (0.0, 0);
    for (i, a) in places.iter().enumerate() {
        for (j, b) in places.iter().enumerate().take(i) {
            let truth = b.world_from_camera.inverse() * a.world_from_camera;
            let degrees = se3::angle_rad(&truth).to_degrees();
            let tally = match shared[i][j] {
                share if share >= 0.2 => &mut tallies[(degrees / 15.0).min(4.0) as usize],
                0.0 => &mut unrelated,
                _ => continue,
            };
            let started = Instant::now();
            let seen = correspondences(a, b, &matcher(net, a, b)?);
            let found = verify(&a.view(), &b.view(), &seen, &config);
            spent += started.elapsed().as_secs_f64();
            done += 1;
            tally.pairs += 1;
            if let Ok((pose, _)) = found {
                tally.add(&(pose.target_from_source * truth.inverse()));
            }
        }
    }
    println!(
        "verification by {name}, {:.1} ms a pair: angle, pairs, accepted, wrong (over 30 cm or 10 deg), median error",
        1e3 * spent / f64::from(done.max(1))
    );
    for (bin, tally) in tallies.iter_mut().enumerate() {
        tally.print(&format!(
            "{:>2} to {} degrees",
            15 * bin,
            if bin == 4 { 180 } else { 15 * bin + 15 }
        ));
    }
    unrelated.print("nothing shared");
    Ok(())
}

impl Tally {
    fn add(&mut self, error: &Se3) {
        let (metres, degrees) =
            (error.translation.vector.norm(), se3::angle_rad(error).to_degrees());
        self.accepted += 1;
        self.wrong += usize::from(metres > 0.3 || degrees > 10.0);
        self.errors_m.push(metres);
        self.errors_deg.push(degrees);
    }

    fn print(&mut self, name: &str) {
        let median = |values: &mut Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
        };
        let (metres, degrees) = (median(&mut self.errors_m), median(&mut self.errors_deg));
        let Self { pairs, accepted, wrong, .. } = self;
        println!(
            "  {name:<18} {pairs:>5} {accepted:>5} {wrong:>4}  {:.1} cm {degrees:.2} deg",
            100.0 * metres
        );
    }
}

fn correspondences(a: &Place, b: &Place, pixels: &Pixels) -> Vec<Correspondence> {
    let observe = |place: &Place, pixel: &[f32; 2]| {
        let pixel = Vector2::new(f64::from(pixel[0]), f64::from(pixel[1]));
        Observation::of_pointmap(&place.camera, &place.pointmap, pixel)
    };
    let pair = |(p, q): &([f32; 2], [f32; 2])| {
        Some(Correspondence { source: observe(a, p)?, target: observe(b, q)? })
    };
    pixels.iter().filter_map(pair).collect()
}
