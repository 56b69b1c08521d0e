//! The live release: its files, their digests, and who signed it.

use anyhow::Context;
use hotshoe_base::chain;
use hotshoe_config::Config;
use hotshoe_release::device::{host_version, trust_root};
use hotshoe_store::LiveRelease;
use hotshoe_trust::{Blob, Release, TrustRoot, Variant, verify_installed};

use super::bom::{Bom, Component, Dependency, Hash, Kind};

/// Adds the live release.
pub(super) fn add(bom: &mut Bom, live: &LiveRelease, config: &Config) -> anyhow::Result<()> {
    let slot = &live.slot;
    let reference = format!("release:{}@{}", slot.name, slot.generation);
    let component = Component {
        version: Some(slot.generation.to_string()),
        hashes: vec![Hash::of(slot.release)],
        ..Component::new(Kind::Application, reference.clone(), slot.name.clone())
    }
    .with("hotshoe:installed", slot.installed.to_string())
    .with("hotshoe:signatures", live.package.bundles.len().to_string());
    let component = match verified(live, config)? {
        Ok((release, signers)) => Component {
            components: files(&release, &reference),
            ..component
                .with("hotshoe:verified", "true")
                .with("hotshoe:signers", signers.join(" "))
                .with("hotshoe:expires", release.expires.to_string())
        },
        Err(reason) => component
            .with("hotshoe:verified", "false")
            .with("hotshoe:reason", reason),
    };
    let files = component.components.iter();
    bom.dependencies.push(Dependency {
        reference,
        depends_on: files.map(|file| file.reference.clone()).collect(),
    });
    bom.components.push(component);
    Ok(())
}

/// The release and the names of its signers, or why the keys that the device trusts now do not verify it.
fn verified(
    live: &LiveRelease,
    config: &Config,
) -> anyhow::Result<Result<(Release, Vec<String>), String>> {
    let mut trust = trust_root(&config.trust)?;
    if let Some((version, text)) = &live.trust
        && *version > trust.version()
    {
        let text = std::str::from_utf8(text).context("the trusted keys are not UTF-8")?;
        trust = TrustRoot::parse(text).context("cannot use the trusted keys of a rotation")?;
    }
    let (slot, device) = (live.slot.release, config.identity());
    let found = verify_installed(&live.package, &trust, slot, &device, &host_version()?);
    Ok(found
        .map(|release| {
            let signers = release.signers().to_vec();
            (Release::clone(&release), signers)
        })
        .map_err(|error| chain(&error)))
}

/// The files of a release.
fn files(release: &Release, reference: &str) -> Vec<Component> {
    let file = |kind, what: &str, name: &str, blob: &Blob| {
        Component {
            hashes: vec![Hash::of(blob.digest)],
            ..Component::new(kind, format!("{reference}/{what}/{name}"), name.to_owned())
        }
        .with("hotshoe:kind", what)
        .with("hotshoe:bytes", blob.size.to_string())
    };
    let mut found = Vec::new();
    for (name, it) in &release.components {
        let grants: Vec<String> = it.grants.iter().map(ToString::to_string).collect();
        found.push(
            file(Kind::Library, "component", name, &it.blob)
                .with("hotshoe:world", it.world.to_string())
                .with("hotshoe:grants", grants.join(" ")),
        );
    }
    for (name, it) in &release.models {
        for variant in &it.variants {
            let named = if variant.name == Variant::ONLY {
                name.clone()
            } else {
                format!("{name}/{}", variant.name)
            };
            let kind = Kind::MachineLearningModel;
            found.push(file(kind, "model", &named, &variant.blob));
        }
    }
    for (name, it) in &release.data {
        found.push(
            file(Kind::Data, "data", name, &it.blob).with("hotshoe:media-type", &it.media_type),
        );
    }
    for it in &release.tests {
        found.push(file(Kind::Data, "sample", &it.name, &it.sample));
        found.push(file(Kind::Data, "expected", &it.name, &it.expected));
    }
    if let Some(drift) = &release.drift {
        found.push(file(Kind::Data, "baseline", "drift", &drift.baseline));
    }
    found
}
