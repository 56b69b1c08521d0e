//! The documents: links lead somewhere, the first pages stay short, and reference blocks have the keys of the types.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use hotshoe_config::Config;
use hotshoe_delivery::registry::RegistryConfig;
use hotshoe_tests::root;
use hotshoe_trust::release_toml::{
    ComponentToml, DataToml, ModelToml, ReleaseToml, StepToml, TestToml,
};
use hotshoe_trust::{
    DataClass, DataContract, DeviceSelector, Drift, HealthGate, Limits, Mode, Privacy, PrivacyMask,
    Rate, Requires, Rests, Shadow,
};
use serde::de::value::Error;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::Value;
use toml::Table;

use crate::support::hotshoe;

/// Most lines of `README.md`.
const README_LINES: usize = 150;
/// Most bytes of `ARCHITECTURE.md`.
const ARCHITECTURE_BYTES: usize = 14 << 10;
/// Folders that tools make.
const GENERATED: [&str; 3] = ["target", "node_modules", "__pycache__"];

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every `.md` file of the project.
fn documents() -> Vec<PathBuf> {
    let (mut folders, mut found) = (vec![root()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with('.') || GENERATED.contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The lines of a document, each with whether it stands in a fenced block of code. Fences themselves are left out.
fn lines(text: &str) -> Vec<(bool, &str)> {
    let mut in_code = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else {
            found.push((in_code, line));
        }
    }
    found
}

/// The targets of all links outside of code.
fn links(text: &str) -> Vec<String> {
    let mut prose = String::new();
    for (in_code, line) in lines(text) {
        if !in_code {
            // Every second piece is a span of code.
            prose.extend(line.split('`').step_by(2));
            prose.push('\n');
        }
    }
    let behind = prose.split("](").skip(1);
    behind
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.to_owned())
        .collect()
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (in_code, line) in lines(text) {
        let title = line.trim_start_matches('#');
        if in_code || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let anchor: String = title
            .trim()
            .to_lowercase()
            .chars()
            .filter_map(|it| match it {
                ' ' => Some('-'),
                it if it.is_alphanumeric() || it == '-' || it == '_' => Some(it),
                _ => None,
            })
            .collect();
        let mut name = anchor.clone();
        let mut number = 0;
        while !found.insert(name) {
            number += 1;
            name = format!("{anchor}-{number}");
        }
    }
    found
}

/// What is wrong with a link in the document at `from`, if anything.
fn fault(from: &Path, own: &str, target: &str) -> Option<String> {
    if ["http://", "https://", "mailto:"]
        .iter()
        .any(|scheme| target.starts_with(scheme))
    {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = from.parent()?.join(file);
    if !file.is_empty() && !path.exists() {
        return Some(format!("{target}: there is no such file"));
    }
    if anchor.is_empty() {
        return None;
    }
    let text = if file.is_empty() {
        own.to_owned()
    } else {
        fs::read_to_string(&path).unwrap_or_default()
    };
    let there = anchors(&text).contains(anchor);
    (!there).then(|| format!("{target}: there is no such heading"))
}

#[test]
fn every_link_of_a_document_leads_to_a_file_and_a_heading() {
    let (mut count, mut faults) = (0, Vec::new());
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for target in links(&text) {
            count += 1;
            if let Some(fault) = fault(&document, &text, &target) {
                faults.push(format!("{}: {fault}", document.display()));
            }
        }
    }
    assert!(count > 50, "{count} links were found");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let readme = root().join("README.md");
    let text = "# A `b` title, here\n```\n[code](nothing.md)\n# not-a-heading\n```\n`[span](nothing.md)` and [`a`](x.md#y)";
    assert_eq!(links(text), ["x.md#y"]);
    assert_eq!(anchors(text), BTreeSet::from(["a-b-title-here".to_owned()]));
    assert_eq!(fault(&readme, text, "#a-b-title-here"), None);
    assert_eq!(fault(&readme, text, "LICENSE"), None);
    assert_eq!(fault(&readme, text, "https://example.org/x"), None);
    for wrong in ["nothing.md", "#nothing", "ARCHITECTURE.md#nothing"] {
        assert!(fault(&readme, text, wrong).is_some(), "{wrong}");
    }
}

#[test]
fn the_first_pages_stay_short() {
    let lines = read("README.md").lines().count();
    assert!(lines <= README_LINES, "README.md has {lines} lines");
    let bytes = read("ARCHITECTURE.md").len();
    assert!(
        bytes <= ARCHITECTURE_BYTES,
        "ARCHITECTURE.md has {bytes} bytes"
    );
}

#[test]
fn every_decision_is_in_the_index_and_has_its_number_and_a_date() {
    let index = read("host/decisions/README.md");
    let mut numbers = BTreeSet::new();
    for entry in fs::read_dir(root().join("host/decisions")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name == "README.md" {
            continue;
        }
        assert!(index.contains(&format!("({name})")), "{name}");
        let (number, _) = name.split_once('-').unwrap();
        assert!(
            numbers.insert(number.to_owned()),
            "two have number {number}"
        );
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(&format!("# {number}. ")), "{name}");
        let date = text.lines().nth(2).unwrap_or_default();
        assert!(date.starts_with("20"), "{name}: {date}");
    }
    assert!(numbers.len() > 30);
}

