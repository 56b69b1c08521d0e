//! Zenoh's settings, from `[zenoh]`.

use std::path::Path;
use std::time::Duration;

use hotshoe_base::files;
use hotshoe_config::{TlsConfig, ZenohConfig, descriptors};
use serde_json::{Value, json};
use zenoh::{Session, Wait};

use super::exposure::{self, GUARDED_PROTOCOLS};
use super::outgoing::{MAX_KEY_BYTES, check_length};
use super::{LinkError, acl};

/// Connection timeout of a command, in milliseconds.
const CLIENT_CONNECT_MS: u64 = 3_000;

/// Delay at the start of a session with scouting, in milliseconds: Zenoh's default.
const SCOUTING_DELAY_MS: u64 = 500;

/// How long a message waits for a slow peer before it is dropped. Zenoh's default is 1 ms, too short for a busy receiver on a small
/// machine. After a drop, further messages do not wait until the peer takes one again.
const WAIT_BEFORE_DROP: Duration = Duration::from_millis(100);
/// How long a message of many batches waits in addition. In Zenoh's default of 50 ms, a link of 100 Mbit/s moves 600 KiB.
const WAIT_FOR_FRAGMENTS: Duration = Duration::from_secs(1);
/// Largest payload that always fits into one batch, in bytes.
const ONE_BATCH: usize = 48 << 10;
/// How long a declaration, which must not be dropped, waits before the transport is closed. Zenoh's default is 5 s. Two batches of
/// declarations are buffered before that.
const WAIT_BEFORE_CLOSE: Duration = Duration::from_secs(2);
/// Batches of 64 KiB that are queued for one peer, each for data and for objects: Zenoh's maximum. They are allocated on demand. A
/// fetcher's first requests to a source (4 of 256 KiB) fit.
const BATCHES: u64 = 16;

/// How long a message of this size waits before it is dropped.
pub(super) const fn send_timeout(bytes: usize) -> Duration {
    if bytes <= ONE_BATCH {
        WAIT_BEFORE_DROP
    } else {
        WAIT_BEFORE_DROP.saturating_add(WAIT_FOR_FRAGMENTS)
    }
}

