//! The check for insecure endpoints, which every session passes before it opens. An endpoint beyond this machine needs TLS, and a
//! listener must require client certificates, unless the configuration has `insecure = true`.

use std::net::{IpAddr, SocketAddr};

use hotshoe_config::{TlsConfig, ZenohConfig};

/// Link protocols that a session with scouting may use: TLS, whose peers authenticate with certificates, and local sockets.
pub(super) const GUARDED_PROTOCOLS: [&str; 2] = ["tls", "unixsock-stream"];
/// Parameters that a TLS endpoint may have after `#`. Any other could replace certificates or weaken their check.
const TLS_PARAMETERS: [&str; 5] = ["iface", "bind", "so_sndbuf", "so_rcvbuf", "dscp"];
const LOOPBACK_INTERFACE: &str = "lo";

/// An endpoint that unauthenticated machines could use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{endpoint}` in `zenoh.{key}` is reachable from other machines, and {problem}. Use certificates: `hotshoe site init` creates them \
     for a site, and endpoints are then `tls/...`. Or allow connections without them: `insecure = true` in `[zenoh]`, or `--insecure`"
)]
pub struct InsecureEndpoint {
    /// `listen`, `connect` or `scouting`.
    pub key: &'static str,
    /// The endpoint.
    pub endpoint: String,
    /// Why it is insecure.
    pub problem: &'static str,
}

/// Checks the listen and connect endpoints and the scouting of a session, regardless of `insecure`.
///
/// # Errors
/// [`InsecureEndpoint`] names the first insecure endpoint.
pub fn judge(config: &ZenohConfig) -> Result<(), InsecureEndpoint> {
    let tls = config.tls.as_ref();
    for endpoint in &config.listen {
        let problem = listener_problem(endpoint, tls);
        problem.map_or(Ok(()), |problem| refuse("listen", endpoint, problem))?;
    }
    for endpoint in &config.connect {
        let problem = connection_problem(endpoint, tls);
        problem.map_or(Ok(()), |problem| refuse("connect", endpoint, problem))?;
    }
    if !config.scouting {
        return Ok(());
    }
    if !tls.is_some_and(asks_for_certificates) {
        return refuse(
            "scouting",
            "true",
            "any machine that answers becomes a peer: set `ca`, `certificate` and `key` in `[zenoh.tls]`",
        );
    }
    let mut own = config.listen.iter().chain(&config.connect);
    match own.find(|endpoint| !GUARDED_PROTOCOLS.contains(&protocol(endpoint))) {
        Some(_) => refuse(
            "scouting",
            "true",
            "any machine that answers becomes a peer, because an endpoint of this session has no TLS",
        ),
        None => Ok(()),
    }
}

fn refuse(
    key: &'static str,
    endpoint: &str,
    problem: &'static str,
) -> Result<(), InsecureEndpoint> {
    Err(InsecureEndpoint {
        key,
        endpoint: endpoint.to_owned(),
        problem,
    })
}

fn listener_problem(endpoint: &str, tls: Option<&TlsConfig>) -> Option<&'static str> {
    if is_local(endpoint) {
        return None;
    }
    if !is_tls(protocol(endpoint)) {
        return Some("has no TLS, so any machine that reaches it can connect");
    }
    if !tls.is_some_and(asks_for_certificates) {
        return Some(
            "does not ask for client certificates (`mutual`, with `ca`, `certificate` and `key`, in `[zenoh.tls]`), so any machine \
             that reaches it can connect",
        );
    }
    overridden(endpoint)
}

fn connection_problem(endpoint: &str, tls: Option<&TlsConfig>) -> Option<&'static str> {
    if is_local(endpoint) {
        return None;
    }
    if !is_tls(protocol(endpoint)) {
        return Some("has no TLS, so any machine on the path can impersonate the server");
    }
    if tls.is_some_and(|tls| !tls.verify_name && tls.ca.is_none()) {
        return Some(
            "accepts any publicly trusted certificate (`verify-name = false` without `ca`), so any machine on the path can impersonate \
             the server",
        );
    }
    overridden(endpoint)
}

/// An endpoint's own parameters override `[zenoh.tls]`.
fn overridden(endpoint: &str) -> Option<&'static str> {
    parameters(endpoint)
        .any(|(name, _)| !TLS_PARAMETERS.contains(&name))
        .then_some("has parameters after `#` that may override `[zenoh.tls]`")
}

