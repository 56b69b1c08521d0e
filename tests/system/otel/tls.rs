//! A collector with TLS.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use hotshoe_tests::{Authority, Issued};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::site::{Site, light};
use crate::support::DEADLINE;

/// Takes metrics by HTTPS as `localhost`, one request for each connection.
fn serve(issued: &Issued) -> (u16, Receiver<ExportMetricsServiceRequest>) {
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(&issued.certificate).unwrap()],
            PrivateKeyDer::from_pem_file(&issued.key).unwrap(),
        )
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, requests) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = BufReader::new(StreamOwned::new(connection, stream));
            // A client that does not trust the certificate goes away.
            let Ok(body) = request(&mut stream) else {
                continue;
            };
            let request = ExportMetricsServiceRequest::decode(body.as_slice()).unwrap();
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let answered = stream.get_mut().write_all(answer);
            if answered.is_ok() && sender.send(request).is_err() {
                return;
            }
        }
    });
    (port, requests)
}

/// The body of a request of metrics.
fn request(stream: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut length = 0;
    let mut line = String::from("head");
    while line != "\r\n" {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(body)
}

#[test]
fn a_collector_is_known_by_its_authority() {
    let site = Site::new();
    let authority = Authority::new(&site.workspace.path("tls"));
    let other = Authority::new(&site.workspace.path("other"));
    let (port, requests) = serve(&authority.issue("collector"));
    let first = site.pack(&light(1, ""));
    let config = |authority: &Authority| {
        format!(
            "[telemetry]\nendpoint = \"https://localhost:{port}\"\nca = \"{}\"\ninterval-s = 1\nsample-one-in = 0\n",
            authority.ca().display()
        )
    };
    let wrong = site.device("wrong", &first, &config(&other)).run();
    wrong.wait_until(|state| state["telemetry"]["error"]["name"] == "collector_unreachable");
    assert_eq!(wrong.state()["telemetry"]["metrics_sent"], 0);
    assert!(wrong.stop().success());
    assert!(requests.try_recv().is_err());
    let _right = site.device("right", &first, &config(&authority)).run();
    let request = requests.recv_timeout(DEADLINE).unwrap();
    assert_eq!(request.resource_metrics.len(), 1);
}
