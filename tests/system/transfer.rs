//! Pushes and pulls through a proxy that fails as networks and registries do, in front of a real registry.

#[path = "transfer/access.rs"]
mod access;
#[path = "transfer/proxy.rs"]
mod proxy;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use hotshoe_tests::{Need, skip};
use serde_json::Value;

use self::proxy::{Asked, Proxy, Reply, say};
use crate::oci::{Registry, json, program};
use crate::support::{Workspace, limited};

/// After how many bytes of a body a connection is cut; the model is larger.
const CUT: usize = 100_000;

/// A registry, and a signed release with its folder.
fn start() -> Option<(Registry, Workspace, PathBuf)> {
    let program = match program() {
        Ok(program) => program,
        Err(reason) => {
            skip(Need::DebianPackages, &reason);
            return None;
        }
    };
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("classify-angle.toml"));
    Some((Registry::start(&program), workspace, release))
}

/// Runs a command with a home of its own, so that no credentials of this machine count.
fn run(workspace: &Workspace, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let home = workspace.path("home");
    let mut command = limited("");
    command
        .args(arguments)
        .arg("--json")
        .env("HOME", home)
        .env_remove("XDG_RUNTIME_DIR")
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("DOCKER_CONFIG")
        .env_remove("REGISTRY_AUTH_FILE")
        .env_remove("RUST_LOG");
    command.envs(variables.iter().copied());
    command.output().unwrap()
}

/// What a command says that must succeed.
fn done(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    json(&text)
}

/// The error of a command, as one text.
fn refused(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    json(&text)["error"].to_string()
}

fn push(workspace: &Workspace, release: &Path, to: &str, variables: &[(&str, &str)]) -> Value {
    let release = release.display().to_string();
    done(&run(workspace, &["push", &release, to], variables))
}

fn pull(workspace: &Workspace, from: &str, variables: &[(&str, &str)]) -> Output {
    let back = workspace.path("back").display().to_string();
    run(workspace, &["pull", from, "--out", &back], variables)
}

/// Asserts that a pull succeeds, with its signature.
fn pulled(workspace: &Workspace, from: &str, variables: &[(&str, &str)]) -> Value {
    let pulled = done(&pull(workspace, from, variables));
    assert_eq!(pulled["signatures"], 1, "{pulled}");
    let back = workspace.path("back").display().to_string();
    let trust = workspace.trust_file();
    done(&run(workspace, &["verify", &back, "--trust", &trust], &[]));
    pulled
}

/// The bytes of a release's config and layers.
fn blob_bytes(release: &Path, digest: &str) -> u64 {
    let (_, hex) = digest.split_once(':').unwrap();
    let manifest = fs::read_to_string(release.join("blobs/sha256").join(hex)).unwrap();
    let manifest = json(&manifest);
    let layers = manifest["layers"].as_array().unwrap().iter();
    let sizes: HashMap<&str, u64> = layers
        .chain([&manifest["config"]])
        .map(|part| {
            (
                part["digest"].as_str().unwrap(),
                part["size"].as_u64().unwrap(),
            )
        })
        .collect();
    sizes.values().sum()
}

fn count(asked: &[Asked], method: &str, part: &str) -> usize {
    asked.iter().filter(|it| it.is(method, part)).count()
}

#[test]
fn a_blob_is_sent_as_one_request_and_a_present_one_is_not() {
    let Some((registry, workspace, release)) = start() else {
        return;
    };
    let proxy = Proxy::start(registry.port, |_| Reply::Pass);
    let to = proxy.address("line/angle:1");
    let pushed = push(&workspace, &release, &to, &[]);
    let asked = proxy.asked();
    let begun = count(&asked, "POST", "/blobs/uploads/");
    assert!(begun > 0);
    assert_eq!(count(&asked, "PUT", "/blobs/uploads/"), begun);
    assert_eq!(count(&asked, "PATCH", ""), 0);
    let puts = asked.iter().filter(|it| it.is("PUT", "/blobs/uploads/"));
    let sent: usize = puts.map(|it| it.body.len()).sum();
    assert_eq!(pushed["sent_bytes"], sent);

    let again = push(&workspace, &release, &to, &[]);
    assert_eq!(again["sent_bytes"], 0);
    assert_eq!(count(&proxy.asked(), "POST", ""), 0);
}

