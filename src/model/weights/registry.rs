//! Models whose weights can be fetched: what they are called, what they are, on what terms.

use crate::error::{Error, Result};

/// The licence of a model's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct License {
    /// SPDX identifier in lower case, as the hub writes it.
    pub id: &'static str,
    /// What it means for the user.
    pub sentence: &'static str,
    /// Whether the weights are fetched without the user's having named the licence.
    pub is_permissive: bool,
}

/// Commercial use allowed.
const APACHE: License = License {
    id: "apache-2.0",
    sentence: "Apache License 2.0: free to use, change and pass on, commercially too, with the notice kept",
    is_permissive: true,
};

/// No commercial use.
const NON_COMMERCIAL: License = License {
    id: "cc-by-nc-4.0",
    sentence: "Creative Commons Attribution-NonCommercial 4.0: no commercial use of the weights, and credit to the authors",
    is_permissive: false,
};

/// A model whose weights lie on the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownModel {
    /// `owner/name` on the hub.
    pub repository: &'static str,
    /// Name of the architecture, as `recon weights random --arch` takes it.
    pub architecture: &'static str,
    /// Number of trained values.
    pub parameters: u64,
    /// On what terms the weights may be used.
    pub license: License,
    /// The files that are fetched.
    pub files: &'static [&'static str],
}

/// Name of the file that describes a model.
pub const CONFIG_FILE: &str = "config.json";
/// Name of the file with a model's tensors.
pub const SAFETENSORS_FILE: &str = "model.safetensors";
/// Name of the file with a model's tensors where they are quantised.
pub const GGUF_FILE: &str = "model.gguf";

const FILES: &[&str] = &[CONFIG_FILE, SAFETENSORS_FILE];
const V1_PARAMETERS: u64 = 563_335_382;
const V1_1_PARAMETERS: u64 = 1_228_491_222;

/// Every model that `recon weights fetch` knows; the first is the default.
pub const KNOWN_MODELS: [KnownModel; 4] = [
    KnownModel {
        repository: "facebook/map-anything-apache",
        architecture: "v1.1",
        parameters: V1_1_PARAMETERS,
        license: APACHE,
        files: FILES,
    },
    KnownModel {
        repository: "facebook/map-anything-apache-v1",
        architecture: "v1",
        parameters: V1_PARAMETERS,
        license: APACHE,
        files: FILES,
    },
    KnownModel {
        repository: "facebook/map-anything",
        architecture: "v1.1",
        parameters: V1_1_PARAMETERS,
        license: NON_COMMERCIAL,
        files: FILES,
    },
    KnownModel {
        repository: "facebook/map-anything-v1",
        architecture: "v1",
        parameters: V1_PARAMETERS,
        license: NON_COMMERCIAL,
        files: FILES,
    },
];

impl KnownModel {
    /// Returns the model that is used where none is named: its licence allows commercial use.
    pub fn default_model() -> &'static Self {
        &KNOWN_MODELS[0]
    }

    /// Returns the model of this name, with or without its owner, if there is one.
    pub fn named(name: &str) -> Option<&'static Self> {
        KNOWN_MODELS.iter().find(|model| model.repository == name || model.short_name() == name)
    }

    /// Returns the model of this name, or the default one for none.
    ///
    /// # Errors
    /// [`Error::Usage`] for an unknown name, with all that are known.
    pub fn choose(name: Option<&str>) -> Result<&'static Self> {
        let Some(name) = name else { return Ok(Self::default_model()) };
        Self::named(name).ok_or_else(|| {
            let known = KNOWN_MODELS.map(|model| model.repository).join(", ");
            Error::Usage(format!("there is no model '{name}'; available: {known}"))
        })
    }

    /// Returns the name without its owner.
    pub fn short_name(&self) -> &'static str {
        self.repository.rsplit('/').next().unwrap_or(self.repository)
    }

    /// Returns the size of the released tensors, bytes: they are single precision.
    pub fn released_bytes(&self) -> u64 {
        4 * self.parameters
    }

    /// Returns once it is sure that the user wants this licence: `accepted` names it, or none needs
    /// to be named.
    ///
    /// # Errors
    /// [`Error::Usage`] with the licence and how to accept it.
    pub fn check_license(&self, accepted: Option<&str>) -> Result<()> {
        let License { id, sentence, is_permissive } = self.license;
        if is_permissive || accepted.is_some_and(|name| name.eq_ignore_ascii_case(id)) {
            return Ok(());
        }
        let free = Self::default_model().repository;
        Err(Error::Usage(format!(
            "the weights of {} are under {id} ({sentence}); accept that with --accept-license {id}, \
             or take {free}, which is under {}",
            self.repository, APACHE.id
        )))
    }
}
