#![forbid(unsafe_code)]
//! What Hotshoe keeps on disk: releases as OCI image layouts, and a device's own folder of blobs and slots.
//!
//! Everything is content-addressed and hashed again when it is read. The [`Store`]'s one mutable thing is
//! its [`Ledger`], a single record that is replaced whole: write, fsync, rename, fsync of the folder. Blobs
//! are durable before the record that names them, so a power cut at any write leaves the old release or the
//! new one, never half of either.

mod blobs;
mod disk;
mod layout;
mod layout_builder;
mod ledger;
mod pack;
mod store;

pub use blobs::BlobError;
#[doc(hidden)]
pub use disk::Faults;
pub use layout::{Layout, LayoutError};
pub use layout_builder::LayoutBuilder;
pub use ledger::{FloorEntry, Ledger, LedgerError, Slot};
pub use pack::{PackError, Packed, pack};
pub use store::{InstallError, OpenError, ReadError, Store};
