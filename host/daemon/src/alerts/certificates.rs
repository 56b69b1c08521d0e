//! When the certificates that hotshoe.toml names expire.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hotshoe_base::{Clock, files};
use hotshoe_config::{Config, FrontTls};
use hotshoe_trust::Time;
use x509_parser::pem::Pem;

use super::conditions::Expiring;

/// Largest file of certificates, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// How long what was read of the files is used.
const KEPT: Duration = Duration::from_secs(60);

/// The certificates, as they were read last.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    read: Option<Instant>,
    files: Vec<(&'static str, PathBuf)>,
    found: Vec<Expiring>,
}

impl Certificates {
    /// The certificates of a configuration. Files are read each minute, and when the configuration names others.
    pub(super) fn of(&mut self, config: &Config, clock: &Clock) -> Vec<Expiring> {
        let files = named(config);
        let is_old = self.read.is_none_or(|read| clock.elapsed(read) >= KEPT);
        if is_old || files != self.files {
            self.found = files
                .iter()
                .map(|(key, path)| Expiring {
                    subject: (*key).to_owned(),
                    expires: expiry(path),
                })
                .collect();
            self.read = Some(clock.now());
            self.files = files;
        }
        self.found.clone()
    }
}

/// The files with certificates, with the keys that name them.
fn named(config: &Config) -> Vec<(&'static str, PathBuf)> {
    let mut named = Vec::new();
    let mut add = |key, path: Option<&PathBuf>| {
        if let Some(path) = path {
            named.push((key, path.clone()));
        }
    };
    if let Some(tls) = &config.zenoh.tls {
        add("zenoh.tls.ca", tls.ca.as_ref());
        add("zenoh.tls.certificate", tls.certificate.as_ref());
    }
    if let Some(mqtt) = &config.outbox.mqtt {
        add("outbox.mqtt.ca", mqtt.ca.as_ref());
        add("outbox.mqtt.certificate", mqtt.certificate.as_ref());
    }
    if let Some(telemetry) = &config.telemetry {
        add("telemetry.ca", telemetry.ca.as_ref());
    }
    let oip = config.oip.as_ref().and_then(|it| it.tls.as_ref());
    let page = config.page.as_ref().and_then(|it| it.tls.as_ref());
    let metrics = config.metrics.as_ref().and_then(|it| it.tls.as_ref());
    let mut front = |keys: [&'static str; 2], tls: Option<&FrontTls>| {
        add(keys[0], tls.map(|it| &it.certificate));
        add(keys[1], tls.and_then(|it| it.client_ca.as_ref()));
    };
    front(["oip.tls.certificate", "oip.tls.client-ca"], oip);
    front(["page.tls.certificate", "page.tls.client-ca"], page);
    front(
        ["metrics.tls.certificate", "metrics.tls.client-ca"],
        metrics,
    );
    named
}

/// When the first certificate of a file expires. `None` if it has none, or cannot be read: the part that uses the file reports that.
fn expiry(path: &Path) -> Option<Time> {
    let bytes = files::read_bytes(path, MAX_FILE_BYTES).ok()?;
    let pems = Pem::iter_from_buffer(&bytes).filter_map(Result::ok);
    let expires = pems.filter_map(|pem| {
        let certificate = pem.parse_x509().ok()?;
        Time::from_second(certificate.validity().not_after.timestamp()).ok()
    });
    expires.min()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::fs;

    use hotshoe_base::VirtualClock;
    use hotshoe_tests::Authority;

    use super::*;

    #[test]
    fn a_certificate_says_when_it_expires_and_other_files_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let issued = Authority::new(folder.path()).issue("line-4");
        // What rcgen says unless it is told otherwise.
        let end: Time = "4096-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(expiry(&issued.certificate), Some(end));
        assert_eq!(expiry(&issued.key), None);
        assert_eq!(expiry(&folder.path().join("missing.pem")), None);
    }

    #[test]
    fn every_key_of_a_certificate_is_watched() {
        let text = "site = \"lab\"\ndevice = \"line-4\"\n[telemetry]\nendpoint = \"https://collector\"\nca = \"ca.pem\"\n\
            [metrics]\nlisten = \"127.0.0.1:9\"\ntls = { certificate = \"a.pem\", key = \"a.key\", client-ca = \"b.pem\" }\n";
        let config = Config::parse(text, Path::new("/etc")).unwrap();
        let keys: Vec<&str> = named(&config).into_iter().map(|(key, _)| key).collect();
        let expected = [
            "telemetry.ca",
            "metrics.tls.certificate",
            "metrics.tls.client-ca",
        ];
        assert_eq!(keys, expected);
    }

    #[test]
    fn a_renewed_certificate_is_read_within_a_minute() {
        let folder = tempfile::tempdir().unwrap();
        let issued = Authority::new(folder.path()).issue("line-4");
        let text = "site = \"lab\"\ndevice = \"line-4\"\n[zenoh.tls]\nca = \"ca.pem\"\ncertificate = \"own.pem\"\nkey = \"line-4.key\"\n";
        let config = Config::parse(text, folder.path()).unwrap();
        let time = VirtualClock::at(std::time::UNIX_EPOCH);
        let mut certificates = Certificates::default();
        let mut own = || {
            let found = certificates.of(&config, &time.clock());
            let own = found
                .iter()
                .find(|it| it.subject == "zenoh.tls.certificate");
            assert_eq!(found.len(), 2);
            own.unwrap().expires
        };
        assert_eq!(own(), None);
        fs::copy(&issued.certificate, folder.path().join("own.pem")).unwrap();
        assert_eq!(own(), None);
        time.advance(KEPT);
        assert!(own().is_some());
    }
}
