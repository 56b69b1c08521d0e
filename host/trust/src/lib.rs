#![forbid(unsafe_code)]
//! Trust: digests, the release format, keys, signatures and the only entry point for releases, [`verify()`].
//!
//! The crate is pure: it reads neither files nor the clock. Bytes, the time and the floor are arguments. The rest of the host
//! compiles, loads and runs only [`Verified`] releases. The only input from outside is randomness, in
//! [`SigningKey::generate`] and when a key is encrypted.

mod access;
mod access_check;
mod allowed;
mod bundle;
mod capabilities;
mod capability_error;
mod chunks;
mod component_limits;
mod contract;
mod data_bounds;
mod data_class;
mod data_contract;
mod delivery_check;
mod digest;
mod drift;
mod drift_check;
mod effective_contract;
mod floor;
mod health;
mod keys;
mod kind;
mod kind_check;
mod limits;
mod media_types;
mod mode;
mod mode_check;
mod model;
mod model_check;
mod nearest;
mod part_error;
mod payload;
mod pipeline_io;
mod pixel_exposure;
mod printable;
mod privacy;
mod release;
mod release_check;
mod release_error;
mod requires;
mod rotation;
mod rules;
mod signers;
mod signing;
mod statement;
mod statement_error;
mod statement_times;
mod trust_toml;
mod verify;
mod verify_error;

pub mod manifest;
pub mod release_toml;
pub mod strict_json;
pub mod toml_file;

pub use access::{
    Access, HostPort, HostPortError, MAX_FOLDER_BYTES, MAX_TOPIC_BYTES, is_folder, is_topic,
};
pub use allowed::{Allowed, Folder};
pub use bundle::{BundleError, check_bundle, verify_blob};
pub use capabilities::{
    Capabilities, Capability, Missing, Need, capabilities, check_imports, need,
};
pub use capability_error::CapabilityError;
pub use chunks::{AVERAGE_CHUNK_BYTES, ChunkIndex, IndexError, MAX_CHUNK_BYTES, MIN_CHUNK_BYTES};
pub use component_limits::{InstanceMode, LimitBounds, Limits};
pub use contract::{Contract, GOVERNOR, PIPELINE, WASI_NN};
pub use data_bounds::{DataBounds, DataSelector, MAX_BOUNDS};
pub use data_class::{
    DataClass, DataPriority, DataTextError, FieldPath, MAX_FIELD_BYTES, MAX_FIELD_DEPTH,
    MAX_FIELDS, Retention, Sensitivity, Upload,
};
pub use data_contract::{
    DEFAULT_CLASS, DataContract, DataContractError, MAX_CLASSES, MAX_NAMED_OUTPUTS, OutputName,
    RecordKind,
};
pub use digest::{Blob, Digest, DigestError, Hasher};
pub use drift::{Drift, DriftAction};
pub use effective_contract::{EffectiveContract, NamedClass};
pub use floor::Floor;
pub use health::{HealthBounds, HealthGate, OnFailure, Shadow};
pub use keys::{KeyError, PublicKey, Scheme, SignatureError};
pub use kind::ReleaseKind;
pub use limits::{
    MAX_ENVELOPE_BYTES, MAX_STATEMENT_BUNDLES, MAX_STATEMENT_BYTES, MAX_STATEMENT_LIFETIME,
    ReleaseLimits,
};
pub use mode::{Mode, Rate, RestingOutput, Rests};
pub use model::{Model, Variant};
pub use part_error::PartError;
pub use payload::{MAX_PAYLOAD_SIGNATURE_BYTES, Payload, PayloadKind};
pub use pipeline_io::{PipelineInput, PipelineOutput};
pub use pixel_exposure::{ExposedOutput, RawPixels, pixel_exposure};
pub use printable::{is_active, printable, printable_json};
pub use privacy::{
    MAX_CORNERS, MAX_MASKS, MAX_SOURCE_BYTES, MIN_CORNERS, Privacy, PrivacyArea, PrivacyBlur,
    PrivacyError, PrivacyMask, PrivacyRules,
};
pub use release::{
    Component, DataFile, Device, DeviceSelector, Grant, Release, SelfTest, StageFailure, Step,
    Time, World, time_of,
};
pub use release_error::ReleaseError;
pub use requires::{Hardware, Requires};
pub use rotation::{
    BelowThreshold, MAX_TRUST_BYTES, MAX_TRUST_UPDATE_BYTES, NewTrust, RotationError, TrustUpdate,
    rotate,
};
pub use rules::is_name;
pub use signers::{SignerError, signed_by};
pub use signing::{SigningKey, is_encrypted};
pub use statement::{Envelope, Order, ReadStatement, Signatures, Statement, read_statement};
pub use statement_error::StatementError;
pub use statement_times::StatementTimes;
pub use trust_toml::{DEVELOPMENT_KEY, TrustError, TrustRoot, TrustedKey};
pub use verify::{
    CLOCK_SKEW, Package, Verified, check_hardware, verify, verify_for_registry, verify_installed,
};
pub use verify_error::VerifyError;
