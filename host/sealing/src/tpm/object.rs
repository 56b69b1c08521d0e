//! A sealed object of a TPM, and its file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::str::FromStr as _;

use serde::{Deserialize, Serialize};
use tss_esapi::attributes::{ObjectAttributesBuilder, SessionAttributesBuilder};
use tss_esapi::constants::SessionType;
use tss_esapi::constants::response_code::{Tss2ResponseCode, Tss2ResponseCodeKind};
use tss_esapi::handles::{KeyHandle, ObjectHandle};
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::{
    Digest, EccPoint, KeyedHashScheme, PcrSelectionList, PcrSlot, Private, Public, PublicBuilder,
    PublicEccParametersBuilder, PublicKeyedHashParameters, SensitiveData, SymmetricDefinition,
    SymmetricDefinitionObject,
};
use tss_esapi::traits::{Marshall as _, UnMarshall as _};
use tss_esapi::{Context, Error, TctiNameConf, WrapperErrorKind};
use zeroize::Zeroizing;

use super::MAX_PCR;
use crate::cipher::KEY_BYTES;
use crate::key::hex;
use crate::tpm_error::TpmError;

/// The version of the file.
const FORMAT: u32 = 1;

/// The file. The TPM checks `public` and `private`; a changed `pcrs` or `parent` can only make it refuse, and change what the refusal says.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SealedKey {
    format: u32,
    /// The PCRs, and the values that they had, in hexadecimal.
    pcrs: BTreeMap<u8, String>,
    /// The name of the TPM's storage key, a digest, in hexadecimal: each TPM has another one, and a cleared TPM too.
    parent: String,
    /// The object's public area (`TPMT_PUBLIC`), in hexadecimal.
    public: String,
    /// The object's private area, which the storage key encrypts, in hexadecimal.
    private: String,
}

/// Seals a key to the present values of PCRs. Returns the file's contents.
pub(super) fn seal(
    key: &[u8; KEY_BYTES],
    address: &str,
    pcrs: &BTreeSet<u8>,
) -> Result<Vec<u8>, TpmError> {
    if pcrs.is_empty() || pcrs.iter().any(|pcr| *pcr > MAX_PCR) {
        return Err(TpmError::Pcrs);
    }
    let mut tpm = Tpm::open(address)?;
    let values = tpm.pcrs(pcrs)?;
    let (parent, name) = tpm.storage_key()?;
    let (private, public) = tpm
        .create(parent, key, pcrs)
        .map_err(failed("seal the key"))?;
    let sealed = SealedKey {
        format: FORMAT,
        pcrs: values,
        parent: hex(&name),
        public: hex(&public.marshall().map_err(failed("seal the key"))?),
        private: hex(&private),
    };
    let mut text = serde_json::to_vec_pretty(&sealed).map_err(|error| TpmError::Failed {
        task: "seal the key",
        reason: error.to_string(),
    })?;
    text.push(b'\n');
    Ok(text)
}

/// The key in a file with the contents `text`. `path` is for errors.
pub(super) fn unseal(
    path: &Path,
    text: &[u8],
    address: &str,
) -> Result<Zeroizing<[u8; KEY_BYTES]>, TpmError> {
    let damaged = || TpmError::Damaged {
        path: path.to_owned(),
    };
    let sealed: SealedKey = serde_json::from_slice(text).map_err(|_| damaged())?;
    let pcrs: BTreeSet<u8> = sealed.pcrs.keys().copied().collect();
    if sealed.format != FORMAT || pcrs.is_empty() || pcrs.iter().any(|pcr| *pcr > MAX_PCR) {
        return Err(damaged());
    }
    let public = hex::decode(&sealed.public).map_err(|_| damaged())?;
    let public = Public::unmarshall(&public).map_err(|_| damaged())?;
    let private = hex::decode(&sealed.private).map_err(|_| damaged())?;
    let private = Private::try_from(private).map_err(|_| damaged())?;

    let mut tpm = Tpm::open(address)?;
    let (parent, name) = tpm.storage_key()?;
    if hex(&name) != sealed.parent {
        return Err(TpmError::OtherTpm {
            path: path.to_owned(),
        });
    }
    let refused = |error: Error| match kind(error) {
        // The TPM is right, so it is the object that it does not accept.
        Some(kind) if !is_about_the_tpm(kind) => damaged(),
        _ => failed("load the key")(error),
    };
    let object = tpm.load(parent, private, public).map_err(refused)?;
    let key = match tpm.unseal(parent, object, &pcrs) {
        Ok(key) => key,
        Err(error) => match kind(error) {
            Some(Tss2ResponseCodeKind::PolicyFail | Tss2ResponseCodeKind::PcrChanged) => {
                let now = tpm.pcrs(&pcrs)?;
                let changed = changed(&sealed.pcrs, &now).ok_or_else(damaged)?;
                return Err(TpmError::PcrChanged {
                    path: path.to_owned(),
                    changed,
                });
            }
            _ => return Err(refused(error)),
        },
    };
    let key: [u8; KEY_BYTES] = key.value().try_into().map_err(|_| damaged())?;
    Ok(Zeroizing::new(key))
}

