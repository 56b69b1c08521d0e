//! Access: tokens, client certificates and host names, and changes of them while the server runs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod server;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotshoe_http::{Bound, Exposure, FrontError, Limits, Options, TlsFiles};
use hotshoe_sealing::{AtRest, NamedSecret, SecretSource};
use server::{Authority, DEADLINE, SHORT, TestServer, answer, ask, is_end, issue, rest};
use tempfile::TempDir;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n";
const TOKEN: &str = "correct-horse-battery-staple";

/// A TLS connection that trusts an authority, with a client certificate if given.
fn secured(
    server: &TestServer,
    ca: &Path,
    own: Option<&TlsFiles>,
) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(ca).unwrap())
        .unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some(files) => {
            let chain = vec![CertificateDer::from_pem_file(&files.certificate).unwrap()];
            let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let name = "localhost".try_into().unwrap();
    let client = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(client, server.connect())
}

/// The answer to one request over TLS; empty if the handshake fails.
fn get(server: &TestServer, ca: &Path, own: Option<&TlsFiles>) -> String {
    let mut stream = secured(server, ca, own);
    if stream
        .write_all(format!("{GET}Connection: close\r\n\r\n").as_bytes())
        .is_err()
    {
        return String::new();
    }
    let mut said = Vec::new();
    // If the handshake fails, reading fails too.
    let _ = stream.read_to_end(&mut said);
    String::from_utf8(said).unwrap()
}

#[test]
fn without_authentication_only_loopback_names_are_accepted_and_no_web_pages() {
    let server = TestServer::with(Limits::default());
    let status = |headers: &str| {
        let said = server.get(&format!("GET / HTTP/1.1\r\n{headers}"));
        said.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    let port = server.front.address().port();
    assert_eq!(status(&format!("Host: 127.0.0.1:{port}\r\n")), "200");
    assert_eq!(status("Host: localhost\r\n"), "200");
    assert_eq!(status("Host: rebound.example\r\n"), "403");
    assert_eq!(
        status("Host: localhost\r\nOrigin: https://page.example\r\n"),
        "403"
    );
    assert_eq!(status(""), "403");
    server.close();
}

#[test]
fn a_refused_client_gets_no_more_time_than_a_silent_one() {
    let server = TestServer::with(Limits {
        first_request: SHORT,
        ..Limits::default()
    });
    let mut stream = server.connect();
    // Also the pause between two requests.
    stream
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let (started, mut answered) = (Instant::now(), 0);
    'asking: while stream
        .write_all(b"GET / HTTP/1.1\r\nHost: rebound.example\r\n\r\n")
        .is_ok()
    {
        loop {
            assert!(started.elapsed() < DEADLINE, "requests are still answered");
            match stream.read(&mut [0; 4096]) {
                Ok(0) => break 'asking,
                Ok(_) => answered += 1,
                Err(error) if is_end(&error) => break 'asking,
                Err(_) => break,
            }
        }
    }
    assert!(answered > 0);
    server.close();
}

#[test]
fn a_token_is_required_and_can_be_changed() {
    let folder = TempDir::new().unwrap();
    let token_file = folder.path().join("token");
    fs::write(&token_file, format!("{TOKEN}\n")).unwrap();
    let options = Options {
        token_file: Some(token_file.clone()),
        ..Options::default()
    };
    let server = TestServer::open(&options);
    let with = |token: &str| format!("{GET}Authorization: Bearer {token}\r\n");
    assert!(server.get(GET).starts_with("HTTP/1.1 401"));
    assert!(
        server
            .get(&with("correct-horse-battery-stable"))
            .starts_with("HTTP/1.1 401")
    );
    let mut kept = server.connect();
    ask(&mut kept, &with(TOKEN));
    assert!(answer(&mut kept, "ok").starts_with("HTTP/1.1 200"));
    // A short token is refused, and the previous one stays.
    fs::write(&token_file, "short").unwrap();
    let error = server.front.renew(&options).err().unwrap();
    assert_eq!(error.name(), "invalid_token");
    ask(&mut kept, &with(TOKEN));
    assert!(answer(&mut kept, "ok").starts_with("HTTP/1.1 200"));
    fs::write(&token_file, "another-horse-battery-staple").unwrap();
    server.front.renew(&options).unwrap().apply();
    // It applies to existing connections too.
    ask(&mut kept, &with(TOKEN));
    assert!(answer(&mut kept, "TOKEN`").starts_with("HTTP/1.1 401"));
    assert!(server.get(&with(TOKEN)).starts_with("HTTP/1.1 401"));
    assert!(
        server
            .get(&with("another-horse-battery-staple"))
            .starts_with("HTTP/1.1 200")
    );
    server.close();
}

#[test]
fn a_token_can_be_a_secret_of_the_device() {
    let folder = TempDir::new().unwrap();
    let secret = folder.path().join("door");
    fs::write(&secret, format!("{TOKEN}\n")).unwrap();
    let source = SecretSource::new(
        Some(folder.path().to_owned()),
        folder.path().to_owned(),
        AtRest::plain(),
    );
    let options = Options {
        token_secret: Some(NamedSecret::new(source, "door".to_owned())),
        ..Options::default()
    };
    let server = TestServer::open(&options);
    let with = |token: &str| format!("{GET}Authorization: Bearer {token}\r\n");
    assert!(server.get(GET).starts_with("HTTP/1.1 401"));
    assert!(server.get(&with(TOKEN)).starts_with("HTTP/1.1 200"));
    fs::write(&secret, "too-tiny").unwrap();
    let error = server.front.renew(&options).err().unwrap();
    assert_eq!(error.name(), "invalid_token");
    assert!(!error.to_string().contains("too-tiny"), "{error}");
    fs::remove_file(&secret).unwrap();
    let error = server.front.renew(&options).err().unwrap();
    assert_eq!(error.name(), "unknown_secret");
    // The previous one stays.
    assert!(server.get(&with(TOKEN)).starts_with("HTTP/1.1 200"));
    server.close();
}

#[test]
fn only_client_certificates_of_the_authority_are_accepted() {
    let folder = TempDir::new().unwrap();
    let ours = Authority::new(&folder.path().join("ours"));
    let theirs = Authority::new(&folder.path().join("theirs"));
    let server = TestServer::open(&Options {
        tls: Some(TlsFiles {
            client_ca: Some(ours.ca()),
            ..issue(&ours, "device")
        }),
        ..Options::default()
    });
    assert!(get(&server, &ours.ca(), Some(&issue(&ours, "caller"))).starts_with("HTTP/1.1 200"));
    assert_eq!(
        get(&server, &ours.ca(), Some(&issue(&theirs, "caller"))),
        ""
    );
    assert_eq!(get(&server, &ours.ca(), None), "");
    server.close();
}

#[test]
fn a_handshake_must_finish_in_time() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new(folder.path());
    let server = TestServer::open(&Options {
        tls: Some(issue(&authority, "device")),
        limits: Limits {
            first_request: SHORT,
            connections: 4,
            ..Limits::default()
        },
        ..Options::default()
    });
    // Nothing, the start of a handshake, and plain HTTP.
    for start in [
        &b""[..],
        &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3],
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        let mut stream = server.connect();
        stream.write_all(start).unwrap();
        assert!(!rest(&mut stream).contains("HTTP"));
    }
    let idle: Vec<TcpStream> = (0..50).map(|_| server.connect()).collect();
    assert!(get(&server, &authority.ca(), None).starts_with("HTTP/1.1 200"));
    drop(idle);
    server.close();
}

