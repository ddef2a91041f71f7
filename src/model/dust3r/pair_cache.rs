//! Results of pairs and words of images on disk, by what they are results of: a run that was ended
//! goes on where it was, and other settings of what follows cost no inference.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor, safetensors};
use image::RgbImage;
use nalgebra::Vector3;
use sha2::{Digest, Sha256};

use super::reconstruct::{OwnMaps, PairGeometry, PlacedMatch};
use super::retrieval::retrieval_files;
use crate::error::{Error, Result};
use crate::matching::retrieval::{ImageWords, Signatures};
use crate::raster::Raster;

/// Changes with everything that makes old results wrong.
const VERSION: &[u8] = b"recon pairs 2";
/// What is read of weights to tell them from others, from their beginning and their end.
const FINGERPRINT_BYTES: u64 = 1 << 20;
/// The same for words of images.
const WORDS_VERSION: &[u8] = b"recon words 1";
const MAPS: [&str; 4] = ["first", "second", "second_in_first", "first_in_second"];

/// A folder of results.
#[derive(Debug)]
pub struct PairCache {
    folder: PathBuf,
    weights: [u8; 32],
}

impl PairCache {
    /// Returns the cache in `folder`, which is made, for results of the weights at `weights`.
    ///
    /// # Errors
    /// Where the folder cannot be made or the weights cannot be read.
    pub fn open(folder: &Path, weights: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(Error::io(folder, "make the folder of pairs"))?;
        Ok(Self { folder: folder.to_owned(), weights: fingerprint(&files_of(weights)?)? })
    }

    /// Returns the cache, in the same folder, of the words that the retrieval model at `retrieval`
    /// finds in images.
    ///
    /// # Errors
    /// Where its files cannot be read.
    pub fn of_words(&self, retrieval: &Path) -> Result<WordsCache> {
        let retrieval = fingerprint(&retrieval_files(retrieval))?;
        Ok(WordsCache { folder: self.folder.clone(), models: [self.weights, retrieval] })
    }

    /// Returns the result of what the network has looked at, if it is there and whole: two images
    /// at its size and, where it has looked closer, the same two at their own.
    pub fn load(&self, images: &[&RgbImage]) -> Option<PairGeometry> {
        let tensors = safetensors::load(self.path(images), &Device::Cpu).ok()?;
        read(&tensors).ok()
    }

    /// Keeps the result for images as [`PairCache::load`] takes them.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn store(&self, images: &[&RgbImage], pair: &PairGeometry) -> Result<()> {
        save(&self.path(images), tensors(pair))
    }

    fn path(&self, images: &[&RgbImage]) -> PathBuf {
        self.folder.join(name_of(VERSION, &[self.weights], images))
    }
}

/// A folder of words of images.
#[derive(Debug)]
pub struct WordsCache {
    folder: PathBuf,
    models: [[u8; 32]; 2],
}

impl WordsCache {
    /// Returns the words of an image at the network's size, if they are there and whole.
    pub fn load(&self, image: &RgbImage) -> Option<ImageWords> {
        let tensors = safetensors::load(self.path(image), &Device::Cpu).ok()?;
        let signatures = |name: &str| -> candle_core::Result<Signatures> {
            let numbers = |part: &str| get(&tensors, &format!("{name}.{part}"))?.to_vec1::<u32>();
            Ok(Signatures { words: numbers("words")?, bits: numbers("bits")? })
        };
        Some(ImageWords { known: signatures("known").ok()?, asked: signatures("asked").ok()? })
    }

    /// Keeps the words of an image.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub fn store(&self, image: &RgbImage, words: &ImageWords) -> Result<()> {
        let mut tensors = Ok(HashMap::new());
        for (name, signatures) in [("known", &words.known), ("asked", &words.asked)] {
            for (part, numbers) in [("words", &signatures.words), ("bits", &signatures.bits)] {
                let tensor = Tensor::from_slice(numbers, numbers.len(), &Device::Cpu);
                tensors = tensors.and_then(|mut tensors: HashMap<String, Tensor>| {
                    tensors.insert(format!("{name}.{part}"), tensor?);
                    Ok(tensors)
                });
            }
        }
        save(&self.path(image), tensors)
    }

    fn path(&self, image: &RgbImage) -> PathBuf {
        self.folder.join(name_of(WORDS_VERSION, &self.models, &[image]))
    }
}

