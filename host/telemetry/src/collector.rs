//! The requests to the collector.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hotshoe_base::files;
use hotshoe_config::TelemetryConfig;
use hotshoe_sealing::Secret;
use prost::Message;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Response, StatusCode};
use tokio_rustls::rustls;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

use crate::error::{SendError, TelemetryError};

/// The connect timeout.
const CONNECT: Duration = Duration::from_secs(5);
/// The timeout of a request, as OTLP has it.
const REQUEST: Duration = Duration::from_secs(10);
/// Largest file of headers, and of certificates, in bytes.
const MAX_FILE_BYTES: u64 = 256 << 10;
/// Most bytes of an answer that are read.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// The user agent of requests.
const USER_AGENT: &str = concat!("hotshoe/", env!("CARGO_PKG_VERSION"));
/// The media type of OTLP in protobuf.
const PROTOBUF: &str = "application/x-protobuf";

/// A collector, which is not connected to until the first request.
#[derive(Clone)]
pub(crate) struct Collector {
    http: Client,
    base: String,
    headers: HeaderMap,
}

impl Collector {
    /// Reads the files of the configuration.
    ///
    /// # Errors
    /// [`TelemetryError`]
    pub(crate) fn new(
        config: &TelemetryConfig,
        secret: Option<&Secret>,
    ) -> Result<Self, TelemetryError> {
        let client = Client::builder()
            .connect_timeout(CONNECT)
            .timeout(REQUEST)
            .user_agent(USER_AGENT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none());
        // reqwest has no default provider here; an installed one is this one.
        drop(default_provider().install_default());
        let is_tls = config.base().starts_with("https:");
        let client = match config.ca.as_deref() {
            Some(ca) => client.tls_backend_preconfigured(tls(authorities(ca)?)?),
            // Without TLS, the system's authorities are not needed, which a device may not have.
            None if !is_tls => client.tls_backend_preconfigured(tls(RootCertStore::empty())?),
            None => client,
        };
        let headers = match (config.headers_file.as_deref(), secret) {
            (Some(path), _) => Some(headers(path)?),
            (None, Some(secret)) => {
                let name = config.headers_secret.as_deref().unwrap_or_default();
                Some(parsed(secret.expose().as_bytes(), Path::new(name))?)
            }
            (None, None) => None,
        };
        Ok(Self {
            http: client
                .build()
                .map_err(|error| TelemetryError::Client(error.into()))?,
            base: config.base().to_owned(),
            headers: headers.unwrap_or_default(),
        })
    }

    /// Sends a message to a path such as `v1/traces`, and returns the answer. One that cannot be read counts as empty.
    ///
    /// # Errors
    /// [`SendError`]
    pub(crate) async fn send<A: Message + Default>(
        &self,
        path: &str,
        message: &impl Message,
    ) -> Result<A, SendError> {
        let response = self
            .http
            .post(format!("{}/{path}", self.base))
            .headers(self.headers.clone())
            .header(CONTENT_TYPE, PROTOBUF)
            .body(message.encode_to_vec())
            .send()
            .await
            .map_err(|error| SendError::Unreachable(error.without_url()))?;
        let status = response.status();
        match status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Err(SendError::Busy(status)),
            status if status.is_success() => {
                Ok(A::decode(answer(response).await.as_slice()).unwrap_or_default())
            }
            status => Err(SendError::Refused(status)),
        }
    }
}

/// The body of an answer; empty if it is too long or breaks off, since the collector has taken the request.
async fn answer(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(part)) = response.chunk().await {
        if body.len() + part.len() > MAX_ANSWER_BYTES {
            return Vec::new();
        }
        body.extend_from_slice(&part);
    }
    body
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, TelemetryError> {
    files::read_bytes(path, MAX_FILE_BYTES).map_err(|source| TelemetryError::Read {
        key,
        path: path.to_owned(),
        source,
    })
}

fn authorities(path: &Path) -> Result<RootCertStore, TelemetryError> {
    let bytes = read("telemetry.ca", path)?;
    let mut roots = RootCertStore::empty();
    let mut parsed = CertificateDer::pem_slice_iter(&bytes);
    let is_usable = parsed.all(|it| it.is_ok_and(|it| roots.add(it).is_ok()));
    (is_usable && !roots.is_empty())
        .then_some(roots)
        .ok_or_else(|| TelemetryError::NoCertificate {
            path: path.to_owned(),
        })
}

fn tls(roots: RootCertStore) -> Result<rustls::ClientConfig, TelemetryError> {
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| TelemetryError::Client(error.into()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Reads a file of headers.
fn headers(path: &Path) -> Result<HeaderMap, TelemetryError> {
    parsed(&read("telemetry.headers-file", path)?, path)
}

/// Parses `name: value`, one a line. Empty lines and those that begin with `#` are left out.
fn parsed(bytes: &[u8], path: &Path) -> Result<HeaderMap, TelemetryError> {
    let mut headers = HeaderMap::new();
    for (index, line) in bytes.split(|it| *it == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let (name, mut value) = header(line).ok_or_else(|| TelemetryError::Header {
            path: path.to_owned(),
            line: index + 1,
        })?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

fn header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let at = line.iter().position(|it| *it == b':')?;
    let (name, value) = line.split_at_checked(at)?;
    let value = value.strip_prefix(b":")?.trim_ascii();
    let name = HeaderName::from_bytes(name.trim_ascii()).ok()?;
    Some((name, HeaderValue::from_bytes(value).ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn headers_are_lines_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("headers");
        std::fs::write(
            &path,
            "# for the collector\n\nauthorization: Bearer a:b\r\nx-scope:lab\n",
        )
        .unwrap();
        let read = headers(&path).unwrap();
        assert_eq!(read.get("authorization").unwrap(), "Bearer a:b");
        assert_eq!(read.get("x-scope").unwrap(), "lab");
        assert_eq!(read.len(), 2);
        for (text, line) in [
            ("a: b\nno field\n", 2),
            (": x", 1),
            ("a b: x", 1),
            ("a: \u{1}", 1),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = headers(&path).unwrap_err();
            assert_eq!(error.name(), "telemetry_header", "{text}");
            assert!(
                error.to_string().contains(&format!("line {line} ")),
                "{error}"
            );
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(headers(&path).unwrap_err().name(), "telemetry_file");
    }

    #[test]
    fn an_authority_is_a_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        for text in [
            "",
            "no certificate",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            std::fs::write(&path, text).unwrap();
            let error = authorities(&path).unwrap_err();
            assert_eq!(error.name(), "telemetry_no_certificate", "{text}");
        }
    }
}
