//! A key that a TPM seals, with Debian's `swtpm` as the TPM. `.ci/run` builds this with the feature `tpm`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr as _;
use std::thread;
use std::time::{Duration, Instant};

use hotshoe_sealing::{DeviceKey, SealingKeyError};
use tss_esapi::handles::PcrHandle;
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Digest, DigestValues, Public};
use tss_esapi::traits::UnMarshall as _;
use tss_esapi::{Context, TctiNameConf};

/// Longest wait for a TPM.
const DEADLINE: Duration = Duration::from_secs(30);
/// The PCR of Secure Boot.
const PCR: u8 = 7;

/// A TPM in software.
struct Swtpm {
    process: Child,
    port: u16,
}

impl Swtpm {
    /// Switches a TPM on, whose seeds are in `state`.
    fn on(state: &Path) -> Self {
        fs::create_dir_all(state).unwrap();
        let started = Instant::now();
        loop {
            assert!(started.elapsed() < DEADLINE, "swtpm does not start");
            let Some(port) = two_free_ports() else {
                continue;
            };
            let process = Command::new("swtpm")
                .args(["socket", "--tpm2", "--flags", "startup-clear"])
                .args(["--tpmstate", &format!("dir={}", state.display())])
                .args(["--server", &format!("type=tcp,port={port}")])
                .args(["--ctrl", &format!("type=tcp,port={}", port + 1)])
                .stdout(Stdio::null())
                .spawn()
                .expect("Debian's package swtpm");
            let mut tpm = Self { process, port };
            if tpm.answers() {
                return tpm;
            }
        }
    }

