//! Access control, by the head of a request, before its body is read.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use hotshoe_base::files;
use hotshoe_sealing::NamedSecret;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue, ORIGIN};
use hyper::{Request, Uri};
use subtle::ConstantTimeEq;

use crate::error::{FrontError, LEAST_TOKEN_BYTES, MAX_TOKEN_FILE};
use crate::options::{Options, is_loopback};

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request does not have the token.
    #[error("a token is required: `authorization: Bearer TOKEN`")]
    Unauthenticated,
    /// The request was sent to a host name other than loopback.
    #[error(
        "without a token or client certificates, only requests from programs on this machine to a loopback name are accepted, and none from web pages"
    )]
    Foreign,
    /// A web page sent it.
    #[error("without a token or client certificates, requests from other web pages are refused")]
    WebPage,
}

/// The access rules.
pub(crate) struct Access {
    token: Option<Vec<u8>>,
    /// Whether clients are not authenticated, so that a web page in a browser could send requests.
    open: bool,
    /// Whether only programs on this machine can connect.
    local: bool,
}

impl Access {
    pub(crate) fn read(
        section: &'static str,
        listen: SocketAddr,
        options: &Options,
    ) -> Result<Self, FrontError> {
        let token = match (&options.token_file, &options.token_secret) {
            (Some(path), _) => Some(read_token(section, path)?),
            (None, Some(secret)) => Some(secret_token(section, secret)?),
            (None, None) => None,
        };
        let certified = options.tls.as_ref().is_some_and(|t| t.client_ca.is_some());
        Ok(Self {
            open: token.is_none() && !certified,
            local: is_loopback(listen),
            token,
        })
    }

    pub(crate) fn check<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        let headers = request.headers();
        if let Some(token) = &self.token
            && !shows(headers, token)
        {
            return Err(Refusal::Unauthenticated);
        }
        if self.open && self.local && !is_local(request.uri(), headers) {
            return Err(Refusal::Foreign);
        }
        let mut origins = headers.get_all(ORIGIN).iter();
        if self.open && origins.any(|origin| !(self.local && is_own(origin, request))) {
            return Err(Refusal::WebPage);
        }
        Ok(())
    }
}

/// Whether the request has the token. The time of the comparison reveals only the token's length.
fn shows(headers: &HeaderMap, token: &[u8]) -> bool {
    let shown = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let shown = shown.and_then(|value| value.split_at_checked("Bearer ".len()));
    shown.is_some_and(|(scheme, shown)| {
        scheme.eq_ignore_ascii_case(b"Bearer ") && bool::from(shown.ct_eq(token))
    })
}

/// Whether every host name in the request is a loopback name. Otherwise a web page could send requests, and read the answers, with a name
/// that it resolves to this machine (DNS rebinding).
fn is_local(uri: &Uri, headers: &HeaderMap) -> bool {
    let authority = uri.authority().map(|authority| authority.as_str());
    let hosts = headers.get_all(HOST).iter();
    let mut names = hosts
        .map(|host| host.to_str().unwrap_or_default())
        .chain(authority)
        .peekable();
    names.peek().is_some() && names.all(is_loopback_name)
}

/// Whether an origin is the one that the request is sent to: a browser names it for the scripts of a page. The host is known to be a loopback
/// name.
fn is_own<B>(origin: &HeaderValue, request: &Request<B>) -> bool {
    let origin = origin.as_bytes();
    let host = origin
        .strip_prefix(b"http://")
        .or_else(|| origin.strip_prefix(b"https://"));
    let authority = request.uri().authority();
    let mut sent_to = request.headers().get_all(HOST).iter();
    let sent_to = match authority {
        Some(authority) => Some(authority.as_str().as_bytes()),
        None => sent_to.next().map(HeaderValue::as_bytes),
    };
    host.is_some() && host == sent_to
}

fn is_loopback_name(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

fn read_token(section: &'static str, path: &Path) -> Result<Vec<u8>, FrontError> {
    let bytes = match files::read_bytes(path, MAX_TOKEN_FILE) {
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            return Err(FrontError::TokenForm(path.to_owned()));
        }
        read => read.map_err(|source| FrontError::Token {
            section,
            path: path.to_owned(),
            source,
        })?,
    };
    token_in(&bytes).ok_or_else(|| FrontError::TokenForm(path.to_owned()))
}

fn secret_token(section: &'static str, secret: &NamedSecret) -> Result<Vec<u8>, FrontError> {
    let name = || secret.name().to_owned();
    let value = secret.read().map_err(|source| FrontError::TokenSecret {
        section,
        name: name(),
        source,
    })?;
    token_in(value.expose().as_bytes()).ok_or_else(|| FrontError::TokenSecretForm(name()))
}

