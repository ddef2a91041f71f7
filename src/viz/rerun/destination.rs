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
                "'{address}' is no address to serve at: give e.g. 'serve 0.0.0.0:{PORT}', and the \
                 recording before --rerun"
            )))),
            ["connect", url] => Ok(Self::Connect(url.to_owned())),
            ["connect"] => Ok(Self::Connect(format!("rerun+http://127.0.0.1:{PORT}/proxy"))),
            [other, ..] => Err(usage(&format!(
                "'{other}' is unknown: give 'save FILE.rrd', 'serve' or 'connect URL'"
            ))),
            [] => Err(usage("give 'save FILE.rrd', 'serve' or 'connect URL'")),
        }
    }
}

fn usage(problem: &str) -> Error {
    Error::Usage(format!("--rerun: {problem}"))
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
