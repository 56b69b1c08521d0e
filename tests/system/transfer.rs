//! Pushes and pulls through a proxy that fails as networks and registries do, in front of a real registry.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::thread;

use hotshoe_tests::{Authority, Need, skip};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use tokio_rustls::rustls;

use super::oci::{Registry, json, program};
use super::support::{Workspace, limited};

/// After how many bytes of a body a connection is cut. The model and its index of chunks are not both smaller.
const CUT: usize = 100_000;

/// A request as the proxy got it.
#[derive(Clone)]
struct Asked {
    method: String,
    /// With the query.
    path: String,
    /// In lower case.
    headers: String,
    body: Vec<u8>,
}

impl Asked {
    fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.path.contains(part)
    }

    fn has(&self, header: &str) -> bool {
        self.headers.contains(header)
    }
}

/// What the proxy does with a request.
enum Reply {
    /// The registry answers.
    Pass,
    /// The registry answers, and the connection ends after so many bytes of the body.
    Cut(usize),
    /// The connection ends without an answer.
    Drop,
    /// The proxy answers: a status, further headers, a body.
    Say(&'static str, String, String),
}

fn say(status: &'static str) -> Reply {
    Reply::Say(status, String::new(), String::new())
}

/// Whatever decides about requests.
type Rule = Box<dyn FnMut(&Asked) -> Reply + Send>;

/// An HTTP proxy in front of a registry. One request a connection.
struct Proxy {
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    rule: Arc<Mutex<Rule>>,
}

impl Proxy {
    fn start(registry: u16, rule: impl FnMut(&Asked) -> Reply + Send + 'static) -> Self {
        Self::with_tls(registry, None, rule)
    }