/// A signed release with a data file of 3 MiB that do not repeat.
fn large_release(workspace: &Workspace) -> PathBuf {
    let mut state = 1_u32;
    let data: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(3 << 20)
    .collect();
    let file = workspace.path("noise.bin");
    fs::write(&file, data).unwrap();
    let recipe = format!(
        "{}\n[data.noise]\nfile = \"{}\"\nmedia-type = \"application/octet-stream\"\n",
        Workspace::recipe("classify-angle.toml"),
        file.display()
    );
    workspace.release(&recipe)
}

#[test]
fn a_blob_goes_in_chunks_where_one_request_is_too_large() {
    let Some((registry, workspace, _)) = start() else {
        return;
    };
    let release = large_release(&workspace);
    let limit = 600_000;
    let proxy = Proxy::start(registry.port, move |asked| match asked.body.len() {
        large if large > limit => say("413 Content Too Large"),
        _ => Reply::Pass,
    });
    push(&workspace, &release, &proxy.address("line/angle:1"), &[]);
    let asked = proxy.asked();
    let chunks = asked.iter().filter(|it| it.is("PATCH", "/blobs/uploads/"));
    let taken = chunks.filter(|it| it.body.len() == 512 << 10).count();
    // 3 MiB are six chunks of 512 KiB, to which the request was made smaller from 8 MiB.
    assert!(taken >= 6, "{taken}");
    pulled(&workspace, &registry.address("line/angle:1"), &[]);
}

#[test]
fn every_request_may_fail_once_and_a_busy_registry_is_asked_again() {
    let Some((registry, workspace, release)) = start() else {
        return;
    };
    let mut seen = HashSet::new();
    let statuses = [
        "429 Too Many Requests",
        "503 Service Unavailable",
        "502 Bad Gateway",
        "504 Gateway Timeout",
    ];
    let mut next = statuses.into_iter().cycle();
    let proxy = Proxy::start(registry.port, move |asked| {
        // The address of an upload is another one at each attempt; its digest is not.
        let digest = asked.path.split_once("digest=").map(|(_, rest)| rest);
        let path = match asked.path.split_once("/uploads/") {
            Some((path, _)) => path,
            None => &asked.path,
        };
        if seen.insert(format!("{} {path} {digest:?}", asked.method)) {
            let wait = "retry-after: 0\r\n".to_owned();
            return Reply::Say(next.next().unwrap(), wait, String::new());
        }
        Reply::Pass
    });
    let to = proxy.address("line/angle:1");
    push(&workspace, &release, &to, &[]);
    pulled(&workspace, &to, &[]);
}

#[test]
fn a_registry_that_stays_busy_ends_the_pull_after_five_attempts_or_at_a_long_wait() {
    let Some((registry, workspace, release)) = start() else {
        return;
    };
    push(&workspace, &release, &registry.address("line/angle:1"), &[]);
    for (wait, attempts, words) in [
        ("0", 5, "5 attempts failed"),
        ("3600", 1, "asks to wait 3600 s; the limit is 60 s"),
    ] {
        let proxy = Proxy::start(registry.port, move |asked| {
            if asked.path.contains("/manifests/") {
                let wait = format!("retry-after: {wait}\r\n");
                return Reply::Say("503 Service Unavailable", wait, String::new());
            }
            Reply::Pass
        });
        let said = refused(&pull(&workspace, &proxy.address("line/angle:1"), &[]));
        assert!(
            said.contains("\"registry\"") && said.contains("503"),
            "{said}"
        );
        assert!(said.contains(words), "{said}");
        assert_eq!(count(&proxy.asked(), "GET", "/manifests/1"), attempts);
    }
}

