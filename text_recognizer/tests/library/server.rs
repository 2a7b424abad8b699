//! HTTP servers on the loopback interface, which run until the test process ends.

use std::io::{BufRead, BufReader, Cursor, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use tiny_http::{Header, Request, Response, Server, StatusCode};

/// A server of one file, which supports ranges and answers 404 for any other path.
pub struct Correct {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Correct {
    pub fn serve(name: &str, bytes: Vec<u8>) -> Self {
        let server = Server::http("127.0.0.1:0").unwrap();
        let address = server.server_addr().to_ip().unwrap();
        let requests = Arc::new(Mutex::new(vec![]));
        let (seen, path) = (requests.clone(), format!("/{name}"));
        thread::spawn(move || {
            for request in server.incoming_requests() {
                let range = header(&request, "Range").unwrap_or("bytes=none".into());
                seen.lock().unwrap().push(range.clone());
                let answer = if request.url() == path { file(&bytes, &range) } else { empty(404) };
                request.respond(answer).unwrap();
            }
        });
        Self { address, requests }
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Returns the `Range` headers so far, `bytes=none` for a request without one.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

type Bytes = Cursor<Vec<u8>>;

fn header(request: &Request, name: &'static str) -> Option<String> {
    let header = request.headers().iter().find(|h| h.field.equiv(name))?;
    Some(header.value.to_string())
}

fn empty(status: u16) -> Response<Bytes> {
    Response::from_data(vec![]).with_status_code(StatusCode(status))
}

fn file(bytes: &[u8], range: &str) -> Response<Bytes> {
    let Some(start) = range.strip_prefix("bytes=").and_then(|r| r.strip_suffix('-')) else {
        return Response::from_data(bytes).with_chunked_threshold(usize::MAX);
    };
    let start: usize = start.parse().unwrap();
    if start >= bytes.len() {
        return empty(416);
    }
    let range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
    Response::from_data(&bytes[start..])
        .with_status_code(StatusCode(206))
        .with_header(Header::from_bytes("Content-Range", range).unwrap())
        .with_chunked_threshold(usize::MAX)
}

/// A request to a faulty server.
pub struct Received {
    /// The first byte of the range, 0 for a request without one.
    pub range_start: usize,
}

/// The bytes that a faulty server sends before it closes the connection.
pub struct Answer(Vec<u8>);

impl Answer {
    pub fn whole(bytes: &[u8]) -> Self {
        Self(b"HTTP/1.1 200 OK\r\n".to_vec()).announces(bytes.len()).sends(bytes)
    }

    pub fn without_length(bytes: &[u8]) -> Self {
        Self(b"HTTP/1.1 200 OK\r\nConnection: close\r\n".to_vec()).sends(bytes)
    }

    pub fn range(start: usize, total: usize) -> Self {
        Self(match start {
            0 => b"HTTP/1.1 200 OK\r\n".to_vec(),
            _ => format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-{}/{total}\r\n",
                total - 1
            )
            .into(),
        })
    }

    pub fn nothing() -> Self {
        Self(vec![])
    }

    pub fn announces(mut self, length: usize) -> Self {
        self.0.extend(format!("Content-Length: {length}\r\n").bytes());
        self
    }

    pub fn sends(mut self, body: &[u8]) -> Self {
        self.0.extend(b"\r\n");
        self.0.extend(body);
        self
    }
}

/// A faulty server, which answers each request with the result of a function and closes the connection.
pub struct Faulty {
    address: SocketAddr,
    range_starts: Arc<Mutex<Vec<usize>>>,
}

impl Faulty {
    pub fn serve(answer: impl Fn(&Received) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let range_starts = Arc::new(Mutex::new(vec![]));
        let seen = range_starts.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let range_start = range_start(&stream);
                seen.lock().unwrap().push(range_start);
                // A client may close the connection first.
                let _ = stream.write_all(&answer(&Received { range_start }).0);
            }
        });
        Self { address, range_starts }
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Returns the first bytes of the requested ranges so far.
    pub fn range_starts(&self) -> Vec<usize> {
        self.range_starts.lock().unwrap().clone()
    }
}

fn range_start(stream: &TcpStream) -> usize {
    let lines = BufReader::new(stream).lines().map(Result::unwrap).take_while(|line| !line.is_empty());
    let lines: Vec<String> = lines.map(|line| line.to_lowercase()).collect();
    let range = lines.iter().find_map(|line| line.strip_prefix("range: bytes=")?.strip_suffix('-'));
    range.map_or(0, |start| start.parse().unwrap())
}
