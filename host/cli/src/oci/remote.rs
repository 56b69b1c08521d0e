//! One repository of a registry.

use std::fs::File;
use std::path::PathBuf;

use hotshoe_devkit::Progress;
use hotshoe_trust::{Blob, Digest, ReleaseLimits};
use oci_client::Reference;
use oci_client::manifest::OciImageIndex;

use super::transfer::{
    Credentials, OpenBlob, RegistryClient, Server, TransferError, authorities, stored,
};
use super::{Address, OciError};

/// The maximum size of a list of referrers: 4 MiB, the largest manifest that the specification requires registries to accept.
const INDEX_BYTES: u64 = 4 * 1024 * 1024;
/// The environment variable of the password for `--username`, so that no command line shows it.
const PASSWORD: &str = "HOTSHOE_REGISTRY_PASSWORD";
/// The media type of a list of referrers.
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The media types of manifests. Only the first can be a release; a pull names the type of the others in its error.
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";
/// The statuses with which registries, and proxies before them, answer a request for referrers that they do not know.
const NO_REFERRERS_API: [u16; 4] = [400, 404, 405, 501];
/// The statuses with which some of them do, and with which others refuse a request that they know.
const MAYBE_NO_REFERRERS_API: [u16; 2] = [403, 500];

/// The options for access to a registry.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Access {
    /// User name; the password is read from HOTSHOE_REGISTRY_PASSWORD [default: the credentials from `podman login`, `docker login` or
    /// `oras login`, else none]
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Do not encrypt [default: true for addresses of this machine, unless certs.d or --ca-file has an authority for it]
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    plain_http: Option<bool>,
    /// Certificate authority of the registry in PEM, beside those of the system and of certs.d
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// A repository of a registry, with authentication.
pub(crate) struct Remote {
    client: RegistryClient,
    address: Address,
}

impl Remote {
    /// Authenticates for pulling, or also for pushing.
    ///
    /// # Errors
    /// [`OciError::NoPassword`], [`OciError::Ca`], [`OciError::Registry`].
    pub(crate) async fn open(
        address: &Address,
        access: &Access,
        push: bool,
        progress: &Progress,
    ) -> Result<Self, OciError> {
        let registry = address.reference().resolve_registry();
        let repository = address.reference().repository();
        let authorities = authorities(registry, access.ca_file.as_deref())?;
        let is_local = address.is_loopback() && authorities.is_empty();
        let server = Server {
            host: registry.to_owned(),
            is_plain: access.plain_http.unwrap_or(is_local),
            authorities,
        };
        let credentials = match &access.username {
            Some(name) => {
                let password = std::env::var(PASSWORD).map_err(|_| OciError::NoPassword)?;
                Credentials::Password(name.clone(), password)
            }
            None => stored(registry, repository, progress),
        };
        let actions = if push { "pull,push" } else { "pull" };
        let client = RegistryClient::open(server, repository, actions, credentials, progress)
            .await
            .map_err(|source| OciError::Registry {
                what: format!("cannot reach {registry}, or it refuses access"),
                source: source.into(),
            })?;
        Ok(Self {
            client,
            address: address.clone(),
        })
    }

    /// The repository's address.
    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    /// Whether the repository already has a blob.
    pub(crate) async fn has(&self, blob: &Blob) -> Result<bool, OciError> {
        let has = self.client.has_blob(blob).await;
        has.map_err(failed(|| format!("cannot check for blob {}", blob.digest)))
    }

    /// Sends a blob.
    pub(crate) async fn send(&self, blob: &Blob, open: OpenBlob<'_>) -> Result<(), OciError> {
        let sent = self.client.upload(blob, open).await;
        sent.map_err(failed(|| format!("cannot send blob {}", blob.digest)))
    }

    /// Sends a manifest, byte for byte, under a tag or its digest.
    pub(crate) async fn put_manifest(
        &self,
        at: &Reference,
        bytes: Vec<u8>,
        media_type: &'static str,
    ) -> Result<(), OciError> {
        let sent = self.client.put_manifest(name(at), media_type, &bytes).await;
        sent.map_err(failed(|| format!("cannot send the manifest {at}")))
    }

