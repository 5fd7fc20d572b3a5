//! The live page of `demo --serve`: GET only, on 127.0.0.1 only, from memory
//! and from the demo's own folder.
//!
//! A page is never more important than the line: at most [`CONNECTIONS_MAX`]
//! are served at a time, each with a deadline, and the line's side only ever
//! swaps an `Arc`.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use log::{debug, warn};
use touchstone_models::files;

use crate::exit::Failure;

/// Connections served at a time; more are turned away.
pub const CONNECTIONS_MAX: usize = 4;
const REQUEST_BYTES_MAX: usize = 4096;
const HEADERS_MAX: usize = 32;
/// A request must be here, and its answer gone, within this time.
const DEADLINE: Duration = Duration::from_secs(5);
const FILE_BYTES_MAX: u64 = 16 << 20;
const NAP: Duration = Duration::from_millis(50);

const PAGE: &str = include_str!("serve/page.html");

/// What the page shows.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// State of the line as JSON.
    pub status: Arc<str>,
    /// Overlay of the latest part as PNG.
    pub picture: Arc<[u8]>,
}

/// Serves until it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    live: Arc<Mutex<Live>>,
    quit: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    /// Listens on `port` (0: any free one); `folder` holds the report.
    ///
    /// # Errors
    /// The port is taken.
    pub fn start(port: u16, folder: &Path) -> Result<Self, Failure> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|e| {
            Failure::Use(format!("cannot listen on 127.0.0.1:{port}: {e}; choose another --port"))
        })?;
        let failed = |e: io::Error| Failure::Hardware(format!("the page's listener: {e}"));
        let address = listener.local_addr().map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let live = Arc::new(Mutex::new(Live { status: "{}".into(), ..Live::default() }));
        let quit = Arc::new(AtomicBool::new(false));
        let site = Arc::new(Site { live: Arc::clone(&live), folder: folder.to_owned() });
        let told = Arc::clone(&quit);
        let thread = thread::Builder::new()
            .name("page".to_owned())
            .spawn(move || listen(&listener, &site, &told))
            .map_err(failed)?;
        Ok(Self { address, live, quit, thread: Some(thread) })
    }

    /// Where the page is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Shows something new.
    pub fn show(&self, change: impl FnOnce(&mut Live)) {
        // Readers hold the lock only to clone two pointers.
        change(&mut self.live.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.quit.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the page must not become one of the line.
            let _ = thread.join();
        }
    }
}

struct Site {
    live: Arc<Mutex<Live>>,
    folder: PathBuf,
}

fn listen(listener: &TcpListener, site: &Arc<Site>, quit: &AtomicBool) {
    let busy = Arc::new(AtomicUsize::new(0));
    while !quit.load(Ordering::Relaxed) {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                thread::sleep(NAP);
                continue;
            }
            Err(e) => {
                debug!("page: {e}");
                thread::sleep(NAP);
                continue;
            }
        };
        if busy.load(Ordering::Relaxed) >= CONNECTIONS_MAX {
            turn_away(stream);
            continue;
        }
        busy.fetch_add(1, Ordering::Relaxed);
        let (site, done) = (Arc::clone(site), Arc::clone(&busy));
        let served = thread::Builder::new().name("page-get".to_owned()).spawn(move || {
            if let Err(e) = site.serve(stream) {
                debug!("page: {e}");
            }
            done.fetch_sub(1, Ordering::Relaxed);
        });
        if let Err(e) = served {
            busy.fetch_sub(1, Ordering::Relaxed);
            warn!("page: no thread: {e}");
        }
    }
}

fn turn_away(mut stream: TcpStream) {
    let answer = response("503 Service Unavailable", "text/plain", b"busy, try again\n");
    // Whoever is turned away may be gone already.
    let _ = stream.set_write_timeout(Some(NAP)).and_then(|()| stream.write_all(&answer));
}

