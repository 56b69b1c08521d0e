//! The rules that a release can break, one variant per rule.

use crate::{
    data_contract::DataContractError, digest::Digest, kind::ReleaseKind, limits::ReleaseLimits,
    privacy::PrivacyError, release::World,
};

/// A rule that a release breaks.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ReleaseError {
    /// A name with other characters, or too long.
    #[error(
        "{what} name `{name}`: use 1 to {max} of `a-z 0-9 - _ .`, beginning and ending with a letter or digit",
        max = ReleaseLimits::NAME_CHARS
    )]
    Name {
        /// Whose name it is.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// It expires before, or when, it is issued.
    #[error("the release expires at or before it is issued; let `expires` lie after {issued}")]
    ExpiresTooSoon {
        /// When it was issued.
        issued: crate::Time,
    },
    /// A device name pattern that is not a glob.
    #[error("device name pattern `{pattern}` is not a glob ({reason})")]
    Glob {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A name that the release does not have.
    #[error(
        "{user} names {what} `{name}`, which the release does not have; add `[{what}s.{name}]` or correct the name"
    )]
    Missing {
        /// Who names it.
        user: String,
        /// `component`, `model` or `data`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A step whose component implements another world.
    #[error("pipeline step {step} needs a {needed}, and component `{component}` is a {found}")]
    World {
        /// The step, from 1.
        step: usize,
        /// The component.
        component: String,
        /// The world that the step needs.
        needed: World,
        /// The world that the component has.
        found: World,
    },
    /// Steps in an order that is not a pipeline.
    #[error(
        "pipeline step {step}: {found}; a pipeline is filters, then a stage, or preprocess, infer..., postprocess, each optional; then policies"
    )]
    Order {
        /// The step, from 1.
        step: usize,
        /// What was found.
        found: &'static str,
    },
    /// A component that lists models, data or config without the grant for them.
    #[error(
        "component `{component}` lists {what} without the grant for them; add {grant} to its `grants`"
    )]
    Grant {
        /// The component.
        component: String,
        /// `models`, `data`, `config` or another key.
        what: &'static str,
        /// The grant that is missing.
        grant: &'static str,
    },
    /// A path that is not a valid guest path of a folder.
    #[error(
        "component `{component}` lists the folder `{path}`: write `/` and names of letters, digits, `-`, `_` and `.`, in at most {max} bytes, such as `/models`",
        max = crate::access::MAX_FOLDER_BYTES
    )]
    Folder {
        /// The component.
        component: String,
        /// What was found.
        path: String,
    },
    /// A topic that cannot be part of a key.
    #[error(
        "component `{component}` lists the topic `{topic}`: use 1 to {max} letters, digits, `-`, `_` and `.`",
        max = crate::access::MAX_TOPIC_BYTES
    )]
    Topic {
        /// The component.
        component: String,
        /// What was found.
        topic: String,
    },
    /// Topics of a component that is not a policy.
    #[error(
        "component `{component}` lists topics but is not a policy; only a policy sends messages: remove `topics`"
    )]
    NoPolicy {
        /// The component.
        component: String,
    },
    /// A name that is reserved for another kind of release.
    #[error(
        "a release of kind `{kind}` cannot have the name `{name}`: {}",
        kind.reserved().map_or_else(
            || "names that begin with `hotshoe.config` and `hotshoe.host` are for releases of these kinds".to_owned(),
            |name| format!("use `{name}`, or `{name}.` and more")
        )
    )]
    KindName {
        /// Its name.
        name: String,
        /// Its kind.
        kind: ReleaseKind,
    },
    /// A key that a kind of release cannot have.
    #[error("a release of kind `{kind}` cannot have `{key}`: it has `data` alone; remove the key")]
    KindKey {
        /// The kind.
        kind: ReleaseKind,
        /// The key.
        key: &'static str,
    },
    /// A `config` release without its file.
    #[error("a release of kind `config` needs its keys in `[data.\"hotshoe.toml\"]`")]
    NoConfigFile,
    /// A value outside a limit of [`ReleaseLimits`].
    #[error("{what} is {value}; allowed are {least} to {limit}")]
    Limit {
        /// What is too large.
        what: String,
        /// How large it is.
        value: u64,
        /// The least allowed.
        least: u64,
        /// The limit.
        limit: u64,
    },
    /// A model with contradictory settings.
    #[error("model `{model}`: {problem}")]
    Model {
        /// The model.
        model: String,
        /// The problem, and what to do.
        problem: String,
    },
    /// A mask that is not valid.
    #[error(transparent)]
    Privacy(#[from] PrivacyError),
    /// A data contract that is not valid.
    #[error(transparent)]
    DataContract(#[from] DataContractError),
    /// One digest with two sizes.
    #[error("blob {digest} has two sizes; correct one")]
    TwoSizes {
        /// The blob.
        digest: Digest,
    },
    /// A media type that is not `type/subtype`.
    #[error("{what} has media type `{media_type}`; write `type/subtype`, such as `text/plain`")]
    MediaType {
        /// The data file or self-test.
        what: String,
        /// What was found.
        media_type: String,
    },
    /// A number outside its range.
    #[error("{what} is {value}; allowed are {least} to {most}")]
    Range {
        /// Which number.
        what: String,
        /// What it is.
        value: f64,
        /// The least allowed.
        least: f64,
        /// The most allowed.
        most: f64,
    },
    /// A `state-version` of a component that keeps no state.
    #[error(
        "component `{component}` has a `state-version` but keeps no state; add `state` to its `grants`"
    )]
    StateVersion {
        /// The component.
        component: String,
    },
    /// A mode with contradictory settings.
    #[error("mode `{mode}`: {problem}")]
    Mode {
        /// The mode.
        mode: String,
        /// The problem, and what to do.
        problem: String,
    },
    /// Contradictory settings of `[drift]`.
    #[error("[drift]: {problem}")]
    Drift {
        /// The problem, and what to do.
        problem: String,
    },
    /// Modes without a full one.
    #[error("the release has modes, and none is the full one; give exactly one mode `level = 0`")]
    NoFullMode,
    /// Two components of the world `governor`.
    #[error(
        "components `{first}` and `{second}` are governors; a release has one at most: remove one"
    )]
    TwoGovernors {
        /// One of them.
        first: String,
        /// Another one.
        second: String,
    },
    /// Two self-tests of one name.
    #[error("two self-tests are called `{name}`; rename one")]
    SameTest {
        /// The name.
        name: String,
    },
    /// Chunks of a blob that the release does not use.
    #[error("chunks are listed for blob {blob}, which the release does not use; pack it again")]
    ChunksOfNothing {
        /// The blob.
        blob: Digest,
    },
    /// An index that is itself cut into chunks.
    #[error("blob {index} is an index of chunks and is itself cut into chunks; pack it again")]
    ChunkedIndex {
        /// The index.
        index: Digest,
    },
    /// An index with an impossible size for its blob.
    #[error(
        "the index of blob {blob} has {size} bytes, which is not possible for its size; pack it again"
    )]
    IndexSize {
        /// The blob.
        blob: Digest,
        /// The size of its index.
        size: u64,
    },
}
