//! Releases that a device must refuse, each with an error of its own.

use std::fs;
use std::path::{Path, PathBuf};

use hotshoe_trust::{Digest, SigningKey};
use serde_json::Value;

use crate::support::{Workspace, environment, failure, success};

pub(crate) fn blob(release: &Path, digest: &str) -> PathBuf {
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
pub(crate) fn edit(release: &Path, change: impl FnOnce(&mut Value)) {
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

/// A bundle as another tool would make it with `alice`'s key, in a file.
fn foreign_bundle(workspace: &Workspace, message: &[u8]) -> String {
    let pem = fs::read_to_string(workspace.path("alice.key")).unwrap();
    let key = SigningKey::from_pem(&pem, None).unwrap();
    let path = workspace.path("alice.json");
    fs::write(&path, key.sign_bundle(message).unwrap()).unwrap();
    path.display().to_string()
}

#[test]
fn a_signature_that_another_tool_made() {
    let workspace = Workspace::new();
    let folder = workspace.pack(&Workspace::recipe("classify-angle.toml"));
    let release = folder.display().to_string();
    let inspection: Value =
        serde_json::from_str(&success(["inspect", &release, "--json"])).unwrap();
    let manifest = inspection["manifest"].as_str().unwrap();
    let manifest = fs::read(manifest).unwrap();

    let other = foreign_bundle(&workspace, b"another message");
    let said = failure(["sign", &release, "--bundle", &other]);
    check(&said, &["bad_signature: ", "other bytes"]);
    let junk = workspace.path("junk.json").display().to_string();
    fs::write(&junk, "{}").unwrap();
    let said = failure(["sign", &release, "--bundle", &junk]);
    check(&said, &["unreadable_bundle: ", "junk.json"]);
    check(&workspace.refusal(&folder), &["no_bundle: "]);

    let bundle = foreign_bundle(&workspace, &manifest);
    for added in [true, false] {
        let signed: Value =
            serde_json::from_str(&success(["sign", &release, "--bundle", &bundle, "--json"]))
                .unwrap();
        assert_eq!(signed["added"], added);
        assert_eq!(signed["signatures"], 1);
    }
    success(["verify", &release, "--trust", &workspace.trust_file()]);
}

#[test]
fn signatures_that_do_not_suffice() {
    let workspace = Workspace::new();
    for name in ["bob", "carol", "mallory"] {
        workspace.key(name);
    }
    let release = workspace.pack(&Workspace::recipe("classify-angle.toml"));
    check(&workspace.refusal(&release), &["no_bundle: "]);
    workspace.sign(&release, "mallory");
    check(&workspace.refusal(&release), &["unknown_signer: "]);
    workspace.sign(&release, "alice");
    workspace.sign(&release, "alice");
    workspace.trust(&["alice", "bob", "carol"], 3);
    workspace.sign(&release, "bob");
    check(
        &workspace.refusal(&release),
        &["too_few_signatures: ", "alice", "bob"],
    );
    workspace.sign(&release, "carol");
    success([
        "verify",
        &release.display().to_string(),
        "--trust",
        &workspace.trust_file(),
    ]);
}

#[test]
fn one_flipped_bit() {
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("classify-angle.toml"));
    let model = fs::read(environment().model("classify-angle")).unwrap();
    let device = workspace.device("a", &release, "");
    let digest = Digest::of(&model).to_string();
    let flip = |path: PathBuf| {
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
    };
    flip(blob(&release, &digest));
    check(&workspace.refusal(&release), &["damaged_blob: ", &digest]);
    // The same on the device: it serves nothing, and says why.
    flip(blob(&workspace.path("a-data"), &digest));
    let status = device.run().status();
    assert!(status.release.is_none());
    let cause = status.cannot_serve.unwrap();
    check(&cause.to_string(), &["damaged_blob: ", &digest]);
}

#[test]
fn a_manifest_with_an_unknown_key() {
    let workspace = Workspace::new();
    let release = workspace.pack(&Workspace::recipe("classify-angle.toml"));
    edit(&release, |config| config["surprise"] = true.into());
    workspace.sign(&release, "alice");
    check(&workspace.refusal(&release), &["unknown_key: ", "surprise"]);
}

#[test]
fn an_expired_release() {
    let workspace = Workspace::new();
    let release = workspace.pack(&Workspace::recipe("classify-angle.toml"));
    edit(&release, |config| {
        config["issued"] = "2020-01-01T00:00:00Z".into();
        config["expires"] = "2021-01-01T00:00:00Z".into();
    });
    workspace.sign(&release, "alice");
    check(&workspace.refusal(&release), &["expired: ", "2021"]);
}

#[test]
fn a_release_for_another_device() {
    let workspace = Workspace::new();
    let recipe = Workspace::recipe("classify-angle.toml");
    let recipe = format!("{recipe}\n[devices]\nnames = [\"line-*\"]\n");
    let release = workspace.release(&recipe).display().to_string();
    let trust = workspace.trust_file();
    let device = |name: &'static str| {
        ["verify", &release, "--trust", &trust, "--device", name].map(str::to_owned)
    };
    success(device("line-4"));
    check(&failure(device("desk-1")), &["wrong_device: ", "desk-1"]);
}