#[test]
fn a_lost_connection_is_made_again_and_a_cut_body_is_continued_where_it_ended() {
    let Some((registry, workspace, release)) = start() else {
        return;
    };
    push(&workspace, &release, &registry.address("line/angle:1"), &[]);
    let mut is_first = true;
    let proxy = Proxy::start(registry.port, move |asked| {
        if asked.is("GET", "/manifests/1") && std::mem::take(&mut is_first) {
            return Reply::Drop;
        }
        if asked.is("GET", "/blobs/") && !asked.has("range: ") {
            return Reply::Cut(CUT);
        }
        Reply::Pass
    });
    let said = pulled(&workspace, &proxy.address("line/angle:1"), &[]);
    let asked = proxy.asked();
    let ranges: Vec<_> = asked.iter().filter(|it| it.has("range: bytes=")).collect();
    assert!(!ranges.is_empty());
    let digest = said["digest"].as_str().unwrap();
    // No byte came twice.
    assert_eq!(said["bytes"], blob_bytes(&release, digest));
}

#[test]
fn a_pull_ends_if_a_registry_cuts_each_response_and_knows_no_ranges() {
    let Some((registry, workspace, _)) = start() else {
        return;
    };
    let release = large_release(&workspace);
    push(&workspace, &release, &registry.address("line/angle:1"), &[]);
    let proxy = Proxy::start(registry.port, |asked| {
        if asked.has("range: ") {
            return say("416 Range Not Satisfiable");
        }
        if asked.is("GET", "/blobs/") {
            // More than an attempt needs to count as progress.
            return Reply::Cut(2 << 20);
        }
        Reply::Pass
    });
    let said = refused(&pull(&workspace, &proxy.address("line/angle:1"), &[]));
    assert!(said.contains("5 attempts failed"), "{said}");
}

#[test]
fn an_interrupted_pull_is_continued_by_the_next_and_a_complete_one_fetches_nothing() {
    let Some((registry, workspace, release)) = start() else {
        return;
    };
    push(&workspace, &release, &registry.address("line/angle:1"), &[]);
    let proxy = Proxy::start(registry.port, |asked| {
        if asked.has("range: ") {
            return say("400 Bad Request");
        }
        if asked.is("GET", "/blobs/") {
            return Reply::Cut(CUT);
        }
        Reply::Pass
    });
    let from = proxy.address("line/angle:1");
    refused(&pull(&workspace, &from, &[]));
    let partial = workspace.path(".back.pull");
    let left: u64 = fs::read_dir(&partial)
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(left > 0);
    assert!(!workspace.path("back").exists());

    proxy.rule(|_| Reply::Pass);
    proxy.asked();
    let second = pulled(&workspace, &from, &[]);
    let all = blob_bytes(&release, second["digest"].as_str().unwrap());
    assert_eq!(second["bytes"], all - left);
    assert!(proxy.asked().iter().any(|it| it.has("range: bytes=")));
    assert!(!partial.exists());

    let third = pulled(&workspace, &from, &[]);
    assert_eq!(third["bytes"], 0);
}

#[test]
fn bytes_of_another_release_at_the_resumed_place_are_fetched_again() {
    let Some((registry, workspace, release)) = start() else {
        return;
    };
    let to = registry.address("line/angle:1");
    let pushed = push(&workspace, &release, &to, &[]);
    let partial = workspace.path(".back.pull");
    fs::create_dir(&partial).unwrap();
    let digest = pushed["digest"].as_str().unwrap();
    let manifest = release
        .join("blobs/sha256")
        .join(&digest["sha256:".len()..]);
    let manifest = json(&fs::read_to_string(manifest).unwrap());
    for layer in manifest["layers"].as_array().unwrap() {
        let name = layer["digest"].as_str().unwrap().replace(':', "-");
        fs::write(partial.join(name), b"junk").unwrap();
    }
    pulled(&workspace, &to, &[]);
}

