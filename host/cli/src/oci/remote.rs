//! One repository of a registry.

use std::time::Duration;

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential};
use futures_util::TryStreamExt as _;
use hotshoe_trust::{Blob, Digest, Hasher, ReleaseLimits};
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::manifest::OciImageIndex;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::rustls;
use tokio_util::io::ReaderStream;

use super::error::registry_name;
use super::reader::{self, RegistryReader};
use super::{Address, OciError, signatures};

/// The read timeout.
const SILENCE: Duration = Duration::from_secs(60);
/// The connect timeout.
const CONNECT: Duration = Duration::from_secs(10);
/// The user agent of requests.
const USER_AGENT: &str = concat!("hotshoe/", env!("CARGO_PKG_VERSION"));
/// The maximum size of a list of referrers: 4 MiB, the largest manifest that the specification requires registries to accept.
const INDEX_BYTES: u64 = 4 * 1024 * 1024;
/// The environment variable of the password for `--username`, so that no command line shows it.
const PASSWORD: &str = "HOTSHOE_REGISTRY_PASSWORD";
/// The media type of a list of referrers.
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The media types of manifests. Only the first can be a release; of the others a pull says what they are.
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// The options for access to a registry.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Access {
    /// User name; the password is read from HOTSHOE_REGISTRY_PASSWORD [default: the credentials from `docker login` or `oras login`, else none]
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Do not encrypt; always so for addresses of this machine
    #[arg(long)]
    plain_http: bool,
}

/// A repository of a registry, with authentication.
pub(crate) struct Remote {
    client: Client,
    reader: RegistryReader,
    address: Address,
}

impl Remote {
    /// Authenticates for pulling, or also for pushing.
    ///
    /// # Errors
    /// [`OciError::Credentials`], [`OciError::NoPassword`], [`OciError::Registry`].
    pub(crate) async fn open(
        address: &Address,
        access: &Access,
        push: bool,
    ) -> Result<Self, OciError> {
        let registry = address.reference().resolve_registry().to_owned();
        let (protocol, scheme) = if access.plain_http || address.is_loopback() {
            (ClientProtocol::Http, "http")
        } else {
            (ClientProtocol::Https, "https")
        };
        let config = ClientConfig {
            protocol,
            connect_timeout: Some(CONNECT),
            read_timeout: Some(SILENCE),
            user_agent: USER_AGENT,
            ..ClientConfig::default()
        };
        let cannot = |source: OciDistributionError| OciError::Registry {
            what: format!("cannot reach {registry}, or it refuses access"),
            source: source.into(),
        };
        // reqwest has no default provider here; an installed one is this one.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .user_agent(USER_AGENT)
            .build()
            .map_err(|error| cannot(error.into()))?;
        let (operation, actions) = if push {
            (RegistryOperation::Push, "pull,push")
        } else {
            (RegistryOperation::Pull, "pull")
        };
        let auth = credentials(&registry, access.username.as_deref())?;
        let repository = address.reference().repository();
        let server = format!("{scheme}://{registry}");
        let reader = RegistryReader::open(http, &server, repository, auth, actions)
            .await
            .map_err(cannot)?;
        let remote = Self {
            client: Client::try_from(config).map_err(cannot)?,
            reader,
            address: address.clone(),
        };
        // The client gets the token, or learns the registry's challenge.
        remote
            .client
            .auth(address.reference(), remote.reader.auth(), operation)
            .await
            .map_err(cannot)?;
        Ok(remote)
    }

    /// The repository's address.
    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    /// Whether the repository already has a blob.
    pub(crate) async fn has(&self, blob: &Blob) -> Result<bool, OciError> {
        let digest = blob.digest.to_string();
        self.client
            .blob_exists(self.address.reference(), &digest)
            .await
            .map_err(self.failed(|| format!("cannot check for blob {digest}")))
    }

