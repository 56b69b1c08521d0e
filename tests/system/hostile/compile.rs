//! Components that take the compiler far more than they have bytes: refused before, or at the limits of the process that compiles.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use super::made::{self, STAGE, component};
use super::start::{check, refusal, refusal_by};
use crate::site::{Packed, Site, light, settled_on};
use crate::support::{DEADLINE, Daemon, Workspace, success};

/// So many nested components, of which each instantiates the one inside twice.
fn doubling(levels: usize) -> Vec<u8> {
    let mut text = "(core module)".to_owned();
    for level in 0..levels {
        text = format!(
            "(component $c{level} {text}) (instance (instantiate $c{level})) (instance (instantiate $c{level}))"
        );
    }
    wat::parse_str(format!("(component {text})")).unwrap()
}

/// As many functions as a component may have. Compiling them takes seconds.
fn many_functions() -> Vec<u8> {
    let functions = "(func)".repeat(250_000);
    wat::parse_str(format!("(component (core module {functions}))")).unwrap()
}

/// A second release of the site with this stage.
fn second(site: &Site, stage: &[u8]) -> Packed {
    let file = made::file(&site.workspace, "second.wasm", stage);
    site.pack(&made::instead(&light(2, ""), &file))
}

/// The first release serves on, and the second one has failed by this name.
fn only_the_second_failed(daemon: &Daemon, cause: &str) {
    let state = daemon.wait_until(|state| !state["deploy"]["cause"].is_null());
    assert_eq!(state["deploy"]["cause"]["name"], cause, "{state:#}");
    assert!(settled_on(1)(&state), "{state:#}");
    let fed = daemon.feed(&[("a", b"abc".to_vec())]);
    assert!(fed[0].result.is_ok());
}

#[test]
fn nested_components_that_multiply_are_refused_by_their_limit() {
    let bomb = doubling(28);
    assert!(bomb.len() < 2048, "{} bytes", bomb.len());
    let words = ["too_complex: ", "`stage`", "more than 250000 definitions"];
    check(&refusal(&bomb, ""), &words);
    let workspace = Workspace::new();
    check(
        &workspace.refusal(&workspace.release(&made::recipe(&workspace, &bomb, ""))),
        &words,
    );

    let mut site = Site::new();
    let first = site.pack(&light(1, ""));
    let daemon = site.device("cam", &first, "").run();
    let second = second(&site, &bomb);
    site.publish(&second);
    only_the_second_failed(&daemon, "too_complex");
    // What it took is in the order of what a release takes: 268 million of anything would be more.
    assert!(daemon.peak_memory_kib() < 1 << 20);
}

#[test]
fn what_passes_the_count_ends_at_the_limits_of_the_process_that_compiles() {
    let long = many_functions();
    let said = refusal_by(&long, "", "[compile]\nmemory-mib = 16\n");
    check(
        &said,
        &[
            "compile_memory: ",
            "`stage`",
            "the 16 MiB of `[compile] memory-mib`",
        ],
    );
    let said = refusal_by(&long, "", "[compile]\ncpu-seconds = 1\n");
    check(
        &said,
        &[
            "compile_cpu: ",
            "the 1 s of processor time of `[compile] cpu-seconds`",
        ],
    );
    // Larger than what the process may hold before it begins.
    let mut data = "(component (core module (memory 300) (data (i32.const 0) \"".to_owned();
    write!(data, "{}\")))", "x".repeat(18 << 20)).unwrap();
    let large = wat::parse_str(data).unwrap();
    let said = refusal_by(&large, "", "[compile]\nmemory-mib = 16\n");
    check(&said, &["compile_memory: "]);
}

/// The process that a daemon compiles in, as soon as it is under way: then it has three pipes, and none of the daemon's files and sockets.
fn compiling(daemon: &Daemon) -> u32 {
    let parent = format!("PPid:\t{}\n", daemon.id());
    let is_it = |process: &Path| {
        let status = fs::read_to_string(process.join("status"));
        status.is_ok_and(|status| status.contains(&parent)) && has_pipes(process)
    };
    let started = Instant::now();
    loop {
        let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let found = processes.map(|entry| entry.path()).find(|it| is_it(it));
        if let Some(process) = found {
            // What the test itself was given without asking came to all of them.
            let own: Vec<PathBuf> = open_files(&process).into_iter().map(|(_, to)| to).collect();
            let of_daemon = own.iter().find(|to| {
                let to = to.to_string_lossy();
                to.starts_with("socket:") || to.contains("cam-data")
            });
            assert_eq!(of_daemon, None, "{own:?}");
            let id = process.file_name().unwrap().to_str().unwrap();
            return id.parse().unwrap();
        }
        assert!(started.elapsed() < DEADLINE, "{}", daemon.log());
        std::thread::yield_now();
    }
}

