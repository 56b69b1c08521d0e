//! Capabilities in three columns: what a component imports, what its release grants, and what the device allows.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    access::Access,
    allowed::{Allowed, list_line},
    capability_error::CapabilityError,
    contract::{PIPELINE, WASI_NN},
    release::{Component, Grant},
};

/// What an imported interface needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: every component has it.
    Nothing,
    /// A grant.
    Grant(Grant),
    /// An interface that this host does not serve.
    Unknown,
}

/// What an imported interface needs, by its name, such as `hotshoe:pipeline/log@0.1.0`.
pub fn need(import: &str) -> Need {
    if let Some(interface) = PIPELINE.name_in(import) {
        return match interface {
            "types" | "samples" | "tensors" => Need::Nothing,
            // It came with 0.2.0.
            "fault" if !import.ends_with(PIPELINE.oldest) => Need::Nothing,
            "log" => Need::Grant(Grant::Log),
            "metrics" => Need::Grant(Grant::Metrics),
            "clock" => Need::Grant(Grant::Clock),
            "config" => Need::Grant(Grant::Config),
            "data" => Need::Grant(Grant::Data),
            "state" => Need::Grant(Grant::State),
            "vision" => Need::Grant(Grant::Vision),
            "infer" => Need::Grant(Grant::Infer),
            _ => Need::Unknown,
        };
    }
    if WASI_NN.name_in(import).is_some() {
        return Need::Grant(Grant::WasiNn);
    }
    let Some((package, interface)) = import
        .strip_prefix("wasi:")
        .and_then(|rest| rest.split_once('/'))
    else {
        return Need::Unknown;
    };
    match package {
        // Standard libraries import them in any case. Without the grant `wasi-sockets`, every call is denied.
        "cli" | "clocks" | "filesystem" | "io" | "random" | "sockets"
            if interface.contains("@0.2.") =>
        {
            Need::Grant(Grant::Wasi)
        }
        "http" if interface.contains("@0.2.") && !interface.starts_with("incoming-handler") => {
            Need::Grant(Grant::WasiHttp)
        }
        _ => Need::Unknown,
    }
}

/// Refuses a component that imports what its release does not grant.
///
/// # Errors
/// [`CapabilityError`] has the line of release.toml with all that the imports need.
pub fn check_imports(
    name: &str,
    imports: &[&str],
    grants: &BTreeSet<Grant>,
) -> Result<(), CapabilityError> {
    let mut all = grants.clone();
    for import in imports {
        match need(import) {
            Need::Grant(grant) => drop(all.insert(grant)),
            Need::Nothing => {}
            Need::Unknown => {
                return Err(CapabilityError::UnknownImport {
                    component: name.to_owned(),
                    import: (*import).to_owned(),
                });
            }
        }
    }
    if all.contains(&Grant::WasiHttp) {
        all.insert(Grant::Wasi);
    }
    for import in imports {
        if let Need::Grant(grant) = need(import)
            && !grants.contains(&grant)
        {
            return Err(CapabilityError::NotGranted {
                component: name.to_owned(),
                import: (*import).to_owned(),
                grant,
                line: list_line("grants", all.iter()),
                whole_world: is_whole_world(imports),
            });
        }
    }
    Ok(())
}

/// The interfaces of the world `imports` that need a grant, which every world includes.
const WHOLE_WORLD: [&str; 8] = [
    "log", "metrics", "clock", "config", "data", "state", "vision", "infer",
];

/// Whether these are all imports of Hotshoe's own worlds.
fn is_whole_world(imports: &[&str]) -> bool {
    let own: BTreeSet<&str> = imports
        .iter()
        .filter_map(|import| PIPELINE.name_in(import))
        .collect();
    WHOLE_WORLD.iter().all(|interface| own.contains(interface))
}

/// One capability in three columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capability {
    /// Such as `log`, `folder /models (read)`, `host api.example.org:443` or `topic count`.
    pub name: String,
    /// The imported interfaces that use it. Empty where none does, and for folders, hosts, topics and secrets, which no import shows.
    pub imports: Vec<String>,
    /// Whether the release grants it; `None` without a release.
    pub granted: Option<bool>,
    /// Whether the device allows it; `None` without a device.
    pub allowed: Option<bool>,
    /// What to write where it is missing.
    pub add: Option<Missing>,
}

/// The configuration line for a missing capability.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// `release.toml` or `hotshoe.toml`.
    pub file: &'static str,
    /// The table in it, such as `[components.read]`; empty for the top of the file.
    pub table: String,
    /// The line.
    pub line: String,
}

/// All capabilities of one component.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// Grants in their order, then folders, hosts, topics and secrets.
    pub rows: Vec<Capability>,
    /// Imports that no grant allows: this host does not serve them.
    pub unknown: Vec<String>,
}

impl Capabilities {
    /// What is imported or granted, and missing.
    pub fn missing(&self) -> impl Iterator<Item = &Capability> {
        self.rows.iter().filter(|row| row.add.is_some())
    }

