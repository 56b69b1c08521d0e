//! Plans and statements on the wire, with signatures over their texts.
//!
//! `{"rollout-text": "<JSON text>", "bundles": ["<Sigstore bundle>", ...]}`. The keys of both texts differ from each other's and from those of
//! a manifest, a statement, a request and a `trust.toml`, so that no signed text of one kind can be used as another.

use std::ops::Deref;

use hotshoe_trust::{
    CLOCK_SKEW, Digest, KeyError, MAX_ENVELOPE_BYTES, MAX_STATEMENT_BUNDLES, MAX_STATEMENT_BYTES,
    PartError, SigningKey, Time, TrustRoot, TrustedKey, signed_by,
    strict_json::{self, JsonError},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    error::RolloutError,
    plan::{MAX_PLAN_BYTES, Plan},
    statement::{Command, RolloutStatement},
    times::after,
};

/// A signed text of a rollout on the wire. It is not verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SignedText {
    /// A plan or a statement, as JSON text.
    rollout_text: String,
    /// Sigstore bundles over the text's bytes, as JSON texts.
    #[serde(default)]
    bundles: Vec<String>,
}

impl SignedText {
    /// A plan without signatures.
    ///
    /// # Errors
    /// [`RolloutError`], if it breaks a rule.
    pub fn of_plan(plan: &Plan) -> Result<Self, RolloutError> {
        plan.check()?;
        Self::of("plan", plan, MAX_PLAN_BYTES)
    }

    /// A statement without signatures.
    ///
    /// # Errors
    /// [`RolloutError`], if it breaks a rule of `plan`.
    pub fn of_statement(
        statement: &RolloutStatement,
        plan: &SignedPlan,
    ) -> Result<Self, RolloutError> {
        statement.check(plan, plan.digest)?;
        Self::of("statement", statement, MAX_STATEMENT_BYTES)
    }

    fn of(part: &'static str, value: &impl Serialize, limit: u64) -> Result<Self, RolloutError> {
        let rollout_text =
            serde_json::to_string(value).map_err(|source| RolloutError::Encode { part, source })?;
        let size = rollout_text.len() as u64;
        if size > limit {
            return Err(PartError::of(part, JsonError::TooLarge { size, limit }).into());
        }
        Ok(Self {
            rollout_text,
            bundles: Vec::new(),
        })
    }

    /// Adds the signature of `key`.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn sign(&mut self, key: &SigningKey) -> Result<(), KeyError> {
        let bundle = key.sign_bundle(self.rollout_text.as_bytes())?;
        // A bundle is JSON, hence UTF-8.
        self.bundles
            .push(String::from_utf8_lossy(&bundle).into_owned());
        Ok(())
    }

    /// Parses a signed text without verifying it.
    ///
    /// # Errors
    /// [`RolloutError::Part`], [`RolloutError::TooManyBundles`].
    pub fn parse(bytes: &[u8]) -> Result<Self, RolloutError> {
        // Escapes may double the text, and bundles come with it.
        let limit = MAX_ENVELOPE_BYTES + 2 * MAX_PLAN_BYTES;
        let signed: Self =
            strict_json::parse(bytes, limit).map_err(|source| PartError::of("rollout", source))?;
        signed.check_bundles()?;
        Ok(signed)
    }

    /// The signed text as bytes on the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The digest of the text, independent of its signatures.
    pub fn digest(&self) -> Digest {
        Digest::of(self.rollout_text.as_bytes())
    }

    fn check_bundles(&self) -> Result<(), RolloutError> {
        let found = self.bundles.len() as u64;
        if found > MAX_STATEMENT_BUNDLES {
            return Err(RolloutError::TooManyBundles {
                found,
                limit: MAX_STATEMENT_BUNDLES,
            });
        }
        Ok(())
    }

    /// The signers, at least one, and what they signed.
    fn read<'t, T: DeserializeOwned>(
        &self,
        part: &'static str,
        limit: u64,
        trust: &'t TrustRoot,
    ) -> Result<(T, Vec<&'t TrustedKey>), RolloutError> {
        self.check_bundles()?;
        if self.bundles.is_empty() {
            return Err(RolloutError::Unsigned { part });
        }
        let text = self.rollout_text.as_bytes();
        let signers = signed_by(&self.bundles, text, trust)?;
        let value =
            strict_json::parse(text, limit).map_err(|source| PartError::of(part, source))?;
        Ok((value, signers))
    }
}

