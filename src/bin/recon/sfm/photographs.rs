//! What is given, at its own size and at the network's.

use std::path::PathBuf;

use image::RgbImage;
use recon_node::error::{Error, Result};
use recon_node::model::dust3r::ImagePlanes;
use recon_node::model::dust3r::preprocess::{FamilyFitting, planes};

use super::stages::Stages;
use crate::infer::read_image;

/// A photograph.
pub struct Photograph {
    /// Its file.
    pub path: PathBuf,
    /// Columns and rows of the file, upright.
    pub size: (u32, u32),
    /// How it gets to the network's size.
    pub fitting: FamilyFitting,
    /// What the network sees.
    pub image: RgbImage,
}

/// All photographs.
pub struct Photographs(pub Vec<Photograph>);

impl Photographs {
    /// Reads the photographs in `files`, brought to this longer side.
    ///
    /// # Errors
    /// Where a file cannot be read, or a photograph is too narrow.
    pub fn read(files: Vec<PathBuf>, long_side_px: usize, stages: &Stages) -> Result<Self> {
        stages.begin("photographs", Some(files.len()));
        let read = |path: PathBuf| {
            let (image, _) = read_image(&path)?;
            let size = image.dimensions();
            let fitting = FamilyFitting::new(size.0 as usize, size.1 as usize, long_side_px);
            let fitting = fitting.map_err(|error| {
                Error::input(&path, error.to_string(), "leave it out, or change --resolution")
            })?;
            stages.step();
            Ok(Photograph { path, size, image: fitting.image(&image)?, fitting })
        };
        files.into_iter().map(read).collect::<Result<_>>().map(Self)
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns columns and rows that the network sees of each.
    pub fn sizes(&self) -> Vec<(usize, usize)> {
        self.0.iter().map(|photograph| photograph.fitting.target()).collect()
    }

    /// Returns each as the network takes it.
    pub fn planes(&self) -> impl Iterator<Item = Result<ImagePlanes>> + '_ {
        self.0.iter().map(|photograph| planes(&photograph.image))
    }

    /// Returns the files.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.0.iter().map(|photograph| photograph.path.clone()).collect()
    }
}
