//! Release folders: packed, signed, read back, spoilt.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod common;

use std::{error::Error, fs, os::unix::fs::symlink};

use common::{Deployer, FILES, blob_files, flip_a_bit, names, noise, now, release_toml};
use hotshoe_store::{BlobError, Layout, LayoutError, PackError, Store, pack};
use hotshoe_trust::{Blob, Digest, Floor, Release, ReleaseLimits, SigningKey};

/// All messages of an error, outermost first.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

#[test]
fn a_packed_release_reads_back() {
    let deployer = Deployer::new();
    let packed = deployer.packed(1);
    let package = packed.layout.package().unwrap();
    assert_eq!(Digest::of(&package.manifest), packed.digest);
    assert_eq!(
        serde_json::from_slice::<hotshoe_trust::Release>(&package.config).unwrap(),
        packed.release
    );
    assert!(package.bundles.is_empty());
    for (_, bytes) in FILES {
        assert_eq!(packed.layout.read(&Blob::of(bytes)).unwrap(), bytes);
    }
    assert_eq!(packed.release.blobs().count(), FILES.len());
    assert_eq!(
        names(packed.layout.path()),
        ["blobs", "index.json", "oci-layout"]
    );
    let version = fs::read_to_string(packed.layout.path().join("oci-layout")).unwrap();
    assert_eq!(version, r#"{"imageLayoutVersion":"1.0.0"}"#);
    assert_eq!(
        names(&packed.layout.path().join("blobs/sha256")).len(),
        FILES.len() + 2
    );
}

#[test]
fn signatures_are_referrers_and_each_is_attached_once() {
    let deployer = Deployer::new();
    let layout = deployer.signed(1);
    assert_eq!(deployer.verify(&layout, &Floor::none()).signers(), ["a"]);
    let manifest = layout.package().unwrap().manifest;
    layout
        .attach(&deployer.key.sign_bundle(&manifest).unwrap())
        .unwrap();
    assert_eq!(layout.package().unwrap().bundles.len(), 1);
    let other = Deployer::new().key.sign_bundle(&manifest).unwrap();
    layout.attach(&other).unwrap();
    assert_eq!(layout.package().unwrap().bundles.len(), 2);
    let index: serde_json::Value =
        serde_json::from_slice(&fs::read(layout.path().join("index.json")).unwrap()).unwrap();
    let kinds: Vec<_> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["artifactType"].as_str().unwrap())
        .collect();
    let bundle = "application/vnd.dev.sigstore.bundle.v0.3+json";
    assert_eq!(
        kinds,
        ["application/vnd.hotshoe.release.v1+json", bundle, bundle]
    );
}

#[test]
fn signers_at_the_same_time_do_not_lose_each_others_signatures() {
    let deployer = Deployer::new();
    let packed = deployer.packed(1);
    let manifest = packed.layout.package().unwrap().manifest;
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let bundle = SigningKey::generate()
                    .unwrap()
                    .sign_bundle(&manifest)
                    .unwrap();
                let layout = Layout::open(packed.layout.path()).unwrap();
                layout.attach(&bundle).unwrap();
            });
        }
    });
    assert_eq!(packed.layout.package().unwrap().bundles.len(), 8);
}

#[test]
fn a_layout_without_artifact_types_in_its_index_reads_too() {
    let deployer = Deployer::new();
    let layout = deployer.signed(1);
    let path = layout.path().join("index.json");
    let mut index: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for manifest in index["manifests"].as_array_mut().unwrap() {
        manifest.as_object_mut().unwrap().remove("artifactType");
    }
    fs::write(&path, index.to_string()).unwrap();
    assert_eq!(deployer.verify(&layout, &Floor::none()).generation, 1);
}

#[test]
fn one_flipped_bit_is_found_and_its_blob_named() {
    let deployer = Deployer::new();
    let layout = deployer.signed(1);
    let verified = deployer.verify(&layout, &Floor::none());
    let mut found = 0;
    for file in blob_files(layout.path()) {
        let whole = fs::read(&file).unwrap();
        flip_a_bit(&file);
        let digest: Digest = format!("sha256:{}", file.file_name().unwrap().to_str().unwrap())
            .parse()
            .unwrap();
        let read = layout
            .package()
            .map(drop)
            .and_then(|()| verified.blobs().try_for_each(|b| layout.check(&b)));
        match read {
            Err(LayoutError::Blob {
                source: BlobError::Damaged { digest: named, .. },
                ..
            }) => {
                assert_eq!(named, digest);
                found += 1;
            }
            // The signature's empty config says nothing and is not read.
            other => assert_eq!(whole, b"{}", "{other:?}"),
        }
        fs::write(&file, whole).unwrap();
    }
    assert_eq!(
        found,
        FILES.len() + 4,
        "manifest, config, bundle and its manifest"
    );
}

