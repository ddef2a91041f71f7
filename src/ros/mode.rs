//! Whether the map grows.

/// What is done with frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The map grows by them.
    Mapping,
    /// They are placed in the map, which does not change.
    Localization,
}

impl Mode {
    /// Returns the name that people know it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mapping => "mapping",
            Self::Localization => "localization",
        }
    }

    /// Returns the mode of a name.
    ///
    /// # Errors
    /// One sentence with all names.
    pub fn from_name(name: &str) -> Result<Self, String> {
        let all = [Self::Mapping, Self::Localization];
        let found = all.into_iter().find(|mode| mode.name() == name);
        found.ok_or_else(|| format!("there is no mode '{name}': it is mapping or localization"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_go_by_their_names() {
        for mode in [Mode::Mapping, Mode::Localization] {
            assert_eq!(Mode::from_name(mode.name()), Ok(mode));
        }
        assert!(Mode::from_name("sleeping").unwrap_err().contains("'sleeping'"));
    }
}
