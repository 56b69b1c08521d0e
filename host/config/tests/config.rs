//! `hotshoe.toml`: defaults, every key, and mistakes that are named.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use hotshoe_config::{After, Config, ConfigError, MESSAGE_OVERHEAD, WhenFull};
use hotshoe_infer::BackendChoice;
use hotshoe_trust::{Blob, Grant, Model};

const SHORTEST: &str = "site = \"lab\"\ndevice = \"camera-1\"\n";

const EVERYTHING: &str = r#"
site = "lab"
device = "camera-1"
labels = { line = "3" }
data = "state"
trust = "/etc/hotshoe/trust.toml"
allow = ["log", "wasi"]

[zenoh]
connect = ["tcp/192.0.2.1:7447"]
listen = ["tcp/0.0.0.0:7447"]
namespace = "plant/7"
scouting = true
max-message-bytes = 4194304

[intake]
queue = 4
when-full = "drop-oldest"
block-timeout-ms = 100
max-sample-bytes = 1000

[watch]
folder = "in"
after = "move"

[workers]
threads = 2

[drain]
deadline-ms = 10

[metrics]
listen = "127.0.0.1:9000"

[inference]
backend = "ort"
threads = 2
pool = 8
max-runs = 4
library = "lib/libonnxruntime.so"

[[inference.providers]]
name = "cuda"
options = { device_id = "0" }

[inference.models.detect]
backend = "tract"
threads = 3
max-runs = 1
prefer = ["int8"]
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/srv"))
}

/// The error with all its causes.
fn complaint(text: &str) -> String {
    let error = parse(text).unwrap_err();
    let mut all = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        all.push_str(": ");
        all.push_str(&error.to_string());
        cause = error.source();
    }
    all
}

#[test]
fn the_shortest_has_quiet_defaults() {
    let config = parse(SHORTEST).unwrap();
    assert_eq!(config.data, Path::new("/srv/data"));
    assert_eq!(config.trust, Path::new("/srv/trust.toml"));
    assert!(!config.zenoh.scouting);
    assert!(config.zenoh.listen.is_empty() && config.zenoh.connect.is_empty());
    assert_eq!(config.zenoh.max_message_bytes, 8 << 20);
    assert_eq!(config.intake.queue, 16);
    assert_eq!(config.intake.when_full, WhenFull::Block);
    assert_eq!(config.intake.block_timeout_ms, 4_000);
    assert_eq!(config.intake.max_sample_bytes, 7 << 20);
    assert!(config.workers.threads >= 1);
    assert_eq!(config.drain.deadline(), Duration::from_secs(5));
    assert!(config.watch.is_none() && config.metrics.is_none());
    assert_eq!(config.inference.backend, BackendChoice::Auto);
    assert_eq!((config.inference.threads, config.inference.pool), (1, None));
    assert!(config.allow.contains(&Grant::WasiNn) && !config.allow.contains(&Grant::Wasi));
}

#[test]
fn every_key_is_read() {
    let config = parse(EVERYTHING).unwrap();
    assert_eq!(config.data, Path::new("/srv/state"));
    assert_eq!(config.trust, Path::new("/etc/hotshoe/trust.toml"));
    assert_eq!(config.identity().labels["line"], "3");
    assert_eq!(config.identity().name, "camera-1");
    assert_eq!(config.allow.len(), 2);
    assert_eq!(config.zenoh.namespace.as_deref(), Some("plant/7"));
    assert_eq!(config.intake.when_full, WhenFull::DropOldest);
    let watch = config.watch.unwrap();
    assert_eq!(
        (watch.folder.as_path(), watch.after),
        (Path::new("/srv/in"), After::Move)
    );
    assert_eq!(config.workers.threads, 2);
    assert_eq!(config.metrics.unwrap().listen.port(), 9_000);

    let options = config.inference.options();
    assert_eq!(options.pool, 8);
    let library = options.ort.library.as_deref();
    assert_eq!(library, Some(Path::new("/srv/lib/libonnxruntime.so")));
    assert_eq!(options.ort.providers[0].name, "cuda");
    assert_eq!(options.ort.providers[0].options["device_id"], "0");
    let model = Model {
        max_batch: 5,
        max_wait_us: 7,
        ..Model::of(Blob::of(b"onnx"))
    };
    let other = config.inference.model("other", &model);
    assert_eq!(
        (other.backend, other.threads, other.max_runs),
        (BackendChoice::Ort, 2, Some(4))
    );
    assert_eq!(
        (other.max_batch, other.max_wait),
        (5, Duration::from_micros(7))
    );
    let detect = config.inference.model("detect", &model);
    assert_eq!(
        (detect.backend, detect.threads, detect.max_runs),
        (BackendChoice::Tract, 3, Some(1))
    );
    assert_eq!(config.inference.prefer("detect"), ["int8"]);
    assert!(config.inference.prefer("other").is_empty());
}

