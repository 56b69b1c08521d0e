//! What a release requires of the hardware.
#![allow(clippy::unwrap_used, reason = "tests")]

use hotshoe_trust::{Hardware, Requires, toml_file};

fn hardware() -> Hardware {
    Hardware {
        class: "NVIDIA Jetson Orin Nano".to_owned(),
        architecture: "aarch64".to_owned(),
        cores: 6,
        memory_mib: Some(7_620),
    }
}

fn lacking(text: &str, hardware: &Hardware) -> Option<String> {
    let requires: Requires = toml_file::parse(text).unwrap();
    requires.lacking(hardware)
}

#[test]
fn a_device_that_has_everything_lacks_nothing() {
    let all = "classes = [\"Raspberry*\", \"NVIDIA Jetson*\"]\narchitectures = [\"aarch64\"]\ncores = 6\nmemory-mib = 7620\n";
    assert_eq!(lacking(all, &hardware()), None);
    assert_eq!(lacking("", &hardware()), None);
    let unknown = Hardware {
        memory_mib: None,
        ..hardware()
    };
    assert_eq!(lacking("", &unknown), None);
}

#[test]
fn each_lack_is_named() {
    for (text, part) in [
        (
            "classes = [\"Raspberry*\"]\n",
            "class `NVIDIA Jetson Orin Nano`",
        ),
        ("architectures = [\"x86_64\"]\n", "architecture `aarch64`"),
        ("cores = 7\n", "6 cores, not 7"),
        ("memory-mib = 7621\n", "7620 MiB of memory, not 7621"),
    ] {
        let lack = lacking(text, &hardware()).unwrap();
        assert!(lack.contains(part), "{lack}");
    }
    let unknown = Hardware {
        memory_mib: None,
        ..hardware()
    };
    assert!(
        lacking("memory-mib = 1\n", &unknown)
            .unwrap()
            .contains("not known")
    );
}
