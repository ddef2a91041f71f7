//! Which pairs of an image collection are worth looking at.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use nalgebra::DMatrix;

/// A rule for pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SceneGraph {
    /// Every pair.
    Complete,
    /// Each image with the next few.
    Window {
        /// How many.
        size: usize,
        /// Whether the first follows the last.
        cyclic: bool,
    },
    /// Each image with those 1, 2, 4 … further on.
    LogarithmicWindow {
        /// How many.
        size: usize,
        /// Whether the first follows the last.
        cyclic: bool,
    },
    /// One image with every other.
    OneReference {
        /// Which.
        image: usize,
    },
    /// By likeness: a few key images with each other, each image with the nearest of them and with
    /// those that are most like it.
    Retrieval {
        /// How many key images.
        keys: usize,
        /// How many of the nearest, the image itself among them.
        nearest: usize,
    },
}

impl SceneGraph {
    /// Returns whether the likeness of images is asked for.
    pub fn needs_similarity(&self) -> bool {
        matches!(self, Self::Retrieval { .. })
    }

    /// Returns the pairs of `count` images, each once with the smaller index first, in order.
    /// `similarity` is asked for by [`SceneGraph::Retrieval`], whose key images begin with
    /// `first_key`; without it that rule is [`SceneGraph::Complete`].
    pub fn pairs(
        &self,
        count: usize,
        similarity: Option<&DMatrix<f64>>,
        first_key: usize,
    ) -> Vec<[usize; 2]> {
        let offsets = |offsets: Vec<usize>, cyclic: bool| {
            let pair = |i: usize, offset: usize| {
                let j = i + offset;
                (cyclic || j < count).then(|| [i, j % count])
            };
            (0..count)
                .flat_map(|i| offsets.iter().filter_map(move |&o| pair(i, o)).collect::<Vec<_>>())
                .collect()
        };
        let pairs: Vec<[usize; 2]> = match *self {
            Self::Window { size, cyclic } => offsets((1..=size).collect(), cyclic),
            Self::LogarithmicWindow { size, cyclic } => {
                offsets((0..size.min(40)).map(|k| 1 << k).collect(), cyclic)
            }
            Self::OneReference { image } => (0..count).map(|j| [image, j]).collect(),
            Self::Retrieval { keys, nearest } if similarity.is_some() => similarity
                .map(|similarity| retrieved(similarity, keys, nearest, first_key))
                .unwrap_or_default(),
            Self::Complete | Self::Retrieval { .. } => {
                (0..count).flat_map(|i| (i + 1..count).map(move |j| [i, j])).collect()
            }
        };
        let ordered = pairs.into_iter().map(|[i, j]| [i.min(j), i.max(j)]);
        let inside = ordered.filter(|[i, j]| i != j && *j < count);
        inside.collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// Returns `count` images that are far from each other, the first of them `first`.
pub fn farthest_images(similarity: &DMatrix<f64>, count: usize, first: usize) -> Vec<usize> {
    let images = similarity.nrows();
    let mut keys: Vec<usize> = (first < images).then_some(first).into_iter().collect();
    while !keys.is_empty() && keys.len() < count.min(images) {
        let distance =
            |i: usize| keys.iter().map(|&k| 1.0 - similarity[(k, i)]).fold(f64::INFINITY, f64::min);
        // Of equals the first, hence backwards.
        let open = (0..images).rev().filter(|i| !keys.contains(i));
        let Some(next) = open.max_by(|&a, &b| distance(a).total_cmp(&distance(b))) else { break };
        keys.push(next);
    }
    keys
}

fn retrieved(
    similarity: &DMatrix<f64>,
    keys: usize,
    nearest: usize,
    first_key: usize,
) -> Vec<[usize; 2]> {
    let images = similarity.nrows();
    let keys = farthest_images(similarity, keys, first_key);
    let between = |a: usize, b: usize| [a, b];
    let mut pairs: Vec<[usize; 2]> =
        keys.iter().flat_map(|&a| keys.iter().map(move |&b| between(a, b))).collect();
    for image in 0..images {
        let distance = |other: usize| 1.0 - similarity[(image, other)];
        if !keys.contains(&image) {
            let nearest = keys.iter().min_by(|&&a, &&b| distance(a).total_cmp(&distance(b)));
            pairs.extend(nearest.map(|&key| [image, key]));
        }
        let mut others: Vec<usize> = (0..images).collect();
        others.sort_by(|&a, &b| distance(a).total_cmp(&distance(b)));
        pairs.extend(others.into_iter().take(nearest).map(|other| [image, other]));
    }
    pairs
}

impl FromStr for SceneGraph {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('-').collect();
        let number = |part: &str| part.parse::<usize>().ok();
        let (parts, cyclic) = match parts.as_slice() {
            [rest @ .., "noncyclic"] => (rest, false),
            all => (all, true),
        };
        let graph = match parts {
            ["complete"] => Some(Self::Complete),
            ["swin", size] => {
                number(size).filter(|s| *s > 0).map(|size| Self::Window { size, cyclic })
            }
            ["logwin", size] => {
                number(size).filter(|s| *s > 0).map(|size| Self::LogarithmicWindow { size, cyclic })
            }
            ["oneref", image] => number(image).map(|image| Self::OneReference { image }),
            ["retrieval", keys, nearest] => number(keys)
                .filter(|keys| *keys > 0)
                .zip(number(nearest))
                .map(|(keys, nearest)| Self::Retrieval { keys, nearest }),
            _ => None,
        };
        graph.ok_or_else(|| {
            format!(
                "'{text}' is none of complete, swin-N, logwin-N (either with -noncyclic behind), \
                 oneref-I, retrieval-KEYS-N"
            )
        })
    }
}

impl fmt::Display for SceneGraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = |cyclic: bool| if cyclic { "" } else { "-noncyclic" };
        match self {
            Self::Complete => write!(f, "complete"),
            Self::Window { size, cyclic } => write!(f, "swin-{size}{}", open(*cyclic)),
            Self::LogarithmicWindow { size, cyclic } => {
                write!(f, "logwin-{size}{}", open(*cyclic))
            }
            Self::OneReference { image } => write!(f, "oneref-{image}"),
            Self::Retrieval { keys, nearest } => write!(f, "retrieval-{keys}-{nearest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str, count: usize) -> Vec<[usize; 2]> {
        let graph: SceneGraph = text.parse().expect(text);
        assert_eq!(graph.to_string(), text);
        graph.pairs(count, None, 0)
    }

    #[test]
    fn rules_give_their_pairs_once() {
        assert_eq!(pairs("complete", 3), [[0, 1], [0, 2], [1, 2]]);
        assert_eq!(pairs("swin-1", 4), [[0, 1], [0, 3], [1, 2], [2, 3]]);
        assert_eq!(pairs("swin-1-noncyclic", 4), [[0, 1], [1, 2], [2, 3]]);
        assert_eq!(pairs("logwin-3-noncyclic", 6).len(), 5 + 4 + 2);
        assert_eq!(pairs("oneref-2", 4), [[0, 2], [1, 2], [2, 3]]);
        assert_eq!(pairs("swin-3", 2), [[0, 1]]);
        assert!(pairs("oneref-9", 4).is_empty());
    }

    #[test]
    fn other_rules_are_refused_with_those_that_there_are() {
        for text in ["", "swin", "swin-0", "swin-x", "retrieval-3", "oneref--1", "nonsense-2"] {
            assert!(text.parse::<SceneGraph>().is_err_and(|e| e.contains("logwin-N")), "{text}");
        }
    }
}
