//! Statements: what a site should run, in a few hundred bytes, which may be signed.
//!
//! A statement only selects a release. The release itself must still pass [`crate::verify()`], with the signatures of the
//! threshold and a generation that is not below the floor. So one allowed key is enough to sign a statement, even if a release
//! needs several. An attacker with an unsigned or stolen statement can select another properly signed release, roll back to the
//! previous one, or prevent updates; the times in the statement bound the last two. Sites where this is too much require signed
//! statements.
//!
//! On the wire, an [`Envelope`]: `{"statement": "<JSON text>", "bundles": ["<Sigstore bundle>", ...]}`. The
//! signature is over the text's bytes. Its keys differ from those of a manifest and of a
//! `trust.toml`, so that no signed text of one kind can be used as another.

use std::ops::Deref;

use serde::{Deserialize, Serialize};

use crate::{
    digest::Digest,
    keys::KeyError,
    limits::{
        MAX_ENVELOPE_BYTES, MAX_STATEMENT_BUNDLES, MAX_STATEMENT_BYTES, MAX_STATEMENT_LIFETIME,
        ReleaseLimits,
    },
    part_error::PartError,
    release::{DeviceSelector, Time},
    rules::{check_globs, check_name},
    signers::{names, signed_by},
    signing::SigningKey,
    statement_error::StatementError,
    strict_json,
    trust_toml::TrustRoot,
    verify::CLOCK_SKEW,
};

/// A statement about some devices of a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Statement {
    /// The site it is for.
    pub site: String,
    /// The devices it is for.
    #[serde(default)]
    pub devices: DeviceSelector,
    /// What they should do.
    pub order: Order,
    /// When it was issued: of two statements about one release name, the later one applies.
    pub issued: Time,
    /// When it expires.
    pub expires: Time,
}

/// What devices should do about the releases of one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Order {
    /// Fetch a release and test it.
    Deploy {
        /// The digest of its manifest.
        release: Digest,
        /// Its name.
        name: String,
        /// Its generation, so that a device does not fetch a release that it would refuse.
        generation: u64,
        /// The digests of its signature bundles.
        bundles: Vec<Digest>,
        /// Whether its trial then begins; otherwise it stays staged until it is activated.
        activate: bool,
    },
    /// Start the trial of the staged release.
    Activate {
        /// The digest of its manifest.
        release: Digest,
        /// Its name.
        name: String,
    },
    /// Cancel a release that is not live yet.
    Cancel {
        /// The digest of its manifest.
        release: Digest,
        /// Its name.
        name: String,
    },
    /// Forget that the release failed, so that it is tried again.
    Retry {
        /// The digest of its manifest.
        release: Digest,
        /// Its name.
        name: String,
    },
    /// Roll back to the previous release.
    Rollback {
        /// The digest of the manifest of the release to roll back.
        release: Digest,
        /// Its name.
        name: String,
    },
}

impl Order {
    /// The digest of the manifest of the release that it is about.
    pub const fn release(&self) -> Digest {
        match self {
            Self::Deploy { release, .. }
            | Self::Activate { release, .. }
            | Self::Cancel { release, .. }
            | Self::Retry { release, .. }
            | Self::Rollback { release, .. } => *release,
        }
    }

    /// The name of that release.
    pub fn name(&self) -> &str {
        match self {
            Self::Deploy { name, .. }
            | Self::Activate { name, .. }
            | Self::Cancel { name, .. }
            | Self::Retry { name, .. }
            | Self::Rollback { name, .. } => name,
        }
    }

    /// `deploy`, `activate`, `cancel`, `retry` or `rollback`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Deploy { .. } => "deploy",
            Self::Activate { .. } => "activate",
            Self::Cancel { .. } => "cancel",
            Self::Retry { .. } => "retry",
            Self::Rollback { .. } => "rollback",
        }
    }
}

impl Statement {
    /// Checks the rules that the types do not enforce.
    fn check(&self) -> Result<(), StatementError> {
        check_name("release", self.order.name())?;
        check_globs(&self.devices.names)?;
        if let Order::Deploy { bundles, .. } = &self.order
            && bundles.len() as u64 > ReleaseLimits::BUNDLES
        {
            return Err(StatementError::TooManyReleaseBundles {
                found: bundles.len() as u64,
                limit: ReleaseLimits::BUNDLES,
            });
        }
        if self.expires <= self.issued {
            return Err(StatementError::ExpiresTooSoon {
                issued: self.issued,
            });
        }
        if self.issued.duration_until(self.expires) > MAX_STATEMENT_LIFETIME {
            return Err(StatementError::TooLongLived {
                issued: self.issued,
                expires: self.expires,
            });
        }
        Ok(())
    }

    fn check_times(&self, clock_floor: Option<Time>, now: Time) -> Result<(), StatementError> {
        // Saturating: the clock may be at the end of time.
        let latest_now = now.saturating_add(CLOCK_SKEW).unwrap_or(now);
        if let Some(floor) = clock_floor.filter(|floor| latest_now < *floor) {
            return Err(StatementError::ClockBackwards { now, floor });
        }
        if latest_now < self.issued {
            return Err(StatementError::FromFuture {
                issued: self.issued,
                now,
            });
        }
        if self.expires <= now {
            return Err(StatementError::Expired {
                expires: self.expires,
                now,
            });
        }
        Ok(())
    }
}