#[test]
fn every_chapter_of_the_system_tests_is_listed() {
    let document = read("tests/README.md");
    let source = read("tests/system.rs");
    let modules: Vec<&str> = source
        .lines()
        .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'))
        .collect();
    assert!(modules.contains(&"documents"));
    for module in modules {
        let listed = [format!("`{module}`"), format!("`{module}/`")];
        assert!(
            listed.iter().any(|it| document.contains(it)),
            "tests/README.md does not list `{module}`"
        );
    }
}

/// The first block of TOML below the heading `## <heading>`.
fn block<'a>(document: &'a str, heading: &str) -> &'a str {
    let (_, section) = document.split_once(&format!("\n## {heading}\n")).unwrap();
    let (_, rest) = section.split_once("```toml\n").unwrap();
    rest.split_once("\n```").unwrap().0
}

/// A reference block with the keys and tables that are commented out, and without remarks.
fn uncommented(block: &str) -> String {
    let lines = block
        .lines()
        .map(|line| line.strip_prefix("# ").unwrap_or(line));
    let is_toml = |line: &&str| line.starts_with('[') || line.contains(" = ");
    lines.filter(is_toml).collect::<Vec<_>>().join("\n")
}

/// The paths of all values. An empty table is a value, too.
fn paths(value: &Value, prefix: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                let path = if prefix.is_empty() {
                    name.clone()
                } else {
                    format!("{prefix}.{name}")
                };
                paths(value, &path, found);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for item in items {
                paths(item, prefix, found);
            }
        }
        _ => drop(found.insert(prefix.to_owned())),
    }
}

fn all_paths(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    paths(value, "", &mut found);
    found
}

/// Fails with the keys that are in one of the two alone.
fn assert_same(what: &str, documented: &BTreeSet<String>, known: &BTreeSet<String>) {
    let missing: Vec<_> = known.difference(documented).collect();
    let unknown: Vec<_> = documented.difference(known).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "{what}: the document lacks {missing:?}, and the types do not know {unknown:?}"
    );
}

#[test]
fn the_reference_of_hotshoe_toml_has_the_keys_of_the_types() {
    let document = read("host/README.md");
    let text = uncommented(block(&document, "hotshoe.toml"));
    // It refuses what it does not know, and what is out of range.
    let config = Config::parse(&text, Path::new("/etc/hotshoe")).unwrap();
    let written: Table = text.parse().unwrap();
    let documented = all_paths(&serde_json::to_value(written).unwrap());
    // Every field is serialised: one that the block leaves out is here as null or as its default.
    let known = all_paths(&serde_json::to_value(&config).unwrap());
    assert!(known.contains("deploy.health.always-roll-back"));
    assert_same("hotshoe.toml", &documented, &known);
}

