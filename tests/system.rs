//! Whole-system tests: the CLI as a process, the daemon over Zenoh, real models, real signatures.
//!
//! One binary, so that it is linked once; its modules are the chapters.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "system/support.rs"]
mod support;

#[path = "system/alerts.rs"]
mod alerts;
#[path = "system/attack.rs"]
mod attack;
#[path = "system/audit.rs"]
mod audit;
#[path = "system/author.rs"]
mod author;
#[path = "system/backend_race.rs"]
mod backend_race;
#[path = "system/bad_input.rs"]
mod bad_input;
#[path = "system/bad_release.rs"]
mod bad_release;
#[path = "system/capabilities.rs"]
mod capabilities;
#[path = "system/classic.rs"]
mod classic;
#[path = "system/config_release.rs"]
mod config_release;
#[path = "system/conflicts.rs"]
mod conflicts;
#[path = "system/crash.rs"]
mod crash;
#[path = "system/crash_loop.rs"]
mod crash_loop;
#[path = "system/data_folder.rs"]
mod data_folder;
#[path = "system/delivery.rs"]
mod delivery;
#[path = "system/dev.rs"]
mod dev;
#[path = "system/device_drift.rs"]
mod device_drift;
#[path = "system/device_page.rs"]
mod device_page;
#[path = "system/dice.rs"]
mod dice;
#[path = "system/doctor.rs"]
mod doctor;
#[path = "system/documents.rs"]
mod documents;
#[path = "system/doors.rs"]
mod doors;
#[path = "system/drift.rs"]
mod drift;
#[path = "system/egress.rs"]
mod egress;
#[path = "system/empty_start.rs"]
mod empty_start;
#[path = "system/encryption.rs"]
mod encryption;
#[path = "system/faults.rs"]
mod faults;
#[path = "system/foreign.rs"]
mod foreign;
#[path = "system/formats.rs"]
mod formats;
#[path = "system/go.rs"]
mod go;
#[path = "system/governor.rs"]
mod governor;
#[path = "system/host_update.rs"]
mod host_update;
#[path = "system/hostile.rs"]
mod hostile;
#[path = "system/interop.rs"]
mod interop;
#[path = "system/languages.rs"]
mod languages;
#[path = "system/layering.rs"]
mod layering;
#[path = "system/logging.rs"]
mod logging;
#[path = "system/masks.rs"]
mod masks;
#[path = "system/memory.rs"]
mod memory;
#[path = "system/mirrors.rs"]
mod mirrors;
#[path = "system/model.rs"]
mod model;
#[path = "system/models.rs"]
mod models;
#[path = "system/modes.rs"]
mod modes;
#[path = "system/monitoring.rs"]
mod monitoring;
#[path = "system/mqtt.rs"]
mod mqtt;
#[path = "system/names.rs"]
mod names;
#[path = "system/namespace.rs"]
mod namespace;
#[path = "system/nn.rs"]
mod nn;
#[path = "system/oci.rs"]
mod oci;
#[path = "system/oip.rs"]
mod oip;
#[path = "system/otel.rs"]
mod otel;
#[path = "system/outbox.rs"]
mod outbox;
#[path = "system/packages.rs"]
mod packages;
#[path = "system/page.rs"]
mod page;
#[path = "system/page_browser.rs"]
mod page_browser;
#[path = "system/page_leaks.rs"]
mod page_leaks;
#[path = "system/pictures.rs"]
mod pictures;
#[path = "system/privacy.rs"]
mod privacy;
#[path = "system/programs.rs"]
mod programs;
#[path = "system/proxy.rs"]
mod proxy;
#[path = "system/python.rs"]
mod python;
#[path = "system/readme.rs"]
mod readme;
#[path = "system/record.rs"]
mod record;
#[path = "system/recovery.rs"]
mod recovery;
#[path = "system/registry.rs"]
mod registry;
#[path = "system/replay.rs"]
mod replay;
#[path = "system/restart.rs"]
mod restart;
#[path = "system/rollout.rs"]
mod rollout;
#[path = "system/rollout_attacks.rs"]
mod rollout_attacks;
#[path = "system/rollout_compare.rs"]
mod rollout_compare;
#[path = "system/rollout_fleet.rs"]
mod rollout_fleet;
#[path = "system/rot.rs"]
mod rot;
#[path = "system/runtime.rs"]
mod runtime;
#[path = "system/sealed_files.rs"]
mod sealed_files;
#[path = "system/secrets.rs"]
mod secrets;
#[path = "system/secure_site.rs"]
mod secure_site;
#[path = "system/segments.rs"]
mod segments;
#[path = "system/service_manager.rs"]
mod service_manager;
#[path = "system/serving.rs"]
mod serving;
#[path = "system/shared_data.rs"]
mod shared_data;
#[path = "system/shipping.rs"]
mod shipping;
#[path = "system/signals.rs"]
mod signals;
#[path = "system/site.rs"]
mod site;
#[path = "system/site_page.rs"]
mod site_page;
#[path = "system/skipped.rs"]
mod skipped;
#[path = "system/stored_data.rs"]
mod stored_data;
#[path = "system/top.rs"]
mod top;
#[path = "system/transfer.rs"]
mod transfer;
#[path = "system/voice.rs"]
mod voice;
#[path = "system/wasip2.rs"]
mod wasip2;
#[path = "system/watched.rs"]
mod watched;
#[path = "system/wit.rs"]
mod wit;
