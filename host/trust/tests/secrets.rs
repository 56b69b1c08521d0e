//! Secrets of a device that a component reads: the release lists them, and the device allows them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use common::release;
use hotshoe_trust::{Allowed, Component, Grant, capabilities};

/// A policy that reads two secrets.
fn reading() -> Component {
    let mut component = release().components["label"].clone();
    component.grants.insert(Grant::Config);
    component.secrets = ["broker", "camera"].map(str::to_owned).into();
    component
}

#[test]
fn a_device_allows_each_secret_by_its_name() {
    let spec = reading();
    let mut allowed = Allowed {
        grants: spec.grants.clone(),
        secrets: ["camera".to_owned()].into(),
        ..Allowed::default()
    };
    let error = allowed.check("a", &spec).unwrap_err();
    assert_eq!(error.name(), "secret_not_allowed");
    let said = error.to_string();
    assert!(
        said.contains("[secrets]\nallow = [\"broker\", \"camera\"]"),
        "{said}"
    );
    let table = capabilities("a", [], Some(&spec), Some(&allowed));
    let allowed_here = |name: &str| {
        let row = table.rows.iter().find(|row| row.name == name).unwrap();
        (row.granted, row.allowed)
    };
    assert_eq!(allowed_here("secret broker"), (Some(true), Some(false)));
    assert_eq!(allowed_here("secret camera"), (Some(true), Some(true)));
    allowed.secrets.insert("broker".to_owned());
    allowed.check("a", &spec).unwrap();
}

#[test]
fn secrets_need_the_grant_config_and_are_at_most_sixteen() {
    let judged = |names: usize, is_granted: bool| {
        let mut release = release();
        let component = release.components.get_mut("label").unwrap();
        component.secrets = (0..names).map(|name| format!("secret-{name}")).collect();
        component.grants.remove(&Grant::Config);
        if is_granted {
            component.grants.insert(Grant::Config);
        }
        release.validate().map_err(|error| error.to_string())
    };
    assert_eq!(judged(16, true), Ok(()));
    assert!(judged(1, false).unwrap_err().contains("secrets"));
    let many = judged(17, true).unwrap_err();
    assert!(many.contains("secrets of component `label`"), "{many}");
}

#[test]
fn a_release_without_secrets_is_written_as_before() {
    let release = release();
    let json = serde_json::to_string(&release).unwrap();
    assert!(!json.contains("secrets"), "{json}");
}
