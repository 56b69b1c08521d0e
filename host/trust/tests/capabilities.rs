//! What a component imports, what its release grants, and what the device allows.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use common::release;
use hotshoe_trust::{
    Access, Allowed, Component, Folder, Grant, Need, capabilities, check_imports, need,
};

const LOG: &str = "hotshoe:pipeline/log@0.1.0";
const HTTP: &str = "wasi:http/outgoing-handler@0.2.3";
const TCP: &str = "wasi:sockets/tcp@0.2.0";

/// A policy that may do all.
fn reaching() -> Component {
    let mut component = release().components["label"].clone();
    component.grants = [Grant::Log, Grant::Wasi, Grant::WasiSockets].into();
    component.folders.insert("/models".into(), Access::Write);
    component.hosts.insert("a.example:443".parse().unwrap());
    component.topics.insert("count".into());
    component
}

#[test]
fn imports_need_what_they_name() {
    for (import, expected) in [
        (LOG, Need::Grant(Grant::Log)),
        ("hotshoe:pipeline/types@0.1.0", Need::Nothing),
        ("hotshoe:pipeline/log@0.2.0", Need::Grant(Grant::Log)),
        ("hotshoe:pipeline/log@0.3.0", Need::Unknown),
        (TCP, Need::Grant(Grant::Wasi)),
        (HTTP, Need::Grant(Grant::WasiHttp)),
        ("wasi:http/incoming-handler@0.2.3", Need::Unknown),
        ("wasi:clocks/monotonic-clock@0.3.0", Need::Unknown),
        (
            "wasi:nn/graph@0.2.0-rc-2024-10-28",
            Need::Grant(Grant::WasiNn),
        ),
        ("wasi:nn/graph@0.2.0-rc-2024-06-25", Need::Unknown),
        ("env", Need::Unknown),
    ] {
        assert_eq!(need(import), expected, "{import}");
    }
}

#[test]
fn a_missing_grant_is_named_with_the_whole_line() {
    let grants = [Grant::Log].into();
    check_imports("a", &[LOG], &grants).unwrap();
    let error = check_imports("a", &[LOG, HTTP, TCP], &grants).unwrap_err();
    assert_eq!(error.name(), "not_granted");
    let said = error.to_string();
    assert!(said.contains("under [components.a]"), "{said}");
    assert!(
        said.contains("grants = [\"log\", \"wasi\", \"wasi-http\"]"),
        "{said}"
    );
    let error = check_imports("a", &["wasi:http/types@0.3.0"], &grants).unwrap_err();
    assert_eq!(error.name(), "unknown_import");
}

#[test]
fn a_component_that_imports_its_whole_world_is_told_to_narrow_it() {
    let whole = [
        "log", "metrics", "clock", "config", "data", "state", "vision", "infer",
    ];
    let imports = whole.map(|name| format!("hotshoe:pipeline/{name}@0.2.0"));
    let imports: Vec<&str> = imports.iter().map(String::as_str).collect();
    let said = |imports: &[&str]| {
        let error = check_imports("a", imports, &[Grant::Log].into()).unwrap_err();
        error.to_string()
    };
    assert!(said(&imports).contains("a world of your own"));
    assert!(!said(&imports[..7]).contains("a world of your own"));
}

#[test]
fn the_device_has_the_last_word() {
    let spec = reaching();
    let mut allowed = Allowed {
        grants: [Grant::Log].into(),
        topics: vec!["cou*".into()],
        ..Allowed::default()
    };
    let refused = |allowed: &Allowed| allowed.check("a", &spec).unwrap_err();
    assert_eq!(refused(&allowed).name(), "not_allowed");
    allowed.grants.extend([Grant::Wasi, Grant::WasiSockets]);
    assert_eq!(refused(&allowed).name(), "host_not_allowed");
    allowed.hosts.insert("A.example:443".parse().unwrap());
    assert_eq!(refused(&allowed).name(), "folder_not_mapped");
    let folder = |access| Folder {
        path: "here".into(),
        access,
    };
    allowed
        .folders
        .insert("/models".into(), folder(Access::Read));
    assert_eq!(refused(&allowed).name(), "folder_read_only");
    allowed
        .folders
        .insert("/models".into(), folder(Access::Write));
    allowed.check("a", &spec).unwrap();
    allowed.topics = vec!["picture".into()];
    assert_eq!(refused(&allowed).name(), "topic_not_allowed");
}

#[test]
fn three_columns_stand_side_by_side() {
    let spec = reaching();
    let allowed = Allowed {
        grants: [Grant::Log, Grant::Infer].into(),
        ..Allowed::default()
    };
    let table = capabilities("a", [LOG, HTTP, TCP, "env"], Some(&spec), Some(&allowed));
    assert_eq!(table.unknown, ["env"]);
    let row = |name: &str| table.rows.iter().find(|row| row.name == name).unwrap();
    let columns = |name: &str| {
        let row = row(name);
        (!row.imports.is_empty(), row.granted, row.allowed)
    };
    assert_eq!(columns("log"), (true, Some(true), Some(true)));
    assert_eq!(columns("wasi"), (true, Some(true), Some(false)));
    assert_eq!(columns("wasi-sockets"), (true, Some(true), Some(false)));
    assert_eq!(columns("wasi-http"), (true, Some(false), Some(false)));
    assert_eq!(
        columns("folder /models (write)"),
        (false, Some(true), Some(false))
    );
    assert_eq!(columns("topic count"), (false, Some(true), Some(true)));
    let add = row("wasi-http").add.clone().unwrap();
    assert_eq!(
        (add.file, add.table.as_str()),
        ("release.toml", "[components.a]")
    );
    let add = row("host a.example:443").add.clone().unwrap();
    assert_eq!(
        (add.table.as_str(), add.line.as_str()),
        ("[network]", "hosts = [\"a.example:443\"]")
    );
    assert_eq!(table.missing().count(), 5);
    // Without a release or a device there is one column.
    let alone = capabilities("a", [LOG], None, None);
    assert_eq!((alone.rows[0].granted, alone.rows[0].allowed), (None, None));
    assert_eq!(alone.missing().count(), 0);
    let idle = capabilities("a", [], Some(&spec), None);
    let unused: Vec<&str> = idle.unused().map(|row| row.name.as_str()).collect();
    assert_eq!(unused, ["log", "wasi", "wasi-sockets"]);
}
