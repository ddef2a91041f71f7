//! The tree along which views hang on each other, and its root: the view in the middle.

use nalgebra::DMatrix;

/// How the tree is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeRule {
    /// Ward's hierarchical clustering (1963) of views by what they share.
    Ward,
    /// The spanning tree of most matches.
    MostMatches,
}

/// A tree over views.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KinematicTree {
    /// The view that is nowhere far from the others.
    pub root: usize,
    /// Parents and children, parents first.
    pub edges: Vec<[usize; 2]>,
}

/// Returns the tree over views with these numbers of matches (symmetric) and of depth anchors, or
/// `None` where [`TreeRule::MostMatches`] finds views that nothing ties to the others.
pub fn kinematic_tree(
    matches: &DMatrix<f64>,
    anchors: &[usize],
    rule: TreeRule,
) -> Option<KinematicTree> {
    let edges = match rule {
        TreeRule::Ward => ward(matches, anchors),
        TreeRule::MostMatches => spanning(matches),
    };
    (edges.len() + 1 == anchors.len()).then(|| rooted(&edges, anchors.len()))
}

/// The maximum spanning forest (Kruskal 1956); of equal edges those of larger indices first.
fn spanning(matches: &DMatrix<f64>) -> Vec<[usize; 2]> {
    let count = matches.nrows();
    let pairs = (0..count).flat_map(|i| (i + 1..count).map(move |j| [i, j]));
    let mut open: Vec<[usize; 2]> = pairs.filter(|&[i, j]| matches[(i, j)] > 0.0).collect();
    open.sort_by(|a, b| matches[(b[0], b[1])].total_cmp(&matches[(a[0], a[1])]).then(b.cmp(a)));
    let mut group: Vec<usize> = (0..count).collect();
    let mut edges = Vec::new();
    for [i, j] in open {
        let (from, to) = (group[i], group[j]);
        if from != to {
            group.iter_mut().filter(|g| **g == from).for_each(|g| *g = to);
            edges.push([i, j]);
        }
    }
    edges
}

/// A cluster of views on its way up.
struct Cluster {
    size: f64,
    representative: usize,
}

/// The edges between the representatives of clusters that Ward's rule merges.
fn ward(matches: &DMatrix<f64>, anchors: &[usize]) -> Vec<[usize; 2]> {
    let count = anchors.len();
    let mut shared = DMatrix::from_fn(count, count, |i, j| {
        if i == j {
            1.0
        } else {
            (matches[(i, j)] / (3 * anchors[i].min(anchors[j])) as f64).min(1.0)
        }
    });
    let total = 2 * count;
    let mut distance = DMatrix::from_element(total, total, f64::INFINITY);
    for i in 0..count {
        for j in 0..count {
            let share = shared[(i, j)];
            distance[(i, j)] = if share > 0.0 { 1.0 - share } else { 2.0 };
        }
    }
    let mut clusters: Vec<Option<Cluster>> =
        (0..count).map(|i| Some(Cluster { size: 1.0, representative: i })).collect();
    let mut edges = Vec::new();
    while let Some([a, b]) = nearest(&clusters, &distance) {
        let (Some(first), Some(second)) = (clusters[a].take(), clusters[b].take()) else { break };
        let new = clusters.len();
        for (k, other) in clusters.iter().enumerate() {
            let Some(other) = other else { continue };
            let sum = first.size + second.size + other.size;
            let squared = (other.size + first.size) * distance[(k, a)].powi(2)
                + (other.size + second.size) * distance[(k, b)].powi(2)
                - other.size * distance[(a, b)].powi(2);
            distance[(k, new)] = (squared / sum).sqrt();
            distance[(new, k)] = distance[(k, new)];
        }
        let (i, j) = (first.representative, second.representative);
        edges.push([i, j]);
        let best = if shared.row(i).sum() > shared.row(j).sum() { i } else { j };
        let merged = shared.row(i).zip_map(&shared.row(j), f64::max);
        shared.set_row(best, &merged);
        clusters.push(Some(Cluster { size: first.size + second.size, representative: best }));
    }
    edges
}

/// The two clusters that are nearest, the first of equals.
fn nearest(clusters: &[Option<Cluster>], distance: &DMatrix<f64>) -> Option<[usize; 2]> {
    let alive: Vec<usize> = (0..clusters.len()).filter(|&i| clusters[i].is_some()).collect();
    let mut best: Option<[usize; 2]> = None;
    for (n, &a) in alive.iter().enumerate() {
        for &b in &alive[n + 1..] {
            if best.is_none_or(|[x, y]| distance[(a, b)] < distance[(x, y)]) {
                best = Some([a, b]);
            }
        }
    }
    best
}

/// The tree with its root in the middle: walks from one end to the other, and takes the view that
/// is late on both ways.
fn rooted(edges: &[[usize; 2]], count: usize) -> KinematicTree {
    let neighbours: Vec<Vec<usize>> = (0..count).map(|i| neighbours(edges, i)).collect();
    let last = |walk: &[(usize, usize)]| walk.last().map_or(0, |(view, _)| *view);
    let end = last(&walk(&neighbours, 0));
    let there = walk(&neighbours, end);
    let back = walk(&neighbours, last(&there));
    let mut rank = vec![[0; 2]; count];
    for (way, steps) in [&back, &there].into_iter().enumerate() {
        steps.iter().enumerate().for_each(|(place, (view, _))| rank[*view][way] = place);
    }
    let late = |view: usize| rank[view][0].min(rank[view][1]);
    let root = (0..count).rev().max_by_key(|&view| late(view)).unwrap_or(0);
    let edges = walk(&neighbours, root).into_iter().skip(1).map(|(view, from)| [from, view]);
    KinematicTree { root, edges: edges.collect() }
}

/// A view's neighbours in the order in which the reference's graph library visits them: those of
/// larger indices, then those of smaller ones.
fn neighbours(edges: &[[usize; 2]], view: usize) -> Vec<usize> {
    let other = |&[a, b]: &[usize; 2]| {
        if a == view { Some(b) } else { (b == view).then_some(a) }
    };
    let mut all: Vec<usize> = edges.iter().filter_map(other).collect();
    all.sort_by_key(|&n| (n < view, n));
    all.dedup();
    all
}

/// All views by breadth from `start`, each with the view that it was reached from.
fn walk(neighbours: &[Vec<usize>], start: usize) -> Vec<(usize, usize)> {
    let mut seen = vec![false; neighbours.len()];
    let mut steps = vec![(start, start)];
    seen[start] = true;
    let mut next = 0;
    while let Some(&(view, _)) = steps.get(next) {
        for &n in &neighbours[view] {
            if !std::mem::replace(&mut seen[n], true) {
                steps.push((n, view));
            }
        }
        next += 1;
    }
    steps
}