#[test]
fn a_cut_or_missing_blob_is_named() {
    let deployer = Deployer::new();
    let layout = deployer.signed(1);
    let blob = Blob::of(b"abc");
    let path = layout.path().join("blobs/sha256").join(blob.digest.hex());
    fs::write(&path, b"ab").unwrap();
    assert_eq!(layout.check(&blob).unwrap_err().name(), "damaged_blob");
    let cut = layout.read(&blob).unwrap_err();
    assert!(
        matches!(
            cut,
            LayoutError::Blob {
                source: BlobError::Size {
                    found: 2,
                    expected: 3,
                    ..
                },
                ..
            }
        ),
        "{cut:?}"
    );
    fs::remove_file(&path).unwrap();
    let missing = layout.read(&blob).unwrap_err();
    assert!(
        matches!(
            missing,
            LayoutError::Blob {
                source: BlobError::Missing { .. },
                ..
            }
        ),
        "{missing:?}"
    );
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    let endless = layout.read(&blob).unwrap_err();
    assert!(
        matches!(
            endless,
            LayoutError::Blob {
                source: BlobError::NotAFile { .. },
                ..
            }
        ),
        "{endless:?}"
    );
}

#[test]
fn a_link_in_a_release_folder_stays_inside_or_is_refused() {
    let deployer = Deployer::new();
    let layout = deployer.signed(1);
    let blob = Blob::of(b"abc");
    let path = layout.path().join("blobs/sha256").join(blob.digest.hex());
    // Inside, under another name, and through a link to the folder itself.
    fs::rename(&path, layout.path().join("abc")).unwrap();
    symlink("../../abc", &path).unwrap();
    let outside = tempfile::tempdir().unwrap();
    let entrance = outside.path().join("entrance");
    symlink(layout.path(), &entrance).unwrap();
    let entered = Layout::open(&entrance).unwrap();
    assert_eq!(entered.read(&blob).unwrap(), b"abc");
    let verified = deployer.verify(&entered, &Floor::none());
    entered.check_release(&verified).unwrap();
    let data = tempfile::tempdir().unwrap();
    let mut store = Store::open(data.path()).unwrap();
    store.install(&entered, &verified, now()).unwrap();

    // The same bytes, outside.
    let secret = outside.path().join("secret");
    fs::rename(layout.path().join("abc"), &secret).unwrap();
    fs::remove_file(&path).unwrap();
    symlink(&secret, &path).unwrap();
    let refused = layout.check_release(&verified).unwrap_err();
    assert_eq!(refused.name(), "link_leads_out");
    match refused {
        LayoutError::Blob {
            source: BlobError::LinkLeadsOut { link, target },
            ..
        } => assert_eq!((link, target), (path, secret)),
        other => panic!("{other:?}"),
    }
    let data = tempfile::tempdir().unwrap();
    let mut store = Store::open(data.path()).unwrap();
    let refused = store.install(&layout, &verified, now()).unwrap_err();
    assert_eq!(refused.name(), "link_leads_out");
    for name in ["index.json", "oci-layout"] {
        let path = layout.path().join(name);
        let moved = outside.path().join(name);
        fs::rename(&path, &moved).unwrap();
        symlink(&moved, &path).unwrap();
        let read = Layout::open(layout.path()).and_then(|layout| layout.package());
        assert_eq!(read.unwrap_err().name(), "link_leads_out", "{name}");
    }
}

