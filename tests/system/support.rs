//! A workspace: keys, releases and daemons in a folder of their own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use hotshoe_config::Config;
use hotshoe_link::{Client, FeedError, FeedReply, Feeder};
use hotshoe_protocol::status::Status;
pub(crate) use hotshoe_tests::{DEADLINE, environment, free_endpoint};
use hotshoe_trust::Time;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// `hotshoe` under a limit, which a command of the shell sets, such as `ulimit -v 8388608` for 8 GiB of addresses; nothing for none.
pub(crate) fn limited(limit: &str) -> Command {
    let program = env!("CARGO_BIN_EXE_hotshoe");
    if limit.is_empty() {
        return Command::new(program);
    }
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!("{limit} && exec \"$0\" \"$@\""))
        .arg(program);
    command
}

/// Runs `hotshoe` to its end.
pub(crate) fn hotshoe<I, S>(arguments: I) -> Output
where
    I: IntoIterator<Item = S>,
    S: AsRef<std::ffi::OsStr>,
{
    Command::new(env!("CARGO_BIN_EXE_hotshoe"))
        .args(arguments)
        .env_remove("RUST_LOG")
        .output()
        .expect("hotshoe starts")
}

/// What `hotshoe ... --json` says of its failure: `name: message: causes`. It must have exited with 1.
pub(crate) fn failure<I, S>(arguments: I) -> String
where
    I: IntoIterator<Item = S>,
    S: AsRef<std::ffi::OsStr>,
{
    let mut all: Vec<std::ffi::OsString> = arguments
        .into_iter()
        .map(|argument| argument.as_ref().to_owned())
        .collect();
    all.push("--json".into());
    let output = hotshoe(&all);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(1),
        "{all:?} printed {text} and {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: Value = serde_json::from_str(&text).expect("an error as JSON");
    let error = &report["error"];
    let mut parts = vec![error["name"].as_str().unwrap_or("-").to_owned()];
    parts.push(error["message"].as_str().expect("a message").to_owned());
    for cause in error["causes"].as_array().expect("causes") {
        parts.push(cause.as_str().expect("a cause").to_owned());
    }
    parts.join(": ")
}

