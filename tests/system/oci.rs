//! Releases go to a real registry and come back: Debian's `docker-registry`, started here on loopback.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use hotshoe_tests::{Need, free_port, skip};
use hotshoe_trust::Digest;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{DEADLINE, Workspace, environment, failure, success};

/// A registry in a folder of its own.
pub(crate) struct Registry {
    process: Child,
    pub(crate) port: u16,
    _folder: TempDir,
}

impl Registry {
    pub(crate) fn start(program: &Path) -> Self {
        let folder = TempDir::new().unwrap();
        let port = free_port();
        let config = folder.path().join("config.yml");
        let root = folder.path().join("data");
        let text = format!(
            "version: 0.1\nlog: {{ level: error }}\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp: {{ addr: \"127.0.0.1:{port}\" }}\n",
            root.display()
        );
        fs::write(&config, text).unwrap();
        let process = Command::new(program)
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut registry = Self {
            process,
            port,
            _folder: folder,
        };
        let until = Instant::now() + DEADLINE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = registry.process.try_wait().unwrap();
            assert!(ended.is_none(), "the registry ended: {ended:?}");
            assert!(Instant::now() < until, "the registry does not listen");
            std::thread::yield_now();
        }
        registry
    }

    pub(crate) fn address(&self, rest: &str) -> String {
        format!("oci://127.0.0.1:{}/{rest}", self.port)
    }

    /// What plain HTTP says, without any client of ours.
    pub(crate) fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let accept =
            "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json";
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

pub(crate) fn program() -> Result<PathBuf, String> {
    let folder = hotshoe_devkit::debian_package(&environment().root, "docker-registry")
        .map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
    let program = folder.join("usr/bin/docker-registry");
    // Debian's is for Debian's own C library.
    Command::new(&program)
        .arg("--version")
        .output()
        .map(|_| program)
        .map_err(|error| format!("docker-registry cannot be started: {error}"))
}

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_release_goes_to_a_registry_and_comes_back_with_its_signatures() {
    let program = match program() {
        Ok(program) => program,
        Err(reason) => {
            return skip(Need::DebianPackages, &reason);
        }
    };
    let registry = Registry::start(&program);
    let workspace = Workspace::new();
    workspace.key("bob");
    let release = workspace.pack(&Workspace::recipe("classify-angle.toml"));
    workspace.sign(&release, "alice");
    let folder = release.display().to_string();
    let to = registry.address("line/angle:1");
    let first = json(&success(["push", &folder, &to, "--json"]));
    assert_eq!(first["signatures"], 1);
    assert_eq!(first["present_bytes"], 0);

    // What it is to others: an artifact by its digest, and a referrer under the tag that the specification names.
    let digest = first["digest"].as_str().unwrap();
    let manifest = registry.get("/v2/line/angle/manifests/1");
    assert_eq!(Digest::of(manifest.as_bytes()).to_string(), digest);
    let referrers = json(&registry.get(&format!(
        "/v2/line/angle/manifests/{}",
        digest.replace(':', "-")
    )));
    assert_eq!(referrers["manifests"].as_array().unwrap().len(), 1);

    // Signed once more and pushed again: only what is new is sent, and both signatures are listed.
    workspace.sign(&release, "bob");
    let second = json(&success(["push", &folder, &to, "--json"]));
    assert_eq!(second["signatures"], 2);
    assert!(second["sent_bytes"].as_u64().unwrap() < 10_000, "{second}");

    for from in [
        to.clone(),
        registry.address(&format!("line/angle@{digest}")),
    ] {
        let back = workspace.path("back").display().to_string();
        let pulled = json(&success(["pull", &from, "--out", &back, "--json"]));
        assert_eq!(pulled["digest"], digest);
        assert_eq!(pulled["signatures"], 2);
        workspace.trust(&["alice", "bob"], 2);
        success(["verify", &back, "--trust", &workspace.trust_file()]);
    }
}

#[test]
fn what_is_no_release_or_not_there_is_named() {
    let program = match program() {
        Ok(program) => program,
        Err(reason) => return skip(Need::DebianPackages, &reason),
    };
    let registry = Registry::start(&program);
    let workspace = Workspace::new();
    let back = workspace.path("back");
    let pull = |from: &str| failure(["pull", from, "--out", &back.display().to_string()]);
    let said = pull(&registry.address("line/nothing:1"));
    assert!(said.starts_with("not_found: "), "{said}");
    let closed = format!("oci://127.0.0.1:{}/line/angle:1", free_port());
    let said = pull(&closed);
    assert!(
        said.starts_with("registry: ") && said.contains("cannot"),
        "{said}"
    );
    let folder = workspace.path("empty").display().to_string();
    fs::create_dir(&folder).unwrap();
    let said = failure(["push", &folder, &registry.address("line/angle:1")]);
    assert!(said.starts_with("not_a_release: "), "{said}");
    assert!(!back.exists());
}

/// A registry that never ends one of its answers.
struct Endless {
    port: u16,
    /// It ends when this is set and one more caller came.
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Endless {
    /// Whatever has `path` in its first line is answered with `head` and then bytes without end; all else with an empty answer of 200.
    fn start(path: &'static str, head: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Acquire) {
                    return;
                }
                // One that breaks off is the next one's no concern.
                drop(answer(stream.unwrap(), port, path, head));
            }
        });
        Self {
            port,
            over,
            thread: Some(thread),
        }
    }
}

fn answer(mut stream: TcpStream, port: u16, path: &str, head: &str) -> std::io::Result<()> {
    let mut request = String::new();
    BufReader::new(stream.try_clone()?).read_line(&mut request)?;
    if !request.contains(path) {
        // A token is asked for at the same address.
        let realm = format!("Bearer realm=\"http://127.0.0.1:{port}/token\"");
        let asks = if path == "/token" {
            format!("www-authenticate: {realm}\r\n")
        } else {
            String::new()
        };
        return write!(
            stream,
            "HTTP/1.1 200 OK\r\n{asks}connection: close\r\ncontent-length: 0\r\n\r\n"
        );
    }
    write!(stream, "HTTP/1.1 {head}\r\nconnection: close\r\n\r\n")?;
    let junk = [b'a'; 1 << 16];
    // It ends when the caller has had enough.
    loop {
        stream.write_all(&junk)?;
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        drop(self.thread.take().map(JoinHandle::join));
    }
}

#[test]
fn an_answer_without_end_costs_a_registry_the_pull_and_nobody_the_memory() {
    let workspace = Workspace::new();
    let out = workspace.path("pulled").display().to_string();
    for (path, head, name) in [
        ("/manifests/", "200 OK", "too_large"),
        ("/manifests/", "500 Oh", "registry"),
        ("/token", "200 OK", "registry"),
        ("/token", "403 No", "unauthorized"),
    ] {
        let registry = Endless::start(path, head);
        let from = format!("oci://127.0.0.1:{}/line/angle:1", registry.port);
        let said = failure(["pull", &from, "--out", &out]);
        assert!(said.starts_with(name), "{path} {head}: {said}");
        assert!(!Path::new(&out).exists(), "{path} {head}");
    }
}