#[test]
fn a_library_that_is_a_name_alone_is_left_to_the_system() {
    let text = format!("{SHORTEST}[inference]\nlibrary = \"libonnxruntime.so\"\n");
    let library = parse(&text).unwrap().inference.library;
    assert_eq!(library.as_deref(), Some(Path::new("libonnxruntime.so")));
}

#[test]
fn a_command_reaches_the_daemon_where_it_listens() {
    let client = parse(EVERYTHING).unwrap().zenoh.client();
    assert_eq!(client.connect, ["tcp/127.0.0.1:7447"]);
    assert!(client.listen.is_empty());
    assert_eq!(client.namespace.as_deref(), Some("plant/7"));
}

#[test]
fn a_spelling_mistake_is_named_with_the_nearest_key() {
    for (mistake, wrong, right) in [
        ("sight = \"lab\"", "sight", "site"),
        ("[intake]\nqueu = 3", "queu", "queue"),
        ("[zenoh]\nconect = []", "conect", "connect"),
        ("[intakes]\nqueue = 3", "intakes", "intake"),
        ("[inference]\nbackend = \"trac\"", "trac", "tract"),
        ("[inference.models.x]\nprefers = []", "prefers", "prefer"),
    ] {
        let said = complaint(&format!("{SHORTEST}{mistake}\n"));
        assert!(said.contains(wrong) && said.contains(right), "{said}");
    }
}

#[test]
fn values_out_of_range_are_named() {
    for (text, key) in [
        ("[intake]\nqueue = 0", "intake.queue"),
        (
            "[intake]\nblock-timeout-ms = 5000",
            "intake.block-timeout-ms",
        ),
        ("[intake]\nmax-sample-bytes = 0", "intake.max-sample-bytes"),
        ("[zenoh]\nmax-message-bytes = 10", "zenoh.max-message-bytes"),
        ("[workers]\nthreads = 0", "workers.threads"),
        ("[inference]\nthreads = 0", "inference.threads"),
        ("[inference]\npool = 0", "inference.pool"),
        ("[inference]\npool = 2\nmax-runs = 3", "inference.max-runs"),
        (
            "[inference.models.detect]\nthreads = 65",
            "inference.models.detect.threads",
        ),
        (
            "[shared-data.list]\nrule = \"append\"\nmax-items = 257",
            "shared-data.list.max-items",
        ),
        (
            "[shared-data.list]\nrule = \"append\"\nmax-bytes = 0",
            "shared-data.list.max-bytes",
        ),
        (
            "[shared-data.\"a/b\"]\nrule = \"append\"",
            "shared-data = \"a/b\"",
        ),
    ] {
        let said = complaint(&format!("{SHORTEST}{text}\n"));
        assert!(said.contains(key), "{said}");
    }
}

