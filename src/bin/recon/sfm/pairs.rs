//! Pairs one by one: from the disk where they are known, else from the network.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nalgebra::DMatrix;
use recon_node::error::{Error, Result};
use recon_node::model::dust3r::pair_cache::PairCache;
use recon_node::model::dust3r::preprocess::planes;
use recon_node::model::dust3r::reconstruct::PairGeometry;
use recon_node::model::dust3r::retrieval::{RetrievalModel, TOKENS_PER_IMAGE};
use recon_node::model::dust3r::{Encoded, PairNetwork};

use super::Args;
use super::photographs::Photographs;

/// The image with which the choice of key images begins; any would do.
const FIRST_KEY: usize = 0;

/// What goes through the pairs of a run.
pub struct Pairs<'a> {
    photographs: &'a Photographs,
    network: &'a PairNetwork,
    cache: Option<PairCache>,
    /// Tokens of the photographs that have been needed so far.
    encoded: Vec<Option<Encoded>>,
    open: std::vec::IntoIter<[usize; 2]>,
    bar: ProgressBar,
}

impl<'a> Pairs<'a> {
    /// Returns the pairs of `photographs` by the rule that is asked for.
    ///
    /// # Errors
    /// Where the cache or the retrieval model cannot be opened, or no pair is left.
    pub fn new(
        args: &Args,
        photographs: &'a Photographs,
        network: &'a PairNetwork,
    ) -> Result<Self> {
        let open = |folder| PairCache::open(folder, args.weights.as_ref());
        let cache = args.cache.as_deref().map(open).transpose()?;
        let target =
            if args.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(None, target);
        let template = "{msg} {bar:30} {pos}/{len}, {eta} left";
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let encoded = vec![None; photographs.len()];
        let mut pairs =
            Self { photographs, network, cache, encoded, open: Vec::new().into_iter(), bar };
        let similarity = pairs.similarity(args)?;
        let all = args.pairs.pairs(photographs.len(), similarity.as_ref(), FIRST_KEY);
        if all.is_empty() {
            return Err(Error::Usage(format!(
                "--pairs {} leaves no pair of {} photographs",
                args.pairs,
                photographs.len()
            )));
        }
        pairs.begin("pairs", all.len());
        pairs.open = all.into_iter();
        Ok(pairs)
    }

    fn begin(&self, what: &'static str, count: usize) {
        self.bar.set_message(what);
        self.bar.set_length(count as u64);
        self.bar.set_position(0);
    }

    /// How alike the photographs are, where the rule asks for it.
    fn similarity(&mut self, args: &Args) -> Result<Option<DMatrix<f64>>> {
        let Some(path) = args.retrieval.as_ref().filter(|_| args.pairs.needs_similarity()) else {
            return Ok(None);
        };
        let model = RetrievalModel::open(path)?;
        self.begin("photographs", self.photographs.len());
        let mut images = Vec::new();
        for index in 0..self.photographs.len() {
            let encoded = self.encoded(index)?;
            let features = encoded.features(0).map_err(|error| {
                let remedy = "use another device";
                Error::Inference { model: "mast3r", problem: error.to_string(), remedy }
            })?;
            let width = features.len() / encoded.token_count();
            images.push(model.tokens(&features, width, TOKENS_PER_IMAGE)?);
            self.bar.inc(1);
        }
        model.similarity(&images).map(Some)
    }

    fn encoded(&mut self, index: usize) -> Result<Encoded> {
        if let Some(encoded) = &self.encoded[index] {
            return Ok(encoded.clone());
        }
        let encoded = self.network.encode(&[&planes(&self.photographs.0[index].image)?])?;
        Ok(self.encoded[index].insert(encoded).clone())
    }

    fn pair(&mut self, [first, second]: [usize; 2]) -> Result<PairGeometry> {
        let images = [first, second].map(|index| &self.photographs.0[index].image);
        let known = self.cache.as_ref().and_then(|cache| cache.load(images[0], images[1]));
        if let Some(pair) = known {
            return Ok(pair);
        }
        let (a, b) = (self.encoded(first)?, self.encoded(second)?);
        let pair = PairGeometry::of(&self.network.symmetric(&a, &b)?)?;
        if let Some(cache) = &self.cache {
            cache.store(images[0], images[1], &pair)?;
        }
        Ok(pair)
    }
}

impl Iterator for Pairs<'_> {
    type Item = Result<([usize; 2], PairGeometry)>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some(views) = self.open.next() else {
            self.bar.finish_and_clear();
            return None;
        };
        let pair = self.pair(views).map(|pair| (views, pair));
        self.bar.inc(1);
        Some(pair)
    }
}
