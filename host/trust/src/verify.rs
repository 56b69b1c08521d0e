//! Verification of releases: bytes in, a [`Verified`] release or an error with a stable name out.
//!
//! The order matters: sizes first, then the signatures over the raw manifest. Only bytes that enough distinct trusted keys
//! signed are parsed. The manifest authenticates the config by its digest, and the config every blob by its digest.

use std::ops::Deref;

use crate::{
    digest::Digest,
    floor::Floor,
    limits::ReleaseLimits,
    manifest::Manifest,
    part_error::PartError,
    release::{Device, Release, Time},
    requires::Hardware,
    signers::{Signers, names},
    strict_json::{self, JsonError},
    trust_toml::{TrustRoot, TrustedKey},
    verify_error::VerifyError,
};

/// Most refused bundles that an error lists.
const REFUSED_SHOWN: usize = 8;

/// How far a device's clock may be behind the signer's: 5 minutes, as Kerberos allows (RFC 4120, 1.6).
pub const CLOCK_SKEW: jiff::SignedDuration = jiff::SignedDuration::from_mins(5);

/// The unverified bytes of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// The manifest, which is signed.
    pub manifest: Vec<u8>,
    /// The config blob: the release as JSON.
    pub config: Vec<u8>,
    /// The signature bundles, one per signer.
    pub bundles: Vec<Vec<u8>>,
}

/// A value that passed verification; there is no other way to make one.
#[derive(Debug, Clone)]
pub struct Verified<T> {
    value: T,
    digest: Digest,
    package: Package,
    signers: Vec<String>,
}

impl<T> Verified<T> {
    /// The digest of the manifest, which identifies the release.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The bytes that it was parsed from, with the valid signature bundles.
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

/// Verifies a release: checks signatures, format, names, times, floor, device and host version.
///
/// `floor` is the floor of this device, `host` this host's version, `now` the device's clock.
pub fn verify(
    package: &Package,
    trust: &TrustRoot,
    floor: &Floor,
    device: &Device,
    host: &semver::Version,
    now: Time,
) -> Result<Verified<Release>, VerifyError> {
    let verified = verify_on_device(package, trust, device, host)?;
    check_times(&verified, floor.clock(), now)?;
    check_floor(&verified, floor)?;
    Ok(verified)
}

/// Verifies an installed release again, when the daemon starts or rolls back.
///
/// `slot` is the digest in the ledger. Times and the floor were checked before installation and are not
/// checked again: a device that was offline for long still starts, and may roll back to its previous release.
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
    verify_on_device(package, trust, device, host)
}

/// Verifies a release for a registry: signatures, format, names and times.
///
/// The floor, the device and the host version are not checked: each device does that.
pub fn verify_for_registry(
    package: &Package,
    trust: &TrustRoot,
    now: Time,
) -> Result<Verified<Release>, VerifyError> {
    let verified = verify_content(package, trust)?;
    check_times(&verified, None, now)?;
    Ok(verified)
}

/// Checks that `hardware` has what a release requires.
///
/// # Errors
/// [`VerifyError::LacksHardware`].
pub fn check_hardware(release: &Release, hardware: &Hardware) -> Result<(), VerifyError> {
    match release.requires.lacking(hardware) {
        None => Ok(()),
        Some(reason) => Err(VerifyError::LacksHardware { reason }),
    }
}

fn verify_on_device(
    package: &Package,
    trust: &TrustRoot,
    device: &Device,
    host: &semver::Version,
) -> Result<Verified<Release>, VerifyError> {
    let verified = verify_content(package, trust)?;
    check_device(&verified, device)?;
    if !verified.hotshoe.matches(host) {
        return Err(VerifyError::WrongHostVersion {
            needed: verified.hotshoe.clone(),
            host: host.clone(),
        });
    }
    Ok(verified)
}

/// The checks that depend only on the release and the trusted keys.
fn verify_content(package: &Package, trust: &TrustRoot) -> Result<Verified<Release>, VerifyError> {
    check_size("manifest", &package.manifest, ReleaseLimits::MANIFEST_BYTES)?;
    check_size("config", &package.config, ReleaseLimits::CONFIG_BYTES)?;
    let (signers, bundles): (Vec<_>, Vec<_>) = signers(package, trust)?.into_iter().unzip();
    let manifest = Manifest::parse(&package.manifest).map_err(|e| PartError::of("manifest", e))?;
    manifest
        .check_config(&package.config)
        .map_err(VerifyError::ManifestMismatch)?;
    let release: Release = strict_json::parse(&package.config, ReleaseLimits::CONFIG_BYTES)
        .map_err(|e| PartError::of("config", e))?;
    release.validate().map_err(VerifyError::InvalidRelease)?;
    manifest
        .check_layers(&release)
        .map_err(VerifyError::ManifestMismatch)?;
    let signers = allowed(signers, trust, &release.name)?;
    // Refused bundles are dropped: an installed release has no unchecked bytes.
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
        return Err(PartError::of(part, JsonError::TooLarge { size, limit }).into());
    }
    Ok(())
}

/// The trusted keys with a valid signature over the manifest, each with its bundle; at least as many as the
/// threshold.
fn signers<'t>(
    package: &Package,
    trust: &'t TrustRoot,
) -> Result<Vec<(&'t TrustedKey, Vec<u8>)>, VerifyError> {
    let found = package.bundles.len() as u64;
    if found > ReleaseLimits::BUNDLES_READ {
        return Err(VerifyError::TooManyBundles {
            found,
            limit: ReleaseLimits::BUNDLES_READ,
        });
    }
    let Signers {
        good,
        held,
        refused,
    } = Signers::of(&package.bundles, &package.manifest, trust);
    if held > ReleaseLimits::BUNDLES {
        return Err(VerifyError::TooManyBundles {
            found: held,
            limit: ReleaseLimits::BUNDLES,
        });
    }
    if good.len() >= trust.threshold() {
        let with_bundle = |(key, place): (&'t TrustedKey, usize)| {
            Some((key, package.bundles.get(place)?.clone()))
        };
        return Ok(good.into_iter().filter_map(with_bundle).collect());
    }
    if good.is_empty() {
        // Without any valid signature, the error of the first bundle is the most useful one.
        let first = refused.into_iter().next();
        return Err(first.map_or(VerifyError::NoBundle, VerifyError::Signer));
    }
    Err(VerifyError::TooFewSignatures {
        found: good.len(),
        needed: trust.threshold(),
        signers: names(good.into_iter().map(|(key, _)| key)),
        refused: refused
            .iter()
            .take(REFUSED_SHOWN)
            .map(ToString::to_string)
            .collect(),
    })
}

/// The signers that may sign releases of this name; at least as many as the threshold.
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
        _ => Ok(names(allowed)),
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

fn check_times(release: &Release, clock_floor: Option<Time>, now: Time) -> Result<(), VerifyError> {
    // Saturating: the clock may be at the end of time.
    let latest_now = now.saturating_add(CLOCK_SKEW).unwrap_or(now);
    if let Some(clock) = clock_floor.filter(|clock| latest_now < *clock) {
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