#[test]
fn referrers_that_are_refused_are_found_under_their_tag() {
    let Some((registry, workspace, release)) = start() else {
        return;
    };
    push(&workspace, &release, &registry.address("line/angle:1"), &[]);
    for status in [
        "400 Bad Request",
        "403 Forbidden",
        "405 Method Not Allowed",
        "500 Internal Server Error",
    ] {
        let proxy = Proxy::start(registry.port, move |asked| {
            if asked.path.contains("/referrers/") {
                return say(status);
            }
            Reply::Pass
        });
        pulled(&workspace, &proxy.address("line/angle:1"), &[]);
        assert!(count(&proxy.asked(), "GET", "/referrers/") > 0, "{status}");
    }
}

#[test]
fn a_blob_is_sent_where_the_registry_fails_to_say_whether_it_has_it() {
    let Some((registry, workspace, release)) = start() else {
        return;
    };
    let proxy = Proxy::start(registry.port, move |asked| {
        if asked.method == "HEAD" && asked.path.contains("/blobs/") {
            return say("500 Internal Server Error");
        }
        Reply::Pass
    });
    push(&workspace, &release, &proxy.address("line/angle:1"), &[]);
    assert!(count(&proxy.asked(), "HEAD", "/blobs/") > 0);
    pulled(&workspace, &registry.address("line/angle:1"), &[]);
}

#[test]
fn the_first_push_writes_the_list_where_referrers_are_refused() {
    let Some((registry, workspace, release)) = start() else {
        return;
    };
    for (status, repository) in [
        ("403 Forbidden", "line/forbidden:1"),
        ("500 Internal Server Error", "line/failing:1"),
    ] {
        let proxy = Proxy::start(registry.port, move |asked| {
            if asked.path.contains("/referrers/") {
                return say(status);
            }
            Reply::Pass
        });
        let at = proxy.address(repository);
        assert_eq!(push(&workspace, &release, &at, &[])["signatures"], 1);
        pulled(&workspace, &at, &[]);
    }
}

#[test]
fn signatures_that_a_registry_refuses_end_the_pull_and_missing_ones_do_not() {
    let Some((registry, workspace, release)) = start() else {
        return;
    };
    let pushed = push(&workspace, &release, &registry.address("line/angle:1"), &[]);
    pulled(&workspace, &registry.address("line/angle:1"), &[]);
    let tag = pushed["digest"].as_str().unwrap().replace(':', "-");
    for status in ["403 Forbidden", "500 Internal Server Error"] {
        let tag = tag.clone();
        let proxy = Proxy::start(registry.port, move |asked| {
            if asked.path.contains("/referrers/") {
                return say(status);
            }
            if asked.path.contains(&tag) {
                return say("404 Not Found");
            }
            Reply::Pass
        });
        let said = refused(&pull(&workspace, &proxy.address("line/angle:1"), &[]));
        assert!(said.contains("cannot list the referrers"), "{said}");
    }
    // The release is requested by its tag, a signature by its digest.
    let of_signatures = |status: &'static str| {
        Proxy::start(registry.port, move |asked| {
            if asked.path.contains("/manifests/sha256:") {
                return say(status);
            }
            Reply::Pass
        })
    };
    for status in ["403 Forbidden", "500 Internal Server Error"] {
        let proxy = of_signatures(status);
        let said = refused(&pull(&workspace, &proxy.address("line/angle:1"), &[]));
        assert!(said.contains("cannot get the manifest"), "{said}");
    }
    // The folder keeps its signature.
    let back = workspace.path("back").display().to_string();
    let trust = workspace.trust_file();
    done(&run(&workspace, &["verify", &back, "--trust", &trust], &[]));

    let proxy = of_signatures("404 Not Found");
    let said = done(&pull(&workspace, &proxy.address("line/angle:1"), &[]));
    assert_eq!(said["signatures"], 0);
}