/// The token in a text; `None` if it is not one.
fn token_in(bytes: &[u8]) -> Option<Vec<u8>> {
    let token = bytes.trim_ascii();
    let is_printable = token.iter().all(u8::is_ascii_graphic);
    (token.len() >= LEAST_TOKEN_BYTES && is_printable).then(|| token.to_vec())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn access(token: Option<&[u8]>, open: bool, local: bool) -> Access {
        let token = token.map(<[u8]>::to_vec);
        Access { token, open, local }
    }

    fn request(uri: &str, headers: &[(&str, &str)]) -> Request<()> {
        let request = Request::builder().uri(uri);
        let request = headers
            .iter()
            .fold(request, |r, (name, value)| r.header(*name, *value));
        request.body(()).unwrap()
    }

    #[test]
    fn an_open_port_on_loopback_accepts_only_loopback_names() {
        let rules = access(None, true, true);
        for host in [
            "localhost",
            "LocalHost:8000",
            "127.0.0.1:9898",
            "127.9.9.9",
            "[::1]:8000",
            "[::ffff:127.0.0.1]",
        ] {
            assert_eq!(
                rules.check(&request("/", &[("host", host)])),
                Ok(()),
                "{host}"
            );
        }
        for host in [
            "",
            "rebound.example",
            "rebound.example:8000",
            "localhost.rebound.example",
            "localhost@rebound.example",
            "10.0.0.1:8000",
            "0.0.0.0",
            "[::]",
            "localhost:80:80",
            "127.0.0.1.rebound.example",
        ] {
            let refused = rules.check(&request("/", &[("host", host)]));
            assert_eq!(refused, Err(Refusal::Foreign), "{host}");
        }
        // No name, two names, and one name in the request line besides that in the header.
        for given in [
            request("/", &[]),
            request("/", &[("host", "localhost"), ("host", "rebound.example")]),
            request("http://rebound.example/", &[("host", "localhost")]),
            request("http://localhost/", &[("host", "rebound.example")]),
        ] {
            assert_eq!(rules.check(&given), Err(Refusal::Foreign), "{given:?}");
        }
        let page = request("/", &[("host", "localhost"), ("origin", "null")]);
        assert_eq!(rules.check(&page), Err(Refusal::WebPage));
        // The scripts of a page that this endpoint serves.
        let of = |origin| request("/", &[("host", "localhost:8080"), ("origin", origin)]);
        assert_eq!(rules.check(&of("http://localhost:8080")), Ok(()));
        assert_eq!(rules.check(&of("https://localhost:8080")), Ok(()));
        for foreign in [
            "http://localhost:8081",
            "http://localhost",
            "http://page.example",
            "localhost:8080",
            "",
        ] {
            assert_eq!(
                rules.check(&of(foreign)),
                Err(Refusal::WebPage),
                "{foreign}"
            );
        }
        let two = [
            ("host", "localhost:8080"),
            ("origin", "http://localhost:8080"),
            ("origin", "http://page.example"),
        ];
        assert_eq!(rules.check(&request("/", &two)), Err(Refusal::WebPage));
    }

    #[test]
    fn only_the_whole_token_is_accepted() {
        let token = b"correct-horse-battery-staple";
        let rules = access(Some(token), false, true);
        let check = |value: &str| {
            rules.check(&request(
                "/",
                &[("authorization", value), ("host", "any.example")],
            ))
        };
        assert_eq!(check("Bearer correct-horse-battery-staple"), Ok(()));
        assert_eq!(check("bearer correct-horse-battery-staple"), Ok(()));
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer correct-horse-battery-stapl",
            "Bearer correct-horse-battery-staple2",
            "Basic correct-horse-battery-staple",
            "correct-horse-battery-staple",
        ] {
            assert_eq!(check(wrong), Err(Refusal::Unauthenticated), "{wrong}");
        }
        assert_eq!(
            rules.check(&request("/", &[])),
            Err(Refusal::Unauthenticated)
        );
    }

    #[test]
    fn an_open_port_on_a_network_refuses_web_pages() {
        let rules = access(None, true, false);
        assert_eq!(
            rules.check(&request("/", &[("host", "device.example")])),
            Ok(())
        );
        let page = request(
            "/",
            &[
                ("host", "device.example"),
                ("origin", "https://page.example"),
            ],
        );
        assert_eq!(rules.check(&page), Err(Refusal::WebPage));
        // The name may be the page's own, resolved to this device.
        let own = request(
            "/",
            &[("host", "page.example"), ("origin", "http://page.example")],
        );
        assert_eq!(rules.check(&own), Err(Refusal::WebPage));
    }
}
