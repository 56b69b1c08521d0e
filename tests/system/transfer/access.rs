//! Credentials, tokens, redirects and TLS of registries.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use hotshoe_tests::Authority;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls;

use super::proxy::{Asked, Proxy, Reply, say};
use super::{count, done, pull, pulled, push, refused, run, start};
use crate::oci::Registry;

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
                "refresh_token=one%26two",
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
        r#"{{"auths":{{"127.0.0.1:{}":{{"auth":"dTo=","identitytoken":"one&two"}}}}}}"#,
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

#[test]
fn a_server_to_which_the_registry_redirects_the_first_request_gets_no_credentials() {
    let Some((registry, workspace, release)) = start() else {
        return;
    };
    push(&workspace, &release, &registry.address("line/angle:1"), &[]);
    let other = Proxy::start(registry.port, |_| Reply::Pass);
    let target = other.port;
    other.rule(move |_| {
        let challenge =
            format!("www-authenticate: Bearer realm=\"http://127.0.0.1:{target}/token\"\r\n");
        Reply::Say("401 Unauthorized", challenge, String::new())
    });
    let front = Proxy::start(registry.port, move |asked| {
        if asked.path == "/v2/" {
            let to = format!("location: http://127.0.0.1:{target}/v2/\r\n");
            return Reply::Say("307 Temporary Redirect", to, String::new());
        }
        Reply::Pass
    });
    let from = front.address("line/angle:1");
    let back = workspace.path("back").display().to_string();
    let arguments = ["pull", &from, "--username", "u", "--out", &back];
    let password = [("HOTSHOE_REGISTRY_PASSWORD", "p")];
    let said = done(&run(&workspace, &arguments, &password));
    assert_eq!(said["signatures"], 1);
    let asked = other.asked();
    assert_eq!(asked.len(), 1);
    assert!(asked.iter().all(|it| !it.has("authorization: ")));
}

#[test]
fn a_token_service_without_tls_gets_no_credentials_for_a_registry_with_tls() {
    let Some((registry, workspace, _)) = start() else {
        return;
    };
    let service = Proxy::start(registry.port, |_| say("401 Unauthorized"));
    let challenge = format!(
        "www-authenticate: Bearer realm=\"http://127.0.0.1:{}/token\"\r\n",
        service.port
    );
    let authority = Authority::new(&workspace.path("authority"));
    let issued = authority.issue("registry");
    let tls = server(&issued.certificate, &issued.key);
    let front = Proxy::with_tls(registry.port, Some(tls), move |_| {
        Reply::Say("401 Unauthorized", challenge.clone(), String::new())
    });
    let from = format!("oci://localhost:{}/line/angle:1", front.port);
    let back = workspace.path("back").display().to_string();
    let ca = authority.ca().display().to_string();
    let arguments = [
        "pull",
        &from,
        "--ca-file",
        &ca,
        "--username",
        "u",
        "--out",
        &back,
    ];
    let password = [("HOTSHOE_REGISTRY_PASSWORD", "p")];
    let said = refused(&run(&workspace, &arguments, &password));
    assert!(said.contains("does not use https"), "{said}");
    assert!(service.asked().is_empty());
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