#[test]
fn certificates_change_while_it_serves() {
    let folder = TempDir::new().unwrap();
    let old = Authority::new(&folder.path().join("old"));
    let new = Authority::new(&folder.path().join("new"));
    let options = |tls: TlsFiles| Options {
        tls: Some(tls),
        ..Options::default()
    };
    let server = TestServer::open(&options(issue(&old, "device")));
    let mut kept = secured(&server, &old.ca(), None);
    ask(&mut kept, GET);
    answer(&mut kept, "ok");
    let broken = TlsFiles {
        key: folder.path().join("missing.key"),
        ..issue(&new, "device")
    };
    let error = server.front.renew(&options(broken)).err().unwrap();
    assert_eq!(error.name(), "invalid_certificates");
    assert!(get(&server, &old.ca(), None).starts_with("HTTP/1.1 200"));
    server
        .front
        .renew(&options(issue(&new, "device")))
        .unwrap()
        .apply();
    assert!(get(&server, &new.ca(), None).starts_with("HTTP/1.1 200"));
    assert_eq!(get(&server, &old.ca(), None), "");
    ask(&mut kept, GET);
    assert!(answer(&mut kept, "ok").starts_with("HTTP/1.1 200"));
    drop(kept);
    server.close();
}

#[test]
fn limits_change_while_it_serves() {
    let options = |connections| Options {
        limits: Limits {
            connections,
            ..Limits::default()
        },
        ..Options::default()
    };
    let server = TestServer::open(&options(32));
    let idle: Vec<TcpStream> = (0..32).map(|_| server.connect()).collect();
    server.wait_for(32);
    server.front.renew(&options(2)).unwrap().apply();
    assert!(server.is_answering());
    assert!(server.front.connections() <= 2);
    drop(idle);
    server.close();
}

#[test]
fn a_network_address_needs_authentication_unless_insecure_is_set() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new(folder.path());
    let files = issue(&authority, "device");
    let token = folder.path().join("token");
    fs::write(&token, TOKEN).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let bind = |tls: Option<&TlsFiles>, token: bool, insecure: bool| {
        let options = Options {
            tls: tls.cloned(),
            token_file: token.then(|| folder.path().join("token")),
            insecure,
            ..Options::default()
        };
        let everywhere = SocketAddr::from(([0, 0, 0, 0], 0));
        match runtime.block_on(Bound::bind("test", everywhere, &options)) {
            Ok(_) => None,
            Err(FrontError::Exposed { exposure, .. }) => Some(exposure),
            Err(error) => panic!("{error}"),
        }
    };
    let mutual = TlsFiles {
        client_ca: Some(authority.ca()),
        ..files.clone()
    };
    assert_eq!(bind(None, false, false), Some(Exposure::Anybody));
    assert_eq!(bind(Some(&files), false, false), Some(Exposure::Anybody));
    assert_eq!(bind(None, true, false), Some(Exposure::ReadableToken));
    assert_eq!(bind(Some(&files), true, false), None);
    assert_eq!(bind(Some(&mutual), false, false), None);
    assert_eq!(bind(None, false, true), None);
    assert_eq!(bind(None, true, true), None);
}