impl Site {
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(DEADLINE))?;
        let answer = match read_request(&mut stream)? {
            Some(path) => self.answer(&path),
            None => response("400 Bad Request", "text/plain", b"only GET is served here\n"),
        };
        stream.write_all(&answer)
    }

    fn answer(&self, path: &str) -> Vec<u8> {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match path.split('?').next().unwrap_or("/") {
            "/" => response("200 OK", "text/html; charset=utf-8", PAGE.as_bytes()),
            "/status.json" => response("200 OK", "application/json", live.status.as_bytes()),
            "/latest.png" if !live.picture.is_empty() => {
                response("200 OK", "image/png", &live.picture)
            }
            path => match self.file(path) {
                Some((kind, bytes)) => response("200 OK", kind, &bytes),
                None => response("404 Not Found", "text/plain", b"there is no such page\n"),
            },
        }
    }

    /// The report and its pictures, and nothing else: names are looked up in
    /// the shape that the demo gives them, so that no path leads elsewhere.
    fn file(&self, path: &str) -> Option<(&'static str, Vec<u8>)> {
        let plain = |name: &str| {
            let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
            let stem = name.strip_suffix(".png")?;
            (!stem.is_empty() && stem.bytes().all(fits)).then_some(())
        };
        let (kind, file) = match path {
            "/report/" | "/report/index.html" => {
                ("text/html; charset=utf-8", self.folder.join("index.html"))
            }
            _ => {
                let name = path.strip_prefix("/report/overlays/")?;
                plain(name)?;
                ("image/png", self.folder.join("overlays").join(name))
            }
        };
        Some((kind, files::read_limited(&file, FILE_BYTES_MAX).ok()?))
    }
}

/// The path of a GET request; `None` for any other request.
fn read_request(stream: &mut TcpStream) -> io::Result<Option<String>> {
    let start = Instant::now();
    let mut buffer = [0u8; REQUEST_BYTES_MAX];
    let mut len = 0;
    loop {
        let left = DEADLINE.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let read = stream.read(&mut buffer[len..])?;
        len += read;
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&buffer[..len]) {
            Ok(httparse::Status::Complete(_)) => {
                let get = request.method == Some("GET");
                return Ok(request.path.filter(|_| get).map(str::to_owned));
            }
            Ok(httparse::Status::Partial) if read > 0 && len < buffer.len() => {}
            Ok(httparse::Status::Partial) | Err(_) => return Ok(None),
        }
    }
}

fn response(status: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(body);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn page(server: &Server, path: &str) -> String {
        get(server.address(), &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
    }

    #[test]
    fn serves_the_page_the_status_and_the_report_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("overlays")).unwrap();
        std::fs::write(dir.path().join("overlays/part-1.png"), b"PNG").unwrap();
        std::fs::write(dir.path().join("secret.txt"), b"secret").unwrap();
        let server = Server::start(0, dir.path()).unwrap();
        assert!(page(&server, "/").contains("<!doctype html>"));
        assert!(page(&server, "/latest.png").starts_with("HTTP/1.1 404"));
        server.show(|live| {
            live.status = "{\"parts\":3}".into();
            live.picture = b"png".as_slice().into();
        });
        assert!(page(&server, "/status.json?n=1").ends_with("{\"parts\":3}"));
        assert!(page(&server, "/latest.png").ends_with("png"));
        assert!(page(&server, "/report/").starts_with("HTTP/1.1 404"), "not written yet");
        assert!(page(&server, "/report/overlays/part-1.png").ends_with("PNG"));
        for path in [
            "/secret.txt",
            "/report/../secret.txt",
            "/report/overlays/../secret.txt",
            "/report/overlays/.png",
            "/report/overlays/%2e%2e/secret.txt",
        ] {
            assert!(page(&server, path).starts_with("HTTP/1.1 404"), "{path}");
        }
    }

    #[test]
    fn refuses_what_is_no_get_request() {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(0, dir.path()).unwrap();
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(2 * REQUEST_BYTES_MAX));
        for bad in ["POST / HTTP/1.1\r\n\r\n", "\x00\x01\x02\r\n\r\n", &long] {
            let mut stream = TcpStream::connect(server.address()).unwrap();
            // The server may answer and hang up before all of it is sent.
            let _ = stream.write_all(bad.as_bytes());
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            let text = String::from_utf8_lossy(&answer);
            assert!(text.is_empty() || text.starts_with("HTTP/1.1 400"), "{text}");
        }
    }

    #[test]
    fn a_taken_port_is_a_clear_error() {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(0, dir.path()).unwrap();
        let error = Server::start(server.address().port(), dir.path()).unwrap_err().to_string();
        assert!(error.contains("choose another --port"), "{error}");
    }
}
