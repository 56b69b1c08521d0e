//! The credentials that `podman login`, `skopeo login`, `docker login` and `oras login` keep.

use std::env::var_os;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};
use hotshoe_devkit::Progress;
use serde_json::Value;

/// What credential helpers print for a registry that they do not know.
const UNKNOWN_TO_HELPER: &str = "credentials not found";

/// The user's credentials for a registry.
#[derive(Clone)]
pub(in super::super) enum Credentials {
    /// None; public repositories need none.
    Anonymous,
    /// A user name and a password.
    Password(String, String),
    /// An identity token, which the token service exchanges for an access token.
    Identity(String),
}

/// The stored credentials for a repository. A file or a helper that does not work is reported and skipped, because the repository may be
/// public.
pub(in super::super) fn stored(
    registry: &str,
    repository: &str,
    progress: &Progress,
) -> Credentials {
    for file in files() {
        let found = fs::read(&file).map_err(|error| match error.kind() {
            ErrorKind::NotFound => None,
            _ => Some(error.to_string()),
        });
        match found.and_then(|bytes| in_file(&bytes, registry, repository)) {
            Ok(DockerCredential::UsernamePassword(name, password)) => {
                return Credentials::Password(name, password);
            }
            Ok(DockerCredential::IdentityToken(token)) => return Credentials::Identity(token),
            Err(None) => {}
            Err(Some(why)) => progress.say(&format!(
                "the credentials for {registry} in {} are not used: {why}",
                file.display()
            )),
        }
    }
    Credentials::Anonymous
}

/// The files in order, as the containers tools read them: Podman's, then Docker's.
fn files() -> Vec<PathBuf> {
    let folder = |name: &str| {
        let folder = var_os(name).filter(|value| !value.is_empty());
        folder.map(PathBuf::from)
    };
    if let Some(file) = folder("REGISTRY_AUTH_FILE") {
        return vec![file];
    }
    let home = |name: &str| folder("HOME").map(|home| home.join(name));
    let runtime = folder("XDG_RUNTIME_DIR").map(|it| it.join("containers/auth.json"));
    let config = folder("XDG_CONFIG_HOME").or_else(|| home(".config"));
    let docker = folder("DOCKER_CONFIG").or_else(|| home(".docker"));
    [
        runtime,
        config.map(|it| it.join("containers/auth.json")),
        docker.map(|it| it.join("config.json")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The credentials in a file; none if it has none, else why they cannot be used.
fn in_file(
    bytes: &[u8],
    registry: &str,
    repository: &str,
) -> Result<DockerCredential, Option<String>> {
    let config: Value = serde_json::from_slice(bytes).map_err(|error| Some(error.to_string()))?;
    let key = key(&config, registry, repository);
    get_credential_from_reader(bytes, &key).map_err(|error| match error {
        CredentialRetrievalError::NoCredentialConfigured => None,
        CredentialRetrievalError::HelperFailure { stdout, stderr, .. }
            if [&stdout, &stderr]
                .iter()
                .any(|it| it.contains(UNKNOWN_TO_HELPER)) =>
        {
            None
        }
        CredentialRetrievalError::HelperCommunicationError => Some(helper(&config, registry)),
        error => Some(error.to_string()),
    })
}

/// The most specific key: Podman's file may have credentials for a part of a registry.
fn key(config: &Value, registry: &str, repository: &str) -> String {
    let mut key = format!("{registry}/{repository}");
    while key.len() > registry.len() {
        if config.get("auths").is_some_and(|it| it.get(&key).is_some()) {
            return key;
        }
        let parent = Path::new(&key).parent().and_then(Path::to_str);
        key = parent.unwrap_or(registry).to_owned();
    }
    registry.to_owned()
}

fn helper(config: &Value, registry: &str) -> String {
    let own = config.get("credHelpers").and_then(|it| it.get(registry));
    let name = own.or_else(|| config.get("credsStore"));
    let name = name.and_then(Value::as_str).unwrap_or_default();
    format!("docker-credential-{name} cannot be run")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;

    // `dTpw` is "u:p", `bzpx` is "o:q", in base64.
    const FILE: &str = r#"{
        "auths": {
            "registry.example": { "auth": "dTpw" },
            "registry.example/line": { "auth": "bzpx" },
            "token.example": { "auth": "dTo=", "identitytoken": "it" }
        },
        "credHelpers": { "helped.example": "not-on-this-machine" }
    }"#;

    fn password(registry: &str, repository: &str) -> String {
        match in_file(FILE.as_bytes(), registry, repository).unwrap() {
            DockerCredential::UsernamePassword(name, password) => format!("{name}:{password}"),
            DockerCredential::IdentityToken(token) => token,
        }
    }

    #[test]
    fn the_most_specific_credentials_are_used() {
        assert_eq!(password("registry.example", "labels"), "u:p");
        assert_eq!(password("registry.example", "line/labels"), "o:q");
        assert_eq!(password("registry.example", "line/a/labels"), "o:q");
        assert_eq!(password("registry.example", "lines/labels"), "u:p");
        assert_eq!(password("token.example", "line/labels"), "it");
    }

    #[test]
    fn what_is_missing_is_no_error_and_a_missing_helper_is_named() {
        let none = in_file(FILE.as_bytes(), "other.example", "labels");
        assert_eq!(none, Err(None));
        let missing = in_file(FILE.as_bytes(), "helped.example", "labels");
        let said = "docker-credential-not-on-this-machine cannot be run";
        assert_eq!(missing, Err(Some(said.to_owned())));
        assert!(
            in_file(b"{", "other.example", "labels")
                .unwrap_err()
                .is_some()
        );
    }
}
