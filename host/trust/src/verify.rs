//! The one gate: bytes go in, and a [`Verified`] release comes out, or a named reason why not.
//!
//! The order matters. Sizes first, then the signatures over the raw manifest; only bytes that enough
//! distinct trusted keys signed are parsed. The manifest vouches for the config by its digest, and the
//! config for every blob by its own.

use std::{collections::BTreeMap, ops::Deref};

use crate::{
    bundle::KeyBundle,
    digest::Digest,
    floor::Floor,
    limits::ReleaseLimits,
    manifest::Manifest,
    release::{Device, Release, Time},
    strict_json::{self, JsonError},
    trust_toml::{TrustRoot, TrustedKey},
    verify_error::VerifyError,
};

/// How far a device's clock may stand behind the signer's: 5 minutes, as Kerberos allows (RFC 4120, 1.6).
pub const CLOCK_SKEW: jiff::SignedDuration = jiff::SignedDuration::from_mins(5);

/// The bytes of a release before anything is known about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// The manifest: what is signed.
    pub manifest: Vec<u8>,
    /// The config blob: the release as JSON.
    pub config: Vec<u8>,
    /// The signature bundles, one a signer.
    pub bundles: Vec<Vec<u8>>,
}

/// Something that passed [`verify`] or [`verify_installed`]; it can be had in no other way.
#[derive(Debug, Clone)]
pub struct Verified<T> {
    value: T,
    digest: Digest,
    package: Package,
    signers: Vec<String>,
}

impl<T> Verified<T> {
    /// The digest of the manifest, which names the release.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The bytes that it was parsed from, with the signature bundles that counted.
    pub fn package(&self) -> &Package {
        &self.package
    }

    /// The names of the trusted keys that signed it, in `trust.toml`.
    pub fn signers(&self) -> &[String] {
        &self.signers
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Admits a release: checks signatures, format, names, times, floor, device and host version.
///
/// `floor` is what this device has already seen, `host` this host's version, `now` the device's clock.
pub fn verify(
    package: &Package,
    trust: &TrustRoot,
    floor: &Floor,
    device: &Device,
    host: &semver::Version,
    now: Time,
) -> Result<Verified<Release>, VerifyError> {
    let verified = verify_content(package, trust, device, host)?;
    check_times(&verified, floor, now)?;
    check_floor(&verified, floor)?;
    Ok(verified)
}

/// Checks a release again that this device admitted before, when the daemon starts or rolls back.
///
/// `slot` is the digest that the ledger holds. Times and the floor were judged at admission and are not
/// judged again: a device that was offline for long still starts, and may go back to its previous release.
pub fn verify_installed(
    package: &Package,
    trust: &TrustRoot,
    slot: Digest,
    device: &Device,
    host: &semver::Version,
) -> Result<Verified<Release>, VerifyError> {
    let found = Digest::of(&package.manifest);
    if found != slot {
        return Err(VerifyError::NotTheSlot {
            expected: slot,
            found,
        });
    }
    verify_content(package, trust, device, host)
}

/// All that does not depend on the time or on what was seen before.
fn verify_content(
    package: &Package,
    trust: &TrustRoot,
    device: &Device,
    host: &semver::Version,
) -> Result<Verified<Release>, VerifyError> {
    check_size("manifest", &package.manifest, ReleaseLimits::MANIFEST_BYTES)?;
    check_size("config", &package.config, ReleaseLimits::CONFIG_BYTES)?;
    let (signers, bundles): (Vec<_>, Vec<_>) = signers(package, trust)?.into_iter().unzip();
    let manifest =
        Manifest::parse(&package.manifest).map_err(|e| VerifyError::json("manifest", e))?;
    manifest
        .check_config(&package.config)
        .map_err(VerifyError::ManifestMismatch)?;
    let release: Release = strict_json::parse(&package.config, ReleaseLimits::CONFIG_BYTES)
        .map_err(|e| VerifyError::json("config", e))?;
    release.validate().map_err(VerifyError::InvalidRelease)?;
    manifest
        .check_layers(&release)
        .map_err(VerifyError::ManifestMismatch)?;
    let signers = allowed(signers, trust, &release.name)?;
    check_device(&release, device)?;
    if !release.hotshoe.matches(host) {
        return Err(VerifyError::WrongHostVersion {
            needed: release.hotshoe,
            host: host.clone(),
        });
    }
    // Bundles that did not count are not kept: an installed release carries nothing that was not checked.
    let package = Package {
        manifest: package.manifest.clone(),
        config: package.config.clone(),
        bundles,
    };
    Ok(Verified {
        value: release,
        digest: Digest::of(&package.manifest),
        package,
        signers,
    })
}

fn check_size(part: &'static str, bytes: &[u8], limit: u64) -> Result<(), VerifyError> {
    let size = bytes.len() as u64;
    if size > limit {
        return Err(VerifyError::TooLarge {
            part,
            source: JsonError::TooLarge { size, limit },
        });
    }
    Ok(())
}

/// The trusted keys with a good signature over the manifest, each with its bundle, at least as many as the
/// threshold. They are counted by the keys' own digests: two bundles by one key count once.
fn signers<'t>(
    package: &Package,
    trust: &'t TrustRoot,
) -> Result<Vec<(&'t TrustedKey, Vec<u8>)>, VerifyError> {
    let found = package.bundles.len() as u64;
    if found > ReleaseLimits::BUNDLES {
        return Err(VerifyError::TooManyBundles {
            found,
            limit: ReleaseLimits::BUNDLES,
        });
    }
    let mut good = BTreeMap::new();
    let mut refused = Vec::new();
    for (index, bundle) in package.bundles.iter().enumerate() {
        match signer(index + 1, bundle, &package.manifest, trust) {
            Ok(key) => {
                good.insert(key.key().fingerprint(), (key, bundle.clone()));
            }
            Err(error) => refused.push(error),
        }
    }
    if good.len() >= trust.threshold() {
        return Ok(good.into_values().collect());
    }
    if good.is_empty() {
        // With no good signature at all, the first bundle's own fault says most.
        return Err(refused.into_iter().next().unwrap_or(VerifyError::NoBundle));
    }
    Err(VerifyError::TooFewSignatures {
        found: good.len(),
        needed: trust.threshold(),
        signers: good
            .values()
            .map(|(key, _)| key.name().to_owned())
            .collect(),
        refused: refused.iter().map(ToString::to_string).collect(),
    })
}

fn signer<'t>(
    index: usize,
    bundle: &[u8],
    manifest: &[u8],
    trust: &'t TrustRoot,
) -> Result<&'t TrustedKey, VerifyError> {
    let bundle = KeyBundle::parse(bundle).map_err(|source| VerifyError::UnreadableBundle {
        index,
        source: Box::new(source),
    })?;
    let Some(trusted) = trust
        .keys()
        .find(|trusted| trusted.key().hint() == bundle.hint)
    else {
        return Err(VerifyError::UnknownSigner {
            index,
            hint: bundle.hint,
        });
    };
    match bundle.verify(manifest, trusted.key()) {
        Ok(()) => Ok(trusted),
        Err(source) => Err(VerifyError::BadSignature {
            index,
            key: trusted.name().to_owned(),
            source: Box::new(source),
        }),
    }
}