/// A plan that the threshold signed; there is no other way to make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedPlan {
    plan: Plan,
    digest: Digest,
}

impl SignedPlan {
    /// The digest of its text, which identifies the rollout.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Whether this plan applies in place of `other`, for the same release name.
    pub fn supersedes(&self, other: &Self) -> bool {
        let rank = |it: &Self| (it.plan.rollout, std::cmp::Reverse(it.digest));
        rank(self) > rank(other)
    }
}

impl Deref for SignedPlan {
    type Target = Plan;

    fn deref(&self) -> &Plan {
        &self.plan
    }
}

/// A statement by a key that may make it; there is no other way to make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedStatement {
    statement: RolloutStatement,
    digest: Digest,
}

impl SignedStatement {
    /// The digest of its text.
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

impl Deref for SignedStatement {
    type Target = RolloutStatement;

    fn deref(&self) -> &RolloutStatement {
        &self.statement
    }
}

/// Verifies a plan: checks sizes, the signatures of the threshold, the format and the times.
///
/// An expired plan is read: devices that began go on, and a reversal stays possible. A device begins nothing by it.
///
/// # Errors
/// [`RolloutError`].
pub fn read_plan(
    signed: &SignedText,
    trust: &TrustRoot,
    now: Time,
) -> Result<SignedPlan, RolloutError> {
    let (plan, signers): (Plan, _) = signed.read("plan", MAX_PLAN_BYTES, trust)?;
    plan.check()?;
    check_threshold(&signers, trust, &plan.name)?;
    check_issued(plan.issued, now)?;
    Ok(SignedPlan {
        plan,
        digest: signed.digest(),
    })
}

/// Verifies a statement about `plan`: checks sizes, signatures, the format, and the time of an advance.
///
/// The time of the others is not checked: a wrong clock must not keep a device from stopping.
///
/// # Errors
/// [`RolloutError`].
pub fn read_statement(
    signed: &SignedText,
    plan: &SignedPlan,
    trust: &TrustRoot,
    now: Time,
) -> Result<SignedStatement, RolloutError> {
    let (statement, signers): (RolloutStatement, _) =
        signed.read("statement", MAX_STATEMENT_BYTES, trust)?;
    statement.check(plan, plan.digest)?;
    match statement.command {
        Command::Reverse { .. } => check_threshold(&signers, trust, &plan.name)?,
        Command::Advance {} => {
            check_controls(&signers, &plan.name)?;
            check_issued(statement.issued, now)?;
        }
        Command::Pause { .. } | Command::Abort { .. } => check_controls(&signers, &plan.name)?,
    }
    Ok(SignedStatement {
        statement,
        digest: signed.digest(),
    })
}

fn check_threshold(
    signers: &[&TrustedKey],
    trust: &TrustRoot,
    release: &str,
) -> Result<(), RolloutError> {
    let found = signers.iter().filter(|key| key.may_sign(release)).count();
    if found < trust.threshold() {
        return Err(RolloutError::TooFewSignatures {
            found,
            needed: trust.threshold(),
            release: release.to_owned(),
        });
    }
    Ok(())
}

fn check_controls(signers: &[&TrustedKey], release: &str) -> Result<(), RolloutError> {
    let is_allowed = signers.iter().any(|key| key.may_control_rollout(release));
    match signers.first() {
        Some(other) if !is_allowed => Err(RolloutError::SignerNotAllowed {
            key: other.name().to_owned(),
            release: release.to_owned(),
        }),
        _ => Ok(()),
    }
}

fn check_issued(issued: Time, now: Time) -> Result<(), RolloutError> {
    let skew_s = u64::try_from(CLOCK_SKEW.as_secs()).unwrap_or(0);
    if after(now, skew_s) < issued {
        return Err(RolloutError::FromFuture { issued, now });
    }
    Ok(())
}
