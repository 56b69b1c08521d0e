//! The releases after the first: a good one, one that traps, and one with an untrusted signature.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use hotshoe_devkit::{Environment, with_doc_string};
use hotshoe_release::keys::{keygen, read_key};
use hotshoe_release::pack::pack;
use hotshoe_release::sign::sign;
use hotshoe_trust::{Release, Time};
use toml::{Table, Value};

/// The application of the demo, in the checkout.
pub(crate) const APPLICATION: &str = "examples/label-reader";

/// Enough for a short demo; a device in production should observe a new release for longer.
const HEALTH: &str = "min-samples = 6\nmin-seconds = 1";
/// A policy that omits lines with a low score.
const POLICY: &str = r#"world = "policy"
grants = ["data", "config"]
data = ["rules"]
config = { min-score = "0.6" }"#;
/// A policy that traps on every third sample.
const FLAKY: &str = "world = \"policy\"\ngrants = [\"state\"]";
/// A release to publish.
pub(crate) struct Version {
    /// Its folder.
    pub layout: PathBuf,
    /// Its parsed `release.json`.
    pub release: Release,
    /// What is new in it.
    pub what: &'static str,
    /// Its expected outcome.
    pub expected: Expected,
}

/// The expected outcome of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// It is tried and confirmed.
    Confirmed,
    /// It is tried and rolled back.
    RolledBack,
    /// It is never tried.
    Refused,
}

/// Packs and signs generations 2, 3 and 4 in a folder. The device trusts `key`.
pub(crate) fn prepare(
    environment: &Environment,
    folder: &Path,
    key: &Path,
) -> anyhow::Result<[Version; 3]> {
    let better = better(environment, folder)?;
    let flaky = flaky(environment, better.clone())?;
    let untrusted = keygen(&folder.join("keys"), "stranger", None, true)?.secret;
    Ok([
        make(folder, 2, better.clone(), key).map(|(layout, release)| Version {
            layout,
            release,
            what: "new policy, new model",
            expected: Expected::Confirmed,
        })?,
        make(folder, 3, flaky, key).map(|(layout, release)| Version {
            layout,
            release,
            what: "traps on one sample in three",
            expected: Expected::RolledBack,
        })?,
        make(folder, 4, better, &untrusted).map(|(layout, release)| Version {
            layout,
            release,
            what: "signed with an untrusted key",
            expected: Expected::Refused,
        })?,
    ])
}

/// The application's release with another policy and another recogniser.
fn better(environment: &Environment, folder: &Path) -> anyhow::Result<Table> {
    let application = environment.root.join(APPLICATION);
    let path = application.join("release.toml");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut recipe: Table = text
        .parse()
        .with_context(|| format!("{} is not valid TOML", path.display()))?;
    for value in recipe.iter_mut().map(|(_, value)| value) {
        make_absolute(value, &application);
    }
    let model = folder.join("recognise-2.onnx");
    let bytes = with_doc_string(&environment.model("recognise"), "created by the demo")
        .context("cannot change the recogniser")?;
    fs::write(&model, bytes).with_context(|| format!("cannot write {}", model.display()))?;
    let recognise = entry(&mut recipe, "models", "recognise")?;
    recognise.insert("file".to_owned(), path_value(&model));
    let components = table(&mut recipe, "components")?;
    components.remove("policy-label");
    components.insert(
        "policy-legible".to_owned(),
        component(environment, "policy-legible", POLICY)?,
    );
    pipeline(&mut recipe)?
        .iter_mut()
        .filter_map(|step| step.get_mut("policy"))
        .for_each(|policy| *policy = "policy-legible".into());
    recipe.insert("health".to_owned(), Value::Table(HEALTH.parse()?));
    Ok(recipe)
}

/// The same release with an additional policy that traps.
fn flaky(environment: &Environment, mut recipe: Table) -> anyhow::Result<Table> {
    let flaky = component(environment, "flaky-policy", FLAKY)?;
    table(&mut recipe, "components")?.insert("flaky-policy".to_owned(), flaky);
    let step = Table::from_iter([("policy".to_owned(), Value::from("flaky-policy"))]);
    pipeline(&mut recipe)?.push(Value::Table(step));
    // Self-tests could detect the trap before the release serves; the demo shows a failure in service.
    recipe.remove("tests");
    Ok(recipe)
}

fn make(
    folder: &Path,
    generation: u32,
    mut recipe: Table,
    key: &Path,
) -> anyhow::Result<(PathBuf, Release)> {
    recipe.insert("generation".to_owned(), Value::from(generation));
    let source = folder.join(format!("release-{generation}.toml"));
    fs::write(&source, recipe.to_string())
        .with_context(|| format!("cannot write {}", source.display()))?;
    let layout = folder.join(format!("release-{generation}"));
    let packed = pack(&source, &layout, Time::now())?;
    sign(&layout, &read_key(key)?)?;
    Ok((layout, packed.release))
}

/// Resolves the paths of files, which are relative to the folder of the recipe.
fn make_absolute(value: &mut Value, folder: &Path) {
    match value {
        Value::Table(table) => {
            for (key, value) in table.iter_mut() {
                match value {
                    Value::String(path)
                        if ["file", "sample", "expected"].contains(&key.as_str()) =>
                    {
                        *value = path_value(&folder.join(&*path));
                    }
                    value => make_absolute(value, folder),
                }
            }
        }
        Value::Array(values) => {
            for value in values {
                make_absolute(value, folder);
            }
        }
        _ => {}
    }
}

fn path_value(path: &Path) -> Value {
    Value::from(path.display().to_string())
}

fn component(environment: &Environment, name: &str, rest: &str) -> anyhow::Result<Value> {
    let mut component: Table = rest.parse()?;
    let file = environment.guests.join(name).with_extension("wasm");
    component.insert("file".to_owned(), path_value(&file));
    Ok(Value::Table(component))
}

fn table<'a>(recipe: &'a mut Table, name: &str) -> anyhow::Result<&'a mut Table> {
    recipe
        .get_mut(name)
        .and_then(Value::as_table_mut)
        .with_context(|| format!("the application's release has no [{name}]"))
}

fn entry<'a>(recipe: &'a mut Table, name: &str, entry: &str) -> anyhow::Result<&'a mut Table> {
    table(recipe, name)?
        .get_mut(entry)
        .and_then(Value::as_table_mut)
        .with_context(|| format!("the application's release has no [{name}.{entry}]"))
}

fn pipeline(recipe: &mut Table) -> anyhow::Result<&mut Vec<Value>> {
    recipe
        .get_mut("pipeline")
        .and_then(Value::as_array_mut)
        .context("the application's release has no [[pipeline]]")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn files_of_a_recipe_are_found_from_anywhere() {
        let mut recipe: Table = "name = \"file\"\n[models.a]\nfile = \"../a.onnx\"\n[[tests]]\nsample = \"b.png\"\nexpected = \"b.json\"\n"
            .parse()
            .unwrap();
        for value in recipe.iter_mut().map(|(_, value)| value) {
            make_absolute(value, Path::new("/app"));
        }
        let text = recipe.to_string();
        for wanted in [
            "name = \"file\"",
            "\"/app/../a.onnx\"",
            "\"/app/b.png\"",
            "\"/app/b.json\"",
        ] {
            assert!(text.contains(wanted), "{wanted} in {text}");
        }
    }
}
