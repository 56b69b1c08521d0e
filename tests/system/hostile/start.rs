//! Components that misbehave before their first call: in their start-up code, by what they are made of, or while they are compiled.

use std::fmt::Write as _;
use std::fs;

use super::made::{self, STAGE, component};
use crate::site::{Site, light, settled_on};
use crate::support::{Workspace, failure, free_endpoint};

/// The stage with start-up code.
fn starting(body: &str) -> Vec<u8> {
    let memory = "(memory (export \"memory\") 2)";
    let start = format!("{memory}\n(func $init {body})\n(start $init)");
    component(&STAGE.replace(memory, &start))
}

/// What `hotshoe install` says of a release of this stage.
pub(crate) fn refusal(component: &[u8], lines: &str) -> String {
    refusal_by(component, lines, "")
}

pub(crate) fn refusal_by(component: &[u8], lines: &str, config: &str) -> String {
    let workspace = Workspace::new();
    let release = workspace.release(&made::recipe(&workspace, component, lines));
    let text = format!(
        "site = \"lab\"\ndevice = \"a\"\ndata = \"data\"\ntrust = \"trust.toml\"\n[zenoh]\nlisten = [\"{}\"]\n{config}\n",
        free_endpoint()
    );
    fs::write(workspace.path("a.toml"), text).unwrap();
    let config = workspace.path("a.toml").display().to_string();
    let release = release.display().to_string();
    failure(["install", &release, "--config", &config])
}

pub(crate) fn check(said: &str, expected: &[&str]) {
    for part in expected {
        assert!(said.contains(part), "`{said}` does not say `{part}`");
    }
}

#[test]
fn what_does_not_start_is_not_installed() {
    let limits = "limits = { memory-mib = 4, deadline-ms = 300, table-elements = 100 }";
    let small = |text: &str, with: &str| component(&STAGE.replace(text, with));
    let starts = [
        (
            starting("unreachable"),
            "instruction executed (instantiation)",
        ),
        (
            starting("(loop $again (br $again))"),
            "deadline of 300 ms (deadline)",
        ),
        (starting("(call $init)"), "exhausted (instantiation)"),
        (
            starting("(drop (memory.grow (i32.const 1000))) unreachable"),
            "memory-mib of 4 MiB (memory)",
        ),
        (
            small(
                "(memory (export \"memory\") 2)",
                "(memory (export \"memory\") 100)",
            ),
            "memory-mib of 4 MiB (memory)",
        ),
        (
            small("(table $table 1 funcref)", "(table $table 101 funcref)"),
            "table-elements of 100 (table)",
        ),
    ];
    for (component, words) in starts {
        let said = refusal(&component, limits);
        check(&said, &["warm_up_failed: ", "`stage`", words]);
    }
    let few = "limits = { instances = 1 }";
    check(
        &refusal(&component(STAGE), few),
        &[
            "warm_up_failed: ",
            "instance count too high",
            "(instantiation)",
        ],
    );
}

#[test]
fn what_is_too_large_or_too_much_work_is_not_compiled() {
    let mut many = "(component (core module $m)".to_owned();
    for _ in 0..300 {
        many += "(core instance (instantiate $m))";
    }
    many += ")";
    let said = refusal(&wat::parse_str(many).unwrap(), "");
    check(&said, &["not_a_component: ", "300 core module instances"]);

    let said = refusal(
        &component(&STAGE.replace("1 funcref)", "300000 funcref)")),
        "",
    );
    check(&said, &["not_a_component: ", "300000"]);

    let mut functions = "(component (core module".to_owned();
    functions += &"(func)".repeat(250_001);
    functions += "))";
    let said = refusal(&wat::parse_str(functions).unwrap(), "");
    check(&said, &["too_complex: ", "250001 functions", "250000"]);

    let mut body = String::new();
    for _ in 0..600_000 {
        body += "(drop (i32.const 1))";
    }
    let mut long = "(component (core module (func ".to_owned();
    write!(long, "{body})))").unwrap();
    let said = refusal(&wat::parse_str(long).unwrap(), "");
    check(&said, &["too_complex: ", "function", "bytes"]);
}

#[test]
fn a_release_that_asks_for_more_than_the_device_gives_is_refused_with_both_numbers() {
    let said = refusal_by(
        &component(STAGE),
        "limits = { memory-mib = 128 }",
        "[limits]\nmemory-mib = 96\n",
    );
    check(
        &said,
        &[
            "limit_too_high: ",
            "memory-mib = 128",
            "at most 96",
            "[limits]",
        ],
    );
}

#[test]
fn a_release_that_does_not_start_never_serves_and_the_live_one_goes_on() {
    let mut site = Site::new();
    let first = site.pack(&light(1, ""));
    let daemon = site.device("cam", &first, "").run();
    let file = made::file(&site.workspace, "start.wasm", &starting("unreachable"));
    let second = site.pack(&made::instead(&light(2, ""), &file));
    site.publish(&second);
    let state = daemon.wait_until(|state| state["deploy"]["cause"]["name"] == "warm_up_failed");
    assert!(settled_on(1)(&state), "{state:#}");
    let fed = daemon.feed(&[("a", b"abc".to_vec())]);
    assert!(fed[0].result.is_ok());
}
