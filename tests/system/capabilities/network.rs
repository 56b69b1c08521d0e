//! Sockets and requests: only to hosts that are listed, and no longer than the call's deadline.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{Bench, guest, recipe};

/// How the standard library of a component names an address that it may not use.
const DENIED: &str = "(PermissionDenied)";

/// What a server does with a connection.
#[derive(Clone, Copy)]
enum Service {
    /// Answers five bytes with their number.
    Count,
    /// Answers a request.
    Page,
    /// Says nothing, as long as the other end is there.
    Silence,
}

/// A server on loopback, until the test ends.
fn serve(service: Service) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                // The other end may have gone.
                let _ = answer(service, &mut stream);
            });
        }
    });
    address
}

fn answer(service: Service, stream: &mut (impl Read + Write)) -> std::io::Result<()> {
    let mut bytes = [0; 1024];
    let read = stream.read(&mut bytes)?;
    match service {
        Service::Count => write!(stream, "{read} bytes"),
        Service::Page => {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nwelcome!"
            )
        }
        Service::Silence => stream.read_to_end(&mut Vec::new()).map(drop),
    }
}

/// Serves the page by HTTPS as `localhost`, with a certificate of an authority of its own, which is written to `ca`.
fn serve_tls(ca: &Path) -> SocketAddr {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "site");
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(ca, issuer.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            // Whoever does not trust the certificate goes away.
            let _ = answer(Service::Page, &mut stream);
        }
    });
    address
}

fn hosts(hosts: &[String]) -> String {
    let quoted: Vec<String> = hosts.iter().map(|host| format!("\"{host}\"")).collect();
    format!("hosts = [{}]", quoted.join(", "))
}

fn sockets(listed: &[String]) -> String {
    format!(
        "grants = [\"wasi\", \"wasi-sockets\"]\nlimits = {{ deadline-ms = 5000 }}\n{}",
        hosts(listed)
    )
}

#[test]
fn a_socket_reaches_listed_hosts_and_nothing_else() {
    let Some(component) = guest("capable") else {
        return;
    };
    let (listed, other) = (serve(Service::Count), serve(Service::Count));
    let named = serve(Service::Count).port();
    let hosts_here = [listed.to_string(), format!("localhost:{named}")];
    let bench = Bench::new(&format!("[network]\n{}", hosts(&hosts_here)));
    let commands = format!(
        "connect {listed}\nconnect localhost:{named}\nconnect {other}\nconnect localhost:{}\nconnect example.invalid:80\nlisten 127.0.0.1:0\nlisten 0.0.0.0:0\ndatagram 0.0.0.0:0",
        other.port()
    );
    let (outcomes, said) = bench.outcomes(&recipe(&component, &sockets(&hosts_here)), &commands);
    assert_eq!(outcomes[0], "answered 5 bytes", "{said}");
    assert_eq!(outcomes[1], "answered 5 bytes", "{said}");
    let (looked_up, connected) = (&outcomes[4], [2, 3, 5, 6, 7].map(|at| &outcomes[at]));
    for outcome in connected {
        assert!(outcome.ends_with(DENIED), "{outcomes:?}");
    }
    assert!(looked_up.starts_with("failed: "), "{outcomes:?}");
    assert!(
        said.contains(&format!("add \"{other}\" to `hosts`")),
        "{said}"
    );
    assert!(
        said.contains("looking up `example.invalid` was refused"),
        "{said}"
    );
    // A name that is listed opens no other port, and an address only by its name's lookup in the same instance.
    let by_name = [format!("localhost:{named}")];
    let text = recipe(&component, &sockets(&by_name));
    let (outcomes, _) = bench.outcomes(&text, &format!("connect 127.0.0.1:{named}"));
    assert!(outcomes[0].ends_with(DENIED), "{outcomes:?}");
    // Without the grant the interfaces are there, and lead nowhere.
    let (outcomes, _) = bench.outcomes(
        &recipe(&component, "grants = [\"wasi\"]"),
        &format!("connect {listed}"),
    );
    assert!(outcomes[0].ends_with(DENIED), "{outcomes:?}");
}