    /// Reads a manifest's bytes and checks its digest, if `at` has one.
    pub(crate) async fn manifest(&self, at: &Reference) -> Result<Vec<u8>, OciError> {
        let expected = at.digest().map(str::parse::<Digest>).transpose();
        let expected = expected.map_err(|source| OciError::Digest {
            place: self.address.to_string(),
            source,
        })?;
        let path = format!("manifests/{}", name(at));
        let read = self
            .client
            .read(&path, MANIFESTS, ReleaseLimits::MANIFEST_BYTES);
        let bytes = read
            .await
            .map_err(failed(|| format!("cannot get the manifest {at}")))?;
        let found = Digest::of(&bytes);
        match expected {
            Some(expected) if expected != found => Err(self.mismatch(expected, found)),
            _ => Ok(bytes),
        }
    }

    /// Reads a small blob into memory and checks its digest.
    pub(crate) async fn read_blob(&self, blob: &Blob) -> Result<Vec<u8>, OciError> {
        let path = format!("blobs/{}", blob.digest);
        let read = self.client.read(&path, "*/*", blob.size).await;
        let bytes = read.map_err(failed(|| format!("cannot get blob {}", blob.digest)))?;
        let found = Digest::of(&bytes);
        if found != blob.digest {
            return Err(self.mismatch(blob.digest, found));
        }
        Ok(bytes)
    }

    /// Receives a blob into `file`, after the bytes that it already has, and checks its size and digest. Never writes more than its size.
    /// `progress` gets the file's size. Returns the number of received bytes.
    pub(crate) async fn fetch(
        &self,
        blob: &Blob,
        file: &mut File,
        progress: impl FnMut(u64),
    ) -> Result<u64, OciError> {
        let received = self.client.download(blob, file, progress).await;
        received.map_err(failed(|| format!("cannot get blob {}", blob.digest)))
    }

    /// The referrers of a manifest, of all types. `None` from registries older than version 1.1 of the specification, which have the list
    /// under a tag instead.
    pub(super) async fn referrers(
        &self,
        subject: Digest,
    ) -> Result<Option<OciImageIndex>, OciError> {
        let path = format!("referrers/{subject}");
        match self.client.read(&path, INDEX, INDEX_BYTES).await {
            Err(error) if has_status(&error, &NO_REFERRERS_API) => Ok(None),
            read => index(subject, read).map(Some),
        }
    }

    /// The list of a manifest's referrers under the tag of the specification, if the repository has it.
    pub(super) async fn tagged_referrers(
        &self,
        subject: Digest,
    ) -> Result<Option<OciImageIndex>, OciError> {
        let path = format!("manifests/{}", referrers_tag(subject));
        match self.client.read(&path, INDEX, INDEX_BYTES).await {
            Err(error) if error.name() == "not_found" => Ok(None),
            read => index(subject, read).map(Some),
        }
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
}

/// The tag of the list of a manifest's referrers.
pub(super) fn referrers_tag(subject: Digest) -> String {
    subject.to_string().replace(':', "-")
}

/// The tag or the digest of a reference.
fn name(at: &Reference) -> &str {
    at.digest().or(at.tag()).unwrap_or("latest")
}

/// Whether the error of [`Remote::referrers`] may be that of a registry without this request.
pub(super) fn may_lack_referrers_api(error: &OciError) -> bool {
    match error {
        OciError::Registry { source, .. } => has_status(source, &MAYBE_NO_REFERRERS_API),
        _ => false,
    }
}

fn has_status(error: &TransferError, statuses: &[u16]) -> bool {
    let status = error.status().map(|status| status.as_u16());
    status.is_some_and(|status| statuses.contains(&status))
}

/// Reads a list of referrers.
fn index(subject: Digest, read: Result<Vec<u8>, TransferError>) -> Result<OciImageIndex, OciError> {
    let what = || format!("cannot list the referrers of {subject}");
    let bytes = read.map_err(failed(what))?;
    serde_json::from_slice(&bytes).map_err(|source| OciError::Referrer {
        digest: subject.to_string(),
        source,
    })
}

fn failed(what: impl FnOnce() -> String) -> impl FnOnce(TransferError) -> OciError {
    move |source| OciError::Registry {
        what: what(),
        source: source.into(),
    }
}
