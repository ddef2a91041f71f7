//! A small hub of one's own: real HTTP over a real socket, with everything that can go wrong.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use sha2::{Digest, Sha256};

/// The commit that `main` is at.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// The entity tag of small files, which is no SHA-256.
pub const SMALL_ETAG: &str = "89abcdef0123456789abcdef0123456789abcdef";

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The first byte that is asked for.
    pub fn start(&self) -> usize {
        let range = self.header("range").and_then(|r| r.strip_prefix("bytes="));
        range.and_then(|r| r.strip_suffix('-')?.parse().ok()).unwrap_or(0)
    }
}

/// An answer; the connection breaks after `cut` bytes of the body.
pub struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    cut: Option<usize>,
}

impl Response {
    fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), cut: None }
    }

    fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }
}

/// Answers each request by a function, on a thread of its own.
pub struct Server {
    pub address: String,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(answer: impl Fn(&Request) -> Response + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (requests, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (log, stopped) = (Arc::clone(&requests), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                // A client that goes away in the middle is what some tests are about.
                let _ = serve(stream.unwrap(), &answer, &log);
            }
        });
        Self { address, requests, stop, thread: Some(thread) }
    }

    /// Returns all requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Returns the first bytes that were asked for, of each request for content.
    pub fn starts(&self) -> Vec<usize> {
        let requests = self.requests();
        requests.iter().filter(|r| r.method == "GET").map(Request::start).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread up; if that fails it has ended already.
        let _ = TcpStream::connect(self.address.trim_start_matches("http://"));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    stream: TcpStream,
    answer: &impl Fn(&Request) -> Response,
    log: &Mutex<Vec<Request>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(()) };
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let request = Request { method, path, headers };
    let response = answer(&request);
    let is_head = request.method == "HEAD";
    log.lock().unwrap().push(request);
    let mut stream = reader.into_inner();
    write!(stream, "HTTP/1.1 {} X\r\nConnection: close\r\n", response.status)?;
    for (name, value) in &response.headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    let has_length = response.headers.iter().any(|(name, _)| name == "Content-Length");
    if !has_length {
        write!(stream, "Content-Length: {}\r\n", response.body.len())?;
    }
    write!(stream, "\r\n")?;
    let end = response.cut.unwrap_or(usize::MAX).min(response.body.len());
    stream.write_all(if is_head { &[] } else { &response.body[..end] })
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a hub has, and how it misbehaves.
#[derive(Debug, Clone, Default)]
pub struct Hub {
    /// Content of `model.safetensors`, which lies on another server.
    pub tensors: Vec<u8>,
    /// Content of `config.json`.
    pub config: Vec<u8>,
    /// Who may read.
    pub token: Option<String>,
    /// Each connection breaks after so many bytes of the tensors.
    pub cut: Option<usize>,
    /// Whether ranges are ignored.
    pub ignores_ranges: bool,
    /// Whether the tensors come with a bit changed.
    pub is_damaged: bool,
    /// The entity tag of the configuration, where it is not a decent one.
    pub strange_etag: Option<String>,
    /// Files that are not there.
    pub lacks: Option<String>,
}

impl Hub {
    /// Returns a hub with some thousand bytes that are all different.
    pub fn new() -> Self {
        let tensors = (0..200_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes());
        Self { tensors: tensors.collect(), config: b"{\"name\": 1}".to_vec(), ..Self::default() }
    }

    /// Returns it running: the hub, and the server that large files lie on.
    pub fn start(self) -> (Server, Server) {
        let storage = self.clone();
        let storage = Server::start(move |request| storage.content(request));
        let address = storage.address.clone();
        (Server::start(move |request| self.answer(request, &address)), storage)
    }

    /// The server that large files lie on.
    fn content(&self, request: &Request) -> Response {
        let mut body = self.tensors.clone();
        if self.is_damaged {
            body[1000] ^= 1;
        }
        let start = if self.ignores_ranges { 0 } else { request.start() };
        let body = body[start..].to_vec();
        let status = if start > 0 { 206 } else { 200 };
        let response = Response::new(status).with("Content-Length", body.len());
        Response { body, cut: self.cut, ..response }
    }

    fn answer(&self, request: &Request, storage: &str) -> Response {
        let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
        if bearer.is_some() && bearer.as_deref() != request.header("authorization") {
            return Response::new(401);
        }
        // A repository that has been renamed.
        if let Some(rest) = request.path.strip_prefix("/facebook/map-anything-v1/") {
            return Response::new(307).with("Location", format!("/facebook/renamed/{rest}"));
        }
        let name = request.path.rsplit('/').next().unwrap_or_default();
        let response = Response::new(200).with("X-Repo-Commit", COMMIT);
        match name {
            _ if self.lacks.as_deref() == Some(name) => Response::new(404),
            "config.json" => {
                let etag = self.strange_etag.as_deref().unwrap_or(SMALL_ETAG);
                let response = response.with("ETag", format!("W/\"{etag}\""));
                let response = response.with("Content-Length", self.config.len());
                Response { body: self.config.clone(), ..response }
            }
            "model.safetensors" => Response { status: 302, ..response }
                .with("X-Linked-Etag", format!("\"{}\"", sha256(&self.tensors)))
                .with("X-Linked-Size", self.tensors.len())
                .with("Location", format!("{storage}/bucket/model?signature=1")),
            _ => Response::new(404),
        }
    }
}