/// A statement on the wire, with signatures over its text. It is not verified.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Envelope {
    /// The statement, as JSON text.
    pub statement: String,
    /// Sigstore bundles over the text's bytes, as JSON texts.
    #[serde(default)]
    pub bundles: Vec<String>,
}

impl Envelope {
    /// An unsigned envelope with `statement`.
    pub fn new(statement: &Statement) -> Result<Self, StatementError> {
        statement.check()?;
        let text = serde_json::to_string(statement).map_err(StatementError::Encode)?;
        let envelope = Self {
            statement: text,
            bundles: Vec::new(),
        };
        envelope.check_size()?;
        Ok(envelope)
    }

    /// Adds the signature of `key`.
    pub fn sign(&mut self, key: &SigningKey) -> Result<(), KeyError> {
        let bundle = key.sign_bundle(self.statement.as_bytes())?;
        // A bundle is JSON, hence UTF-8.
        self.bundles
            .push(String::from_utf8_lossy(&bundle).into_owned());
        Ok(())
    }

    /// Parses an envelope without verifying it.
    pub fn parse(bytes: &[u8]) -> Result<Self, StatementError> {
        let envelope: Self = strict_json::parse(bytes, MAX_ENVELOPE_BYTES)
            .map_err(|source| PartError::of("envelope", source))?;
        envelope.check_size()?;
        Ok(envelope)
    }

    /// The envelope as bytes on the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::json!({ "statement": self.statement, "bundles": self.bundles })
            .to_string()
            .into_bytes()
    }

    /// The digest of the statement's text, independent of its signatures.
    pub fn digest(&self) -> Digest {
        Digest::of(self.statement.as_bytes())
    }

    fn check_size(&self) -> Result<(), StatementError> {
        let size = self.statement.len() as u64;
        if size > MAX_STATEMENT_BYTES {
            let limit = MAX_STATEMENT_BYTES;
            let source = strict_json::JsonError::TooLarge { size, limit };
            return Err(PartError::of("statement", source).into());
        }
        let found = self.bundles.len() as u64;
        if found > MAX_STATEMENT_BUNDLES {
            return Err(StatementError::TooManyBundles {
                found,
                limit: MAX_STATEMENT_BUNDLES,
            });
        }
        Ok(())
    }
}

/// Whether a site's statements must be signed.
#[derive(Debug, Clone, Copy)]
pub enum Signatures<'t> {
    /// By a key of this root that may sign releases of that name.
    Required(&'t TrustRoot),
    /// Not required; but a signature must be valid if there is one.
    Optional(&'t TrustRoot),
}

impl<'t> Signatures<'t> {
    /// The trusted keys, and whether a signature is required.
    pub const fn parts(self) -> (&'t TrustRoot, bool) {
        match self {
            Self::Required(trust) => (trust, true),
            Self::Optional(trust) => (trust, false),
        }
    }
}

/// A statement that [`read_statement`] accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadStatement {
    statement: Statement,
    signers: Vec<String>,
}

impl ReadStatement {
    /// The names of the trusted keys that signed it; empty if it is unsigned.
    pub fn signers(&self) -> &[String] {
        &self.signers
    }

    /// The statement without its signers.
    pub fn into_inner(self) -> Statement {
        self.statement
    }
}

impl Deref for ReadStatement {
    type Target = Statement;

    fn deref(&self) -> &Statement {
        &self.statement
    }
}

/// Verifies a statement: checks sizes, signatures, format, names, site and times.
///
/// `clock_floor` is the latest signed time that this device has seen, `now` its clock. The caller checks
/// whether the statement is for this device, and whether a newer statement was seen.
pub fn read_statement(
    envelope: &Envelope,
    site: &str,
    signatures: Signatures<'_>,
    clock_floor: Option<Time>,
    now: Time,
) -> Result<ReadStatement, StatementError> {
    envelope.check_size()?;
    let text = envelope.statement.as_bytes();
    let (trust, required) = signatures.parts();
    if required && envelope.bundles.is_empty() {
        return Err(StatementError::Unsigned);
    }
    let signers = signed_by(&envelope.bundles, text, trust)?;
    let statement: Statement = strict_json::parse(text, MAX_STATEMENT_BYTES)
        .map_err(|source| PartError::of("statement", source))?;
    statement.check()?;
    let name = statement.order.name();
    let (allowed, others): (Vec<_>, Vec<_>) =
        signers.into_iter().partition(|key| key.may_sign(name));
    if let (true, Some(other)) = (allowed.is_empty(), others.first()) {
        return Err(StatementError::SignerNotAllowed {
            key: other.name().to_owned(),
            release: name.to_owned(),
        });
    }
    if statement.site != site {
        return Err(StatementError::WrongSite {
            own: site.to_owned(),
            found: statement.site,
        });
    }
    statement.check_times(clock_floor, now)?;
    Ok(ReadStatement {
        statement,
        signers: names(allowed),
    })
}
