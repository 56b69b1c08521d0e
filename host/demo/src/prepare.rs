//! A new device with its first release.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use hotshoe_config::Config;
use hotshoe_devkit::Environment;
use hotshoe_devkit::runtime::Fetched;
use hotshoe_release::device::{Identity, trust_root};
use hotshoe_release::install::{forget, install};
use hotshoe_release::keys::{keygen, read_key};
use hotshoe_release::pack::pack;
use hotshoe_release::sign::sign;
use hotshoe_release::terminal::Terminal;
use hotshoe_release::trust_file::write_trust;
use hotshoe_trust::Time;

use super::versions::{self, APPLICATION, Version};

/// The files that the demo creates; other commands can be tried on them.
pub(crate) struct DemoFiles {
    /// The signed release that is installed.
    pub release: PathBuf,
    /// The releases that are delivered.
    pub versions: [Version; 3],
    /// The keys that the device trusts.
    pub trust: PathBuf,
    /// The device's configuration.
    pub config: PathBuf,
    /// The daemon's log.
    pub log: PathBuf,
}

/// Creates a key, packs and signs the application's release, and installs it for a device that listens at `endpoint`, and serves its page
/// at the address `page`. `runtime` is ONNX Runtime's library.
pub(crate) fn prepare(
    environment: &Environment,
    endpoint: &str,
    page: Option<&str>,
    runtime: Option<&Fetched>,
    terminal: &Terminal,
) -> anyhow::Result<DemoFiles> {
    let folder = environment.root.join("target/demo");
    let [release, trust_file, config_file, log] =
        ["release", "trust.toml", "hotshoe.toml", "daemon.log"].map(|name| folder.join(name));
    let keys = folder.join("keys");
    fs::create_dir_all(&keys).with_context(|| format!("cannot create {}", keys.display()))?;

    let secret = keys.join("demo.key");
    let public = keys.join("demo.pub");
    if !(secret.exists() && public.exists()) {
        keygen(&keys, "demo", None, true)?;
        terminal.note(format!("created a key    {}", secret.display()));
    }
    write_trust(&[("demo".to_owned(), public)], 1, &["*"], &trust_file, true)?;

    let source = environment.root.join(APPLICATION).join("release.toml");
    let packed = pack(&source, &release, Time::now())?;
    terminal.note(format!(
        "packed           {}  {} generation {}",
        release.display(),
        packed.release.name,
        packed.release.generation
    ));
    let signed = sign(&release, &read_key(&secret)?)?;
    terminal.note(format!("signed           {}", signed.release));

    let versions = versions::prepare(environment, &folder, &secret)?;
    terminal.note("packed           generations 2, 3 and 4, to be delivered while it serves");

    fs::write(&config_file, configuration(endpoint, page, runtime))
        .with_context(|| format!("cannot write {}", config_file.display()))?;
    let config = Config::load(&config_file).context("cannot load the demo's configuration")?;
    // Each demo starts with a new device: a device rejects another release of the same generation.
    forget(&config.data)?;
    let identity = Identity::of(trust_root(&trust_file)?, &config);
    install(&release, &config.data, &identity, Time::now())?;
    terminal.note(format!("installed into   {}", config.data.display()));
    Ok(DemoFiles {
        release,
        versions,
        trust: trust_file,
        config: config_file,
        log,
    })
}

fn configuration(endpoint: &str, page: Option<&str>, runtime: Option<&Fetched>) -> String {
    // Without one, the device uses the one that this machine has elsewhere, or none.
    let runtime = runtime.map(|it| {
        // Quoted and escaped, as in TOML.
        let path = toml::Value::String(it.path.display().to_string());
        format!(
            "\n[inference]\nlibrary = {path}\nlibrary-digest = \"sha256:{}\"\n",
            it.sha256
        )
    });
    let runtime = runtime.unwrap_or_default();
    let page = page.map(|address| format!("\n[page]\nlisten = \"{address}\"\n"));
    let page = page.unwrap_or_default();
    format!(
        "# A device for `hotshoe demo`, created by each run.
site = \"demo\"
device = \"bench\"
labels = {{ line = \"1\" }}
data = \"data\"
trust = \"trust.toml\"

[zenoh]
listen = [\"{endpoint}\"]

# What the demo shows must not depend on the heat of this machine.
[governor]
enabled = false

[intake]
queue = 8
when-full = \"block\"

[drain]
deadline-ms = 20000
{runtime}{page}"
    )
}