#[test]
fn the_reference_of_hotshoe_toml_has_the_defaults_of_the_types() {
    let document = read("host/README.md");
    let block = block(&document, "hotshoe.toml");
    let folder = Path::new("/etc/hotshoe");
    let least = "site = \"lab\"\ndevice = \"line-4\"\n";
    let least = serde_json::to_value(Config::parse(least, folder).unwrap()).unwrap();
    let written = Config::parse(&uncommented(block), folder).unwrap();
    let written = serde_json::to_value(written).unwrap();
    let (mut section, mut compared) = (String::new(), 0);
    for line in block.lines().filter(|line| !line.starts_with('#')) {
        if let Some(rest) = line.strip_prefix('[') {
            section = format!("/{}", rest.split_once(']').unwrap().0);
        } else if let Some((key, rest)) = line.split_once(" = ") {
            let remark = rest.split_once(" # ").map_or("", |(_, remark)| remark);
            if !remark.contains("example") && !remark.contains("required") {
                let at = format!("{section}/{key}");
                let value = written.pointer(&at);
                assert!(value.is_some(), "{at}");
                assert_eq!(value, least.pointer(&at), "the default of {at}");
                compared += 1;
            }
        }
    }
    assert!(compared > 20, "{compared} defaults were compared");
}

/// Takes the names of the fields that a type asks for, and ends there.
struct Fields<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Fields<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("not a struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        *self.0 = fields;
        Err(Error::custom("only the fields were asked for"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The keys that a table of this type may have.
fn fields<T: DeserializeOwned>() -> BTreeSet<String> {
    let mut found: &'static [&'static str] = &[];
    let ended = T::deserialize(Fields(&mut found));
    assert!(ended.is_err() && !found.is_empty());
    found.iter().map(|it| (*it).to_owned()).collect()
}

/// The keys of all these tables together.
fn keys<'a>(tables: impl IntoIterator<Item = &'a toml::Value>) -> BTreeSet<String> {
    let tables = tables.into_iter().map(|it| it.as_table().unwrap());
    tables.flat_map(|it| it.keys().cloned()).collect()
}

/// The entries of `[[name]]`, or of all `[name.*]`.
fn entries<'a>(written: &'a Table, name: &str) -> Vec<&'a toml::Value> {
    match &written[name] {
        toml::Value::Array(entries) => entries.iter().collect(),
        table => {
            let table = table.as_table().unwrap();
            table.iter().map(|(_, entry)| entry).collect()
        }
    }
}