    fn with_tls(
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

    fn address(&self, rest: &str) -> String {
        format!("oci://127.0.0.1:{}/{rest}", self.port)
    }

    fn rule(&self, rule: impl FnMut(&Asked) -> Reply + Send + 'static) {
        *self.rule.lock().unwrap() = Box::new(rule);
    }

    /// The requests since the last call.
    fn asked(&self) -> Vec<Asked> {
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

/// A registry, and a signed release with its folder.
fn start() -> Option<(Registry, Workspace, PathBuf)> {
    let program = match program() {
        Ok(program) => program,
        Err(reason) => {
            skip(Need::DebianPackages, &reason);
            return None;
        }
    };
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("classify-angle.toml"));
    Some((Registry::start(&program), workspace, release))
}

/// Runs a command with a home of its own, so that no credentials of this machine count.
fn run(workspace: &Workspace, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let home = workspace.path("home");
    let mut command = limited("");
    command
        .args(arguments)
        .arg("--json")
        .env("HOME", home)
        .env_remove("XDG_RUNTIME_DIR")
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("DOCKER_CONFIG")
        .env_remove("REGISTRY_AUTH_FILE")
        .env_remove("RUST_LOG");
    command.envs(variables.iter().copied());
    command.output().unwrap()
}

/// What a command says that must succeed.
fn done(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    json(&text)
}

/// The error of a command, as one text.
fn refused(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    json(&text)["error"].to_string()
}

fn push(workspace: &Workspace, release: &Path, to: &str, variables: &[(&str, &str)]) -> Value {
    let release = release.display().to_string();
    done(&run(workspace, &["push", &release, to], variables))
}

fn pull(workspace: &Workspace, from: &str, variables: &[(&str, &str)]) -> Output {
    let back = workspace.path("back").display().to_string();
    run(workspace, &["pull", from, "--out", &back], variables)
}

/// Asserts that a pull succeeds, with its signature.
fn pulled(workspace: &Workspace, from: &str, variables: &[(&str, &str)]) -> Value {
    let pulled = done(&pull(workspace, from, variables));
    assert_eq!(pulled["signatures"], 1, "{pulled}");
    let back = workspace.path("back").display().to_string();
    let trust = workspace.trust_file();
    done(&run(workspace, &["verify", &back, "--trust", &trust], &[]));
    pulled
}

/// The bytes of a release's config and layers.
fn blob_bytes(release: &Path, digest: &str) -> u64 {
    let (_, hex) = digest.split_once(':').unwrap();
    let manifest = fs::read_to_string(release.join("blobs/sha256").join(hex)).unwrap();
    let manifest = json(&manifest);
    let layers = manifest["layers"].as_array().unwrap().iter();
    let sizes: HashMap<&str, u64> = layers
        .chain([&manifest["config"]])
        .map(|part| {
            (
                part["digest"].as_str().unwrap(),
                part["size"].as_u64().unwrap(),
            )
        })
        .collect();
    sizes.values().sum()
}

fn count(asked: &[Asked], method: &str, part: &str) -> usize {
    asked.iter().filter(|it| it.is(method, part)).count()
}

#[test]
fn a_blob_is_sent_as_one_request_and_a_present_one_is_not() {
    let Some((registry, workspace, release)) = start() else {
        return;
    };
    let proxy = Proxy::start(registry.port, |_| Reply::Pass);
    let to = proxy.address("line/angle:1");
    let pushed = push(&workspace, &release, &to, &[]);
    let asked = proxy.asked();
    let begun = count(&asked, "POST", "/blobs/uploads/");
    assert!(begun > 0);
    assert_eq!(count(&asked, "PUT", "/blobs/uploads/"), begun);
    assert_eq!(count(&asked, "PATCH", ""), 0);
    let puts = asked.iter().filter(|it| it.is("PUT", "/blobs/uploads/"));
    let sent: usize = puts.map(|it| it.body.len()).sum();
    assert_eq!(pushed["sent_bytes"], sent);

    let again = push(&workspace, &release, &to, &[]);
    assert_eq!(again["sent_bytes"], 0);
    assert_eq!(count(&proxy.asked(), "POST", ""), 0);
}

#[test]
fn a_blob_goes_in_chunks_where_one_request_is_too_large() {
    let Some((registry, workspace, _)) = start() else {
        return;
    };
    // 3 MiB that do not repeat, as a data file.
    let mut state = 1_u32;
    let data: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(3 << 20)
    .collect();
    let file = workspace.path("noise.bin");
    fs::write(&file, data).unwrap();
    let recipe = format!(
        "{}\n[data.noise]\nfile = \"{}\"\n",
        Workspace::recipe("classify-angle.toml"),
        file.display()
    );
    let release = workspace.release(&recipe);
    let limit = 600_000;
    let proxy = Proxy::start(registry.port, move |asked| match asked.body.len() {
        large if large > limit => say("413 Content Too Large"),
        _ => Reply::Pass,
    });
    push(&workspace, &release, &proxy.address("line/angle:1"), &[]);
    let asked = proxy.asked();
    let chunks = asked.iter().filter(|it| it.is("PATCH", "/blobs/uploads/"));
    let taken = chunks.filter(|it| it.body.len() == 512 << 10).count();
    // 3 MiB are six chunks of 512 KiB, to which the request was made smaller from 8 MiB.
    assert!(taken >= 6, "{taken}");
    pulled(&workspace, &registry.address("line/angle:1"), &[]);
}

#[test]
fn every_request_may_fail_once_and_a_busy_registry_is_asked_again() {
    let Some((registry, workspace, release)) = start() else {
        return;
    };
    let mut seen = HashSet::new();
    let statuses = [
        "429 Too Many Requests",
        "503 Service Unavailable",
        "502 Bad Gateway",
        "504 Gateway Timeout",
    ];
    let mut next = statuses.into_iter().cycle();
    let proxy = Proxy::start(registry.port, move |asked| {
        // The address of an upload is another one at each attempt; its digest is not.
        let digest = asked.path.split_once("digest=").map(|(_, rest)| rest);
        let path = match asked.path.split_once("/uploads/") {
            Some((path, _)) => path,
            None => &asked.path,
        };
        if seen.insert(format!("{} {path} {digest:?}", asked.method)) {
            let wait = "retry-after: 0\r\n".to_owned();
            return Reply::Say(next.next().unwrap(), wait, String::new());
        }
        Reply::Pass
    });
    let to = proxy.address("line/angle:1");
    push(&workspace, &release, &to, &[]);
    pulled(&workspace, &to, &[]);
}

#[test]
fn a_registry_that_stays_busy_ends_the_pull_after_five_attempts_or_at_a_long_wait() {
    let Some((registry, workspace, release)) = start() else {
        return;
    };
    push(&workspace, &release, &registry.address("line/angle:1"), &[]);
    for (wait, attempts, words) in [
        ("0", 5, "5 attempts failed"),
        ("3600", 1, "asks to wait 3600 s; the limit is 60 s"),
    ] {
        let proxy = Proxy::start(registry.port, move |asked| {
            if asked.path.contains("/manifests/") {
                let wait = format!("retry-after: {wait}\r\n");
                return Reply::Say("503 Service Unavailable", wait, String::new());
            }
            Reply::Pass
        });
        let said = refused(&pull(&workspace, &proxy.address("line/angle:1"), &[]));
        assert!(
            said.contains("\"registry\"") && said.contains("503"),
            "{said}"
        );
        assert!(said.contains(words), "{said}");
        assert_eq!(count(&proxy.asked(), "GET", "/manifests/1"), attempts);
    }
}

#[test]
fn a_lost_connection_is_made_again_and_a_cut_body_is_continued_where_it_ended() {
    let Some((registry, workspace, release)) = start() else {
        return;
    };
    push(&workspace, &release, &registry.address("line/angle:1"), &[]);
    let mut is_first = true;
    let proxy = Proxy::start(registry.port, move |asked| {
        if asked.is("GET", "/manifests/1") && std::mem::take(&mut is_first) {
            return Reply::Drop;
        }
        if asked.is("GET", "/blobs/") && !asked.has("range: ") {
            return Reply::Cut(CUT);
        }
        Reply::Pass
    });
    let said = pulled(&workspace, &proxy.address("line/angle:1"), &[]);
    let asked = proxy.asked();
    let ranges: Vec<_> = asked.iter().filter(|it| it.has("range: bytes=")).collect();
    assert!(!ranges.is_empty());
    let digest = said["digest"].as_str().unwrap();
    // No byte came twice.
    assert_eq!(said["bytes"], blob_bytes(&release, digest));
}

#[test]
fn an_interrupted_pull_is_continued_by_the_next_and_a_complete_one_fetches_nothing() {
    let Some((registry, workspace, release)) = start() else {
        return;
    };
    push(&workspace, &release, &registry.address("line/angle:1"), &[]);
    let proxy = Proxy::start(registry.port, |asked| {
        if asked.has("range: ") {
            return say("400 Bad Request");
        }
        if asked.is("GET", "/blobs/") {
            return Reply::Cut(CUT);
        }
        Reply::Pass
    });
    let from = proxy.address("line/angle:1");
    refused(&pull(&workspace, &from, &[]));
    let partial = workspace.path(".back.pull");
    let left: u64 = fs::read_dir(&partial)
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(left > 0);
    assert!(!workspace.path("back").exists());

    proxy.rule(|_| Reply::Pass);
    proxy.asked();
    let second = pulled(&workspace, &from, &[]);
    let all = blob_bytes(&release, second["digest"].as_str().unwrap());
    assert_eq!(second["bytes"], all - left);
    assert!(proxy.asked().iter().any(|it| it.has("range: bytes=")));
    assert!(!partial.exists());

    let third = pulled(&workspace, &from, &[]);
    assert_eq!(third["bytes"], 0);
}

#[test]
fn bytes_of_another_release_at_the_resumed_place_are_fetched_again() {
    let Some((registry, workspace, release)) = start() else {
        return;
    };
    let to = registry.address("line/angle:1");
    let pushed = push(&workspace, &release, &to, &[]);
    let partial = workspace.path(".back.pull");
    fs::create_dir(&partial).unwrap();
    let digest = pushed["digest"].as_str().unwrap();
    let manifest = release
        .join("blobs/sha256")
        .join(&digest["sha256:".len()..]);
    let manifest = json(&fs::read_to_string(manifest).unwrap());
    for layer in manifest["layers"].as_array().unwrap() {
        let name = layer["digest"].as_str().unwrap().replace(':', "-");
        fs::write(partial.join(name), b"junk").unwrap();
    }
    pulled(&workspace, &to, &[]);
}

/// A rule of a registry whose tokens serve three requests each.
fn short_tokens(
    port: impl Fn() -> u16 + Send + 'static,
    token: impl Fn(&Asked) -> bool + Send + 'static,
) -> impl FnMut(&Asked) -> Reply + Send + 'static {
    let mut tokens = 0;
    let mut left = 0;
    move |asked| {
        if asked.path.starts_with("/token") {
            if !token(asked) {
                return say("401 Unauthorized");
            }
            tokens += 1;
            left = 3;
            let body = format!("{{\"access_token\":\"t{tokens}\"}}");
            return Reply::Say("200 OK", String::new(), body);
        }
        if left > 0 && asked.has(&format!("authorization: bearer t{tokens}\r\n")) {
            left -= 1;
            return Reply::Pass;
        }
        let challenge = format!(
            "www-authenticate: Bearer realm=\"http://127.0.0.1:{}/token\",service=\"a registry\"\r\n",
            port()
        );
        Reply::Say("401 Unauthorized", challenge, String::new())
    }
}

/// A proxy whose rule knows its own port.
fn with_short_tokens(
    registry: &Registry,
    token: impl Fn(&Asked) -> bool + Send + 'static,
) -> Proxy {
    let proxy = Proxy::start(registry.port, |_| Reply::Pass);
    let port = proxy.port;
    proxy.rule(short_tokens(move || port, token));
    proxy
}

#[test]
fn a_token_that_expires_is_renewed_and_an_identity_token_is_exchanged() {
    let Some((registry, workspace, release)) = start() else {
        return;
    };
    let proxy = with_short_tokens(&registry, |asked| asked.method == "GET");
    let to = proxy.address("line/angle:1");
    push(&workspace, &release, &to, &[]);
    pulled(&workspace, &to, &[]);
    assert!(count(&proxy.asked(), "GET", "/token") > 2);

    let proxy = with_short_tokens(&registry, |asked| {
        let form = String::from_utf8_lossy(&asked.body).into_owned();
        asked.method == "POST"
            && [
                "grant_type=refresh_token",
                "refresh_token=s%26ecret",
                "service=a+registry",
            ]
            .iter()
            .all(|field| form.split('&').any(|it| it == *field))
    });
    let from = proxy.address("line/angle:1");
    let said = refused(&pull(&workspace, &from, &[]));
    assert!(said.contains("\"unauthorized\""), "{said}");
    // Podman's file, where Podman keeps it. "dTo=" is the user `u` without a password.
    let file = workspace.path("home/.config/containers/auth.json");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let auths = format!(
        r#"{{"auths":{{"127.0.0.1:{}":{{"auth":"dTo=","identitytoken":"s&ecret"}}}}}}"#,
        proxy.port
    );
    fs::write(&file, auths).unwrap();
    pulled(&workspace, &from, &[]);
}

#[test]
fn a_missing_credential_helper_does_not_block_a_public_registry() {
    let Some((registry, workspace, release)) = start() else {
        return;
    };
    let to = registry.address("line/angle:1");
    push(&workspace, &release, &to, &[]);
    let file = workspace.path("home/.docker/config.json");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, r#"{"credsStore":"not-on-this-machine"}"#).unwrap();
    let output = pull(&workspace, &to, &[]);
    done(&output);
    let said = String::from_utf8_lossy(&output.stderr);
    let words = "docker-credential-not-on-this-machine cannot be run";
    assert!(said.contains(words), "{said}");
}

#[test]
fn referrers_that_are_refused_are_found_under_their_tag() {
    let Some((registry, workspace, release)) = start() else {
        return;
    };
    push(&workspace, &release, &registry.address("line/angle:1"), &[]);
    for status in [
        "400 Bad Request",
        "403 Forbidden",
        "405 Method Not Allowed",
        "500 Internal Server Error",
    ] {
        let proxy = Proxy::start(registry.port, move |asked| {
            if asked.path.contains("/referrers/") {
                return say(status);
            }
            Reply::Pass
        });
        pulled(&workspace, &proxy.address("line/angle:1"), &[]);
        assert!(count(&proxy.asked(), "GET", "/referrers/") > 0, "{status}");
    }
}

#[test]
fn a_redirect_gets_no_authorization() {
    let Some((registry, workspace, release)) = start() else {
        return;
    };
    push(&workspace, &release, &registry.address("line/angle:1"), &[]);
    let storage = Proxy::start(registry.port, |asked| {
        if asked.has("authorization: ") {
            return say("400 Bad Request");
        }
        Reply::Pass
    });
    // Another port of the same host, and the same server.
    for port in [Some(storage.port), None] {
        let front = Proxy::start(registry.port, |_| Reply::Pass);
        let target = port.unwrap_or(front.port);
        front.rule(move |asked| {
            let is_authorized = asked.has("authorization: basic ");
            if asked.path.ends_with("?signed") {
                return match is_authorized {
                    true => say("400 Bad Request"),
                    false => Reply::Pass,
                };
            }
            if !is_authorized {
                let challenge = "www-authenticate: Basic realm=\"a registry\"\r\n".to_owned();
                return Reply::Say("401 Unauthorized", challenge, String::new());
            }
            if asked.path.contains("/blobs/") {
                let to = format!(
                    "location: http://127.0.0.1:{target}{}?signed\r\n",
                    asked.path
                );
                return Reply::Say("307 Temporary Redirect", to, String::new());
            }
            Reply::Pass
        });
        let back = workspace.path(&format!("back-{target}"));
        let arguments = [
            "pull",
            &front.address("line/angle:1"),
            "--username",
            "u",
            "--out",
            &back.display().to_string(),
        ];
        let output = run(
            &workspace,
            &arguments,
            &[("HOTSHOE_REGISTRY_PASSWORD", "p")],
        );
        assert_eq!(done(&output)["signatures"], 1);
    }
    assert!(count(&storage.asked(), "GET", "/blobs/") > 0);
}

fn server(certificate: &Path, key: &Path) -> Arc<ServerConfig> {
    let certificate = CertificateDer::from_pem_file(certificate).unwrap();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    Arc::new(config)
}

#[test]
fn a_registry_on_localhost_may_have_tls_by_an_authority_of_its_own() {
    let Some((registry, workspace, release)) = start() else {
        return;
    };
    let authority = Authority::new(&workspace.path("authority"));
    let issued = authority.issue("registry");
    let tls = server(&issued.certificate, &issued.key);
    let proxy = Proxy::with_tls(registry.port, Some(tls), |_| Reply::Pass);
    let at = format!("oci://localhost:{}/line/angle:1", proxy.port);
    let (ca, folder) = (
        authority.ca().display().to_string(),
        release.display().to_string(),
    );
    done(&run(
        &workspace,
        &["push", &folder, &at, "--ca-file", &ca],
        &[],
    ));

    let back = workspace.path("back").display().to_string();
    let forced = ["pull", &at, "--plain-http=false", "--out", &back];
    let said = refused(&run(&workspace, &forced, &[]));
    assert!(said.contains("cannot reach localhost"), "{said}");

    done(&run(&workspace, &forced, &[("SSL_CERT_FILE", &ca)]));
    let folder = workspace.path(&format!(
        "home/.config/containers/certs.d/localhost:{}",
        proxy.port
    ));
    fs::create_dir_all(&folder).unwrap();
    fs::copy(&ca, folder.join("ca.crt")).unwrap();
    pulled(&workspace, &at, &[]);

    let junk = workspace.path("junk.pem").display().to_string();
    fs::write(&junk, "no certificate").unwrap();
    let arguments = ["pull", &at, "--ca-file", &junk, "--out", &back];
    let said = refused(&run(&workspace, &arguments, &[]));
    assert!(
        said.contains("\"bad_ca_file\"") && said.contains("junk.pem"),
        "{said}"
    );
}

#[test]
fn a_self_signed_certificate_that_is_marked_as_an_authority_counts_for_its_own_name_alone() {
    let Some((registry, workspace, release)) = start() else {
        return;
    };
    push(&workspace, &release, &registry.address("line/angle:1"), &[]);
    // As `openssl req -x509` makes it.
    for (name, is_accepted) in [("localhost", true), ("registry.example", false)] {
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let signed = params.self_signed(&key).unwrap();
        let (certificate, secret) = (workspace.path("own.crt"), workspace.path("own.key"));
        fs::write(&certificate, signed.pem()).unwrap();
        fs::write(&secret, key.serialize_pem()).unwrap();
        let tls = server(&certificate, &secret);
        let proxy = Proxy::with_tls(registry.port, Some(tls), |_| Reply::Pass);
        let at = format!("oci://localhost:{}/line/angle:1", proxy.port);
        let back = workspace.path("back").display().to_string();
        let ca = certificate.display().to_string();
        let output = run(
            &workspace,
            &["pull", &at, "--ca-file", &ca, "--out", &back],
            &[],
        );
        if is_accepted {
            done(&output);
        } else {
            let said = refused(&output);
            assert!(said.contains("cannot reach localhost"), "{said}");
        }
    }
}
