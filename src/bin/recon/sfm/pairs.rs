//! Pairs one by one: from the disk where they are known, else from the network.

use image::RgbImage;
use nalgebra::DMatrix;
use recon_node::error::{Error, Result};
use recon_node::matching::retrieval::ImageWords;
use recon_node::model::dust3r::pair_cache::{PairCache, WordsCache};
use recon_node::model::dust3r::preprocess::planes;
use recon_node::model::dust3r::reconstruct::{LargeView, PairGeometry, fine_matches};
use recon_node::model::dust3r::retrieval::RetrievalModel;
use recon_node::model::dust3r::{Encoded, PairNetwork};

use super::Args;
use super::photographs::Photographs;
use super::stages::Stages;
use super::work::Work;
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
    /// Tokens of the photographs that have been needed so far, and will be needed again.
    encoded: Vec<Option<Encoded>>,
    /// How many of the open pairs each photograph is in.
    open_of: Vec<usize>,
    open: std::vec::IntoIter<[usize; 2]>,
    stages: &'a Stages,
    /// What has been done.
    pub work: Work,
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
        stages: &'a Stages,
    ) -> Result<Self> {
        let cached = |folder| PairCache::open(folder, args.weights.as_ref());
        let mut pairs = Self {
            photographs,
            network,
            cache: args.cache.as_deref().map(cached).transpose()?,
            is_fine: args.coarse_to_fine && network.has_descriptors(),
            encoded: vec![None; photographs.len()],
            open_of: vec![0; photographs.len()],
            open: Vec::new().into_iter(),
            stages,
            work: Work::default(),
        };
        let similarity = pairs.similarity(args)?;
        let all = args.pairs.pairs(photographs.len(), similarity.as_ref(), FIRST_KEY);
        if all.is_empty() {
            return Err(Error::Usage(format!(
                "--pairs {} leaves no pair of {} photographs, which are counted from 0; choose \
                 another rule, as complete",
                args.pairs,
                photographs.len()
            )));
        }
        all.iter().flatten().for_each(|&index| pairs.open_of[index] += 1);
        pairs.stages.begin("pairs", Some(all.len()));
        pairs.open = all.into_iter();
        Ok(pairs)
    }

    /// How alike the photographs are, where the rule asks for it.
    fn similarity(&mut self, args: &Args) -> Result<Option<DMatrix<f64>>> {
        let Some(path) = args.retrieval_file()? else { return Ok(None) };
        self.stages.begin("retrieval model", None);
        let model = RetrievalModel::open(&path)?;
        model.check_width(self.network.token_width())?;
        let cached = |cache: &PairCache| cache.of_words(&path);
        let cache = self.cache.as_ref().map(cached).transpose()?;
        self.stages.begin("words", Some(self.photographs.len()));
        let mut images = Vec::new();
        for index in 0..self.photographs.len() {
            images.push(self.words(index, &model, cache.as_ref())?);
            self.stages.step();
        }
        model.similarity(&images).map(Some)
    }

    /// The words of a photograph.
    fn words(
        &mut self,
        index: usize,
        model: &RetrievalModel,
        cache: Option<&WordsCache>,
    ) -> Result<ImageWords> {
        let photographs = self.photographs;
        let image = &photographs.0[index].image;
        let known = cache.and_then(|cache| cache.load(image)).filter(|words| model.fits(words));
        if let Some(words) = known {
            self.work.words_from_cache += 1;
            return Ok(words);
        }
        let encoded = self.encoded(index)?;
        let features = encoded.features(0).map_err(|error| {
            let remedy = "use another device";
            Error::Inference { model: "mast3r", problem: error.to_string(), remedy }
        })?;
        let width = features.len() / encoded.token_count();
        let words = model.words(&model.tokens(&features, width, model.tokens_per_image())?)?;
        if let Some(cache) = cache {
            cache.store(image, &words)?;
        }
        Ok(words)
    }

    fn encoded(&mut self, index: usize) -> Result<Encoded> {
        if let Some(encoded) = &self.encoded[index] {
            return Ok(encoded.clone());
        }
        let encoded = self.network.encode(&[&planes(&self.photographs.0[index].image)?])?;
        self.work.photographs_encoded += 1;
        Ok(self.encoded[index].insert(encoded).clone())
    }

    fn pair(&mut self, views: [usize; 2]) -> Result<PairGeometry> {
        let photographs = self.photographs;
        let seen = views.map(|index| &photographs.0[index].image);
        let originals = self.originals(views)?;
        let images: Vec<&RgbImage> = seen.into_iter().chain(originals.iter().flatten()).collect();
        let known = self.cache.as_ref().and_then(|cache| cache.load(&images));
        if let Some(pair) = known {
            self.work.pairs_from_cache += 1;
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
        self.work.pairs_inferred += 1;
        Ok(pair)
    }

    /// Gives up the tokens that no open pair needs: those of a large collection take gigabytes.
    fn let_go(&mut self, views: [usize; 2]) {
        for index in views {
            self.open_of[index] -= 1;
            if self.open_of[index] == 0 {
                self.encoded[index] = None;
            }
        }
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
            self.stages.say(&format!("window {} of {count}", done + 1));
        };
        let found = fine_matches(self.network, [view(0), view(1)], coarse, &mut progress)?;
        self.stages.say("");
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
            self.stages.begin("alignment", None);
            return None;
        };
        let pair = self.pair(views);
        if let Ok(pair) = &pair {
            self.work.look_at(views, pair);
        }
        self.let_go(views);
        self.stages.step();
        Some(pair.map(|pair| (views, pair)))
    }
}
