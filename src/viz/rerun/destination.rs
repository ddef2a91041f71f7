//! Where a recording goes.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::error::{Error, Result};

/// The port at which rerun's viewers look for a recording.
const PORT: u16 = 9876;

/// Where a recording goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Into a file.
    Save(PathBuf),
    /// To viewers that come to this address.
    Serve(SocketAddr),
    /// To the viewer at this URL.
    Connect(String),
}

impl Destination {
    /// Returns what a text of the same words stands for; a file may have blanks in its name.
    ///
    /// # Errors
    /// As [`Destination::parse`].
    pub fn from_text(text: &str) -> Result<Self> {
        let words: Vec<String> = text.trim().splitn(2, ' ').map(|w| w.trim().to_owned()).collect();
        Self::parse(&words)
    }

    /// Returns where the `count`-th recording after this one goes: into a file of its own, and to
    /// the viewers that look at this one.
    #[must_use]
    pub fn after(&self, count: usize) -> Self {
        match self {
            Self::Save(path) => {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                let ending = path.extension().unwrap_or_default().to_string_lossy();
                let dot = if ending.is_empty() { "" } else { "." };
                Self::Save(path.with_file_name(format!("{stem}_session{count}{dot}{ending}")))
            }
            Self::Serve(address) if address.ip().is_unspecified() => {
                Self::Connect(url(&SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()))))
            }
            Self::Serve(address) => Self::Connect(url(address)),
            Self::Connect(url) => Self::Connect(url.clone()),
        }
    }

    /// Returns what `save FILE`, `serve`, `serve ADDRESS:PORT` or `connect URL` stand for.
    ///
    /// # Errors
    /// [`Error::Usage`] that says what is missing or makes no sense.
    pub fn parse(words: &[String]) -> Result<Self> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words[..] {
            ["save", file] if !file.is_empty() => Ok(Self::Save(file.into())),
            ["save", ..] => Err(usage("save needs a file, e.g. 'save run.rrd'")),
            ["serve"] => Ok(Self::Serve(SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)))),
            ["serve", address] => address.parse().map(Self::Serve).or(Err(usage(&format!(
                "'{address}' is no address to serve at: give e.g. 'serve 0.0.0.0:{PORT}' (on the \
                 command line the recording comes before --rerun)"
            )))),
            ["connect", url] => Ok(Self::Connect(url.to_owned())),
            ["connect"] => Ok(Self::Connect(url(&SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))))),
            [other, ..] => Err(usage(&format!(
                "'{other}' is unknown: give 'save FILE.rrd', 'serve' or 'connect URL'"
            ))),
            [] => Err(usage("give 'save FILE.rrd', 'serve' or 'connect URL'")),
        }
    }
}

/// Returns where viewers find what is served at an address.
pub(super) fn url(address: &SocketAddr) -> String {
    format!("rerun+http://{address}/proxy")
}

fn usage(problem: &str) -> Error {
    Error::Usage(format!("rerun: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Destination> {
        Destination::parse(&words.iter().map(|&w| w.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn each_way_of_watching_is_understood() {
        let cases = [
            (&["save", "a.rrd"][..], Destination::Save("a.rrd".into())),
            (&["serve"], Destination::Serve(SocketAddr::from(([127, 0, 0, 1], 9876)))),
            (&["serve", "0.0.0.0:80"], Destination::Serve(SocketAddr::from(([0, 0, 0, 0], 80)))),
            (&["connect"], Destination::Connect("rerun+http://127.0.0.1:9876/proxy".to_owned())),
            (&["connect", "x"], Destination::Connect("x".to_owned())),
        ];
        for (words, expected) in cases {
            assert_eq!(parsed(words).unwrap(), expected);
        }
    }

    #[test]
    fn a_text_is_as_good_as_words() {
        let cases = [
            ("serve", Destination::Serve(SocketAddr::from(([127, 0, 0, 1], 9876)))),
            (" save  my run.rrd ", Destination::Save("my run.rrd".into())),
            ("connect x", Destination::Connect("x".to_owned())),
        ];
        for (text, expected) in cases {
            assert_eq!(Destination::from_text(text).unwrap(), expected);
        }
        assert!(Destination::from_text("").is_err());
    }

    #[test]
    fn later_recordings_go_to_files_of_their_own_or_to_the_same_viewers() {
        let served = "rerun+http://127.0.0.1:80/proxy";
        let cases = [
            ("save a/b.rrd", "save a/b_session2.rrd"),
            ("save b", "save b_session2"),
            ("serve 127.0.0.1:80", &format!("connect {served}")),
            ("serve 0.0.0.0:80", &format!("connect {served}")),
            ("connect x", "connect x"),
        ];
        for (first, third) in cases {
            let (first, third) = (Destination::from_text(first), Destination::from_text(third));
            assert_eq!(first.unwrap().after(2), third.unwrap());
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_would() {
        let cases = [
            (&["save"][..], "save needs a file"),
            (&["serve", "room"], "'room' is no address"),
            (&["watch"], "'watch' is unknown"),
            (&[], "save FILE.rrd"),
        ];
        for (words, expected) in cases {
            let message = parsed(words).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
