//! Opens recordings, and says what is wrong where that fails.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use rerun::{PlaybackBehavior, RecordingStream, RecordingStreamBuilder, ServerOptions};

use super::Destination;
use super::destination::url;
use super::layout::blueprint;
use crate::error::{Error, Result};

/// What recordings of this program are called.
const APPLICATION: &str = "recon";
/// How long a viewer may take to answer.
const ANSWER: Duration = Duration::from_secs(3);

/// Returns a recording that goes to `destination`.
///
/// # Errors
/// [`Error::Io`] where a file cannot be written, [`Error::Usage`] where an address cannot be used.
pub(super) fn open(destination: &Destination, name: &str) -> Result<RecordingStream> {
    // The environment variable RERUN switches nothing off here: who gives the option wants it.
    let builder = RecordingStreamBuilder::new(APPLICATION)
        .recording_name(name)
        .enabled(true)
        .with_blueprint(blueprint());
    match destination {
        Destination::Save(path) => save(builder, path),
        Destination::Serve(address) => serve(builder, *address),
        Destination::Connect(url) => connect(builder, url),
    }
}

/// Returns where viewers find what is served.
pub(super) fn address(destination: &Destination) -> Option<String> {
    match destination {
        Destination::Serve(address) => Some(url(address)),
        Destination::Save(_) | Destination::Connect(_) => None,
    }
}

fn save(builder: RecordingStreamBuilder, path: &Path) -> Result<RecordingStream> {
    // What the system says of the file is said in our words.
    File::create(path).map_err(Error::io(path, "write the recording for the viewer"))?;
    let remedy = "give a file in a folder that can be written to";
    builder.save(path).map_err(|problem| Error::input(path, problem.to_string(), remedy))
}

fn serve(builder: RecordingStreamBuilder, address: SocketAddr) -> Result<RecordingStream> {
    let refused = |problem: String| {
        Error::Usage(format!(
            "rerun serve: cannot serve at {address}: {problem}; give another address"
        ))
    };
    // The server itself would only end its thread.
    TcpListener::bind(address).map_err(|problem| refused(problem.to_string()))?;
    let options = ServerOptions {
        // Viewers that come late see all of it.
        playback_behavior: PlaybackBehavior::OldestFirst,
        ..ServerOptions::default()
    };
    let stream = builder.serve_grpc_opts(address.ip().to_string(), address.port(), options);
    stream.map_err(|problem| refused(problem.to_string()))
}

fn connect(builder: RecordingStreamBuilder, url: &str) -> Result<RecordingStream> {
    let refused = |problem: String| {
        let remedy = "start the viewer with 'rerun' first, and give its URL, such as \
                      rerun+http://127.0.0.1:9876/proxy";
        Error::Usage(format!("rerun connect: {url}: {problem}; {remedy}"))
    };
    let host = host(url).ok_or_else(|| refused("this is no URL of a viewer".to_owned()))?;
    reach(host).map_err(|problem| refused(format!("no viewer answers: {problem}")))?;
    builder.connect_grpc_opts(url).map_err(|problem| refused(problem.to_string()))
}

/// Host and port of a viewer's URL.
fn host(url: &str) -> Option<&str> {
    let rest = ["rerun+http://", "rerun+https://", "rerun://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme))?;
    rest.strip_suffix("/proxy").filter(|host| !host.is_empty())
}

/// The library would try for ever.
fn reach(host: &str) -> std::io::Result<()> {
    let mut last = std::io::Error::other("its host has no address");
    for address in host.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, ANSWER) {
            Ok(_) => return Ok(()),
            Err(problem) => last = problem,
        }
    }
    Err(last)
}
