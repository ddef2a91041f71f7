//! The hub's HTTP interface: what a file is, and its bytes from any place on.

use std::io::Read;
use std::time::Duration;

use ureq::http::{Response, StatusCode, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::cache::hub_home;

/// The hub, where no other is named.
const DEFAULT_ENDPOINT: &str = "https://huggingface.co";
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// A connection on which nothing comes for so long is taken up anew.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);
/// A repository that has moved sends on, at most so many times.
const MAX_REDIRECTS: usize = 5;

/// How the hub is reached.
#[derive(Debug, Clone)]
pub struct Hub {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
    is_offline: bool,
}

/// What the hub says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RemoteFile {
    /// The commit that the revision is at.
    pub commit: String,
    /// Entity tag of the content; the SHA-256 of large files.
    pub etag: String,
    /// Its size in bytes.
    pub size: u64,
    /// Where it is asked for; leads on to where the bytes are, by an address that expires.
    pub url: String,
}

/// Why the hub gave nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum HubError {
    /// The user wants no network.
    #[error("HF_HUB_OFFLINE is set")]
    Offline,
    /// No connection, or one that broke.
    #[error("{0}")]
    Unreachable(String),
    /// 401 or 403.
    #[error("access is refused; a token with the right to read it can be given as HF_TOKEN")]
    Refused,
    /// 404.
    #[error("there is no such file on the hub")]
    Missing,
    /// Any other status.
    #[error("the server answers with status {0}")]
    Status(u16),
    /// An answer that makes no sense.
    #[error("the server does not say {0}")]
    Incomplete(&'static str),
}

impl Hub {
    /// Returns the hub as the environment describes it: `HF_ENDPOINT`, `HF_TOKEN` (or the file
    /// `HF_HOME/token`) and `HF_HUB_OFFLINE`.
    pub fn from_vars(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
        let stored = || std::fs::read_to_string(hub_home(variable).join("token")).ok();
        let token = variable("HF_TOKEN").or_else(stored).map(|token| token.trim().to_owned());
        let is_set = |value: String| {
            ["1", "true", "yes", "on"].contains(&value.to_ascii_lowercase().as_str())
        };
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_LIMIT))
            .timeout_recv_response(Some(SILENCE_LIMIT))
            .timeout_per_read(Some(SILENCE_LIMIT))
            .user_agent(concat!("recon_node/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls)
            .build();
        Self {
            agent: config.new_agent(),
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: token.filter(|token| !token.is_empty()),
            is_offline: variable("HF_HUB_OFFLINE").is_some_and(is_set),
        }
    }

    /// Returns the address of a file; of their folder for an empty name.
    pub fn url(&self, repository: &str, revision: &str, file: &str) -> String {
        // The slashes of a revision such as refs/pr/1 are no folders.
        let revision = revision.replace('/', "%2F");
        format!("{}/{repository}/resolve/{revision}/{file}", self.endpoint)
    }

    /// Returns what the hub says of a file. Large ones lie elsewhere: the answer that sends there
    /// says what they are, so only redirects that say nothing are followed.
    pub(super) fn describe(
        &self,
        repository: &str,
        revision: &str,
        file: &str,
    ) -> Result<RemoteFile, HubError> {
        let mut url = self.url(repository, revision, file);
        for _ in 0..MAX_REDIRECTS {
            let response = self.head(&url)?;
            let status = response.status();
            let target = text(&response, "Location").map(|target| joined(&url, target));
            match target.filter(|_| status.is_redirection()) {
                Some(to) if text(&response, "X-Linked-Etag").is_none() => url = to,
                _ => return described(&response, url),
            }
        }
        Err(HubError::Status(StatusCode::LOOP_DETECTED.as_u16()))
    }

    /// Returns the bytes of a file from `start` on, and where they really begin: servers may begin
    /// at zero whatever is asked.
    pub(super) fn read(&self, url: &str, start: u64) -> Result<(u64, impl Read + use<>), HubError> {
        let mut url = url.to_owned();
        for _ in 0..MAX_REDIRECTS {
            let mut request = self.agent.get(&url).header(header::ACCEPT_ENCODING, "identity");
            if start > 0 {
                request = request.header(header::RANGE, format!("bytes={start}-"));
            }
            if let Some(token) = self.token_for(&url) {
                request = request.header(header::AUTHORIZATION, token);
            }
            let response = request.call().map_err(|error| unreachable(&error))?;
            match text(&response, "Location").filter(|_| response.status().is_redirection()) {
                Some(target) => url = joined(&url, target),
                None => return body(response, start),
            }
        }
        Err(HubError::Status(StatusCode::LOOP_DETECTED.as_u16()))
    }

    fn head(&self, url: &str) -> Result<Response<Body>, HubError> {
        if self.is_offline {
            return Err(HubError::Offline);
        }
        let mut request = self.agent.head(url).header(header::ACCEPT_ENCODING, "identity");
        if let Some(token) = self.token_for(url) {
            request = request.header(header::AUTHORIZATION, token);
        }
        let response = request.call().map_err(|error| unreachable(&error))?;
        match response.status().as_u16() {
            401 | 403 => Err(HubError::Refused),
            404 => Err(HubError::Missing),
            status @ 400.. => Err(HubError::Status(status)),
            _ => Ok(response),
        }
    }

    /// The token, for the hub alone: the servers that large files lie on must not see it.
    fn token_for(&self, url: &str) -> Option<String> {
        let token = self.token.as_ref().filter(|_| origin(url) == origin(&self.endpoint))?;
        Some(format!("Bearer {token}"))
    }
}