#[test]
fn the_network_takes_the_word_of_the_device() {
    let Some(component) = guest("capable") else {
        return;
    };
    let listed = [String::from("192.0.2.1:443")];
    let bench = Bench::new("");
    let said = bench.refusal(&recipe(&component, &sockets(&listed)));
    assert!(said.starts_with("host_not_allowed"), "{said}");
    assert!(
        said.contains("[network]\nhosts = [\"192.0.2.1:443\"]"),
        "{said}"
    );
    bench.configure("[\"wasi\"]", "");
    let said = bench.refusal(&recipe(&component, &sockets(&listed)));
    assert!(said.starts_with("not_allowed"), "{said}");
    assert!(
        said.contains("allow = [\"wasi\", \"wasi-sockets\"]"),
        "{said}"
    );
}

#[test]
fn waiting_for_a_network_ends_at_the_deadline() {
    let (Some(capable), Some(asking)) = (guest("capable"), guest("asking")) else {
        return;
    };
    let silent = serve(Service::Silence);
    let bench = Bench::new(&format!("[network]\n{}", hosts(&[silent.to_string()])));
    let limits = "limits = { deadline-ms = 300 }";
    let listed = hosts(&[silent.to_string()]);
    let more = format!("grants = [\"wasi\", \"wasi-sockets\"]\n{listed}\n{limits}");
    let (report, said) = bench.report(&recipe(&capable, &more), &format!("wait {silent}"));
    assert_eq!(report["error"]["fault"], "deadline", "{report} {said}");
    let more = format!("grants = [\"wasi\", \"wasi-http\"]\n{listed}\n{limits}");
    let (report, said) = bench.report(&recipe(&asking, &more), &format!("http {silent} /"));
    assert_eq!(report["error"]["fault"], "deadline", "{report} {said}");
}

#[test]
fn a_request_reaches_listed_hosts_and_nothing_else() {
    let Some(component) = guest("asking") else {
        return;
    };
    let (listed, other) = (serve(Service::Page), serve(Service::Page));
    let hosts_here = [listed.to_string(), format!("localhost:{}", listed.port())];
    let bench = Bench::new(&format!("[network]\n{}", hosts(&hosts_here)));
    let granted = format!("grants = [\"wasi\", \"wasi-http\"]\n{}", hosts(&hosts_here));
    let text = recipe(&component, &granted);
    let commands = format!(
        "http {listed} /page\nhttp localhost:{} /\nhttp {other} /\nhttp example.invalid /\nhttps {listed} /",
        listed.port()
    );
    let (outcomes, said) = bench.outcomes(&text, &commands);
    assert_eq!(outcomes[0], "200 welcome!", "{said}");
    assert_eq!(outcomes[1], "200 welcome!", "{said}");
    assert!(outcomes[2].contains("HttpRequestDenied"), "{outcomes:?}");
    assert!(outcomes[3].contains("HttpRequestDenied"), "{outcomes:?}");
    assert!(outcomes[4].starts_with("failed: "), "{outcomes:?}");
    assert!(
        said.contains(&format!("add \"{other}\" to `hosts`")),
        "{said}"
    );
    // The release says which grants the imports take.
    let said = bench.refusal(&recipe(&component, "grants = [\"wasi\"]"));
    assert!(said.starts_with("not_granted"), "{said}");
    assert!(
        said.contains("grants = [\"wasi\", \"wasi-http\"]"),
        "{said}"
    );
}

#[test]
fn https_trusts_the_authority_of_the_device() {
    let Some(component) = guest("asking") else {
        return;
    };
    let bench = Bench::new("");
    let port = serve_tls(&bench.workspace.path("ca.pem")).port();
    let listed = [format!("localhost:{port}"), format!("127.0.0.1:{port}")];
    let granted = format!("grants = [\"wasi\", \"wasi-http\"]\n{}", hosts(&listed));
    let text = recipe(&component, &granted);
    let commands = format!("https localhost:{port} /\nhttps 127.0.0.1:{port} /");
    let network = format!("[network]\n{}", hosts(&listed));
    let allow = "[\"wasi\", \"wasi-http\"]";
    bench.configure(allow, &network);
    let (outcomes, _) = bench.outcomes(&text, &commands);
    assert!(outcomes[0].starts_with("failed: "), "{outcomes:?}");
    bench.configure(allow, &format!("{network}\nca = \"ca.pem\""));
    let (outcomes, said) = bench.outcomes(&text, &commands);
    assert_eq!(outcomes[0], "200 welcome!", "{said}");
    // The certificate is of another name.
    assert!(outcomes[1].starts_with("failed: "), "{outcomes:?}");
    bench.configure(allow, &format!("{network}\nca = \"none.pem\""));
    assert!(bench.refusal(&text).starts_with("network_ca"));
}
