//! `hotshoe demo`, as the README has it, for a shorter time.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use hotshoe_devkit::{Progress, fetch_runtime, find_root};
use hotshoe_store::Layout;
use serde_json::Value;

/// What the page's server answers.
fn page(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_demo_reads_the_page_and_updates_itself_without_losing_a_sample() {
    let root = find_root(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_hotshoe-demo"))
        .args(["--seconds", "2", "--page", "--json"])
        .current_dir(&root)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut notes = String::new();
    let mut lines = BufReader::new(demo.stderr.take().unwrap()).lines();
    for line in lines.by_ref() {
        let line = line.unwrap();
        notes += &format!("{line}\n");
        if let Some((_, address)) = line.split_once("http://") {
            assert!(page(address.trim_end_matches('/')).contains("<h1 id=\"device\">"));
            break;
        }
    }
    let rest = thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>().join("\n"));
    let output = demo.wait_with_output().unwrap();
    notes += &rest.join().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{notes}");
    assert!(
        notes.contains("page             http://127.0.0.1:"),
        "{notes}"
    );
    let summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let count = |name: &str| summary[name].as_u64().unwrap();
    assert!(count("samples") >= 4);
    assert_eq!(
        count("samples"),
        count("results") + count("dropped") + count("failed")
    );
    assert_eq!(count("lost") + count("dropped"), 0);
    assert_eq!(summary["text"]["page.png"].as_array().unwrap().len(), 5);
    assert!(summary["stages"]["read-page"]["p50_us"].as_u64().unwrap() > 0);

    // Where ONNX Runtime can be had, each model had the choice.
    let models = summary["models"].as_object().unwrap();
    assert!(!models.is_empty(), "{summary}");
    if fetch_runtime(&root, &Progress::plain()).is_ok_and(|it| it.is_some()) {
        for (name, model) in models {
            let reason = model["reason"].as_str().unwrap();
            assert!(!reason.contains("no ONNX Runtime"), "{name}: {model}");
        }
    }

    assert!(count("swaps") >= 2, "{summary}");
    assert_eq!((count("rollbacks"), count("refused")), (1, 1), "{summary}");
    assert!(summary["max_gap_ms"].as_f64().unwrap() > 0.0);
    let [installed, better, flaky, strange] = summary["versions"].as_array().unwrap().as_slice()
    else {
        panic!("there are four versions: {summary}");
    };
    let phase = |version: &Value| version["phase"].as_str().unwrap().to_owned();
    assert_eq!(phase(installed), "live");
    assert_eq!(phase(better), "live");
    assert!(better["results"].as_u64().unwrap() >= 6, "{better}");
    assert!(better["bytes_moved"].as_u64().unwrap() > 0, "{better}");
    assert_eq!(phase(flaky), "rolled-back");
    assert_eq!(phase(strange), "refused");
    assert_eq!(strange["results"], 0, "{strange}");
    // Nothing failed but what trapped, and only the version that traps did.
    assert_eq!(flaky["failed"].as_u64().unwrap(), count("failed"));
    assert!(count("failed") > 0);

    let release = Layout::open(&root.join("target/demo/release")).unwrap();
    let package = release.package().unwrap();
    let text = String::from_utf8(package.config).unwrap();
    assert!(text.contains("read-page"), "{text}");
}