/// Settings for slow peers: no peer may block a thread of this process. A reply has the congestion control of its query, so incoming
/// "block" is changed to "drop", also for messages that a router forwards.
fn congestion_settings() -> Vec<(&'static str, Value)> {
    let micros = |time: Duration| json!(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    vec![
        ("transport/link/tx/queue/size/data", json!(BATCHES)),
        ("transport/link/tx/queue/size/background", json!(BATCHES)),
        (
            "transport/link/tx/queue/congestion_control/drop/wait_before_drop",
            micros(WAIT_BEFORE_DROP),
        ),
        (
            "transport/link/tx/queue/congestion_control/drop/max_wait_before_drop_fragments",
            micros(WAIT_FOR_FRAGMENTS),
        ),
        (
            "qos/network",
            json!([{
                "id": "droppable",
                "messages": ["put", "delete", "query"],
                "flows": ["ingress"],
                "overwrite": {"congestion_control": "drop"},
            }]),
        ),
    ]
}

/// The settings of a session that does not wait for peers. Every session uses them, so each passes the check for insecure endpoints, and
/// that of file descriptors, without which Zenoh panics.
fn settings(config: &ZenohConfig) -> Result<zenoh::Config, LinkError> {
    descriptors::require()?;
    let mut settings = zenoh::Config::default();
    let mut all = vec![
        ("mode", json!(config.mode.name())),
        ("connect/endpoints", json!(config.connect)),
        ("listen/endpoints", json!(config.listen)),
        ("scouting/multicast/enabled", json!(config.scouting)),
        ("scouting/gossip/enabled", json!(config.scouting)),
        // A device does not wait for peers at its start.
        (
            "scouting/delay",
            json!(if config.scouting {
                SCOUTING_DELAY_MS
            } else {
                0
            }),
        ),
        (
            "transport/link/rx/max_message_size",
            json!(config.max_message_bytes),
        ),
        ("transport/unicast/max_sessions", json!(config.max_sessions)),
        (
            "transport/unicast/accept_pending",
            json!(config.accept_pending()),
        ),
    ];
    all.extend(congestion_settings());
    if let Some(namespace) = &config.namespace {
        check_length("namespace", namespace.len(), MAX_KEY_BYTES)?;
        all.push(("namespace", json!(namespace)));
    }
    if let Some(tls) = &config.tls {
        // Zenoh reads them itself, and would wait for the writer of a pipe.
        for path in [&tls.ca, &tls.certificate, &tls.key].into_iter().flatten() {
            files::open(path).map_err(|source| LinkError::Certificate {
                path: path.clone(),
                source,
            })?;
        }
    }
    all.extend(config.tls.iter().flat_map(tls));
    if let Some(path) = &config.access_control {
        all.push(("access_control", acl::read(path)?));
    }
    // Peers found by scouting must authenticate with certificates.
    if config.scouting && !config.insecure {
        all.push(("transport/link/protocols", json!(GUARDED_PROTOCOLS)));
    }
    for (key, value) in all {
        set(&mut settings, key, &value)?;
    }
    if config.insecure {
        return Ok(settings);
    }
    // Values that Zenoh cannot parse were refused above, with the name of the setting.
    exposure::judge(config)?;
    Ok(settings)
}

/// Opens a session that does not wait for peers.
pub(super) fn open(config: &ZenohConfig) -> Result<Session, LinkError> {
    let mut settings = settings(config)?;
    let close = u64::try_from(WAIT_BEFORE_CLOSE.as_micros()).unwrap_or(u64::MAX);
    set(
        &mut settings,
        "transport/link/tx/queue/congestion_control/block/wait_before_close",
        &json!(close),
    )?;
    zenoh::open(settings)
        .wait()
        .map_err(|source| LinkError::Open {
            listen: config.listen.clone(),
            source,
        })
}

/// The settings of a command's session, which fails without a connection.
pub(super) fn client_settings(config: &ZenohConfig) -> Result<zenoh::Config, LinkError> {
    let mut settings = settings(config)?;
    // A daemon that has just started listens soon.
    let retry = json!({"period_init_ms": 50, "period_max_ms": 400, "period_increase_factor": 2});
    for (key, value) in [
        ("connect/timeout_ms", json!(CLIENT_CONNECT_MS)),
        ("connect/exit_on_failure", json!(true)),
        ("connect/retry", retry),
    ] {
        set(&mut settings, key, &value)?;
    }
    Ok(settings)
}

fn set(settings: &mut zenoh::Config, key: &'static str, value: &Value) -> Result<(), LinkError> {
    let value = value.to_string();
    settings
        .insert_json5(key, &value)
        .map_err(|source| LinkError::Setting { key, value, source })
}

fn tls(tls: &TlsConfig) -> Vec<(&'static str, Value)> {
    let file = |path: &Path| json!(path.to_string_lossy());
    let mut all = vec![
        ("transport/link/tls/enable_mtls", json!(tls.is_mutual())),
        (
            "transport/link/tls/verify_name_on_connect",
            json!(tls.verify_name),
        ),
    ];
    if let Some(ca) = &tls.ca {
        all.push(("transport/link/tls/root_ca_certificate", file(ca)));
    }
    // One certificate for both directions, so a device can listen and connect.
    if let Some(certificate) = &tls.certificate {
        all.push(("transport/link/tls/listen_certificate", file(certificate)));
        all.push(("transport/link/tls/connect_certificate", file(certificate)));
    }
    if let Some(key) = &tls.key {
        all.push(("transport/link/tls/listen_private_key", file(key)));
        all.push(("transport/link/tls/connect_private_key", file(key)));
    }
    all
}
