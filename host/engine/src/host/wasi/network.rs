//! Network access of an instance: the hosts that its release lists and the device allows, and the addresses that they resolved to.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hotshoe_trust::HostPort;
use parking_lot::Mutex;
use wasmtime_wasi::sockets::SocketAddrUse;

use super::super::Services;
use super::super::bindings::hotshoe::pipeline::log::Level;

/// Most resolved addresses that one instance keeps.
const MAX_ADDRESSES: usize = 1024;

/// Network access of one instance.
pub(super) struct NetworkAccess {
    services: Arc<Services>,
    /// Addresses that listed names resolved to in this instance.
    resolved: Mutex<BTreeSet<SocketAddr>>,
}

impl NetworkAccess {
    pub(super) fn new(services: &Arc<Services>) -> Arc<Self> {
        Arc::new(Self {
            services: Arc::clone(services),
            resolved: Mutex::default(),
        })
    }

    fn hosts(&self) -> &BTreeSet<HostPort> {
        &self.services.wasi().hosts
    }

    /// Whether the release lists this host and port.
    pub(super) fn lists(&self, host: &HostPort) -> bool {
        self.hosts().contains(host)
    }

    /// Whether the release lists this name with any port.
    pub(super) fn lists_name(&self, name: &str) -> bool {
        self.hosts().iter().any(|listed| listed.host == name)
    }

    /// Records an address of a listed name, for the ports that are listed with it.
    pub(super) fn record_address(&self, name: &str, address: IpAddr) {
        let address = address.to_canonical();
        if !may_resolve_to(name, address) {
            let message = format!(
                "the name `{name}` resolves to {address}, which is a loopback or link-local address; connections to it are refused"
            );
            self.services.write_log(Level::Warn, message);
            return;
        }
        let mut resolved = self.resolved.lock();
        for listed in self.hosts().iter().filter(|listed| listed.host == name) {
            if resolved.len() < MAX_ADDRESSES {
                resolved.insert(SocketAddr::new(address, listed.port));
            }
        }
    }

    /// Whether a socket may use this address for this purpose. The address is checked when it connects, so that a changed name does not help.
    pub(super) fn allows(&self, address: SocketAddr, purpose: SocketAddrUse) -> bool {
        match purpose {
            // The implicit bind of a connection.
            SocketAddrUse::TcpBind => address.ip().is_unspecified() && address.port() == 0,
            SocketAddrUse::TcpConnect => self.allows_connect(address),
            SocketAddrUse::TcpListen
            | SocketAddrUse::TcpAccept
            | SocketAddrUse::UdpBind
            | SocketAddrUse::UdpSend
            | SocketAddrUse::UdpReceive => false,
        }
    }

    fn allows_connect(&self, address: SocketAddr) -> bool {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let listed = HostPort {
            host: address.ip().to_string(),
            port: address.port(),
        };
        let resolved = self.resolved.lock();
        let allowed = self.lists(&listed) || resolved.contains(&address);
        drop(resolved);
        if !allowed {
            self.log_refusal(&format!("a connection to {address}"), &listed.to_string());
        }
        allowed
    }

    /// Logs a refusal, with the line that would allow it.
    pub(super) fn log_refusal(&self, what: &str, host: &str) {
        let name = self.services.name();
        let message = format!(
            "{what} was refused because the release does not list it: add \"{}\" to `hosts` under [components.{name}] in release.toml",
            host.escape_debug()
        );
        self.services.write_log(Level::Warn, message);
    }
}

/// Whether a name may resolve to this address. The owner of a name controls its addresses, so that it must not give access to loopback or
/// link-local services. A release that needs those lists the address itself, or `localhost`.
pub(super) fn may_resolve_to(name: &str, address: IpAddr) -> bool {
    if address.is_loopback() {
        return name == "localhost";
    }
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(link_local || address.is_unspecified() || address.is_multicast())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_name_leads_to_no_address_of_this_machine_alone() {
        for (name, address, expected) in [
            ("api.example.org", "192.0.2.1", true),
            ("nas.local", "10.0.0.7", true),
            ("api.example.org", "127.0.0.1", false),
            ("api.example.org", "::1", false),
            ("api.example.org", "169.254.169.254", false),
            ("api.example.org", "fe80::1", false),
            ("api.example.org", "0.0.0.0", false),
            ("localhost", "127.0.0.1", true),
            ("localhost", "169.254.169.254", false),
        ] {
            assert_eq!(
                may_resolve_to(name, address.parse().unwrap()),
                expected,
                "{name} {address}"
            );
        }
    }
}
