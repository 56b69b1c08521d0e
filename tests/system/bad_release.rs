//! Releases that a device must refuse, each with an error of its own.

use std::fs;
use std::path::{Path, PathBuf};

use hotshoe_trust::Digest;
use serde_json::Value;

use crate::support::{Lab, environment, failure, success};

fn blob(release: &Path, digest: &str) -> PathBuf {
    release
        .join("blobs/sha256")
        .join(digest.strip_prefix("sha256:").unwrap())
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Stores a JSON document as a blob, and points `descriptor` at it.
fn put(release: &Path, descriptor: &mut Value, document: &Value) {
    let bytes = serde_json::to_vec(document).unwrap();
    let digest = Digest::of(&bytes).to_string();
    fs::write(blob(release, &digest), &bytes).unwrap();
    descriptor["digest"] = digest.into();
    descriptor["size"] = bytes.len().into();
}

/// Changes the release's configuration before it is signed, and keeps all digests right.
fn edit(release: &Path, change: impl FnOnce(&mut Value)) {
    let index_path = release.join("index.json");
    let mut index = read_json(&index_path);
    let mut manifest = read_json(&blob(
        release,
        index["manifests"][0]["digest"].as_str().unwrap(),
    ));
    let mut config = read_json(&blob(
        release,
        manifest["config"]["digest"].as_str().unwrap(),
    ));
    change(&mut config);
    put(release, &mut manifest["config"], &config);
    put(release, &mut index["manifests"][0], &manifest);
    fs::write(&index_path, serde_json::to_vec(&index).unwrap()).unwrap();
}

fn check(said: &str, expected: &[&str]) {
    for part in expected {
        assert!(said.contains(part), "`{said}` does not say `{part}`");
    }
}

#[test]
fn signatures_that_do_not_suffice() {
    let lab = Lab::new();
    for name in ["bob", "carol", "mallory"] {
        lab.key(name);
    }
    let release = lab.pack(&Lab::recipe("classify-angle.toml"));
    check(&lab.refusal(&release), &["no_bundle"]);
    lab.sign(&release, "mallory");
    check(&lab.refusal(&release), &["unknown_signer"]);
    lab.sign(&release, "alice");
    lab.sign(&release, "alice");
    lab.trust(&["alice", "bob", "carol"], 3);
    lab.sign(&release, "bob");
    check(
        &lab.refusal(&release),
        &["too_few_signatures", "alice", "bob"],
    );
    lab.sign(&release, "carol");
    success([
        "verify",
        &release.display().to_string(),
        "--trust",
        &lab.trust_file(),
    ]);
}

#[test]
fn one_flipped_bit() {
    let lab = Lab::new();
    let release = lab.release(&Lab::recipe("classify-angle.toml"));
    let model = fs::read(environment().model("classify-angle")).unwrap();
    let path = blob(&release, &Digest::of(&model).to_string());
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    check(&lab.refusal(&release), &["sha256:"]);
}

#[test]
fn a_manifest_with_an_unknown_key() {
    let lab = Lab::new();
    let release = lab.pack(&Lab::recipe("classify-angle.toml"));
    edit(&release, |config| config["surprise"] = true.into());
    lab.sign(&release, "alice");
    check(&lab.refusal(&release), &["unknown_key", "surprise"]);
}

#[test]
fn an_expired_release() {
    let lab = Lab::new();
    let release = lab.pack(&Lab::recipe("classify-angle.toml"));
    edit(&release, |config| {
        config["issued"] = "2020-01-01T00:00:00Z".into();
        config["expires"] = "2021-01-01T00:00:00Z".into();
    });
    lab.sign(&release, "alice");
    check(&lab.refusal(&release), &["expired", "2021"]);
}

#[test]
fn a_release_for_another_device() {
    let lab = Lab::new();
    let recipe = Lab::recipe("classify-angle.toml");
    let recipe = format!("{recipe}\n[devices]\nnames = [\"line-*\"]\n");
    let release = lab.release(&recipe).display().to_string();
    let trust = lab.trust_file();
    let device = |name: &'static str| {
        ["verify", &release, "--trust", &trust, "--device", name].map(str::to_owned)
    };
    success(device("line-4"));
    check(&failure(device("desk-1")), &["wrong_device", "desk-1"]);
}

#[test]
fn a_model_cut_in_half() {
    let lab = Lab::new();
    let model = fs::read(environment().model("classify-angle")).unwrap();
    let half = lab.path("half.onnx");
    fs::write(&half, &model[..model.len() / 2]).unwrap();
    let whole = environment().model("classify-angle").display().to_string();
    let recipe = Lab::recipe("classify-angle.toml").replace(&whole, &half.display().to_string());
    check(
        &lab.refusal(&lab.release(&recipe)),
        &["model", "classify-angle"],
    );
}

#[test]
fn a_component_of_the_wrong_world() {
    let lab = Lab::new();
    let recipe = Lab::recipe("classify-angle.toml").replace(
        "guests/empty-policy.wasm",
        "guests/classify-angle-post.wasm",
    );
    check(
        &lab.refusal(&lab.release(&recipe)),
        &[
            "empty-policy",
            "is no policy",
            "hotshoe:pipeline/decide@0.1.0",
        ],
    );
}

#[test]
fn a_component_that_imports_what_it_is_not_granted() {
    let lab = Lab::new();
    let recipe = Lab::recipe("classify-angle.toml").replace("grants = [\"vision\"]", "grants = []");
    check(
        &lab.refusal(&lab.release(&recipe)),
        &[
            "classify-angle-pre",
            "hotshoe:pipeline/vision@0.1.0",
            "does not grant",
        ],
    );
}

#[test]
fn a_generation_that_goes_back() {
    let lab = Lab::new();
    let recipe = Lab::recipe("classify-angle.toml");
    let second = recipe.replace("generation = 1", "generation = 2");
    let newer = lab.release(&second);
    lab.device("a", &newer, "");
    let config = lab.path("a.toml").display().to_string();
    let older = lab.release(&recipe).display().to_string();
    check(
        &failure(["install", &older, "--config", &config]),
        &["below_floor"],
    );
    // The same number again, with other content.
    let other = second.replace("expires-in = \"365d\"", "expires-in = \"364d\"");
    let other = lab.release(&other).display().to_string();
    check(
        &failure(["install", &other, "--config", &config]),
        &["same_generation"],
    );
}
