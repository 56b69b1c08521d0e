#![forbid(unsafe_code)]
//! Storage: releases as OCI image layouts, and the data folder of a device with its blobs and slots.
//!
//! Everything is content-addressed, and hashed again when it is read. The only mutable record of a [`Store`] is its
//! [`Ledger`], which changes only by a [`Transition`] and is replaced atomically: write, fsync, rename, fsync of the
//! folder. Blobs are durable before the record that names them, so that a power cut at any write leaves the old release,
//! the new one, or a bounded trial. Large blobs arrive in chunks ([`Partial`]), and a [`Catalogue`] finds the objects that a
//! process can serve.

mod beside;
mod blob_error;
mod blobs;
mod catalogue;
mod chunking;
mod find;
mod gc;
mod illegal_transition;
mod layout;
mod layout_builder;
mod ledger;
mod open;
mod pack;
mod partial;
mod phase;
mod recording;
mod states;
mod store;
mod transition;

pub use beside::{LiveError, LiveRelease, read_live};
pub use blob_error::BlobError;
pub use blobs::BlobStore;
pub use catalogue::{Catalogue, CatalogueError, MAX_OBJECT_BYTES, Run, SharedRelease};
pub use gc::{GcError, GcReport};
pub use illegal_transition::IllegalTransition;
pub use layout::{Layout, LayoutError, Referrer};
pub use layout_builder::LayoutBuilder;
pub use ledger::{Event, FailedRelease, FloorEntry, Ledger, LedgerError, Slot, Trial, TrustEntry};
pub use open::{LOCK_FILE, OpenError, lock_folder};
pub use pack::{ModelFile, PackError, PackModel, Packed, RecordedError, pack, pack_changed};
pub use partial::{HashedChunk, Partial, PartialError};
pub use phase::{Cause, Phase};
pub use recording::{
    MAX_RECORDED, MAX_RECORDED_BYTES, NotRecorded, RECORDING_FILE, RecordStage, RecordedEntry,
    RecordedPart, RecordedRelease, Recording, RecordingError, RecordingHead, RecordingWriter,
    Replay,
};
pub use states::{MAX_STATE_BYTES, replace_file};
pub use store::{ApplyError, InstallError, ReadError, Store, read_blob, read_ledger, read_release};
pub use transition::{TRUST, Transition};