/// An open connection to a TPM. It removes what it loaded when it is dropped.
struct Tpm {
    context: Context,
}

impl Tpm {
    fn open(address: &str) -> Result<Self, TpmError> {
        let name = TctiNameConf::from_str(address).map_err(|_| TpmError::Address {
            tpm: address.to_owned(),
        })?;
        let context = Context::new(name).map_err(|error| TpmError::Unavailable {
            tpm: address.to_owned(),
            reason: device_error(address).unwrap_or_else(|| error.to_string()),
        })?;
        Ok(Self { context })
    }

    /// The storage key of the owner's hierarchy, and its name. The TPM makes the same one from its seed each time, and its clearing makes a new seed.
    fn storage_key(&mut self) -> Result<(KeyHandle, Vec<u8>), TpmError> {
        let template = storage_template().map_err(failed("make its storage key"))?;
        let key = self
            .context
            .execute_with_session(Some(AuthSession::Password), |context| {
                context.create_primary(Hierarchy::Owner, template, None, None, None, None)
            })
            .map_err(failed("make its storage key"))?
            .key_handle;
        let name = self
            .context
            .tr_get_name(key.into())
            .map_err(failed("name its storage key"))?;
        Ok((key, name.value().to_vec()))
    }

    /// The values of PCRs in hexadecimal.
    fn pcrs(&mut self, pcrs: &BTreeSet<u8>) -> Result<BTreeMap<u8, String>, TpmError> {
        let mut values = BTreeMap::new();
        for pcr in pcrs {
            // One at a time: a TPM gives eight at most, and leaves out those that it does not have.
            let one = selection(&BTreeSet::from([*pcr])).map_err(failed("read its PCRs"))?;
            let (_, _, digests) = self
                .context
                .execute_without_session(|context| context.pcr_read(one))
                .map_err(failed("read its PCRs"))?;
            let digest = digests.value().first();
            let digest = digest.ok_or(TpmError::NoSha256 { pcr: *pcr })?;
            values.insert(*pcr, hex(digest.value()));
        }
        Ok(values)
    }

    /// Makes a sealed object that only a session with the present values of PCRs opens: its user has no password.
    fn create(
        &mut self,
        parent: KeyHandle,
        key: &[u8; KEY_BYTES],
        pcrs: &BTreeSet<u8>,
    ) -> Result<(Private, Public), Error> {
        let trial = self.session(None, SessionType::Trial)?;
        let policy = PolicySession::try_from(trial)?;
        self.context
            .policy_pcr(policy, Digest::default(), selection(pcrs)?)?;
        let digest = self.context.policy_get_digest(policy)?;
        let template = sealed_template(digest)?;
        let session = self.session(Some(parent), SessionType::Hmac)?;
        // The key is encrypted on its way to the TPM.
        let (attributes, mask) = SessionAttributesBuilder::new().with_decrypt(true).build();
        self.context
            .tr_sess_set_attributes(session, attributes, mask)?;
        let key = SensitiveData::try_from(key.as_slice())?;
        let made = self
            .context
            .execute_with_session(Some(session), |context| {
                context.create(parent, template, None, Some(key), None, None)
            })?;
        Ok((made.out_private, made.out_public))
    }

    fn load(
        &mut self,
        parent: KeyHandle,
        private: Private,
        public: Public,
    ) -> Result<ObjectHandle, Error> {
        self.context
            .execute_with_session(Some(AuthSession::Password), |context| {
                context.load(parent, private, public)
            })
            .map(ObjectHandle::from)
    }