/// Whether what a process reads and writes are pipes, as after the start of another program and not before it.
fn has_pipes(process: &Path) -> bool {
    let open = open_files(process);
    let command = fs::read(process.join("cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&command).contains("compile-worker")
        && ["0", "1", "2"].iter().all(|number| {
            open.iter()
                .any(|(file, to)| file == number && to.to_string_lossy().starts_with("pipe:"))
        })
}

/// The files that a process has open: the number, and what it is.
fn open_files(process: &Path) -> Vec<(String, PathBuf)> {
    let files = fs::read_dir(process.join("fd")).into_iter().flatten();
    let file = |file: fs::DirEntry| {
        let to = fs::read_link(file.path()).ok()?;
        Some((file.file_name().into_string().ok()?, to))
    };
    files.filter_map(|it| file(it.ok()?)).collect()
}

#[test]
fn killing_the_process_that_compiles_costs_that_release_alone() {
    let mut site = Site::new();
    let first = site.pack(&light(1, ""));
    let daemon = site
        .device("cam", &first, "[compile]\nmemory-mib = 1000\n")
        .run();
    let second = second(&site, &many_functions());
    site.publish(&second);
    let worker = compiling(&daemon);
    let read = |name: &str| fs::read_to_string(format!("/proc/{worker}/{name}")).unwrap();
    assert_eq!(read("environ"), "");
    // It bounds itself before it reads anything, and may have come no further than its start.
    let bounded =
        || read("oom_score_adj").trim() == "1000" && read("limits").contains("1048576000");
    let started = Instant::now();
    while !bounded() {
        assert!(started.elapsed() < DEADLINE, "{}", read("limits"));
        std::thread::yield_now();
    }
    let worker = Pid::from_raw(i32::try_from(worker).unwrap()).unwrap();
    kill_process(worker, Signal::KILL).unwrap();
    only_the_second_failed(&daemon, "compile_worker");
}

#[test]
fn the_process_that_compiles_ends_with_the_daemon() {
    let mut site = Site::new();
    let first = site.pack(&light(1, ""));
    let daemon = site.device("cam", &first, "").run();
    let second = second(&site, &many_functions());
    site.publish(&second);
    let worker = compiling(&daemon);
    daemon.kill();
    let started = Instant::now();
    // If no caller waits for it, its entry stays.
    let lives = || {
        let status = fs::read_to_string(format!("/proc/{worker}/status"));
        status.is_ok_and(|status| !status.contains("State:\tZ"))
    };
    while lives() {
        assert!(started.elapsed() < DEADLINE, "it goes on alone");
        std::thread::yield_now();
    }
}

#[test]
fn code_from_the_process_that_compiles_is_kept_and_no_process_starts_for_what_is_kept() {
    const COMPILED: &str = "component compiled";
    let workspace = Workspace::new();
    let release = workspace.release(&made::recipe(&workspace, &component(STAGE), ""));
    let device = workspace.device("a", &release, "");
    let serves = |daemon: &Daemon| {
        daemon
            .feed(&[("good", b"good".to_vec())])
            .remove(0)
            .result
            .is_ok()
    };
    let daemon = device.run();
    assert!(serves(&daemon));
    assert!(!daemon.log().contains(COMPILED), "{}", daemon.log());
    assert!(daemon.stop().success());
    // What another process wrote before it is what this one writes.
    let folder = workspace.path("a-data/aot");
    let kept = || {
        let files = fs::read_dir(&folder).unwrap();
        let files = files.map(|file| fs::read(file.unwrap().path()).unwrap());
        files.collect::<Vec<_>>()
    };
    let before = kept();
    assert_eq!(before.len(), 1);
    fs::remove_dir_all(&folder).unwrap();
    let daemon = device.run();
    assert!(serves(&daemon));
    assert!(daemon.log().contains(COMPILED), "{}", daemon.log());
    assert!(before == kept(), "the code differs");
}

/// Two functions of many small loops. Compiling each takes minutes.
fn many_loops() -> Vec<u8> {
    let one = "(loop $a (if (local.get 0) (then (br $a))) (local.set 0 (i32.mul (local.get 0) (i32.const 5))))";
    let function = format!(
        "(func (param i32) (result i32) {} (local.get 0))",
        one.repeat(40_000)
    );
    wat::parse_str(format!("(component (core module {function}{function}))")).unwrap()
}

#[test]
fn a_daemon_that_compiles_drains_at_once() {
    let mut site = Site::new();
    let first = site.pack(&light(1, ""));
    let daemon = site.device("cam", &first, "").run();
    let second = second(&site, &many_loops());
    site.publish(&second);
    compiling(&daemon);
    assert!(daemon.stop().success());
}

#[test]
fn an_operator_cancels_a_release_while_it_is_compiled() {
    let mut site = Site::new();
    let first = site.pack(&light(1, ""));
    let device = site.device("cam", &first, "");
    let daemon = device.run();
    let second = second(&site, &many_loops());
    site.publish(&second);
    compiling(&daemon);
    let config = device.config.as_os_str();
    success(["cancel".as_ref(), "--config".as_ref(), config]);
    let state = daemon.wait_until(|state| state["slots"]["staged"].is_null());
    assert!(settled_on(1)(&state), "{state:#}");
    // It was not the release's fault, and another one is taken.
    let third = site.pack(&light(3, ""));
    site.publish(&third);
    daemon.feed_until(settled_on(3));
}