#[test]
fn both_doors_have_the_same_keys_and_are_closed_to_strangers() {
    for door in ["oip", "metrics"] {
        let config = |keys: &str| format!("{SHORTEST}[{door}]\n{keys}\n");
        for (keys, word) in [
            ("listen = \"0.0.0.0:9000\"", "insecure = true"),
            ("listen = \"[::]:9000\"", "client-ca"),
            (
                "listen = \"192.0.2.7:9000\"\ntoken-file = \"t\"",
                "can read the token",
            ),
            (
                "listen = \"0.0.0.0:9000\"\ntls = { certificate = \"c\", key = \"k\" }",
                "anybody could",
            ),
            ("max-connections = 0", "max-connections"),
            ("max-connections = 4097", "max-connections"),
            ("max-connections-per-address = 0", "per-address"),
        ] {
            let said = complaint(&config(keys));
            assert!(said.contains(word) && said.contains(door), "{said}");
        }
        for keys in [
            "",
            "listen = \"127.0.0.1:0\"",
            "listen = \"[::1]:9000\"",
            "listen = \"0.0.0.0:9000\"\ninsecure = true",
            "listen = \"0.0.0.0:9000\"\ntoken-file = \"t\"\ntls = { certificate = \"c\", key = \"k\" }",
            "listen = \"0.0.0.0:9000\"\ntls = { certificate = \"c\", key = \"k\", client-ca = \"a\" }",
            "max-connections = 5\nmax-connections-per-address = 2",
        ] {
            parse(&config(keys)).expect(keys);
        }
    }
    let files =
        "token-file = \"t\"\ntls = { certificate = \"c\", key = \"/k\", client-ca = \"a\" }";
    let metrics = parse(&format!("{SHORTEST}[metrics]\n{files}\n"))
        .unwrap()
        .metrics
        .unwrap();
    let front = metrics.front(None);
    assert_eq!(front.token_file.as_deref(), Some(Path::new("/srv/t")));
    let tls = front.tls.unwrap();
    assert_eq!(
        (tls.certificate.as_path(), tls.key.as_path()),
        (Path::new("/srv/c"), Path::new("/k"))
    );
    assert_eq!(tls.client_ca.as_deref(), Some(Path::new("/srv/a")));
    assert_eq!(front.limits.connections, 64);
    assert!(
        complaint(&format!("{SHORTEST}[zenoh]\nmax-sessions = 0\n")).contains("zenoh.max-sessions")
    );
}

#[test]
fn a_sample_that_no_message_holds_is_refused_with_the_way_out() {
    let with = |sample: usize, message: usize| {
        format!(
            "{SHORTEST}[intake]\nmax-sample-bytes = {sample}\n[zenoh]\nmax-message-bytes = {message}\n"
        )
    };
    let message = 1 << 20;
    let most = message - MESSAGE_OVERHEAD;
    assert!(parse(&with(most, message)).is_ok());
    let error = parse(&with(most + 1, message)).unwrap_err();
    assert!(
        matches!(error, ConfigError::SampleAboveMessage { needed, .. } if needed == message + 1),
        "{error}"
    );
    let said = error.to_string();
    for part in [
        "intake.max-sample-bytes",
        "zenoh.max-message-bytes",
        &most.to_string(),
        &(message + 1).to_string(),
    ] {
        assert!(said.contains(part), "{said}");
    }
    // A smaller message than the default alone is such a mistake too.
    assert!(
        complaint(&format!(
            "{SHORTEST}[zenoh]\nmax-message-bytes = {message}\n"
        ))
        .contains("max-sample-bytes")
    );
}

#[test]
fn a_name_that_cannot_be_part_of_a_key_is_refused() {
    for name in ["", "a/b", "*", "a b", "a$b", &"x".repeat(65)] {
        let error = parse(&format!("site = \"{name}\"\ndevice = \"d\"\n")).unwrap_err();
        assert!(
            matches!(error, ConfigError::Name { key: "site", .. }),
            "{error}"
        );
    }
}

