//! One component: its bytes, with what a release grants it and what a device allows.

use std::collections::{BTreeMap, BTreeSet};

use hotshoe_devkit::{Interface, InterfaceError, interface};
use hotshoe_engine::check_work;
use hotshoe_trust::{Allowed, Blob, Capabilities, Capability, Component, World, capabilities};
use serde::Serialize;
use termtree::Tree;
use wasm_metadata::Payload;

use hotshoe_release::terminal::{Terminal, size};

/// The contents of a component.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The digest and size.
    #[serde(flatten)]
    pub blob: Blob,
    /// The worlds whose export the component has.
    pub worlds: Vec<World>,
    /// The imports and exports.
    #[serde(flatten)]
    pub interface: Interface,
    /// The language in the component's metadata; without one, the languages of its modules.
    pub languages: BTreeSet<String>,
    /// The tools in the metadata, each with its version.
    pub producers: BTreeMap<String, String>,
    /// The capabilities: imported, granted, allowed.
    pub capabilities: Capabilities,
    /// Why devices refuse to compile the component; none if they accept it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub too_complex: Option<String>,
}

const WORLDS: [(World, &str); 6] = [
    (World::Filter, "hotshoe:pipeline/admit@"),
    (World::Preprocessor, "hotshoe:pipeline/preprocess@"),
    (World::Postprocessor, "hotshoe:pipeline/postprocess@"),
    (World::Policy, "hotshoe:pipeline/decide@"),
    (World::Stage, "hotshoe:pipeline/process@"),
    (World::Governor, "hotshoe:governor/govern@"),
];

impl Report {
    /// Reads the component `name`. A release's `spec` and a device's `allowed` fill the other two columns.
    ///
    /// # Errors
    /// [`InterfaceError`]: the bytes are not a component.
    pub(super) fn of(
        name: &str,
        bytes: &[u8],
        spec: Option<&Component>,
        allowed: Option<&Allowed>,
    ) -> Result<Self, InterfaceError> {
        let interface = interface(bytes)?;
        let exports = |prefix: &str| interface.exports.iter().any(|it| it.starts_with(prefix));
        let worlds = WORLDS.into_iter().filter(|(_, export)| exports(export));
        let worlds = worlds.map(|(world, _)| world).collect();
        let (mut languages, mut producers) = (BTreeSet::new(), BTreeMap::new());
        // These sections are optional, so an unreadable one is not an error.
        if let Ok(payload) = Payload::from_binary(bytes) {
            collect(&payload, &mut languages, &mut producers);
            // The component's own metadata takes precedence: parts of it, such as adapters, may be made with other tools.
            let own = payload.metadata().producers.as_ref();
            if let Some(own) = own.and_then(|own| own.get("language")) {
                languages = own.iter().map(|(name, _)| name.clone()).collect();
            }
        }
        let imports = interface.imports.iter().map(String::as_str);
        Ok(Self {
            blob: Blob::of(bytes),
            worlds,
            capabilities: capabilities(name, imports, spec, allowed),
            too_complex: check_work(bytes).err().map(|what| what.to_string()),
            interface,
            languages,
            producers,
        })
    }

    /// The tree for people.
    pub(super) fn tree(&self, name: &str, terminal: &Terminal) -> Tree<String> {
        let worlds = match self.worlds.as_slice() {
            [] => "not of a Hotshoe world".to_owned(),
            worlds => join(worlds),
        };
        let root = format!(
            "{}  {worlds}, {}",
            terminal.bold(name),
            size(self.blob.size)
        );
        Tree::new(root).with_leaves(self.leaves(terminal))
    }

    /// The leaves below the component's name.
    pub(super) fn leaves(&self, terminal: &Terminal) -> Vec<Tree<String>> {
        let mut leaves = vec![Tree::new(self.blob.digest.to_string())];
        if !self.languages.is_empty() {
            let languages = self.languages.iter().cloned().collect::<Vec<_>>();
            leaves.push(Tree::new(format!("language: {}", languages.join(", "))));
        }
        if !self.producers.is_empty() {
            let made = self
                .producers
                .iter()
                .map(|(tool, version)| format!("{tool} {version}"));
            let made: Vec<_> = made.map(|it| it.trim().to_owned()).collect();
            leaves.push(Tree::new(format!("made by: {}", made.join(", "))));
        }
        leaves.push(list("exports", &self.interface.exports));
        leaves.push(list("imports", &self.interface.imports));
        leaves.push(self.columns(terminal));
        if let Some(what) = &self.too_complex {
            leaves.push(Tree::new(
                terminal.bad(&format!("devices refuse to compile it: {what}")),
            ));
        }
        leaves
    }

    fn columns(&self, terminal: &Terminal) -> Tree<String> {
        let capabilities = &self.capabilities;
        let unknown = capabilities.unknown.iter().map(|import| {
            let text = format!("{import}: not supported by this host");
            Tree::new(terminal.bad(&text))
        });
        let rows = capabilities
            .rows
            .iter()
            .map(|row| Tree::new(line(row, terminal)));
        let leaves: Vec<_> = rows.chain(unknown).collect();
        let title = if leaves.is_empty() {
            "capabilities: none"
        } else {
            "capabilities (imported, granted by the release, allowed by the device; ?: not known here)"
        };
        Tree::new(title.to_owned()).with_leaves(leaves)
    }
}

fn line(row: &Capability, terminal: &Terminal) -> String {
    let is = |yes, good: &str, bad: &str| match yes {
        Some(true) => terminal.good(good),
        Some(false) => terminal.bad(bad),
        None => terminal.dim("?"),
    };
    // Folders, hosts and topics, whose names have two words, do not appear in imports.
    let imported = if row.name.contains(' ') {
        "-".to_owned()
    } else if row.imports.is_empty() {
        terminal.dim("not imported")
    } else {
        terminal.good("imported")
    };
    let mut text = format!(
        "{}: {imported}, {}, {}",
        row.name,
        is(row.granted, "granted", "not granted"),
        is(row.allowed, "allowed", "not allowed")
    );
    if let Some(add) = &row.add {
        let place = [add.file, &add.table].join(" ");
        text.push_str(&format!("; write {} in {}", add.line, place.trim()));
    }
    text
}

fn list(title: &str, items: &[String]) -> Tree<String> {
    let title = match items {
        [] => format!("{title}: none"),
        _ => title.to_owned(),
    };
    Tree::new(title).with_leaves(items.iter().cloned().map(Tree::new))
}

fn join(worlds: &[World]) -> String {
    let names: Vec<_> = worlds.iter().map(World::to_string).collect();
    names.join(" and ")
}

fn collect(
    payload: &Payload,
    languages: &mut BTreeSet<String>,
    producers: &mut BTreeMap<String, String>,
) {
    for (field, tools) in payload.metadata().producers.iter().flat_map(|it| it.iter()) {
        for (name, version) in tools.iter() {
            if field == "language" {
                languages.insert(format!("{name} {version}").trim().to_owned());
            } else {
                producers.insert(name.clone(), version.clone());
            }
        }
    }
    if let Payload::Component { children, .. } = payload {
        for child in children {
            collect(child, languages, producers);
        }
    }
}
