//! One repository of a registry.

use std::time::Duration;

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential};
use futures_util::TryStreamExt as _;
use hotshoe_trust::manifest::MANIFEST;
use hotshoe_trust::{Blob, Digest, ReleaseLimits};
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_util::io::ReaderStream;

use super::{Address, OciError};

/// How long a registry may say nothing before it counts as gone.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// Where the password for `--username` is looked for, so that no command line shows it.
const PASSWORD: &str = "HOTSHOE_REGISTRY_PASSWORD";
/// Media type of the list of what refers to a manifest.
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// How a registry is reached.
#[derive(Debug, Clone, clap::Args)]
pub struct Access {
    /// Who asks; the password is taken from HOTSHOE_REGISTRY_PASSWORD [default: what `docker login` or `oras login` kept, else nobody]
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Do not encrypt. On this machine's own addresses that is so in any case
    #[arg(long)]
    plain_http: bool,
}

/// A repository, and the right to use it.
pub struct Remote {
    client: Client,
    auth: RegistryAuth,
    address: Address,
}

impl Remote {
    /// Asks the registry for the right to pull, or to push as well.
    ///
    /// # Errors
    /// [`OciError::Credentials`], [`OciError::NoPassword`], [`OciError::Registry`].
    pub async fn open(address: &Address, access: &Access, push: bool) -> Result<Self, OciError> {
        let registry = address.reference().resolve_registry().to_owned();
        let protocol = if access.plain_http || address.is_loopback() {
            ClientProtocol::Http
        } else {
            ClientProtocol::Https
        };
        let config = ClientConfig {
            protocol,
            connect_timeout: Some(CONNECT),
            read_timeout: Some(SILENCE),
            user_agent: concat!("hotshoe/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let cannot = |source: OciDistributionError| OciError::Registry {
            what: format!("{registry} cannot be reached, or refuses"),
            source: source.into(),
        };
        let remote = Self {
            client: Client::try_from(config).map_err(cannot)?,
            auth: credentials(&registry, access.username.as_deref())?,
            address: address.clone(),
        };
        let operation = if push {
            RegistryOperation::Push
        } else {
            RegistryOperation::Pull
        };
        remote
            .client
            .auth(address.reference(), &remote.auth, operation)
            .await
            .map_err(cannot)?;
        Ok(remote)
    }

    /// Where it is.
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// Whether the repository has a blob already.
    pub async fn has(&self, blob: &Blob) -> Result<bool, OciError> {
        let digest = blob.digest.to_string();
        self.client
            .blob_exists(self.address.reference(), &digest)
            .await
            .map_err(self.failed(|| format!("cannot ask for blob {digest}")))
    }

    /// Sends a blob.
    pub async fn send(
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

    /// Puts a manifest, byte for byte, under a tag or its digest.
    pub async fn put_manifest(
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
            .map_err(self.failed(|| format!("cannot put the manifest {at}")))?;
        Ok(())
    }

    /// A manifest's bytes.
    pub async fn manifest(&self, at: &Reference) -> Result<Vec<u8>, OciError> {
        let (bytes, _) = self
            .client
            .pull_manifest_raw(at, &self.auth, &[MANIFEST])
            .await
            .map_err(self.failed(|| format!("cannot get the manifest {at}")))?;
        let (size, limit) = (bytes.len() as u64, ReleaseLimits::MANIFEST_BYTES);
        if size > limit {
            return Err(self.too_large("the manifest", size, limit));
        }
        let found = Digest::of(&bytes);
        match at.digest().map(str::parse::<Digest>) {
            Some(Ok(expected)) if expected != found => Err(self.mismatch(expected, found)),
            _ => Ok(bytes.to_vec()),
        }
    }

    /// Writes a blob out, and no more bytes than it has. Its digest is checked.
    pub async fn fetch(
        &self,
        blob: &Blob,
        mut out: impl AsyncWrite + Unpin,
        mut progress: impl FnMut(u64),
    ) -> Result<(), OciError> {
        let digest = blob.digest.to_string();
        let what = || format!("cannot get blob {digest}");
        let mut stream = self
            .client
            .pull_blob_stream(self.address.reference(), digest.as_str())
            .await
            .map_err(self.failed(what))?
            .stream;
        let mut size = 0_u64;
        while let Some(bytes) = stream
            .try_next()
            .await
            .map_err(|source| OciError::Registry {
                what: what(),
                source: Box::new(source.into()),
            })?
        {
            size = size.saturating_add(bytes.len() as u64);
            if size > blob.size {
                return Err(self.too_large(&format!("blob {digest}"), size, blob.size));
            }
            let written = out.write_all(&bytes).await;
            written.map_err(|source| OciError::Registry {
                what: what(),
                source: Box::new(source.into()),
            })?;
            progress(bytes.len() as u64);
        }
        out.flush().await.map_err(|source| OciError::Registry {
            what: what(),
            source: Box::new(source.into()),
        })
    }

    /// What refers to a manifest, by artifact type.
    pub async fn referrers(
        &self,
        subject: Digest,
        artifact_type: Option<&str>,
    ) -> Result<oci_client::manifest::OciImageIndex, OciError> {
        self.client
            .pull_referrers(&self.address.at(subject), artifact_type)
            .await
            .map_err(self.failed(|| format!("cannot ask what refers to {subject}")))
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