#[test]
fn a_missing_key_and_a_missing_file_are_named() {
    assert!(complaint("site = \"lab\"\n").contains("device"));
    let error = Config::load(Path::new("/nowhere/hotshoe.toml")).unwrap_err();
    assert!(
        error.to_string().contains("/nowhere/hotshoe.toml"),
        "{error}"
    );
}

#[test]
fn an_execution_provider_that_is_none() {
    let text = |name: &str| {
        format!("site = \"a\"\ndevice = \"b\"\n[[inference.providers]]\nname = \"{name}\"\n")
    };
    let said = complaint(&text("cudda"));
    assert!(said.contains("`cudda`"), "{said}");
    assert!(
        said.contains("cuda, tensorrt, openvino, xnnpack, qnn, acl"),
        "{said}"
    );
    parse(&text("CUDAExecutionProvider")).unwrap();
}

#[test]
fn what_components_reach_is_mapped_by_the_device() {
    let text = |more: &str| format!("site = \"a\"\ndevice = \"b\"\n{more}");
    let folder = Path::new("/etc/hotshoe");
    let plain = Config::parse(&text(""), folder).unwrap().allowed();
    assert!(plain.hosts.is_empty() && plain.folders.is_empty() && plain.topic("anything"));
    assert!(
        !plain.grants.contains(&Grant::WasiSockets) && !plain.grants.contains(&Grant::WasiHttp)
    );
    let more = "[output]\ntopics = [\"count\"]\n[folders.\"/models\"]\npath = \"here\"\n[network]\nhosts = [\"API.example.org:443\"]\nca = \"ca.pem\"\n";
    let allowed = Config::parse(&text(more), folder).unwrap().allowed();
    assert!(allowed.topic("count") && !allowed.topic("picture"));
    let mapped = &allowed.folders["/models"];
    assert_eq!(mapped.path, folder.join("here"));
    assert_eq!(mapped.access, hotshoe_trust::Access::Read);
    assert!(
        allowed
            .hosts
            .contains(&"api.example.org:443".parse().unwrap())
    );
    assert_eq!(allowed.ca, Some(folder.join("ca.pem")));
    for bad in [
        "[folders.\"models\"]\npath = \"here\"\n",
        "[folders.\"/a/..\"]\npath = \"here\"\n",
        "[output]\ntopics = [\"{\"]\n",
        "[network]\nhosts = [\"*.example.org:443\"]\n",
    ] {
        Config::parse(&text(bad), folder).expect_err(bad);
    }
}

#[test]
fn a_name_of_dots_alone_is_no_part_of_a_path() {
    for name in ["", ".", "..", "...", "a/b", "a b", "@a", "a*", "ä"] {
        for key in ["site", "device"] {
            let text = SHORTEST.replace(
                if key == "site" {
                    "\"lab\""
                } else {
                    "\"camera-1\""
                },
                &format!("{name:?}"),
            );
            let refused = Config::parse(&text, Path::new("")).unwrap_err();
            let ConfigError::Name { key: named, .. } = &refused else {
                panic!("{key} {name}: {refused}");
            };
            assert_eq!(*named, key);
        }
    }
    for name in ["..a", "a..b", "a.", "-"] {
        let text = SHORTEST.replace("camera-1", name);
        Config::parse(&text, Path::new("")).unwrap();
    }
}

#[test]
fn an_empty_file_and_one_in_utf_16_get_a_hint() {
    for empty in ["", "\n", "  \n\t"] {
        let refused = Config::parse(empty, Path::new("")).unwrap_err();
        let source = refused.source().unwrap().to_string();
        assert!(source.contains("the file is empty"), "{source}");
        assert!(source.contains("site"), "{source}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hotshoe.toml");
    let utf_16: Vec<u8> = "\u{feff}site = \"lab\""
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    std::fs::write(&path, utf_16).unwrap();
    let refused = Config::load(&path).unwrap_err();
    let source = refused.source().unwrap().to_string();
    assert!(source.contains("save it as UTF-8"), "{source}");
}