    /// Sends a blob.
    pub(crate) async fn send(
        &self,
        blob: &Blob,
        bytes: impl AsyncRead + Send + 'static,
    ) -> Result<(), OciError> {
        let digest = blob.digest.to_string();
        let stream = ReaderStream::new(bytes).map_err(OciDistributionError::from);
        self.client
            .push_blob_stream(self.address.reference(), stream, &digest, Some(blob.size))
            .await
            .map_err(self.failed(|| format!("cannot send blob {digest}")))?;
        Ok(())
    }

    /// Sends a manifest, byte for byte, under a tag or its digest.
    pub(crate) async fn put_manifest(
        &self,
        at: &Reference,
        bytes: Vec<u8>,
        media_type: &'static str,
    ) -> Result<(), OciError> {
        let media_type = media_type.parse().map_err(|_| OciError::NotARelease {
            place: at.to_string(),
            found: media_type.to_owned(),
        })?;
        self.client
            .push_manifest_raw(at, bytes, media_type)
            .await
            .map_err(self.failed(|| format!("cannot send the manifest {at}")))?;
        Ok(())
    }

    /// Reads a manifest's bytes and checks its digest, if `at` has one.
    pub(crate) async fn manifest(&self, at: &Reference) -> Result<Vec<u8>, OciError> {
        let what = || format!("cannot get the manifest {at}");
        let name = at.digest().or(at.tag()).unwrap_or("latest");
        let path = format!("manifests/{name}");
        let answer = self.reader.get(&path, MANIFESTS).await;
        let answer = answer.map_err(self.failed(what))?;
        let limit = ReleaseLimits::MANIFEST_BYTES;
        let bytes = reader::body(answer, limit)
            .await
            .map_err(self.failed(what))?
            .ok_or_else(|| self.endless("the manifest", limit))?;
        let found = Digest::of(&bytes);
        match at.digest().map(str::parse::<Digest>) {
            Some(Ok(expected)) if expected != found => Err(self.mismatch(expected, found)),
            _ => Ok(bytes),
        }
    }

    /// Writes a blob to `out` and checks its size and digest. Never writes more than its size.
    pub(crate) async fn fetch(
        &self,
        blob: &Blob,
        mut out: impl AsyncWrite + Unpin,
        mut progress: impl FnMut(u64),
    ) -> Result<(), OciError> {
        let digest = blob.digest.to_string();
        let what = || format!("cannot get blob {digest}");
        let path = format!("blobs/{digest}");
        let answer = self.reader.get(&path, "*/*").await;
        let mut answer = answer.map_err(self.failed(what))?;
        let mut hasher = Hasher::default();
        let mut size = 0_u64;
        while let Some(bytes) = answer.chunk().await.map_err(|source| OciError::Registry {
            what: what(),
            source: Box::new(source.into()),
        })? {
            size = size.saturating_add(bytes.len() as u64);
            if size > blob.size {
                return Err(self.too_large(&format!("blob {digest}"), size, blob.size));
            }
            hasher.update(&bytes);
            let written = out.write_all(&bytes).await;
            written.map_err(|source| OciError::Registry {
                what: what(),
                source: Box::new(source.into()),
            })?;
            progress(bytes.len() as u64);
        }
        let found = hasher.finish();
        if found != blob.digest {
            return Err(self.mismatch(blob.digest, found));
        }
        out.flush().await.map_err(|source| OciError::Registry {
            what: what(),
            source: Box::new(source.into()),
        })
    }

