//! An HTTP proxy in front of a registry, which fails as networks and registries do.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio_rustls::rustls;

/// A request as the proxy got it.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) method: String,
    /// With the query.
    pub(super) path: String,
    /// In lower case.
    headers: String,
    pub(super) body: Vec<u8>,
}

impl Asked {
    pub(super) fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.path.contains(part)
    }

    pub(super) fn has(&self, header: &str) -> bool {
        self.headers.contains(header)
    }
}

/// What the proxy does with a request.
pub(super) enum Reply {
    /// The registry answers.
    Pass,
    /// The registry answers, and the connection ends after so many bytes of the body.
    Cut(usize),
    /// The connection ends without an answer.
    Drop,
    /// The proxy answers: a status, further headers, a body.
    Say(&'static str, String, String),
}

pub(super) fn say(status: &'static str) -> Reply {
    Reply::Say(status, String::new(), String::new())
}

/// Decides about each request.
type Rule = Box<dyn FnMut(&Asked) -> Reply + Send>;

/// An HTTP proxy in front of a registry. One request a connection.
pub(super) struct Proxy {
    pub(super) port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    rule: Arc<Mutex<Rule>>,
}

impl Proxy {
    pub(super) fn start(registry: u16, rule: impl FnMut(&Asked) -> Reply + Send + 'static) -> Self {
        Self::with_tls(registry, None, rule)
    }

    pub(super) fn with_tls(
        registry: u16,
        tls: Option<Arc<ServerConfig>>,
        rule: impl FnMut(&Asked) -> Reply + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let rule: Rule = Box::new(rule);
        let proxy = Self {
            port,
            asked: Arc::default(),
            rule: Arc::new(Mutex::new(rule)),
        };
        let (asked, rule) = (Arc::clone(&proxy.asked), Arc::clone(&proxy.rule));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (asked, rule, tls) = (Arc::clone(&asked), Arc::clone(&rule), tls.clone());
                // A caller that breaks off costs its own request.
                thread::spawn(move || {
                    drop(match tls {
                        Some(tls) => ServerConnection::new(tls)
                            .map_err(std::io::Error::other)
                            .and_then(|tls| {
                                let stream = StreamOwned::new(tls, stream);
                                carry(stream, registry, true, &asked, &rule)
                            }),
                        None => carry(stream, registry, false, &asked, &rule),
                    });
                });
            }
        });
        proxy
    }

    pub(super) fn address(&self, rest: &str) -> String {
        format!("oci://127.0.0.1:{}/{rest}", self.port)
    }

    pub(super) fn rule(&self, rule: impl FnMut(&Asked) -> Reply + Send + 'static) {
        *self.rule.lock().unwrap() = Box::new(rule);
    }

    /// The requests since the last call.
    pub(super) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

fn carry(
    mut near: impl Read + Write,
    registry: u16,
    is_encrypted: bool,
    log: &Mutex<Vec<Asked>>,
    rule: &Mutex<Rule>,
) -> std::io::Result<()> {
    let Some((head, asked)) = request(&mut near)? else {
        return Ok(());
    };
    log.lock().unwrap().push(asked.clone());
    let reply = (*rule.lock().unwrap())(&asked);
    let limit = match reply {
        Reply::Say(status, headers, body) => {
            let size = body.len();
            write!(
                near,
                "HTTP/1.1 {status}\r\n{headers}connection: close\r\ncontent-length: {size}\r\n\r\n{body}"
            )?;
            return near.flush();
        }
        Reply::Drop => return Ok(()),
        Reply::Pass => usize::MAX,
        Reply::Cut(bytes) => bytes,
    };
    let mut far = TcpStream::connect(("127.0.0.1", registry))?;
    let first = head.find("\r\n").unwrap() + 2;
    let proto = if is_encrypted { "https" } else { "http" };
    write!(
        far,
        "{}connection: close\r\nx-forwarded-proto: {proto}\r\n{}",
        &head[..first],
        &head[first..]
    )?;
    far.write_all(&asked.body)?;
    let mut answer = Vec::new();
    far.read_to_end(&mut answer)?;
    let body = find(&answer, b"\r\n\r\n").unwrap_or(answer.len()) + 4;
    let end = body.saturating_add(limit).min(answer.len());
    near.write_all(&answer[..end])?;
    near.flush()
}

/// The head of a request as it came, and what it says. None if the caller sent nothing.
fn request(near: &mut impl Read) -> std::io::Result<Option<(String, Asked)>> {
    let mut bytes = Vec::new();
    let mut piece = [0; 16 << 10];
    let end = loop {
        if let Some(end) = find(&bytes, b"\r\n\r\n") {
            break end + 4;
        }
        match near.read(&mut piece)? {
            0 => return Ok(None),
            read => bytes.extend_from_slice(&piece[..read]),
        }
    };
    let mut body = bytes.split_off(end);
    let head = String::from_utf8(bytes).unwrap();
    let headers = head.to_lowercase();
    let length = headers
        .split_once("content-length: ")
        .map_or(0, |(_, rest)| {
            rest.split_once("\r\n").unwrap().0.parse().unwrap()
        });
    while body.len() < length {
        match near.read(&mut piece)? {
            0 => break,
            read => body.extend_from_slice(&piece[..read]),
        }
    }
    let mut words = head.split(' ').map(str::to_owned);
    let asked = Asked {
        method: words.next().unwrap(),
        path: words.next().unwrap(),
        headers,
        body,
    };
    Ok(Some((head, asked)))
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}