#[test]
fn the_reference_of_release_toml_has_the_keys_of_the_types() {
    let document = read("sdk/README.md");
    let text = uncommented(block(&document, "release.toml"));
    ReleaseToml::parse(&text).unwrap();
    let written: Table = text.parse().unwrap();
    let entries = |name| entries(&written, name);
    let limits: Vec<_> = entries("components")
        .into_iter()
        .filter_map(|it| it.get("limits"))
        .collect();
    let own: BTreeSet<String> = written.keys().cloned().collect();
    assert_same("release.toml", &own, &fields::<ReleaseToml>());
    let shadow = &written["health"]["shadow"];
    let of_modes = |key: &str| keys(entries("modes").into_iter().filter_map(|it| it.get(key)));
    let tables = [
        (
            "devices",
            keys([&written["devices"]]),
            fields::<DeviceSelector>(),
        ),
        (
            "requires",
            keys([&written["requires"]]),
            fields::<Requires>(),
        ),
        (
            "components",
            keys(entries("components")),
            fields::<ComponentToml>(),
        ),
        ("limits", keys(limits.iter().copied()), fields::<Limits>()),
        ("models", keys(entries("models")), fields::<ModelToml>()),
        ("data", keys(entries("data")), fields::<DataToml>()),
        ("pipeline", keys(entries("pipeline")), fields::<StepToml>()),
        ("tests", keys(entries("tests")), fields::<TestToml>()),
        ("health", keys([&written["health"]]), fields::<HealthGate>()),
        ("health.shadow", keys([shadow]), fields::<Shadow>()),
        (
            "data-contract",
            keys([&written["data-contract"]]),
            fields::<DataContract>(),
        ),
        (
            "data-contract.classes",
            keys([&written["data-contract"]["classes"]["people"]]),
            fields::<DataClass>(),
        ),
        ("modes", keys(entries("modes")), fields::<Mode>()),
        ("modes.rate", of_modes("rate"), fields::<Rate>()),
        ("modes.rests", of_modes("rests"), fields::<Rests>()),
        (
            "drift",
            keys([&written["drift"]]),
            fields::<Drift<String>>(),
        ),
        ("privacy", keys([&written["privacy"]]), fields::<Privacy>()),
        (
            "privacy.masks",
            keys([&written["privacy"]["masks"][0]]),
            fields::<PrivacyMask>(),
        ),
    ];
    for (what, documented, known) in &tables {
        assert_same(what, documented, known);
    }
    let drift = &written["drift"];
    // The block says that these are the defaults.
    for (table, defaults) in [
        (limits[0], serde_json::to_value(Limits::default())),
        (
            &written["health"],
            serde_json::to_value(HealthGate::default()),
        ),
        (shadow, serde_json::to_value(Shadow::default())),
        (drift, serde_json::to_value(Drift::new("baseline.json"))),
    ] {
        let table = serde_json::to_value(table).unwrap();
        for (key, value) in defaults.unwrap().as_object().unwrap() {
            assert_eq!(table.get(key), Some(value), "the default of {key}");
        }
    }
}

#[test]
fn the_reference_of_registry_toml_has_the_keys_of_the_type() {
    let document = read("host/README.md");
    let text = uncommented(block(&document, "registry.toml"));
    toml::from_str::<RegistryConfig>(&text).unwrap();
    let written: Table = text.parse().unwrap();
    let documented = written.keys().cloned().collect();
    assert_same("registry.toml", &documented, &fields::<RegistryConfig>());
}

/// The lines of a document's code that call `hotshoe`, as words, without their remarks.
fn calls(text: &str) -> Vec<Vec<&str>> {
    let code = lines(text).into_iter().filter(|(in_code, _)| *in_code);
    code.filter_map(|(_, line)| {
        let line = line.split("  #").next().unwrap_or(line).trim();
        let line = line.strip_prefix("cargo ").unwrap_or(line);
        let words: Vec<&str> = line.strip_prefix("hotshoe ")?.split_whitespace().collect();
        // A key of release.toml has that name, too.
        (words.first() != Some(&"=")).then_some(words)
    })
    .collect()
}

#[test]
fn every_command_and_option_of_a_document_exists() {
    let texts: Vec<(PathBuf, String)> = documents()
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect();
    let mut helps: BTreeMap<Vec<&str>, String> = BTreeMap::new();
    let mut count = 0;
    for (path, text) in &texts {
        for call in calls(text) {
            // A command of its own, or one of a group such as `model compare`.
            let group = [
                "alerts",
                "audit",
                "data",
                "model",
                "power",
                "rollout",
                "shared-data",
                "site",
                "trust",
            ]
            .contains(&call[0]);
            let inner = call.get(1).filter(|it| group && !it.starts_with('-'));
            let command: Vec<&str> = call[..1].iter().chain(inner).copied().collect();
            let help = helps.entry(command.clone()).or_insert_with(|| {
                let output = hotshoe(command.iter().copied().chain(["--help"]));
                assert!(output.status.success(), "{}: {call:?}", path.display());
                String::from_utf8(output.stdout).unwrap()
            });
            for option in call.iter().filter(|it| it.starts_with("--")) {
                let option = option.split('=').next().unwrap_or(option);
                let known = help
                    .split_whitespace()
                    .any(|it| it.trim_end_matches(',') == option);
                assert!(known, "{}: {call:?}: no {option}", path.display());
            }
            count += 1;
        }
    }
    assert!(count > 30, "{count} calls were found");
}