/// The file's name for results of a kind, of models and images.
fn name_of(version: &[u8], models: &[[u8; 32]], images: &[&RgbImage]) -> String {
    let mut hash = Sha256::new();
    hash.update(version);
    models.iter().for_each(|model| hash.update(model));
    for image in images {
        hash.update(image.width().to_le_bytes());
        hash.update(image.height().to_le_bytes());
        hash.update(image.as_raw());
    }
    let name: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name}.safetensors")
}

/// Writes tensors so that a file is whole or not there.
fn save(path: &Path, tensors: candle_core::Result<HashMap<String, Tensor>>) -> Result<()> {
    let part = path.with_extension("part");
    let problem = |error: candle_core::Error| {
        let remedy = "give another folder with --cache";
        Error::input(&part, format!("the result cannot be kept ({error})"), remedy)
    };
    safetensors::save(&tensors.map_err(problem)?, &part).map_err(problem)?;
    fs::rename(&part, path).map_err(Error::io(path, "keep the result"))
}

/// Tells weights by their sizes, beginnings and ends: reading gigabytes would take longer than a
/// pair.
fn fingerprint(files: &[PathBuf]) -> Result<[u8; 32]> {
    let mut hash = Sha256::new();
    for path in files {
        let io = || Error::io(path, "look at the weights");
        let mut file = fs::File::open(path).map_err(io())?;
        let length = file.metadata().map_err(io())?.len();
        hash.update(length.to_le_bytes());
        let mut bytes = Vec::new();
        file.by_ref().take(FINGERPRINT_BYTES).read_to_end(&mut bytes).map_err(io())?;
        let rest = length.saturating_sub(FINGERPRINT_BYTES);
        let end = std::io::SeekFrom::Start(rest);
        std::io::Seek::seek(&mut file, end).map_err(io())?;
        file.read_to_end(&mut bytes).map_err(io())?;
        hash.update(&bytes);
    }
    Ok(hash.finalize().into())
}

/// The files of a folder, or the file.
fn files_of(weights: &Path) -> Result<Vec<PathBuf>> {
    if !weights.is_dir() {
        return Ok(vec![weights.to_owned()]);
    }
    let entries = fs::read_dir(weights).map_err(Error::io(weights, "look at the weights"))?;
    let files = entries.flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.is_file()).collect();
    files.sort();
    Ok(files)
}

fn tensors(pair: &PairGeometry) -> candle_core::Result<HashMap<String, Tensor>> {
    let mut tensors = HashMap::new();
    let maps = [&pair.first, &pair.second, &pair.second_in_first, &pair.first_in_second];
    for (name, maps) in MAPS.into_iter().zip(maps) {
        let (width, height) = (maps.points.width(), maps.points.height());
        let points: Vec<f32> = maps.points.values().iter().flat_map(|p| [p.x, p.y, p.z]).collect();
        let points = Tensor::from_vec(points, (height, width, 3), &Device::Cpu)?;
        tensors.insert(format!("{name}.points"), points);
        let confidence = maps.confidence.values();
        let confidence = Tensor::from_slice(confidence, (height, width), &Device::Cpu)?;
        tensors.insert(format!("{name}.confidence"), confidence);
    }
    if let Some(matches) = &pair.matches {
        let places: Vec<f32> = matches.iter().flat_map(|m| m.places.concat()).collect();
        let places = Tensor::from_vec(places, (matches.len(), 4), &Device::Cpu)?;
        tensors.insert("matches.places".to_owned(), places);
        let confidence: Vec<f32> = matches.iter().map(|m| m.confidence).collect();
        let confidence = Tensor::from_vec(confidence, matches.len(), &Device::Cpu)?;
        tensors.insert("matches.confidence".to_owned(), confidence);
    }
    Ok(tensors)
}

fn read(tensors: &HashMap<String, Tensor>) -> candle_core::Result<PairGeometry> {
    let [first, second, second_in_first, first_in_second] = MAPS.map(|name| maps(tensors, name));
    let matches = tensors.get("matches.places").map(|places| {
        let confidence = get(tensors, "matches.confidence")?.to_vec1::<f32>()?;
        let places = places.to_dtype(DType::F32)?.to_vec2::<f32>()?;
        let both = places.iter().zip(confidence);
        Ok::<_, candle_core::Error>(both.map(|(p, c)| one_match(p, c)).collect::<Vec<_>>())
    });
    Ok(PairGeometry {
        first: first?,
        second: second?,
        second_in_first: second_in_first?,
        first_in_second: first_in_second?,
        matches: matches.transpose()?,
    })
}