    /// The referrers of a manifest, by artifact type. Older registries have the list under a tag instead, and may ignore the type.
    pub(crate) async fn referrers(
        &self,
        subject: Digest,
        artifact_type: Option<&str>,
    ) -> Result<OciImageIndex, OciError> {
        let what = || format!("cannot list the referrers of {subject}");
        let mut path = format!("referrers/{subject}");
        if let Some(kind) = artifact_type {
            path.push_str("?artifactType=");
            // A query would decode `+` as a space.
            path.push_str(&kind.replace('+', "%2B"));
        }
        let mut answer = self.reader.get(&path, INDEX).await;
        if matches!(&answer, Err(error) if is_not_found(error)) {
            let tag = subject.to_string().replace(':', "-");
            answer = self.reader.get(&format!("manifests/{tag}"), INDEX).await;
        }
        let answer = match answer {
            Err(error) if is_not_found(&error) => {
                return Ok(OciImageIndex {
                    schema_version: 2,
                    media_type: Some(INDEX.to_owned()),
                    manifests: Vec::new(),
                    artifact_type: None,
                    annotations: None,
                });
            }
            answer => answer.map_err(self.failed(what))?,
        };
        let bytes = reader::body(answer, INDEX_BYTES)
            .await
            .map_err(self.failed(what))?
            .ok_or_else(|| self.endless("the list of signatures", INDEX_BYTES))?;
        serde_json::from_slice(&bytes).map_err(|source| OciError::Referrer {
            digest: subject.to_string(),
            source,
        })
    }

    /// The list of a manifest's referrers under the tag of the specification, if the repository has it.
    pub(super) async fn tagged_referrers(
        &self,
        subject: Digest,
    ) -> Result<Option<OciImageIndex>, OciError> {
        let what = || format!("cannot get the list of signatures of {subject}");
        let path = format!("manifests/{}", signatures::tag(subject));
        let answer = match self.reader.get(&path, INDEX).await {
            Err(error) if is_not_found(&error) => return Ok(None),
            answer => answer.map_err(self.failed(what))?,
        };
        let bytes = reader::body(answer, INDEX_BYTES)
            .await
            .map_err(self.failed(what))?
            .ok_or_else(|| self.endless("the list of signatures", INDEX_BYTES))?;
        let index = serde_json::from_slice(&bytes).map_err(|source| OciError::Referrer {
            digest: subject.to_string(),
            source,
        })?;
        Ok(Some(index))
    }

    /// The error of a response that was aborted at its limit.
    fn endless(&self, what: &str, limit: u64) -> OciError {
        self.too_large(what, limit.saturating_add(1), limit)
    }

    pub(super) fn too_large(&self, what: &str, size: u64, limit: u64) -> OciError {
        OciError::TooLarge {
            what: what.to_owned(),
            place: self.address.to_string(),
            size,
            limit,
        }
    }

    pub(super) fn mismatch(&self, expected: Digest, found: Digest) -> OciError {
        OciError::Mismatch {
            place: self.address.to_string(),
            expected,
            found,
        }
    }

    fn failed(
        &self,
        what: impl FnOnce() -> String,
    ) -> impl FnOnce(OciDistributionError) -> OciError {
        move |source| OciError::Registry {
            what: what(),
            source: source.into(),
        }
    }
}

fn is_not_found(error: &OciDistributionError) -> bool {
    registry_name(error) == "not_found"
}

fn credentials(registry: &str, username: Option<&str>) -> Result<RegistryAuth, OciError> {
    if let Some(username) = username {
        let password = std::env::var(PASSWORD).map_err(|_| OciError::NoPassword)?;
        return Ok(RegistryAuth::Basic(username.to_owned(), password));
    }
    match get_credential(registry) {
        Ok(DockerCredential::UsernamePassword(name, password)) => {
            Ok(RegistryAuth::Basic(name, password))
        }
        Ok(DockerCredential::IdentityToken(token)) => Ok(RegistryAuth::Bearer(token)),
        Err(
            CredentialRetrievalError::ConfigNotFound
            | CredentialRetrievalError::ConfigReadError
            | CredentialRetrievalError::NoCredentialConfigured,
        ) => Ok(RegistryAuth::Anonymous),
        Err(source) => Err(OciError::Credentials {
            registry: registry.to_owned(),
            source,
        }),
    }
}