#[test]
fn what_is_no_release_folder_is_refused() {
    let deployer = Deployer::new();
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(
        Layout::open(empty.path()),
        Err(LayoutError::NotALayout { .. })
    ));
    let layout = deployer.signed(1);
    Layout::open(layout.path()).unwrap();
    let index = layout.path().join("index.json");
    let text = fs::read_to_string(&index).unwrap();
    let refused = |text: &str| {
        fs::write(&index, text).unwrap();
        layout.package().unwrap_err()
    };
    assert!(matches!(refused("{}"), LayoutError::Json { .. }));
    assert!(matches!(
        refused(r#"{"schemaVersion":2,"manifests":[]}"#),
        LayoutError::NoRelease { .. }
    ));
    let huge = refused(&" ".repeat((1 << 20) + 1));
    assert!(
        matches!(
            huge,
            LayoutError::Blob {
                source: BlobError::TooLarge { .. },
                ..
            }
        ),
        "{huge:?}"
    );
    let entry = text[text.find("[{").unwrap() + 1..]
        .split("},{")
        .next()
        .unwrap()
        .to_owned()
        + "}";
    let many = format!(
        r#"{{"schemaVersion":2,"manifests":[{}]}}"#,
        vec![entry.as_str(); 257].join(",")
    );
    assert!(matches!(
        refused(&many),
        LayoutError::TooManyManifests { .. }
    ));
    let two = format!(r#"{{"schemaVersion":2,"manifests":[{entry},{entry}]}}"#);
    assert!(matches!(
        refused(&two),
        LayoutError::SeveralReleases { count: 2, .. }
    ));
    let size = format!("\"size\":{}", ReleaseLimits::MANIFEST_BYTES + 1);
    let start = text.find("\"size\":").unwrap();
    let end = start + text[start..].find([',', '}']).unwrap();
    let large = refused(&text.replace(&text[start..end], &size));
    assert!(
        matches!(
            large,
            LayoutError::Blob {
                source: BlobError::TooLarge { .. },
                ..
            }
        ),
        "{large:?}"
    );
}

#[test]
fn an_unfinished_layout_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let builder = Layout::create(&folder.path().join("out")).unwrap();
    builder.put(b"bytes").unwrap();
    drop(builder);
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_release_folder_is_replaced_and_nothing_else_is() {
    let deployer = Deployer::new();
    let out = deployer.folder.path().join("release-1");
    assert_eq!(deployer.signed(1).package().unwrap().bundles.len(), 1);
    fs::write(deployer.folder.path().join("characters.txt"), b"abcd").unwrap();
    let before = names(deployer.folder.path());
    assert!(
        deployer
            .packed(1)
            .layout
            .package()
            .unwrap()
            .bundles
            .is_empty()
    );
    assert_eq!(
        names(deployer.folder.path()),
        before,
        "nothing is left beside it"
    );
    fs::remove_file(out.join("oci-layout")).unwrap();
    assert!(matches!(
        Layout::create(&out),
        Err(LayoutError::InTheWay { .. })
    ));
    let file = deployer.folder.path().join("stage.wasm");
    assert!(matches!(
        Layout::create(&file),
        Err(LayoutError::InTheWay { .. })
    ));
}

#[test]
fn a_pack_that_fails_says_where_and_leaves_the_old_release() {
    let deployer = Deployer::new();
    let old = deployer.packed(1);
    let description = deployer.folder.path().join("release.toml");
    let out = deployer.folder.path().join("release-1");
    let before = names(deployer.folder.path());
    for (from, to, says) in [
        (
            "\"detect.onnx\"",
            "\"detekt.onnx\"",
            vec!["[models.detect]", "detekt.onnx"],
        ),
        (
            "generation",
            "genration",
            vec!["release.toml", "line 3", "`genration`", "`generation`"],
        ),
        (
            "\"characters.txt\"",
            "\".\"",
            vec!["[data.characters]", "is not a file"],
        ),
        (
            "stage = \"read\"",
            "stage = \"red\"",
            vec!["release.toml", "pipeline step 1", "`red`"],
        ),
        (
            "expires-in = \"90d\"",
            "",
            vec!["release.toml", "expires-in"],
        ),
    ] {
        fs::write(&description, release_toml(2).replacen(from, to, 1)).unwrap();
        let error = pack(&description, now(), &out).unwrap_err();
        let text = chain(&error);
        assert!(says.iter().all(|part| text.contains(part)), "{text}");
        assert_eq!(names(deployer.folder.path()), before);
        assert_eq!(
            Digest::of(&old.layout.package().unwrap().manifest),
            old.digest
        );
    }
    let missing = pack(&deployer.folder.path().join("none.toml"), now(), &out).unwrap_err();
    assert!(
        matches!(missing, PackError::Read(_)) && chain(&missing).contains("none.toml"),
        "{missing:?}"
    );
}

#[test]
fn a_path_of_a_release_toml_may_lead_out_and_a_link_in_its_folder_may_not() {
    let deployer = Deployer::new();
    let folder = deployer.folder.path();
    let outside = tempfile::tempdir().unwrap();
    let weights = outside.path().join("weights");
    fs::write(&weights, "weights").unwrap();
    let description = folder.join("release.toml");
    let packed = |file: &str| {
        let text = release_toml(1).replacen("detect.onnx", file, 1);
        fs::write(&description, text).unwrap();
        pack(&description, now(), &folder.join("out"))
    };
    let name = outside.path().file_name().unwrap().to_str().unwrap();
    packed(&format!("../{name}/weights")).unwrap();
    packed(weights.to_str().unwrap()).unwrap();
    symlink("detect.onnx", folder.join("inside.onnx")).unwrap();
    packed("inside.onnx").unwrap();
    let link = folder.join("outside.onnx");
    symlink(&weights, &link).unwrap();
    for file in ["outside.onnx", "./out/../outside.onnx"] {
        let refused = packed(file).unwrap_err();
        assert_eq!(refused.name(), "link_leads_out", "{file}");
        let text = chain(&refused);
        assert!(
            text.contains("outside.onnx") && text.contains(name),
            "{text}"
        );
    }
}

#[test]
fn large_blobs_get_a_chunk_index_and_self_tests_are_packed() {
    let deployer = Deployer::new();
    let description = deployer.folder.path().join("release.toml");
    let model = noise(1, 600 << 10);
    for (name, bytes) in [
        ("detect.onnx", &model[..]),
        ("page.png", &noise(2, 300 << 10)),
        ("page.json", b"{}"),
    ] {
        fs::write(deployer.folder.path().join(name), bytes).unwrap();
    }
    let tests = r#"
        [[tests]]
        name = "a-page"
        sample = "page.png"
        content-type = "image/png"
        expected = "page.json"
        "#;
    fs::write(&description, release_toml(1) + tests).unwrap();
    let out = deployer.folder.path().join("out");
    let packed = pack(&description, now(), &out).unwrap();
    let bundle = deployer
        .key
        .sign_bundle(&packed.layout.package().unwrap().manifest)
        .unwrap();
    packed.layout.attach(&bundle).unwrap();
    let release = deployer.verify(&packed.layout, &Floor::none());
    assert_eq!(release.tests[0].sample.size, 300 << 10);
    let chunked: Vec<_> = release.chunks.keys().copied().collect();
    let mut large = vec![Digest::of(&model), release.tests[0].sample.digest];
    large.sort();
    assert_eq!(chunked, large);
    for blob in release.blobs() {
        packed.layout.check(&blob).unwrap();
    }
    let index = common::index_of(&packed.layout, &release, &Blob::of(&model));
    let whole: Vec<u8> = (0..index.chunks.len())
        .flat_map(|number| common::piece(&index, &model, number))
        .collect();
    assert_eq!(whole, model);
    let manifest = packed.layout.package().unwrap().manifest;
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    let indexes = layers
        .iter()
        .filter(|layer| layer["mediaType"] == hotshoe_trust::manifest::CHUNKS);
    assert_eq!(indexes.count(), 2);

    fs::remove_file(deployer.folder.path().join("page.json")).unwrap();
    let text = chain(&pack(&description, now(), &out).unwrap_err());
    assert!(
        text.contains("[[tests]] entry `a-page`") && text.contains("page.json"),
        "{text}"
    );
}

#[test]
fn an_index_of_chunks_that_the_blob_does_not_have_is_refused() {
    let deployer = Deployer::new();
    let model = noise(1, 600 << 10);
    fs::write(deployer.folder.path().join("detect.onnx"), &model).unwrap();
    let description = deployer.folder.path().join("release.toml");
    fs::write(&description, release_toml(1)).unwrap();
    let packed = pack(&description, now(), &deployer.folder.path().join("out")).unwrap();
    let bundle = deployer
        .key
        .sign_bundle(&packed.layout.package().unwrap().manifest)
        .unwrap();
    packed.layout.attach(&bundle).unwrap();
    let verified = deployer.verify(&packed.layout, &Floor::none());
    packed.layout.check_release(&verified).unwrap();

    // The right sizes, and another digest for the last chunk.
    let mut release = Release::clone(&verified);
    let at = release.chunks.get_mut(&Digest::of(&model)).unwrap();
    let mut index = packed.layout.read(at).unwrap();
    *index.last_mut().unwrap() ^= 1;
    *at = Blob::of(&index);
    fs::write(packed.layout.blob_path(at.digest), &index).unwrap();
    let error = packed.layout.check_release(&release).unwrap_err();
    assert_eq!(error.name(), "bad_index");
    let text = chain(&error);
    assert!(
        text.contains("differs from the blob at its position"),
        "{text}"
    );
}