    fn unseal(
        &mut self,
        parent: KeyHandle,
        object: ObjectHandle,
        pcrs: &BTreeSet<u8>,
    ) -> Result<SensitiveData, Error> {
        let session = self.session(Some(parent), SessionType::Policy)?;
        // The key is encrypted on its way from the TPM: its bus may be watched.
        let (attributes, mask) = SessionAttributesBuilder::new().with_encrypt(true).build();
        self.context
            .tr_sess_set_attributes(session, attributes, mask)?;
        let policy = PolicySession::try_from(session)?;
        self.context
            .policy_pcr(policy, Digest::default(), selection(pcrs)?)?;
        self.context
            .execute_with_session(Some(session), |context| context.unseal(object))
    }

    /// A session whose secret comes from a key of the TPM, if one is given.
    fn session(&mut self, key: Option<KeyHandle>, kind: SessionType) -> Result<AuthSession, Error> {
        self.context
            .start_auth_session(
                key,
                None,
                None,
                kind,
                SymmetricDefinition::AES_128_CFB,
                HashingAlgorithm::Sha256,
            )?
            .ok_or(Error::WrapperError(WrapperErrorKind::WrongValueFromTpm))
    }
}

/// Why a device cannot be opened, which tpm2-tss does not tell.
fn device_error(address: &str) -> Option<String> {
    let path = address.strip_prefix("device:")?;
    let error = File::options().read(true).write(true).open(path).err()?;
    Some(error.to_string())
}

/// The template of the TCG for a storage key on the curve P-256.
fn storage_template() -> Result<Public, Error> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_no_da(true)
        .with_restricted(true)
        .with_decrypt(true)
        .build()?;
    let parameters = PublicEccParametersBuilder::new_restricted_decryption_key(
        SymmetricDefinitionObject::AES_128_CFB,
        EccCurve::NistP256,
    )
    .build()?;
    PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Ecc)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_ecc_parameters(parameters)
        .with_ecc_unique_identifier(EccPoint::default())
        .build()
}

/// Sealed data that only the policy opens. Wrong tries do not lock the TPM.
fn sealed_template(policy: Digest) -> Result<Public, Error> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_admin_with_policy(true)
        .with_no_da(true)
        .build()?;
    PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::KeyedHash)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_auth_policy(policy)
        .with_keyed_hash_parameters(PublicKeyedHashParameters::new(KeyedHashScheme::Null))
        .with_keyed_hash_unique_identifier(Digest::default())
        .build()
}

fn selection(pcrs: &BTreeSet<u8>) -> Result<PcrSelectionList, Error> {
    let slots = pcrs.iter().map(|pcr| {
        let bit = 1_u32.checked_shl(u32::from(*pcr));
        bit.ok_or(Error::WrapperError(WrapperErrorKind::InvalidParam))
            .and_then(PcrSlot::try_from)
    });
    let slots: Vec<PcrSlot> = slots.collect::<Result<_, _>>()?;
    PcrSelectionList::builder()
        .with_selection(HashingAlgorithm::Sha256, &slots)
        .build()
}

/// The PCRs whose values differ, such as "PCR 0 and PCR 7".
fn changed(sealed: &BTreeMap<u8, String>, now: &BTreeMap<u8, String>) -> Option<String> {
    let changed = sealed
        .iter()
        .filter(|(pcr, value)| now.get(*pcr) != Some(*value));
    let names: Vec<String> = changed.map(|(pcr, _)| format!("PCR {pcr}")).collect();
    (!names.is_empty()).then(|| names.join(" and "))
}

fn kind(error: Error) -> Option<Tss2ResponseCodeKind> {
    match error {
        // These are about a handle, a session or a parameter; others are warnings and errors of the transport.
        Error::Tss2Error(code @ Tss2ResponseCode::FormatOne(_)) => code.kind(),
        Error::Tss2Error(code) => {
            let pcr_changed = Tss2ResponseCodeKind::PcrChanged;
            code.kind().filter(|kind| *kind == pcr_changed)
        }
        Error::WrapperError(_) => None,
    }
}

/// Whether a refusal is about the TPM's own state, and not about the object.
fn is_about_the_tpm(kind: Tss2ResponseCodeKind) -> bool {
    matches!(
        kind,
        Tss2ResponseCodeKind::PcrChanged | Tss2ResponseCodeKind::Hierarchy
    )
}

fn failed(task: &'static str) -> impl Fn(Error) -> TpmError {
    move |error| TpmError::Failed {
        task,
        reason: error.to_string(),
    }
}