/// Asserts that a command succeeds, and returns its standard output.
pub(crate) fn success<I, S>(arguments: I) -> String
where
    I: IntoIterator<Item = S>,
    S: AsRef<std::ffi::OsStr>,
{
    let output = hotshoe(arguments);
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// One JSON value a line.
pub(crate) fn json_lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

/// A folder with keys, trust and releases.
pub(crate) struct Workspace {
    folder: TempDir,
}

impl Workspace {
    /// A workspace with one key, `alice`, whose signature its `trust.toml` asks for.
    pub(crate) fn new() -> Self {
        let workspace = Self {
            folder: TempDir::new().expect("a folder"),
        };
        workspace.key("alice");
        workspace.trust(&["alice"], 1);
        workspace
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub(crate) fn key(&self, name: &str) {
        let folder = self.folder.path().display().to_string();
        success([
            "keygen",
            "--no-passphrase",
            "--out",
            &folder,
            "--name",
            name,
        ]);
    }

    pub(crate) fn trust(&self, names: &[&str], threshold: usize) {
        let mut arguments = vec!["trust".to_owned(), "--force".to_owned()];
        for name in names {
            arguments.push("--key".to_owned());
            arguments.push(format!("{name}={}", self.text(&format!("{name}.pub"))));
        }
        arguments.extend(["--threshold".to_owned(), threshold.to_string()]);
        arguments.extend(["--out".to_owned(), self.text("trust.toml")]);
        success(arguments);
    }

    pub(crate) fn trust_file(&self) -> String {
        self.text("trust.toml")
    }

    /// The text of one of the application's `release.toml` files, with paths that hold from anywhere.
    pub(crate) fn recipe(name: &str) -> String {
        let root = &environment().root;
        let folder = root.join("examples/label-reader");
        fs::read_to_string(folder.join(name))
            .expect("a recipe")
            .replace("\"../../target", &format!("\"{}/target", root.display()))
            .replace(
                "\"rules.json",
                &format!("\"{}/rules.json", folder.display()),
            )
            .replace("\"expected/", &format!("\"{}/expected/", folder.display()))
    }

    /// Packs a recipe into the folder `release`, unsigned.
    pub(crate) fn pack(&self, recipe: &str) -> PathBuf {
        fs::write(self.path("release.toml"), recipe).expect("a recipe");
        let out = self.path("release");
        success([
            "pack",
            &self.text("release.toml"),
            "--out",
            &self.text("release"),
        ]);
        out
    }

    pub(crate) fn sign(&self, release: &Path, key: &str) {
        let key = self.text(&format!("{key}.key"));
        success(["sign", &release.display().to_string(), "--key", &key]);
    }

    /// Packs and signs a recipe by `alice` as another tool may: its models may be anything.
    pub(crate) fn release_unchecked(&self, recipe: &str) -> PathBuf {
        let (from, to) = (self.path("release.toml"), self.path("release"));
        fs::write(&from, recipe).expect("a recipe");
        hotshoe_store::pack(&from, Time::now(), &to).expect("a release");
        self.sign(&to, "alice");
        to
    }

    /// Packs and signs a recipe by `alice`.
    pub(crate) fn release(&self, recipe: &str) -> PathBuf {
        let release = self.pack(recipe);
        self.sign(&release, "alice");
        release
    }

    /// `hotshoe exec` with this workspace's trust.
    pub(crate) fn exec(&self, release: &Path, inputs: &[PathBuf]) -> Output {
        let mut arguments = vec!["exec".to_owned(), release.display().to_string()];
        arguments.extend(inputs.iter().map(|input| input.display().to_string()));
        arguments.extend(["--trust".to_owned(), self.trust_file()]);
        hotshoe(arguments)
    }

    /// Why `hotshoe exec` refuses a release.
    pub(crate) fn refusal(&self, release: &Path) -> String {
        let page = environment().picture("page.png").display().to_string();
        let release = release.display().to_string();
        failure(["exec", &release, &page, "--trust", &self.trust_file()])
    }

    /// Writes `NAME.toml` for a device of that name, which listens on a port of its own, and installs a release for it.
    /// `more` is added to the configuration.
    pub(crate) fn device(&self, name: &str, release: &Path, more: &str) -> Device {
        self.device_with(name, release, "", more)
    }

    /// The same, with lines for the top of the configuration as well.
    pub(crate) fn device_with(&self, name: &str, release: &Path, top: &str, more: &str) -> Device {
        let endpoint = free_endpoint();
        let config = self.path(&format!("{name}.toml"));
        // The heat of this machine must not slow a test.
        let governor = if more.contains("[governor]") {
            ""
        } else {
            "[governor]\nenabled = false\n"
        };
        let text = format!(
            "site = \"lab\"\ndevice = \"{name}\"\ndata = \"{name}-data\"\ntrust = \"trust.toml\"\n{top}\n[zenoh]\nlisten = [\"{endpoint}\"]\n{more}\n{governor}"
        );
        fs::write(&config, text).expect("a configuration");
        let file = config.display().to_string();
        success(["install", &release.display().to_string(), "--config", &file]);
        Device {
            name: name.to_owned(),
            config,
        }
    }
}

/// A device with a release installed.
pub(crate) struct Device {
    pub name: String,
    pub config: PathBuf,
}

impl Device {
    /// Starts its daemon and waits until it answers.
    pub(crate) fn run(&self) -> Daemon {
        self.run_to(File::create(self.log()).expect("a log"))
    }

    /// The same, with its log elsewhere.
    pub(crate) fn run_to(&self, log: impl Into<Stdio>) -> Daemon {
        self.run_as(limited(""), log)
    }

    /// The same, by a shell that first runs a command such as `ulimit -n 64`.
    pub(crate) fn run_after(&self, first: &str) -> Daemon {
        self.run_as(limited(first), File::create(self.log()).expect("a log"))
    }

    fn run_as(&self, mut command: Command, log: impl Into<Stdio>) -> Daemon {
        command
            .args(["run", "--config"])
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.run_by(command)
    }

    fn log(&self) -> PathBuf {
        self.config.with_extension("log")
    }

    /// Starts its daemon by this command and waits until it answers.
    pub(crate) fn run_by(&self, mut command: Command) -> Daemon {
        let child = command.env_remove("RUST_LOG").spawn().expect("a daemon");
        let mut daemon = Daemon {
            child,
            log: self.log(),
            name: self.name.clone(),
            client: None,
        };
        let zenoh = Config::load(&self.config)
            .expect("a configuration")
            .zenoh
            .client();
        let started = Instant::now();
        while daemon.client.is_none() {
            assert!(started.elapsed() < DEADLINE, "no daemon: {}", daemon.log());
            if let Some(status) = daemon.child.try_wait().expect("a child") {
                panic!("the daemon ended with {status}: {}", daemon.log());
            }
            // It waits for the connection by itself, up to three seconds.
            daemon.client = Client::open(&zenoh).ok();
        }
        while daemon.ask().is_none() {
            assert!(started.elapsed() < DEADLINE, "no answer: {}", daemon.log());
        }
        daemon
    }
}

/// A running daemon, killed when it is dropped.
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
    name: String,
    client: Option<Client>,
}

/// The error with which a request was refused.
#[track_caller]
pub(crate) fn refusal(answer: &FeedReply) -> &Value {
    match &answer.result {
        Err(FeedError::Refused(body)) => body,
        other => panic!("{other:?}"),
    }
}

impl Daemon {
    pub(crate) fn client(&self) -> &Client {
        self.client.as_ref().expect("a client")
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn ask(&self) -> Option<Status> {
        self.client()
            .statuses(Some("lab"), Some(&self.name), Duration::from_secs(2))
            .expect("a query")
            .pop()
    }

    pub(crate) fn status(&self) -> Status {
        self.ask()
            .unwrap_or_else(|| panic!("no status: {}", self.log()))
    }

    pub(crate) fn feeder(&self, in_flight: usize) -> Feeder {
        self.client().feeder("lab", &self.name, in_flight, DEADLINE)
    }

    /// Feeds samples one after the other and returns their answers.
    pub(crate) fn feed(&self, samples: &[(&str, Vec<u8>)]) -> Vec<FeedReply> {
        let feeder = self.feeder(1);
        samples
            .iter()
            .map(|(id, payload)| {
                feeder
                    .send("test", "application/octet-stream", id, payload.clone())
                    .expect("sent");
                feeder.next(DEADLINE).expect("an answer")
            })
            .collect()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// A process that is not asked for its status.
    pub(crate) fn of(child: Child, log: PathBuf, name: &str) -> Self {
        Self {
            child,
            log,
            name: name.to_owned(),
            client: None,
        }
    }

    /// Waits until its log holds this text.
    pub(crate) fn wait_for_log(&mut self, text: &str) {
        let log = self.log.clone();
        self.wait_for(&log, text);
    }

    /// Waits until a file that it writes holds this text, in one line.
    pub(crate) fn wait_for(&mut self, file: &Path, text: &str) {
        let mut reader = BufReader::new(File::open(file).expect("a log"));
        let started = Instant::now();
        let mut line = String::new();
        while !line.contains(text) {
            assert!(
                started.elapsed() < DEADLINE,
                "no `{text}` in {}",
                self.log()
            );
            if reader.read_line(&mut line).expect("a log") == 0 {
                std::thread::yield_now();
            }
        }
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it ever held, in KiB.
    pub(crate) fn peak_memory_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let text = fs::read_to_string(path).expect("a running process");
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.expect("a peak").trim().trim_end_matches(" kB");
        kib.parse().expect("a number")
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill_process(Pid::from_raw(pid).expect("a process id"), signal).expect("a signal");
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.child.wait().expect("an end")
    }

    /// Waits for the end that it was told of.
    pub(crate) fn ended(mut self) -> ExitStatus {
        self.child.wait().expect("an end")
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(mut self) {
        self.signal(Signal::KILL);
        self.child.wait().expect("an end");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines that the reference implementation read in a picture.
pub(crate) fn expected_lines(picture: &str) -> Vec<String> {
    let path = environment()
        .root
        .join(format!("examples/label-reader/expected/{picture}.json"));
    let mut text = String::new();
    File::open(path)
        .expect("a recording")
        .read_to_string(&mut text)
        .expect("text");
    let recorded: Value = serde_json::from_str(&text).expect("JSON");
    lines(&recorded)
}

/// The texts under `lines`.
pub(crate) fn lines(value: &Value) -> Vec<String> {
    value["lines"]
        .as_array()
        .expect("lines")
        .iter()
        .map(|line| line["text"].as_str().expect("text").to_owned())
        .collect()
}

/// Edit distance over the length of what was expected.
pub(crate) fn character_error_rate(found: &[String], expected: &[String]) -> f64 {
    let expected = expected.join("\n");
    let errors = strsim::levenshtein(&found.join("\n"), &expected);
    errors as f64 / expected.chars().count() as f64
}
