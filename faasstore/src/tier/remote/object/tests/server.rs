//! As much of S3 as the tier asks for, over HTTP/1.1: put, get by range, head, delete, and uploads in parts.

use crate::tier::book::lock;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    None,
    /// Every answer but that of a delete.
    Status(u16, &'static str),
    /// The next answer.
    Once(u16),
    /// Every connection ends instead of an answer.
    Cut,
    /// Nothing is answered.
    Silence,
}

#[derive(Debug)]
struct State {
    objects: BTreeMap<String, Vec<u8>>,
    uploads: BTreeMap<String, BTreeMap<u32, Vec<u8>>>,
    last_upload: u32,
    fault: Fault,
    ended: bool,
}

/// The server, in threads of its own.
#[derive(Debug)]
pub(super) struct Server {
    state: Arc<Mutex<State>>,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        lock(&self.state).ended = true;
        // The thread that accepts sees it with the next connection.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Server {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State {
            objects: BTreeMap::new(),
            uploads: BTreeMap::new(),
            last_upload: 0,
            fault: Fault::None,
            ended: false,
        }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if lock(&shared).ended {
                    return;
                }
                let (Ok(stream), state) = (stream, Arc::clone(&shared)) else {
                    return;
                };
                std::thread::spawn(move || while let Some(()) = serve(&stream, &state) {});
            }
        });
        Self { state, port }
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(super) fn fail(&self, fault: Fault) {
        lock(&self.state).fault = fault;
    }

    /// Objects, and uploads that are neither completed nor aborted.
    pub(super) fn count(&self) -> usize {
        let state = lock(&self.state);
        state.objects.len() + state.uploads.len()
    }

    pub(super) fn names(&self) -> Vec<String> {
        lock(&self.state).objects.keys().cloned().collect()
    }

    pub(super) fn damage(&self, name: &str, at: u64) {
        lock(&self.state).objects.get_mut(name).unwrap()[at as usize] ^= 1;
    }
}

struct Request {
    method: String,
    name: String,
    query: BTreeMap<String, String>,
    range: Option<(usize, usize)>,
    body: Vec<u8>,
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::with_capacity(1 << 16, stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut length, mut range) = (0, None);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "range" => {
                let (from, to) = value
                    .strip_prefix("bytes=")
                    .unwrap()
                    .split_once('-')
                    .unwrap();
                range = Some((from.parse().unwrap(), to.parse::<usize>().unwrap() + 1));
            }
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    assert!(reader.buffer().is_empty(), "a client waits for its answer");
    let (name, query) = target.split_once('?').unwrap_or((&target, ""));
    let pairs = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    Some(Request {
        method,
        name: name.to_owned(),
        query: pairs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        range,
        body,
    })
}

/// One request; nothing when the connection is over.
fn serve(mut stream: &TcpStream, state: &Mutex<State>) -> Option<()> {
    let request = read(stream)?;
    let fault = lock(state).fault;
    let (status, headers, body) = match fault {
        Fault::Cut => return None,
        Fault::Silence => {
            while lock(state).fault == Fault::Silence && !lock(state).ended {
                std::thread::sleep(Duration::from_millis(5));
            }
            return None;
        }
        Fault::Status(status, code) if request.method != "DELETE" => refusal(status, code),
        Fault::Once(status) => {
            lock(state).fault = Fault::None;
            refusal(status, "SlowDown")
        }
        _ => answer(&request, &mut lock(state)),
    };
    let mut head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
    if request.method == "HEAD" {
        // It says how long the object is, and sends nothing of it; which here is always nothing.
        assert!(body.is_empty());
    }
    for header in headers {
        head.push_str(&header);
        head.push_str("\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
    stream.write_all(&body).ok()
}

type Answer = (u16, Vec<String>, Vec<u8>);

fn refusal(status: u16, code: &str) -> Answer {
    let body = format!("<Error><Code>{code}</Code><Message>no</Message></Error>");
    (status, Vec::new(), body.into_bytes())
}

fn answer(request: &Request, state: &mut State) -> Answer {
    let tag = || vec!["ETag: \"1\"".to_owned()];
    let upload = request.query.get("uploadId");
    match (request.method.as_str(), upload) {
        ("POST", None) if request.query.contains_key("uploads") => {
            state.last_upload += 1;
            let id = format!("upload-{}", state.last_upload);
            state.uploads.insert(id.clone(), BTreeMap::new());
            let body = format!(
                "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
            );
            (200, Vec::new(), body.into_bytes())
        }
        ("PUT", Some(id)) => {
            let number = request.query["partNumber"].parse().unwrap();
            match state.uploads.get_mut(id) {
                Some(parts) => {
                    parts.insert(number, request.body.clone());
                    (200, tag(), Vec::new())
                }
                None => refusal(404, "NoSuchUpload"),
            }
        }
        ("POST", Some(id)) => match state.uploads.remove(id) {
            Some(parts) => {
                let last = parts.len();
                let small = parts
                    .values()
                    .take(last - 1)
                    .any(|part| part.len() < 5 << 20);
                assert!(!small, "parts but the last have 5 MiB");
                state.objects.insert(
                    request.name.clone(),
                    parts.into_values().flatten().collect(),
                );
                let body = "<CompleteMultipartUploadResult><ETag>\"1\"</ETag></CompleteMultipartUploadResult>";
                (200, Vec::new(), body.as_bytes().to_vec())
            }
            None => refusal(404, "NoSuchUpload"),
        },
        ("DELETE", Some(id)) => {
            state.uploads.remove(id);
            (204, Vec::new(), Vec::new())
        }
        ("PUT", None) => {
            state
                .objects
                .insert(request.name.clone(), request.body.clone());
            (200, tag(), Vec::new())
        }
        ("DELETE", None) => {
            state.objects.remove(&request.name);
            (204, Vec::new(), Vec::new())
        }
        ("GET" | "HEAD", _) => {
            let Some(object) = state.objects.get(&request.name) else {
                return match request.method.as_str() {
                    "HEAD" => (404, Vec::new(), Vec::new()),
                    _ => refusal(404, "NoSuchKey"),
                };
            };
            let mut headers = tag();
            headers.push("Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT".to_owned());
            match request.range {
                Some((from, to)) if from < object.len() => {
                    let to = to.min(object.len());
                    headers.push(format!(
                        "Content-Range: bytes {from}-{}/{}",
                        to - 1,
                        object.len()
                    ));
                    (206, headers, object[from..to].to_vec())
                }
                Some(_) => refusal(416, "InvalidRange"),
                None => (200, headers, object.clone()),
            }
        }
        _ => refusal(400, "NotImplemented"),
    }
}