/// Whether every client needs a certificate of the site's own authority.
fn asks_for_certificates(tls: &TlsConfig) -> bool {
    tls.is_mutual() && tls.ca.is_some() && tls.certificate.is_some() && tls.key.is_some()
}

fn is_tls(protocol: &str) -> bool {
    matches!(protocol, "tls" | "quic")
}

fn protocol(endpoint: &str) -> &str {
    endpoint
        .split_once('/')
        .map_or(endpoint, |(protocol, _)| protocol)
}

/// Whether only this machine can reach the endpoint.
fn is_local(endpoint: &str) -> bool {
    let Some((protocol, rest)) = endpoint.split_once('/') else {
        return false;
    };
    if matches!(protocol, "unixsock-stream" | "unixpipe") {
        return true;
    }
    let address = rest.split(['?', '#']).next().unwrap_or_default();
    // A loopback address that is bound to another interface may be reachable from its network.
    is_loopback(address)
        && parameters(endpoint).all(|(name, value)| name != "iface" || value == LOOPBACK_INTERFACE)
}

/// Whether `HOST:PORT` is on loopback. Other names than `localhost`, and short forms of addresses, may resolve to any machine.
fn is_loopback(address: &str) -> bool {
    let by_address = |ip: IpAddr| ip.to_canonical().is_loopback();
    if let Ok(address) = address.parse::<SocketAddr>() {
        return by_address(address.ip());
    }
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(by_address)
}

