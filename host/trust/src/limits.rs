//! Limits of a release and its parts, and of statements.

use jiff::SignedDuration;

/// Limits of a release that Hotshoe packs, verifies or installs. Sizes are in bytes.
pub struct ReleaseLimits;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

impl ReleaseLimits {
    /// The manifest: 256 KiB.
    pub const MANIFEST_BYTES: u64 = 256 * KIB;
    /// The config, which is the release as JSON: 1 MiB.
    pub const CONFIG_BYTES: u64 = MIB;
    /// One signature bundle: 64 KiB.
    pub const BUNDLE_BYTES: u64 = 64 * KIB;
    /// Valid signature bundles on one release: 32.
    pub const BUNDLES: u64 = 32;
    /// Signature bundles that are checked for valid ones: 256. In a registry, others may attach bundles of their own.
    pub const BUNDLES_READ: u64 = 256;
    /// One component: 64 MiB (a Python component has about 40).
    pub const COMPONENT_BYTES: u64 = 64 * MIB;
    /// One model: 1 GiB, the most that inference loads by default.
    pub const MODEL_BYTES: u64 = GIB;
    /// One data file: 64 MiB.
    pub const DATA_BYTES: u64 = 64 * MIB;
    /// The file of a `config` release: 256 KiB.
    pub const DEVICE_CONFIG_BYTES: u64 = 256 * KIB;
    /// The program of one platform in a `host` release: 1 GiB. Stripped, it has about 60 MiB.
    pub const PROGRAM_BYTES: u64 = GIB;
    /// One index of chunks: 4 MiB. The largest model cut into the smallest chunks needs 2.3.
    pub const INDEX_BYTES: u64 = 4 * MIB;
    /// The sample of one self-test: 16 MiB.
    pub const SAMPLE_BYTES: u64 = 16 * MIB;
    /// The expected result of one self-test: 16 MiB, since it may be tensors.
    pub const EXPECTED_BYTES: u64 = 16 * MIB;
    /// All blobs of one release together: 4 GiB.
    pub const RELEASE_BYTES: u64 = 4 * GIB;
    /// Components, models and data files, each: 64.
    pub const ENTRIES: u64 = 64;
    /// Variants of one model: 8.
    pub const VARIANTS: u64 = 8;
    /// `max-batch` of a model: 256 samples.
    pub const BATCH: u64 = 256;
    /// `max-wait-us` of a model: a second.
    pub const BATCH_WAIT_US: u64 = 1_000_000;
    /// Inputs of one model that hold its state: 1,024. A language model of 100 layers has 200.
    pub const MODEL_STATES: u64 = 1_024;
    /// `outputs` of one model: 1,024.
    pub const MODEL_OUTPUTS: u64 = 1_024;
    /// The name of a tensor in `state` or `outputs`: 256 bytes.
    pub const TENSOR_NAME_BYTES: u64 = 256;
    /// Folders of one component: 16.
    pub const FOLDERS: u64 = 16;
    /// Hosts of one component: 64.
    pub const HOSTS: u64 = 64;
    /// Topics of one component: 64.
    pub const TOPICS: u64 = 64;
    /// Shared values of one component: 64.
    pub const SHARED_DATA: u64 = 64;
    /// Secrets of one component: 16.
    pub const SECRETS: u64 = 16;
    /// Steps of the pipeline: 64.
    pub const STEPS: u64 = 64;
    /// Self-tests: 64.
    pub const TESTS: u64 = 64;
    /// Modes: 16.
    pub const MODES: u64 = 16;
    /// `window` and `at-least` of `[drift]`: 10,000 samples.
    pub const DRIFT_WINDOW: u32 = 10_000;
    /// `window-seconds` of `[drift]`: a week.
    pub const DRIFT_WINDOW_SECONDS: u32 = 7 * 24 * 60 * 60;
    /// The baseline of `[drift]`: 16 MiB.
    pub const BASELINE_BYTES: u64 = 16 * MIB;
    /// `rate.every` of a mode: every millionth sample.
    pub const EVERY: u32 = 1_000_000;
    /// `rate.max-per-second` of a mode: from one sample in 1,000 seconds to 10,000 samples a second.
    pub const SAMPLES_PER_SECOND: (f64, f64) = (0.001, 10_000.0);
    /// Patterns of device names in one selector: 64.
    pub const PATTERNS: u64 = 64;
    /// One such pattern: 256 bytes. An unsigned statement may bring patterns, and compiling them takes time.
    pub const PATTERN_BYTES: u64 = 256;
    /// Any name, in characters: 64.
    pub const NAME_CHARS: u64 = 64;
    /// `limits.memory-mib` of a component: 4096 MiB, all that 32-bit WebAssembly can address.
    pub const MEMORY_MIB: u64 = 4096;
    /// `limits.deadline-ms` of a component, and `deadline-ms` of a model: 600 000 ms.
    pub const DEADLINE_MS: u64 = 600_000;
    /// `limits.tensor-mib` of a component: 16 384 MiB.
    pub const TENSOR_MIB: u64 = 16_384;
    /// `limits.table-elements` of a component: 262 144, 2 MiB of pointers.
    pub const TABLE_ELEMENTS: u64 = 262_144;
    /// `limits.instances` of a component: 256.
    pub const INSTANCES: u64 = 256;
    /// `limits.log-lines` of a component: 10 000 a second.
    pub const LOG_LINES: u64 = 10_000;
    /// `limits.state-kib` of a component: 16 MiB, 256 entries of the largest size.
    pub const STATE_KIB: u64 = 16 * KIB;
    /// `limits.state-kib` of all components that are granted `state` together: 64 MiB.
    pub const STATE_KIB_TOTAL: u64 = 64 * KIB;
    /// `limits.handles` of a component: 65 536.
    pub const HANDLES: u64 = 65_536;
    /// `limits.output-kib` of a component: 256 MiB.
    pub const OUTPUT_KIB: u64 = 256 * KIB;
    /// `min-samples` of a health gate, and `samples` of its shadow phase: a million.
    pub const TRIAL_SAMPLES: u64 = 1_000_000;
    /// `min-seconds` of a health gate: a week.
    pub const TRIAL_SECONDS: u64 = 7 * 24 * 60 * 60;
    /// `tries` of a health gate: 10. Applies when a release or a configuration is checked. The ledger clamps at 100 tries
    /// (`Trial::MAX_TRIES` in hotshoe-store), which a checked release never reaches.
    pub const TRIES: u64 = 10;
}

/// The largest statement: 64 KiB.
pub const MAX_STATEMENT_BYTES: u64 = 64 * 1024;
/// Signature bundles on one statement: 8.
pub const MAX_STATEMENT_BUNDLES: u64 = 8;
/// The largest envelope, a statement with its bundles: 512 KiB.
pub const MAX_ENVELOPE_BYTES: u64 = 512 * 1024;
/// The longest time between a statement's `issued` and `expires`: 90 days. It bounds how long an attacker
/// can withhold a statement and then replay it.
pub const MAX_STATEMENT_LIFETIME: SignedDuration = SignedDuration::from_hours(90 * 24);
