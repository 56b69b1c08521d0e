//! Releases in registries that tools for mirrors have written, and in which several signers push at the same time.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use hotshoe_store::Layout;
use hotshoe_tests::{Need, skip};
use hotshoe_trust::Digest;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::oci::{Registry, json, program};
use super::support::{DEADLINE, Workspace, failure, success};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// A port in front of a registry, for reads.
struct Front {
    port: u16,
    /// It ends when this is set and one more caller came.
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What a front does with a request of `GET`, by its path.
enum Rule {
    Forward,
    Answer(String),
    /// Nothing, until the front is dropped.
    Hold,
}

impl Front {
    fn start(registry: u16, rule: impl Fn(&str) -> Rule + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let thread = thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming() {
                if ended.load(Ordering::Acquire) {
                    return;
                }
                // A caller that breaks off costs its own request.
                held.extend(pass(stream.unwrap(), registry, &rule).unwrap_or_default());
            }
        });
        Self {
            port,
            over,
            thread: Some(thread),
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// Answers one request. The stream, if it is held.
fn pass(
    mut stream: TcpStream,
    registry: u16,
    rule: &impl Fn(&str) -> Rule,
) -> std::io::Result<Option<TcpStream>> {
    let mut head = String::new();
    let mut lines = BufReader::new(stream.try_clone()?);
    while !head.ends_with("\r\n\r\n") {
        if lines.read_line(&mut head)? == 0 {
            return Ok(None);
        }
    }
    let path = head.split(' ').nth(1).unwrap_or_default();
    match rule(path) {
        Rule::Hold => Ok(Some(stream)),
        Rule::Answer(body) => {
            let size = body.len();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: {INDEX}\r\ncontent-length: {size}\r\n\r\n{body}"
            )?;
            Ok(None)
        }
        Rule::Forward => {
            let mut registry = TcpStream::connect(("127.0.0.1", registry))?;
            let head = head.replacen("\r\n", "\r\nconnection: close\r\n", 1);
            registry.write_all(head.as_bytes())?;
            std::io::copy(&mut registry, &mut stream)?;
            Ok(None)
        }
    }
}

/// Puts a list of referrers with plain HTTP, as another tool does.
fn put(registry: &Registry, path: &str, list: &Value) {
    let body = list.to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", registry.port)).unwrap();
    let size = body.len();
    write!(
        stream,
        "PUT {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {INDEX}\r\nContent-Length: {size}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn signatures(from: &str, out: &Path) -> Value {
    let out = out.display().to_string();
    json(&success(["pull", from, "--out", &out, "--json"]))["signatures"].clone()
}

#[test]
fn a_mirror_that_drops_the_types_in_a_list_loses_no_signature_and_a_push_mends_the_list() {
    let program = match program() {
        Ok(program) => program,
        Err(reason) => return skip(Need::DebianPackages, &reason),
    };
    let registry = Registry::start(&program);
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("classify-angle.toml"));
    let folder = release.display().to_string();
    let to = registry.address("line/angle:1");
    let pushed = json(&success(["push", &folder, &to, "--json"]));
    assert_eq!(pushed["signatures"], 1);
    let digest = pushed["digest"].as_str().unwrap();
    let tag = format!("/v2/line/angle/manifests/{}", digest.replace(':', "-"));
    let list = json(&registry.get(&tag));
    assert_eq!(list["manifests"][0]["artifactType"], BUNDLE);

    for kind in [None, Some("")] {
        let mut copied = list.clone();
        let entry = copied["manifests"][0].as_object_mut().unwrap();
        entry.remove("artifactType");
        if let Some(kind) = kind {
            entry.insert("artifactType".to_owned(), kind.into());
        }
        put(&registry, &tag, &copied);
        // A registry of version 1.1 that makes its answers from the list, and filters them by the type in it.
        let answer = copied.to_string();
        let front = Front::start(registry.port, move |path| match path {
            path if !path.contains("/referrers/") => Rule::Forward,
            path if path.contains("artifactType=") => Rule::Answer(format!(
                r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[]}}"#
            )),
            _ => Rule::Answer(answer.clone()),
        });
        let mirror = format!("oci://127.0.0.1:{}/line/angle:1", front.port);
        for from in [&mirror, &to] {
            let back = workspace.path("back");
            assert_eq!(signatures(from, &back), 1, "{from} {kind:?}");
            let back = back.display().to_string();
            success(["verify", &back, "--trust", &workspace.trust_file()]);
        }
        drop(front);
        let again = json(&success(["push", &folder, &to, "--json"]));
        assert_eq!(again["signatures"], 1);
        assert_eq!(json(&registry.get(&tag)), list, "{kind:?}");
    }
}

