//! What a run has done, and how well its pairs are tied.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use recon_node::error::Error;
use recon_node::model::dust3r::reconstruct::PairGeometry;

/// Names that are told of those that are meant.
const MAX_NAMES: usize = 5;
const REMEDY: &str = "give photographs that show the same things from not too far apart; recon sfm \
     also takes more pairs (--pairs complete) and less sure matches (--min-pair-confidence)";

/// What a run has done.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Work {
    /// Photographs that went through the encoder.
    pub photographs_encoded: usize,
    /// Photographs whose words were found in the cache.
    pub words_from_cache: usize,
    /// Pairs that the network has looked at.
    pub pairs_inferred: usize,
    /// Pairs that were found in the cache.
    pub pairs_from_cache: usize,
    /// Pairs with their surest match, of models that match.
    #[serde(skip)]
    matched: Vec<([usize; 2], f64)>,
}

impl Work {
    /// Returns what is done where no pairs are looked at: so many photographs encoded.
    pub fn of_encoder(photographs: usize) -> Self {
        Self { photographs_encoded: photographs, ..Self::default() }
    }

    /// Takes note of how well a pair is tied.
    pub fn look_at(&mut self, views: [usize; 2], pair: &PairGeometry) {
        let Some(matches) = &pair.matches else { return };
        let surest = matches.iter().map(|m| f64::from(m.confidence)).fold(0.0, f64::max);
        self.matched.push((views, surest));
    }

    fn trusted(&self, min_confidence: f64) -> impl Iterator<Item = [usize; 2]> {
        let is_trusted = move |(_, surest): &&([usize; 2], f64)| *surest > min_confidence;
        self.matched.iter().filter(is_trusted).map(|(views, _)| *views)
    }

    /// Returns a sentence on photographs that no match ties to others, if there are any: they are
    /// where the network's pointmaps alone put them.
    pub fn warning(&self, paths: &[PathBuf], min_confidence: f64) -> Option<String> {
        let tied: BTreeSet<usize> = self.trusted(min_confidence).flatten().collect();
        let all: BTreeSet<usize> = self.matched.iter().flat_map(|(views, _)| *views).collect();
        let loose: Vec<usize> = all.difference(&tied).copied().collect();
        if loose.is_empty() {
            return None;
        }
        Some(format!(
            "{} of {} photographs share no match to go by with others, and are where pointmaps alone \
             put them: {}; take more photographs in between, or look at more pairs",
            loose.len(),
            paths.len(),
            names(&loose, paths)
        ))
    }

    /// Returns what is told of a scene of the photographs at `place` that could not be aligned, for
    /// the reason `error`.
    pub fn explained(&self, error: Error, place: &Path, min_confidence: f64) -> Error {
        let is_meant = matches!(error, Error::TooFewCorrespondences { .. } | Error::Geometry(_));
        if !is_meant {
            return error;
        }
        if self.matched.is_empty() {
            let problem =
                format!("what the model makes of the pairs does not fit together ({error})");
            return Error::input(place, problem, REMEDY);
        }
        let trusted = self.trusted(min_confidence).count();
        let surest = self.matched.iter().map(|(_, surest)| *surest).fold(0.0, f64::max);
        let problem = format!(
            "the photographs cannot be tied together ({error}): {trusted} of {} pairs have a match \
             surer than {min_confidence}, and the surest of all has {surest:.2}",
            self.matched.len()
        );
        Error::input(place, problem, REMEDY)
    }
}

/// The names of some photographs.
fn names(which: &[usize], paths: &[PathBuf]) -> String {
    let name = |index: &usize| paths.get(*index).map(|path| path.display().to_string());
    let shown: Vec<String> = which.iter().filter_map(name).take(MAX_NAMES).collect();
    let more = if which.len() > shown.len() { " and more" } else { "" };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(matched: &[([usize; 2], f64)]) -> Work {
        Work { matched: matched.to_vec(), ..Work::default() }
    }

    fn paths() -> Vec<PathBuf> {
        ["a.jpg", "b.jpg", "c.jpg", "d.jpg"].map(PathBuf::from).to_vec()
    }

    #[test]
    fn photographs_without_a_match_to_go_by_are_named() {
        let all = work(&[([0, 1], 9.0), ([0, 2], 2.0), ([2, 3], 1.0)]);
        let told = all.warning(&paths(), 5.0).expect("told");
        assert!(told.contains("2 of 4 photographs") && told.contains("c.jpg, d.jpg;"), "{told}");
        assert_eq!(all.warning(&paths(), 0.5), None);
        assert_eq!(work(&[]).warning(&paths(), 5.0), None);
    }

    #[test]
    fn too_little_to_go_by_is_told_with_what_there_was_and_the_remedy() {
        let error = || Error::TooFewCorrespondences { what: "aligning a scene", got: 0, need: 4 };
        let place = Path::new("photos");
        let told = work(&[([0, 1], 3.25)]).explained(error(), place, 5.0).to_string();
        for part in
            ["photos: ", "0 of 1 pairs", "surer than 5", "has 3.25", "--min-pair-confidence"]
        {
            assert!(told.contains(part), "{told}");
        }
        let told = work(&[]).explained(error(), place, 5.0).to_string();
        assert!(told.contains("does not fit together") && told.contains("--pairs"), "{told}");
        let other = Error::Usage("another".into());
        assert_eq!(work(&[]).explained(other, place, 5.0).to_string(), "another");
    }
}
