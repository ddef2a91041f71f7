//! Pairs one by one: from the disk where they are known, else from the network.

use image::RgbImage;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nalgebra::DMatrix;
use recon_node::error::{Error, Result};
use recon_node::model::dust3r::pair_cache::PairCache;
use recon_node::model::dust3r::preprocess::planes;
use recon_node::model::dust3r::reconstruct::{LargeView, PairGeometry, fine_matches};
use recon_node::model::dust3r::retrieval::RetrievalModel;
use recon_node::model::dust3r::{Encoded, PairNetwork};

use super::Args;
use super::photographs::Photographs;
use crate::infer::read_image;

/// The image with which the choice of key images begins; any would do.
const FIRST_KEY: usize = 0;

/// What goes through the pairs of a run.
pub struct Pairs<'a> {
    photographs: &'a Photographs,
    network: &'a PairNetwork,
    cache: Option<PairCache>,
    /// Whether windows of large photographs are looked at.
    is_fine: bool,
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
        let cached = |folder| PairCache::open(folder, args.weights.as_ref());
        let cache = args.cache.as_deref().map(cached).transpose()?;
        let target =
            if args.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(None, target);
        let template = "{msg} {bar:30} {pos}/{len}, {eta} left";
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let encoded = vec![None; photographs.len()];
        let is_fine = args.coarse_to_fine && network.has_descriptors();
        let open = Vec::new().into_iter();
        let mut pairs = Self { photographs, network, cache, is_fine, encoded, open, bar };
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
        let Some(path) = args.retrieval_file()? else { return Ok(None) };
        let model = RetrievalModel::open(&path)?;
        self.begin("photographs", self.photographs.len());
        let mut images = Vec::new();
        for index in 0..self.photographs.len() {
            let encoded = self.encoded(index)?;
            let features = encoded.features(0).map_err(|error| {
                let remedy = "use another device";
                Error::Inference { model: "mast3r", problem: error.to_string(), remedy }
            })?;
            let width = features.len() / encoded.token_count();
            images.push(model.tokens(&features, width, model.tokens_per_image())?);
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

    fn pair(&mut self, views: [usize; 2]) -> Result<PairGeometry> {
        let photographs = self.photographs;
        let seen = views.map(|index| &photographs.0[index].image);
        let originals = self.originals(views)?;
        let images: Vec<&RgbImage> = seen.into_iter().chain(originals.iter().flatten()).collect();
        let known = self.cache.as_ref().and_then(|cache| cache.load(&images));
        if let Some(pair) = known {
            return Ok(pair);
        }
        let (a, b) = (self.encoded(views[0])?, self.encoded(views[1])?);
        let mut pair = PairGeometry::of(&self.network.symmetric(&a, &b)?)?;
        if let Some(originals) = &originals {
            self.look_closer(&mut pair, views, originals)?;
        }
        if let Some(cache) = &self.cache {
            cache.store(&images, &pair)?;
        }
        Ok(pair)
    }

    /// The photographs at their own size, if windows of them are to be looked at: read anew for each
    /// pair, since those of a large collection do not fit into memory together.
    fn originals(&self, views: [usize; 2]) -> Result<Option<[RgbImage; 2]>> {
        if !self.is_fine {
            return Ok(None);
        }
        let [first, second] = views.map(|index| read_image(&self.photographs.0[index].path));
        Ok(Some([first?.0, second?.0]))
    }

    fn look_closer(
        &self,
        pair: &mut PairGeometry,
        views: [usize; 2],
        originals: &[RgbImage; 2],
    ) -> Result<()> {
        let view = |i: usize| LargeView {
            image: &originals[i],
            fitting: &self.photographs.0[views[i]].fitting,
        };
        let coarse = pair.matches.as_deref().unwrap_or_default();
        let mut progress = |done: usize, count: usize| {
            self.bar.set_message(format!("pairs (window {} of {count})", done + 1));
        };
        let found = fine_matches(self.network, [view(0), view(1)], coarse, &mut progress)?;
        self.bar.set_message("pairs");
        if found.is_some() {
            pair.matches = found;
        }
        Ok(())
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