/// The names of those signers that may sign releases of this name, still at least the threshold.
fn allowed(
    signers: Vec<&TrustedKey>,
    trust: &TrustRoot,
    release: &str,
) -> Result<Vec<String>, VerifyError> {
    let (allowed, others): (Vec<_>, Vec<_>) =
        signers.into_iter().partition(|key| key.may_sign(release));
    match others.first() {
        Some(other) if allowed.len() < trust.threshold() => Err(VerifyError::SignerNotAllowed {
            key: other.name().to_owned(),
            release: release.to_owned(),
        }),
        _ => {
            let mut names: Vec<_> = allowed
                .into_iter()
                .map(|key| key.name().to_owned())
                .collect();
            names.sort();
            Ok(names)
        }
    }
}

fn check_device(release: &Release, device: &Device) -> Result<(), VerifyError> {
    release
        .devices
        .matches(device)
        .map_err(|reason| VerifyError::WrongDevice {
            device: device.name.clone(),
            reason,
        })
}

fn check_times(release: &Release, floor: &Floor, now: Time) -> Result<(), VerifyError> {
    // Saturating: a clock at the end of time is simply late.
    let latest_now = now.saturating_add(CLOCK_SKEW).unwrap_or(now);
    if let Some(clock) = floor.clock().filter(|clock| latest_now < *clock) {
        return Err(VerifyError::ClockBackwards { now, floor: clock });
    }
    if latest_now < release.issued {
        return Err(VerifyError::NotYetValid {
            issued: release.issued,
            now,
        });
    }
    if release.expires <= now {
        return Err(VerifyError::Expired {
            expires: release.expires,
            now,
        });
    }
    Ok(())
}

fn check_floor(release: &Verified<Release>, floor: &Floor) -> Result<(), VerifyError> {
    let Some((lowest, content)) = floor.generation(&release.name) else {
        return Ok(());
    };
    let generation = release.generation;
    if generation < lowest {
        return Err(VerifyError::BelowFloor {
            release: release.name.clone(),
            generation,
            floor: lowest,
        });
    }
    match content {
        Some(known) if generation == lowest && known != release.digest => {
            let (release, given) = (release.name.clone(), release.digest);
            Err(VerifyError::SameGeneration {
                release,
                generation,
                known,
                given,
            })
        }
        _ => Ok(()),
    }
}