    /// Interfaces that the release grants and the component does not import: they can be taken out of `grants`.
    pub fn unused(&self) -> impl Iterator<Item = &Capability> {
        let is_grant = |row: &&Capability| !row.name.contains(' ');
        let rows = self.rows.iter().filter(is_grant);
        rows.filter(|row| row.granted == Some(true) && row.imports.is_empty())
    }
}

/// Compares what the component `name` imports, what its release grants (`spec`), and what the device allows.
///
/// `imports` are the names of the component's imports. Without a release or a device, its column is empty.
pub fn capabilities<'a>(
    name: &str,
    imports: impl IntoIterator<Item = &'a str>,
    spec: Option<&Component>,
    allowed: Option<&Allowed>,
) -> Capabilities {
    let mut used: BTreeMap<Grant, Vec<String>> = BTreeMap::new();
    let mut unknown = Vec::new();
    let none = BTreeSet::new();
    let granted = spec.map_or(&none, |spec| &spec.grants);
    for grant in granted {
        used.entry(*grant).or_default();
    }
    for import in imports {
        match need(import) {
            Need::Nothing => {}
            Need::Unknown => unknown.push(import.to_owned()),
            Need::Grant(grant) => used.entry(grant).or_default().push(import.to_owned()),
        }
        if import.starts_with("wasi:sockets/") && granted.contains(&Grant::WasiSockets) {
            used.entry(Grant::WasiSockets)
                .or_default()
                .push(import.to_owned());
        }
    }
    let all: BTreeSet<Grant> = used.keys().copied().collect();
    let mut rows: Vec<Capability> = used
        .into_iter()
        .map(|(grant, imports)| row(name, grant, imports, &all, spec, allowed))
        .collect();
    if let Some(spec) = spec {
        rows.extend(access_rows(spec, allowed));
    }
    Capabilities { rows, unknown }
}

fn row(
    name: &str,
    grant: Grant,
    imports: Vec<String>,
    all: &BTreeSet<Grant>,
    spec: Option<&Component>,
    allowed: Option<&Allowed>,
) -> Capability {
    let granted = spec.map(|spec| spec.grants.contains(&grant));
    let allows = allowed.map(|allowed| allowed.grants.contains(&grant));
    let add = if granted == Some(false) {
        Some(Missing {
            file: "release.toml",
            table: format!("[components.{name}]"),
            line: list_line("grants", all.iter()),
        })
    } else {
        let device = allowed.filter(|_| allows == Some(false));
        device.map(|allowed| Missing {
            file: "hotshoe.toml",
            table: String::new(),
            line: list_line("allow", allowed.grants.union(all)),
        })
    };
    Capability {
        name: grant.to_string(),
        imports,
        granted,
        allowed: allows,
        add,
    }
}

/// Folders, hosts, topics and secrets that the release states.
fn access_rows(spec: &Component, allowed: Option<&Allowed>) -> Vec<Capability> {
    let row = |name: String, allows: Option<bool>, table: String, line: String| Capability {
        name,
        imports: Vec::new(),
        granted: Some(true),
        allowed: allows,
        add: (allows == Some(false)).then_some(Missing {
            file: "hotshoe.toml",
            table,
            line,
        }),
    };
    let mut rows = Vec::new();
    for (path, access) in &spec.folders {
        let mapped = allowed.and_then(|allowed| allowed.folders.get(path));
        let allows = allowed.map(|_| mapped.is_some_and(|folder| *access <= folder.access));
        let line = match (mapped, access) {
            (Some(_), _) => "write = true",
            (None, Access::Read) => "path = \"...\"",
            (None, Access::Write) => "path = \"...\"\nwrite = true",
        };
        let name = format!("folder {path} ({access})");
        rows.push(row(
            name,
            allows,
            format!("[folders.\"{path}\"]"),
            line.to_owned(),
        ));
    }
    for host in &spec.hosts {
        let allows = allowed.map(|allowed| allowed.hosts.contains(host));
        let line = allowed.map(|allowed| list_line("hosts", allowed.hosts.union(&spec.hosts)));
        let name = format!("host {host}");
        rows.push(row(
            name,
            allows,
            "[network]".to_owned(),
            line.unwrap_or_default(),
        ));
    }
    for topic in &spec.topics {
        let allows = allowed.map(|allowed| allowed.topic(topic));
        let line = allowed.map(|a| list_line("topics", a.topics.iter().chain([topic])));
        let name = format!("topic {topic}");
        rows.push(row(
            name,
            allows,
            "[output]".to_owned(),
            line.unwrap_or_default(),
        ));
    }
    for secret in &spec.secrets {
        let allows = allowed.map(|allowed| allowed.secrets.contains(secret));
        let line = allowed.map(|it| list_line("allow", it.secrets.union(&spec.secrets)));
        let name = format!("secret {secret}");
        rows.push(row(
            name,
            allows,
            "[secrets]".to_owned(),
            line.unwrap_or_default(),
        ));
    }
    rows
}