    /// Whether it answers, before its process ends: another one may have taken its ports.
    fn answers(&mut self) -> bool {
        let started = Instant::now();
        while started.elapsed() < DEADLINE && self.process.try_wait().unwrap().is_none() {
            if Context::new(TctiNameConf::from_str(&self.address()).unwrap()).is_ok() {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }

    fn address(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
    }

    /// Extends a PCR, as a boot with other firmware does.
    fn extend(&self, pcr: PcrHandle) {
        let mut context = Context::new(TctiNameConf::from_str(&self.address()).unwrap()).unwrap();
        let mut digests = DigestValues::new();
        let digest = Digest::try_from(vec![1; 32]).unwrap();
        digests.set(HashingAlgorithm::Sha256, digest);
        context
            .execute_with_session(Some(AuthSession::Password), |context| {
                context.pcr_extend(pcr, digests)
            })
            .unwrap();
    }

    fn off(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The first of two ports in a row that are free: commands, and control.
fn two_free_ports() -> Option<u16> {
    let first = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = first.local_addr().unwrap().port();
    TcpListener::bind(("127.0.0.1", port.checked_add(1)?)).ok()?;
    Some(port)
}

/// A device with a key, and the key sealed by its TPM.
struct Device {
    folder: tempfile::TempDir,
    tpm: Swtpm,
    key: DeviceKey,
}

impl Device {
    fn new(pcrs: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tpm = Swtpm::on(&folder.path().join("tpm"));
        let plain = folder.path().join("plain.key");
        let key = DeviceKey::create(&plain).unwrap();
        let pcrs = pcrs.iter().copied().collect();
        let sealed = folder.path().join("sealed.key");
        let found = DeviceKey::seal_with_tpm(&plain, &sealed, &tpm.address(), &pcrs).unwrap();
        assert_eq!(found.id(), key.id());
        Self { folder, tpm, key }
    }

    fn sealed(&self) -> PathBuf {
        self.folder.path().join("sealed.key")
    }

    fn open(&self) -> Result<DeviceKey, SealingKeyError> {
        DeviceKey::from_tpm(&self.sealed(), &self.tpm.address())
    }

    /// The stable name of why the key does not open, and the text.
    fn error(&self) -> (&'static str, String) {
        let error = self.open().unwrap_err();
        (error.name(), error.to_string())
    }
}

#[test]
fn a_tpm_gives_the_key_again_and_its_file_shows_nothing_of_it() {
    let device = Device::new(&[PCR]);
    for _ in 0..5 {
        // More often than the TPM has room for objects and sessions: each try removes its own.
        assert_eq!(device.open().unwrap().id(), device.key.id());
    }
    let plain = fs::read_to_string(device.folder.path().join("plain.key")).unwrap();
    let sealed = fs::read_to_string(device.sealed()).unwrap();
    assert!(!sealed.contains(plain.trim_end()), "{sealed}");
    let sealed: serde_json::Value = serde_json::from_str(&sealed).unwrap();
    let public = hex::decode(sealed["public"].as_str().unwrap()).unwrap();
    let public = Public::unmarshall(&public).unwrap();
    // Otherwise an empty password opened it, whatever the PCRs are.
    assert!(!public.object_attributes().user_with_auth());
}

#[test]
fn a_key_does_not_open_once_its_pcr_is_extended_until_the_machine_boots_as_before() {
    let device = Device::new(&[0, PCR]);
    // It is not sealed to this one.
    device.tpm.extend(PcrHandle::Pcr4);
    assert_eq!(device.open().unwrap().id(), device.key.id());
    device.tpm.extend(PcrHandle::Pcr7);
    let (name, text) = device.error();
    assert_eq!(name, "tpm_pcr_changed");
    assert!(text.contains("because PCR 7 changed"), "{text}");
    device.tpm.extend(PcrHandle::Pcr0);
    let (name, text) = device.error();
    assert_eq!(name, "tpm_pcr_changed");
    assert!(text.contains("PCR 0 and PCR 7"), "{text}");

    let Device { folder, tpm, key } = device;
    tpm.off();
    let tpm = Swtpm::on(&folder.path().join("tpm"));
    let opened = DeviceKey::from_tpm(&folder.path().join("sealed.key"), &tpm.address());
    assert_eq!(opened.unwrap().id(), key.id());
}

#[test]
fn a_key_is_sealed_again_from_its_copy_after_an_update() {
    let device = Device::new(&[PCR]);
    device.tpm.extend(PcrHandle::Pcr7);
    let plain = device.folder.path().join("plain.key");
    let seal = || {
        let pcrs = BTreeSet::from([PCR]);
        DeviceKey::seal_with_tpm(&plain, &device.sealed(), &device.tpm.address(), &pcrs)
    };
    // It never replaces one.
    assert_eq!(seal().unwrap_err().name(), "sealing_key_exists");
    fs::remove_file(device.sealed()).unwrap();
    seal().unwrap();
    assert_eq!(device.open().unwrap().id(), device.key.id());
}

#[test]
fn a_key_of_another_tpm_is_told_from_a_missing_tpm_and_a_missing_file() {
    let device = Device::new(&[PCR]);
    let other = Swtpm::on(&device.folder.path().join("other"));
    let error = DeviceKey::from_tpm(&device.sealed(), &other.address()).unwrap_err();
    assert_eq!(error.name(), "sealed_by_another_tpm");
    let address = other.address();
    other.off();
    let no_tpm = [address.as_str(), "device:/dev/no-such-tpm"];
    for tpm in no_tpm {
        let error = DeviceKey::from_tpm(&device.sealed(), tpm).unwrap_err();
        assert_eq!(error.name(), "tpm_unavailable", "{tpm}");
        assert!(error.to_string().contains(tpm), "{error}");
    }
    let error = DeviceKey::from_tpm(&device.sealed(), "device:/dev/no-such-tpm").unwrap_err();
    assert!(error.to_string().contains("No such file"), "{error}");
    let error = DeviceKey::from_tpm(&device.sealed(), "/dev/tpmrm0").unwrap_err();
    assert_eq!(error.name(), "invalid_tpm_address");
    fs::remove_file(device.sealed()).unwrap();
    assert_eq!(device.error().0, "sealing_key_missing");
}

#[test]
fn pcrs_that_do_not_exist_and_no_pcr_at_all_are_refused() {
    let device = Device::new(&[PCR]);
    let plain = device.folder.path().join("plain.key");
    for pcrs in [
        BTreeSet::new(),
        BTreeSet::from([24]),
        BTreeSet::from([7, 255]),
    ] {
        let out = device.folder.path().join("other.key");
        let error = DeviceKey::seal_with_tpm(&plain, &out, &device.tpm.address(), &pcrs);
        assert_eq!(error.unwrap_err().name(), "invalid_pcrs", "{pcrs:?}");
        assert!(!out.exists());
    }
}

#[test]
fn no_changed_bit_of_the_file_makes_the_tpm_give_another_key() {
    let device = Device::new(&[PCR]);
    let whole = fs::read(device.sealed()).unwrap();
    let names = [
        "tpm_key_damaged",
        "sealed_by_another_tpm",
        "tpm_pcr_changed",
        "tpm_without_sha256",
    ];
    // Each fifth byte: a try takes the TPM some milliseconds.
    for at in (0..whole.len()).step_by(5) {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(device.sealed(), &changed).unwrap();
        match device.open() {
            // Spaces, the case of a digit, and the values of PCRs, which are for texts alone.
            Ok(key) => assert_eq!(key.id(), device.key.id()),
            Err(error) => assert!(names.contains(&error.name()), "{at}: {error}"),
        }
    }
    for len in [0, 1, whole.len() / 2, whole.len() - 3] {
        fs::write(device.sealed(), &whole[..len]).unwrap();
        assert_eq!(device.error().0, "tpm_key_damaged");
    }
}
