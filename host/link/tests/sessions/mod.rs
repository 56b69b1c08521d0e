//! Configurations of sessions on loopback.

use hotshoe_config::ZenohConfig;

/// Listens on a free port.
pub(crate) fn listening() -> ZenohConfig {
    ZenohConfig {
        listen: vec!["tcp/127.0.0.1:0".to_owned()],
        ..ZenohConfig::default()
    }
}

/// Connects to these locators alone.
pub(crate) fn connected(locators: Vec<String>) -> ZenohConfig {
    ZenohConfig {
        connect: locators,
        listen: Vec::new(),
        ..ZenohConfig::default()
    }
}