fn described(response: &Response<Body>, url: String) -> Result<RemoteFile, HubError> {
    let commit = text(response, "X-Repo-Commit").ok_or(HubError::Incomplete("its commit"))?;
    let etag = text(response, "X-Linked-Etag").or_else(|| text(response, "ETag"));
    let etag = etag.map(|tag| tag.trim_start_matches("W/").trim_matches('"'));
    let size = text(response, "X-Linked-Size").or_else(|| text(response, "Content-Length"));
    let size = size.and_then(|size| size.parse().ok());
    Ok(RemoteFile {
        commit: file_name(commit).ok_or(HubError::Incomplete("its commit"))?,
        etag: etag.and_then(file_name).ok_or(HubError::Incomplete("the file's entity tag"))?,
        size: size.ok_or(HubError::Incomplete("the file's size"))?,
        url,
    })
}

/// `name` if it can be one in a folder: it comes from outside.
fn file_name(name: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_name = !name.is_empty() && !name.starts_with('.') && name.chars().all(is_plain);
    is_name.then(|| name.to_owned())
}

fn body(response: Response<Body>, start: u64) -> Result<(u64, impl Read + use<>), HubError> {
    let begins = match response.status() {
        StatusCode::PARTIAL_CONTENT => start,
        StatusCode::OK => 0,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(HubError::Refused),
        StatusCode::NOT_FOUND => return Err(HubError::Missing),
        other => return Err(HubError::Status(other.as_u16())),
    };
    Ok((begins, response.into_body().into_reader()))
}

fn unreachable(error: &ureq::Error) -> HubError {
    HubError::Unreachable(error.to_string())
}

fn text<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// `scheme://host:port` of an address.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find('/').map_or(url.len(), |at| host + at);
    &url[..end]
}

/// The address that a redirect leads to, which may be relative.
fn joined(url: &str, target: &str) -> String {
    match target {
        _ if target.contains("://") => target.to_owned(),
        _ if target.starts_with('/') => format!("{}{target}", origin(url)),
        _ => format!("{}/{target}", url.rsplit_once('/').map_or(url, |(folder, _)| folder)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_joined_as_browsers_do() {
        let from = "http://a:1/x/y?z";
        let cases =
            [("https://b/c", "https://b/c"), ("/p/q", "http://a:1/p/q"), ("q", "http://a:1/x/q")];
        for (target, expected) in cases {
            assert_eq!(joined(from, target), expected);
        }
    }

    #[test]
    fn a_name_from_outside_cannot_leave_its_folder() {
        for name in ["", "..", "../x", "a/b", ".hidden", "a\\b", "a b"] {
            assert_eq!(file_name(name), None, "{name}");
        }
        assert_eq!(file_name("0a-9_z.x").as_deref(), Some("0a-9_z.x"));
    }
}