fn one_match(places: &[f32], confidence: f32) -> PlacedMatch {
    PlacedMatch { places: [[places[0], places[1]], [places[2], places[3]]], confidence }
}

fn get<'a>(tensors: &'a HashMap<String, Tensor>, name: &str) -> candle_core::Result<&'a Tensor> {
    let missing = || candle_core::Error::CannotFindTensor { path: name.to_owned() };
    tensors.get(name).ok_or_else(missing)
}

fn maps(tensors: &HashMap<String, Tensor>, name: &str) -> candle_core::Result<OwnMaps> {
    let points = get(tensors, &format!("{name}.points"))?;
    let (height, width, _) = points.dims3()?;
    let points: Vec<f32> = points.flatten_all()?.to_vec1()?;
    let points = points.chunks_exact(3).map(|p| Vector3::new(p[0], p[1], p[2])).collect();
    let confidence = get(tensors, &format!("{name}.confidence"))?.flatten_all()?.to_vec1()?;
    let wrong = candle_core::Error::wrap;
    Ok(OwnMaps {
        points: Raster::new(width, height, points).map_err(wrong)?,
        confidence: Raster::new(width, height, confidence).map_err(wrong)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(matches: Option<Vec<PlacedMatch>>) -> PairGeometry {
        let maps = |seed: f32| OwnMaps {
            points: Raster::from_fn(4, 2, |x, y| Vector3::new(x as f32 + seed, y as f32, 1.5)),
            confidence: Raster::from_fn(4, 2, |x, y| 1.0 + seed + (x * y) as f32),
        };
        let [first, second, second_in_first, first_in_second] = [0.1, 0.2, 0.3, 0.4].map(maps);
        PairGeometry { first, second, second_in_first, first_in_second, matches }
    }

    #[test]
    fn what_was_kept_comes_back_for_the_same_images_and_weights_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let weights = folder.path().join("weights");
        fs::write(&weights, b"some weights").expect("written");
        let cache = PairCache::open(&folder.path().join("pairs"), &weights).expect("opened");
        let image = |v: u8| RgbImage::from_pixel(4, 2, image::Rgb([v; 3]));
        let found = vec![one_match(&[1.0, 0.25, 3.0, 1.0], 2.5)];
        for pair in [pair(Some(found)), pair(None), pair(Some(Vec::new()))] {
            cache.store(&[&image(1), &image(2)], &pair).expect("stored");
            assert_eq!(cache.load(&[&image(1), &image(2)]), Some(pair));
        }
        assert_eq!(cache.load(&[&image(2), &image(1)]), None);
        assert_eq!(cache.load(&[&image(1), &image(2), &image(1), &image(2)]), None);
        fs::write(&weights, b"other weights").expect("written");
        let other = PairCache::open(&folder.path().join("pairs"), &weights).expect("opened");
        assert_eq!(other.load(&[&image(1), &image(2)]), None);
    }

    #[test]
    fn words_come_back_for_the_same_image_and_models_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| folder.path().join(name);
        let names = ["weights", "x_retrieval_trainingfree.pth", "x_retrieval_codebook.pkl"];
        names.iter().for_each(|name| fs::write(file(name), name).expect("written"));
        let cache = PairCache::open(&file("kept"), &file("weights")).expect("opened");
        let open = || cache.of_words(&file(names[1])).expect("opened");
        let signatures = |words: Vec<u32>| Signatures { bits: vec![u32::MAX; words.len()], words };
        let words = ImageWords { known: signatures(vec![3]), asked: signatures(vec![3, 7]) };
        let image = |v: u8| RgbImage::from_pixel(4, 2, image::Rgb([v; 3]));
        open().store(&image(1), &words).expect("stored");
        assert_eq!(open().load(&image(1)), Some(words));
        assert_eq!(open().load(&image(2)), None);
        fs::write(file(names[2]), b"other words").expect("written");
        assert_eq!(open().load(&image(1)), None);
    }

    #[test]
    fn a_torn_file_is_no_result() {
        let folder = tempfile::tempdir().expect("a folder");
        let weights = folder.path().join("weights");
        fs::write(&weights, b"some weights").expect("written");
        let cache = PairCache::open(folder.path(), &weights).expect("opened");
        let image = RgbImage::new(4, 2);
        cache.store(&[&image, &image], &pair(None)).expect("stored");
        let path = cache.path(&[&image, &image]);
        let bytes = fs::read(&path).expect("there");
        fs::write(&path, &bytes[..bytes.len() / 2]).expect("written");
        assert_eq!(cache.load(&[&image, &image]), None);
    }
}
