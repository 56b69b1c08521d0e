//! Why a TPM does not seal or give a key.

use std::path::PathBuf;

/// Why a TPM does not seal the device's key, or does not give it.
#[derive(Debug, thiserror::Error)]
pub enum TpmError {
    /// The program has no code for it.
    #[error(
        "this program was built without the feature `tpm`; build it with `--features tpm`, or let systemd unseal the key: `systemd-creds encrypt --with-key=tpm2` makes a credential for `key-file`"
    )]
    NotSupported,
    /// The address is not in the notation of tpm2-tss.
    #[error(
        "{tpm:?} is not the address of a TPM; write `{}` or `swtpm:host=HOST,port=PORT`",
        crate::DEFAULT_TPM
    )]
    Address {
        /// The address.
        tpm: String,
    },
    /// There is none, or it does not answer.
    #[error(
        "cannot reach the TPM {tpm} ({reason}); check that the machine has a TPM 2.0, that the user may open it (group `tss`), and that the library for its interface is installed (Debian's libtss2-tcti-device0)"
    )]
    Unavailable {
        /// Its address.
        tpm: String,
        /// What tpm2-tss says.
        reason: String,
    },
    /// The list of PCRs cannot be used.
    #[error("a key is sealed to at least one of the PCRs 0 to {}", crate::MAX_PCR)]
    Pcrs,
    /// The TPM has no values of SHA-256.
    #[error(
        "the TPM keeps no SHA-256 value of PCR {pcr}; enable its SHA-256 bank in the firmware's settings"
    )]
    NoSha256 {
        /// The PCR.
        pcr: u8,
    },
    /// A PCR does not have the value that the key is sealed to.
    #[error(
        "the TPM keeps the key {} back, because {changed} changed since the key was sealed; if firmware or system were updated on purpose, seal the key again from its copy with `hotshoe secret seal`",
        path.display()
    )]
    PcrChanged {
        /// The file of the key.
        path: PathBuf,
        /// The PCRs, such as "PCR 7".
        changed: String,
    },
    /// The key belongs to another TPM, or this one was cleared.
    #[error(
        "the key {} was sealed by another TPM, or this one was cleared since; seal the key again from its copy with `hotshoe secret seal`",
        path.display()
    )]
    OtherTpm {
        /// The file of the key.
        path: PathBuf,
    },
    /// The file is not what `hotshoe secret seal` wrote.
    #[error(
        "the key {} is damaged, or not a key that `hotshoe secret seal` of this version wrote; seal the key again from its copy",
        path.display()
    )]
    Damaged {
        /// The file of the key.
        path: PathBuf,
    },
    /// The TPM refuses a command.
    #[error("the TPM cannot {task}: {reason}")]
    Failed {
        /// What it was to do.
        task: &'static str,
        /// What it says.
        reason: String,
    },
}

impl TpmError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NotSupported => "tpm_not_supported",
            Self::Address { .. } => "invalid_tpm_address",
            Self::Unavailable { .. } => "tpm_unavailable",
            Self::Pcrs => "invalid_pcrs",
            Self::NoSha256 { .. } => "tpm_without_sha256",
            Self::PcrChanged { .. } => "tpm_pcr_changed",
            Self::OtherTpm { .. } => "sealed_by_another_tpm",
            Self::Damaged { .. } => "tpm_key_damaged",
            Self::Failed { .. } => "tpm_failed",
        }
    }
}