/// The parameters after `#`, as `name=value;name=value`.
fn parameters(endpoint: &str) -> impl Iterator<Item = (&str, &str)> {
    let behind = endpoint.split_once('#').map_or("", |(_, behind)| behind);
    behind
        .split(';')
        .filter(|part| !part.is_empty())
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .map(|(name, value)| (name.trim(), value.trim()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::fs;
    use std::path::Path;

    use super::*;

    fn certificates() -> TlsConfig {
        TlsConfig {
            ca: Some("ca.pem".into()),
            certificate: Some("a.pem".into()),
            key: Some("a.key".into()),
            ..TlsConfig::default()
        }
    }

    fn listens(endpoint: &str, tls: Option<TlsConfig>) -> Result<(), InsecureEndpoint> {
        judge(&ZenohConfig {
            listen: vec![endpoint.to_owned()],
            tls,
            ..ZenohConfig::default()
        })
    }

    fn connects(endpoint: &str, tls: Option<TlsConfig>) -> Result<(), InsecureEndpoint> {
        judge(&ZenohConfig {
            connect: vec![endpoint.to_owned()],
            tls,
            ..ZenohConfig::default()
        })
    }

    #[test]
    fn what_stays_on_this_machine_needs_nothing() {
        for endpoint in [
            "tcp/127.0.0.1:7447",
            "tcp/127.0.0.1:0",
            "tcp/127.255.255.254:7447",
            "tcp/[::1]:7447",
            "tcp/[::ffff:127.0.0.1]:7447",
            "tcp/localhost:7447",
            "tcp/LOCALHOST:7447",
            "udp/127.0.0.1:7447?rel=1",
            "tls/localhost:7447",
            "tls/127.0.0.1:7447#so_rcvbuf=1000",
            "tcp/127.0.0.1:7447#iface=lo",
            "unixsock-stream/run/hotshoe.sock",
        ] {
            assert_eq!(listens(endpoint, None), Ok(()), "{endpoint}");
            assert_eq!(connects(endpoint, None), Ok(()), "{endpoint}");
        }
        assert_eq!(judge(&ZenohConfig::default()), Ok(()));
    }

    #[test]
    fn beyond_it_a_listener_without_tls_is_refused_in_every_form() {
        for endpoint in [
            "tcp/0.0.0.0:7447",
            "tcp/0.0.0.0:0",
            "tcp/[::]:7447",
            "tcp/[::]:0",
            "tcp/[::ffff:0.0.0.0]:7447",
            "tcp/192.168.1.5:7447",
            "tcp/[fe80::1%2]:7447",
            "tcp/[2001:db8::1]:7447",
            "udp/0.0.0.0:7447",
            "udp/224.0.0.224:7446#iface=lo",
            "udp/192.0.2.1:7447?rel=1",
            "tcp/line-4.local:7447",
            "tcp/localhost.example.org:7447",
            "tcp/localhost.:7447",
            "tcp/127.1:7447",
            "tcp/0:7447",
            "tcp/2130706433:7447",
            "tcp/127.0.0.1.example.org:7447",
            "tcp/127.0.0.1:7447#iface=eth0",
            "tcp/127.0.0.1:7447?rel=1#so_rcvbuf=1000;iface=eth0",
            "tcp/*:7447",
            "tcp/:7447",
            "tcp/",
            "ws/0.0.0.0:7447",
            "vsock/-1:7447",
            "TCP/0.0.0.0:7447",
            "TLS/0.0.0.0:7447",
        ] {
            // Certificates do not help a listener without TLS.
            for tls in [None, Some(certificates())] {
                let error = listens(endpoint, tls).unwrap_err();
                assert_eq!((error.key, error.endpoint.as_str()), ("listen", endpoint));
            }
            assert_eq!(connects(endpoint, None).unwrap_err().key, "connect");
        }
    }

    #[test]
    fn a_listener_with_tls_asks_for_certificates() {
        for endpoint in [
            "tls/0.0.0.0:7447",
            "tls/[::]:7447",
            "tls/site.example:7447#iface=eth0",
        ] {
            assert_eq!(
                listens(endpoint, Some(certificates())),
                Ok(()),
                "{endpoint}"
            );
            for tls in [
                None,
                Some(TlsConfig {
                    mutual: Some(false),
                    ..certificates()
                }),
                Some(TlsConfig {
                    ca: None,
                    ..certificates()
                }),
                Some(TlsConfig {
                    certificate: None,
                    mutual: Some(true),
                    ..certificates()
                }),
            ] {
                assert!(listens(endpoint, tls).is_err(), "{endpoint}");
            }
        }
        for parameter in [
            "enable_mtls=false",
            "root_ca_certificate_file=/tmp/other.pem",
            "root_ca_certificate_base64=AAAA",
            "iface=eth0;enable_mtls=false",
            "verify_name_on_connect=false",
            "anything",
        ] {
            let endpoint = format!("tls/0.0.0.0:7447#{parameter}");
            assert!(
                listens(&endpoint, Some(certificates())).is_err(),
                "{endpoint}"
            );
            assert!(
                connects(&endpoint, Some(certificates())).is_err(),
                "{endpoint}"
            );
        }
    }

    #[test]
    fn a_connection_with_tls_knows_the_other_end() {
        let endpoint = "tls/site.example:7447";
        let careless = TlsConfig {
            verify_name: false,
            ..TlsConfig::default()
        };
        let ours = TlsConfig {
            ca: Some("ca.pem".into()),
            ..careless.clone()
        };
        assert_eq!(connects(endpoint, None), Ok(()));
        assert_eq!(connects(endpoint, Some(ours)), Ok(()));
        assert!(connects(endpoint, Some(careless)).is_err());
        assert!(connects("tcp/site.example:7447", Some(certificates())).is_err());
    }

    #[test]
    fn looking_for_peers_needs_certificates_and_no_endpoint_without_them() {
        let scouting = |listen: &str, tls| {
            judge(&ZenohConfig {
                listen: vec![listen.to_owned()],
                scouting: true,
                tls,
                ..ZenohConfig::default()
            })
        };
        assert_eq!(scouting("tls/0.0.0.0:0", Some(certificates())), Ok(()));
        for (listen, tls) in [
            ("tcp/127.0.0.1:0", Some(certificates())),
            ("tcp/127.0.0.1:0", None),
        ] {
            assert_eq!(scouting(listen, tls).unwrap_err().key, "scouting");
        }
    }

    #[test]
    fn the_error_names_the_endpoint_and_both_ways_out() {
        let text = listens("tcp/0.0.0.0:7447", None).unwrap_err().to_string();
        for word in [
            "tcp/0.0.0.0:7447",
            "zenoh.listen",
            "hotshoe site init",
            "insecure = true",
            "--insecure",
        ] {
            assert!(text.contains(word), "{text}");
        }
    }

    #[test]
    fn every_session_s_settings_are_made_in_one_place() {
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        let (mut opening, mut making) = (Vec::new(), Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = fs::read_to_string(&path).unwrap();
                let name = path.file_name().unwrap().to_owned();
                for (words, files) in [
                    (concat!("zenoh::", "open("), &mut opening),
                    (concat!("zenoh::Config", "::"), &mut making),
                ] {
                    files.extend(text.matches(words).map(|_| name.clone()));
                }
            }
        }
        opening.sort();
        assert_eq!(opening, ["client.rs", "settings.rs"]);
        assert_eq!(making, ["settings.rs"]);
    }
}
