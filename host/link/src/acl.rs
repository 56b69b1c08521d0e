//! Access rules of a site: Zenoh's `access_control`, by the common names of certificates.
//!
//! The rules are enforced where messages arrive: at the router or registry that devices connect to, and at a device that listens.

use std::path::Path;

use hotshoe_base::files::read_bytes;
use serde_json::{Value, json};

use super::LinkError;

/// Largest file of access rules, in bytes.
pub const MAX_ACL_BYTES: u64 = 4 << 20;

/// The roles of a site, each a list of common names of certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AclOptions {
    /// The devices. Each may write its own keys only.
    pub devices: Vec<String>,
    /// Publishers of releases. Default: `deployer`.
    pub deployers: Vec<String>,
    /// Registries and routers, which forward the messages of all others. Default: `registry`.
    pub registries: Vec<String>,
    /// Applications that may send samples to devices and read their outputs. Default: none.
    pub applications: Vec<String>,
    /// Collectors, which take what devices keep until it is acknowledged. Default: none.
    pub collectors: Vec<String>,
}

impl Default for AclOptions {
    fn default() -> Self {
        Self {
            devices: Vec::new(),
            deployers: vec!["deployer".to_owned()],
            registries: vec!["registry".to_owned()],
            applications: Vec::new(),
            collectors: Vec::new(),
        }
    }
}

/// All message types of Zenoh's rules.
const ALL: [&str; 9] = [
    "put",
    "delete",
    "declare_subscriber",
    "query",
    "reply",
    "declare_queryable",
    "liveliness_token",
    "liveliness_query",
    "declare_liveliness_subscriber",
];

/// One of Zenoh's rules: these messages may arrive under these keys.
fn rule(id: &str, messages: &[&str], keys: &[String]) -> Value {
    json!({
        "id": id, "messages": messages, "flows": ["ingress"], "permission": "allow", "key_exprs": keys,
    })
}

/// The access rules of a site. What no rule allows is denied.
pub fn access_control(site: &str, options: &AclOptions) -> Value {
    let key = |rest: &str| format!("hotshoe/{site}/{rest}");
    let everyone = [
        key("@objects/*/*"),
        key("@source/*"),
        key("@desired/*"),
        key("@trust"),
        key("@rollout/*"),
        key("@rollout-count/*"),
        key("@rollout-past/*"),
        key("@registry/*"),
        key("@registry/*/*"),
        key("@outbox/*"),
    ];
    // Devices keep the heads of each other's audit logs.
    let heard: Vec<String> = everyone.iter().cloned().chain([key("*/audit")]).collect();
    // Wildcards do not match key parts that begin with `@`.
    let site_wide: Vec<String> = everyone
        .iter()
        .cloned()
        .chain([key("@outbox/*/*"), key("**")])
        .collect();
    let mut rules = vec![
        // Queries and subscriptions change nothing.
        rule("ask", &["query"], &everyone),
        rule(
            "listen",
            &[
                "declare_subscriber",
                "declare_liveliness_subscriber",
                "liveliness_query",
            ],
            &heard,
        ),
        rule(
            "deploy",
            &["put", "reply", "declare_queryable", "liveliness_token"],
            &[
                key("@desired/*"),
                key("@trust"),
                key("@rollout/*"),
                key("@objects/*/*"),
                key("@source/*"),
            ],
        ),
        rule(
            "command",
            &["query"],
            &[
                key("*/status"),
                key("*/order"),
                key("*/record"),
                key("*/shared-data"),
            ],
        ),
        rule(
            "follow",
            &[
                "declare_subscriber",
                "declare_liveliness_subscriber",
                "liveliness_query",
            ],
            &[key("**")],
        ),
        rule("all", &ALL, &site_wide),
        // Messages are checked when they arrive. After that they may leave to any subscriber or querier.
        json!({
            "id": "hear", "messages": ALL, "flows": ["egress"], "permission": "allow", "key_exprs": site_wide,
        }),
        rule(
            "use",
            &["put", "query"],
            &[key("*/input/**"), key("*/status")],
        ),
        rule(
            "collect",
            &["reply", "declare_queryable", "liveliness_token"],
            &[key("@outbox/*"), key("@outbox/*/*")],
        ),
    ];
    let mut subjects = Vec::new();
    let mut policies = Vec::new();
    let groups: [(&str, &[String], &[&str]); 4] = [
        (
            "deployers",
            &options.deployers,
            &[
                "ask", "listen", "deploy", "command", "follow", "collect", "hear",
            ],
        ),
        ("registries", &options.registries, &["all", "hear"]),
        (
            "applications",
            &options.applications,
            &["use", "follow", "hear"],
        ),
        (
            "collectors",
            &options.collectors,
            &["ask", "collect", "hear"],
        ),
    ];
    for (id, names, allowed) in groups {
        if !names.is_empty() {
            subjects.push(json!({"id": id, "cert_common_names": names}));
            policies.push(json!({"rules": allowed, "subjects": [id]}));
        }
    }
    for device in &options.devices {
        let id = format!("device-{device}");
        let own = [
            key(&format!("{device}/**")),
            key(&format!("@objects/{device}/*")),
            key(&format!("@source/{device}")),
        ];
        rules.push(rule(
            &id,
            &[
                "put",
                "reply",
                "declare_queryable",
                "declare_subscriber",
                "liveliness_token",
                // Other sessions with its name.
                "liveliness_query",
                "declare_liveliness_subscriber",
            ],
            &own,
        ));
        // Collectors of this device alone, and batches.
        let deliver = format!("{id}-outbox");
        rules.push(rule(
            &deliver,
            &["query", "liveliness_query", "declare_liveliness_subscriber"],
            &[key(&format!("@outbox/*/{device}"))],
        ));
        subjects.push(json!({"id": id, "cert_common_names": [device]}));
        policies.push(json!({"rules": ["ask", "listen", "hear", id, deliver], "subjects": [id]}));
    }
    json!({
        "enabled": true, "default_permission": "deny",
        "rules": rules, "subjects": subjects, "policies": policies,
    })
}

/// Reads a file that [`access_control`] produced, or one written by hand.
pub(super) fn read(path: &Path) -> Result<Value, LinkError> {
    let failed = |source| LinkError::AccessControl {
        path: path.to_owned(),
        source,
    };
    let text = read_bytes(path, MAX_ACL_BYTES).map_err(failed)?;
    let value: Value = serde_json::from_slice(&text).map_err(|e| failed(e.into()))?;
    // The file may also be a complete configuration of `zenohd`.
    Ok(value.get("access_control").cloned().unwrap_or(value))
}