#[test]
fn signers_that_push_at_the_same_time_lose_no_signature() {
    let program = match program() {
        Ok(program) => program,
        Err(reason) => return skip(Need::DebianPackages, &reason),
    };
    let registry = Registry::start(&program);
    let workspace = Workspace::new();
    workspace.key("bob");
    let release = workspace.pack(&Workspace::recipe("classify-angle.toml"));
    let second = workspace.path("second");
    copy(&release, &second);
    workspace.sign(&release, "alice");
    workspace.sign(&second, "bob");
    for round in 0..4 {
        let to = registry.address(&format!("line/round-{round}:1"));
        thread::scope(|scope| {
            for folder in [&release, &second] {
                let to = &to;
                scope.spawn(move || success(["push", &folder.display().to_string(), to]));
            }
        });
        assert_eq!(signatures(&to, &workspace.path("back")), 2, "round {round}");
    }
}

/// Replaces the signatures of a release folder by one manifest with all their bundles, as other tools may write them.
fn join_signatures(release: &Path) {
    let blobs = release.join("blobs/sha256");
    let read = |entry: &Value| {
        let digest = entry["digest"].as_str().unwrap();
        let file = blobs.join(digest.trim_start_matches("sha256:"));
        json(&fs::read_to_string(file).unwrap())
    };
    let mut index = json(&fs::read_to_string(release.join("index.json")).unwrap());
    let entries = index["manifests"].as_array().unwrap().clone();
    let (signatures, mut entries): (Vec<Value>, Vec<Value>) = entries
        .into_iter()
        .partition(|entry| entry["artifactType"] == BUNDLE);
    let mut joined = read(&signatures[0]);
    let layers: Vec<Value> = signatures
        .iter()
        .map(|entry| read(entry)["layers"][0].clone())
        .collect();
    joined["layers"] = layers.into();
    let joined = joined.to_string();
    let digest = Digest::of(joined.as_bytes());
    fs::write(blobs.join(digest.hex()), &joined).unwrap();
    let mut entry = signatures[0].clone();
    entry["digest"] = digest.to_string().into();
    entry["size"] = joined.len().into();
    entries.push(entry);
    index["manifests"] = entries.into();
    fs::write(release.join("index.json"), index.to_string()).unwrap();
}

#[test]
fn a_push_misses_no_bundle_of_another_kind_and_finds_many_in_one_manifest() {
    let program = match program() {
        Ok(program) => program,
        Err(reason) => return skip(Need::DebianPackages, &reason),
    };
    let registry = Registry::start(&program);
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("classify-angle.toml"));
    for name in ["bob", "carol", "dave", "erin"] {
        workspace.key(name);
        workspace.sign(&release, name);
    }
    join_signatures(&release);
    // Not by a key.
    let layout = Layout::open(&release).unwrap();
    layout.attach(br#"{"mediaType":"none"}"#).unwrap();
    let to = registry.address("line/angle:1");
    let folder = release.display().to_string();
    let pushed = json(&success(["push", &folder, &to, "--json"]));
    assert_eq!(pushed["signatures"], 2);
    assert_eq!(signatures(&to, &workspace.path("back")), 5);
}

#[test]
fn a_foreign_image_is_named_as_what_it_is() {
    let manifest = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#;
    let front = Front::start(0, move |path| match path {
        path if path.contains("/manifests/") => Rule::Answer(manifest.to_owned()),
        _ => Rule::Answer(String::new()),
    });
    let workspace = Workspace::new();
    let out = workspace.path("back");
    let from = format!("oci://127.0.0.1:{}/library/alpine:3", front.port);
    let said = failure(["pull", &from, "--out", &out.display().to_string()]);
    assert!(said.starts_with("not_a_release: "), "{said}");
    assert!(
        said.contains("is not a Hotshoe release")
            && said.contains("application/vnd.oci.image.config.v1+json"),
        "{said}"
    );
    assert!(!out.exists());
}

#[test]
fn an_interrupted_pull_to_which_nothing_came_leaves_no_files() {
    let program = match program() {
        Ok(program) => program,
        Err(reason) => return skip(Need::DebianPackages, &reason),
    };
    let registry = Registry::start(&program);
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("classify-angle.toml"));
    let folder = release.display().to_string();
    success(["push", &folder, &registry.address("line/angle:1")]);
    let (asked, requests): (Sender<()>, _) = channel();
    let front = Front::start(registry.port, move |path| match path {
        path if path.contains("/blobs/") => {
            // Only the first request is waited for.
            let _ = asked.send(());
            Rule::Hold
        }
        _ => Rule::Forward,
    });
    let into = workspace.path("into");
    fs::create_dir(&into).unwrap();
    for (signal, name) in [(Signal::INT, "SIGINT"), (Signal::TERM, "SIGTERM")] {
        let child = Command::new(env!("CARGO_BIN_EXE_hotshoe"))
            .arg("pull")
            .arg(format!("oci://127.0.0.1:{}/line/angle:1", front.port))
            .arg("--out")
            .arg(into.join("back"))
            .arg("--json")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        requests.recv_timeout(DEADLINE).unwrap();
        let id = i32::try_from(child.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
        let ended = child.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(1), "{name}");
        let said = json(&String::from_utf8(ended.stdout).unwrap());
        assert_eq!(said["error"]["name"], "interrupted", "{said}");
        assert!(said.to_string().contains(name), "{said}");
        let left = fs::read_dir(&into).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.is_empty(), "{left:?}");
        while requests.try_recv().is_ok() {}
    }
}