#[test]
fn a_model_cut_in_half() {
    let workspace = Workspace::new();
    let model = fs::read(environment().model("classify-angle")).unwrap();
    let half = workspace.path("half.onnx");
    fs::write(&half, &model[..model.len() / 2]).unwrap();
    let whole = environment().model("classify-angle").display().to_string();
    let recipe =
        Workspace::recipe("classify-angle.toml").replace(&whole, &half.display().to_string());
    check(
        &workspace.refusal(&workspace.release_unchecked(&recipe)),
        &["invalid_model: ", "model `classify-angle`"],
    );
}

#[test]
fn a_component_of_the_wrong_world() {
    let workspace = Workspace::new();
    let recipe = Workspace::recipe("classify-angle.toml").replace(
        "guests/empty-policy.wasm",
        "guests/classify-angle-post.wasm",
    );
    check(
        &workspace.refusal(&workspace.release(&recipe)),
        &[
            "wrong_world: ",
            "empty-policy",
            "is not a policy",
            "hotshoe:pipeline/decide@0.1.0",
        ],
    );
}

#[test]
fn a_component_that_imports_what_it_is_not_granted() {
    let workspace = Workspace::new();
    let recipe =
        Workspace::recipe("classify-angle.toml").replace("grants = [\"vision\"]", "grants = []");
    check(
        &workspace.refusal(&workspace.release(&recipe)),
        &[
            "not_granted: ",
            "classify-angle-pre",
            "hotshoe:pipeline/vision@0.1.0",
            "does not grant",
        ],
    );
}

#[test]
fn a_release_that_cannot_serve_is_not_installed() {
    let workspace = Workspace::new();
    let recipe = Workspace::recipe("classify-angle.toml");
    workspace.device("a", &workspace.release(&recipe), "");
    let config = workspace.path("a.toml").display().to_string();
    let install = |release: &Path| {
        [
            "install",
            &release.display().to_string(),
            "--config",
            &config,
        ]
        .map(str::to_owned)
    };
    let ledger = || fs::read(workspace.path("a-data/ledger.json")).unwrap();
    let first = ledger();

    let second = recipe.replace("generation = 1", "generation = 2");
    let model = environment().model("classify-angle");
    let half = workspace.path("half.onnx");
    let bytes = fs::read(&model).unwrap();
    fs::write(&half, &bytes[..bytes.len() / 2]).unwrap();
    let half = second.replace(&model.display().to_string(), &half.display().to_string());
    let ungranted = second.replace("grants = [\"vision\"]", "grants = []");
    let other_world = second.replace(
        "guests/empty-policy.wasm",
        "guests/classify-angle-post.wasm",
    );
    let other = workspace.path("other.json");
    fs::write(&other, r#"{"kind": "scalars", "scalars": []}"#).unwrap();
    let failing = format!(
        "{second}\n[[tests]]\nname = \"page\"\nsample = \"{}\"\ncontent-type = \"image/png\"\nexpected = \"{}\"\n",
        environment().picture("page.png").display(),
        other.display()
    );
    for (recipe, name) in [
        (failing, "self_test_failed"),
        (half, "invalid_model"),
        (ungranted, "not_granted"),
        (other_world, "wrong_world"),
    ] {
        let said = failure(install(&workspace.release_unchecked(&recipe)));
        check(&said, &[&format!("{name}: "), "cannot serve"]);
        assert_eq!(ledger(), first, "{name}: the ledger changed");
    }
    // The generation is not burnt: the repaired release has the same one.
    success(install(&workspace.release(&second)));
    let ledger: Value = serde_json::from_slice(&ledger()).unwrap();
    assert_eq!(ledger["ledger"]["live"]["generation"], 2);
    assert_eq!(ledger["ledger"]["previous"]["generation"], 1);
}

#[test]
fn a_device_decides_what_may_be_installed_on_it() {
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("classify-angle.toml"));
    let config = workspace.path("strict.toml");
    fs::write(&config, "site = \"lab\"\ndevice = \"a\"\nallow = []\n").unwrap();
    let (release, config) = (release.display().to_string(), config.display().to_string());
    let said = failure(["install", &release, "--config", &config]);
    check(&said, &["not_allowed: ", "classify-angle-pre"]);
}

#[test]
fn a_generation_that_goes_back() {
    let workspace = Workspace::new();
    let recipe = Workspace::recipe("classify-angle.toml");
    let second = recipe.replace("generation = 1", "generation = 2");
    let newer = workspace.release(&second);
    workspace.device("a", &newer, "");
    let config = workspace.path("a.toml").display().to_string();
    let older = workspace.release(&recipe).display().to_string();
    check(
        &failure(["install", &older, "--config", &config]),
        &["below_floor: "],
    );
    // The same number again, with other content.
    let other = second.replace("expires-in = \"365d\"", "expires-in = \"364d\"");
    let other = workspace.release(&other).display().to_string();
    check(
        &failure(["install", &other, "--config", &config]),
        &["same_generation: "],
    );
}
