//! Data contracts through the real daemon: components try to let a text out by every way, and it leaves only as its class allows.

use std::fs;

use hotshoe_config::Config;
use hotshoe_link::FeedReply;
use hotshoe_tests::until;
use serde_json::{Value, json};
use zenoh::Wait;
use zenoh::handlers::FifoChannelHandler;
use zenoh::pubsub::Subscriber;
use zenoh::sample::Sample;

use crate::oip::{free_address, raw};
use crate::support::{DEADLINE, Daemon, Device, Workspace, environment, failure, refusal, success};

/// What must not be found anywhere. It is also a valid name of a metric.
pub(crate) const MARKER: &str = "marker_4711_of_a_person";
/// What a text is replaced by.
pub(crate) const WITHHELD: &str = "the data contract keeps this text on the device";

/// A stage and a policy that let the text of a sample out by every way.
pub(crate) fn recipe(contract: &str) -> String {
    let path = |name: &str| environment().component(name).display().to_string();
    format!(
        "name = \"leaking\"\ngeneration = 1\nexpires-in = \"90d\"\n\
         [components.leaking-stage]\nfile = \"{}\"\nworld = \"stage\"\ngrants = [\"log\", \"metrics\"]\n\
         [components.leaking-policy]\nfile = \"{}\"\nworld = \"policy\"\ngrants = [\"log\", \"metrics\"]\ntopics = [\"told\"]\n\
         [[pipeline]]\nstage = \"leaking-stage\"\n[[pipeline]]\npolicy = \"leaking-policy\"\n{contract}",
        path("leaking-stage"),
        path("leaking-policy")
    )
}

/// A contract whose insights have a class with these keys.
fn people(class: &str) -> String {
    format!(
        "[data-contract]\nrecord = [\"insight\"]\noutputs = {{ insight = \"people\" }}\n[data-contract.classes.people]\nsensitivity = \"personal\"\n{class}\n"
    )
}

/// All messages of all keys that a device's session carries.
struct WholeSpace {
    _session: zenoh::Session,
    subscriber: Subscriber<FifoChannelHandler<Sample>>,
    seen: Vec<(String, String)>,
}

impl WholeSpace {
    fn of(device: &Device, daemon: &Daemon) -> Self {
        let listen = Config::load(&device.config).unwrap().zenoh.listen;
        let mut config = zenoh::Config::default();
        for (key, value) in [
            ("mode", json!("client")),
            ("connect/endpoints", json!(listen)),
            ("scouting/multicast/enabled", json!(false)),
        ] {
            config.insert_json5(key, &value.to_string()).unwrap();
        }
        let session = zenoh::open(config).wait().unwrap();
        let subscriber = session.declare_subscriber("**").wait().unwrap();
        // A declaration takes some time to arrive.
        until("the subscriber hears the device", || {
            daemon.feed(&[("probe", b"fail probe".to_vec())]);
            subscriber.try_recv().unwrap().is_some()
        });
        Self {
            _session: session,
            subscriber,
            seen: Vec::new(),
        }
    }

    /// Hears until a message of this key with this text in it.
    fn hear_until(&mut self, key: &str, text: &str) {
        loop {
            let sample = self.subscriber.recv_timeout(DEADLINE).unwrap();
            let sample = sample.unwrap_or_else(|| panic!("no {key} {text}: {:?}", self.seen));
            let body = sample.payload().to_bytes();
            let parts = [
                String::from_utf8_lossy(&body).into_owned(),
                sample.encoding().to_string(),
            ];
            let (name, body) = (sample.key_expr().to_string(), parts.join(" "));
            let is_last = name.ends_with(key) && body.contains(text);
            self.seen.push((name, body));
            if is_last {
                return;
            }
        }
    }

    fn ends_with(&self, key: &str) -> Vec<&str> {
        let seen = self.seen.iter().filter(|(name, _)| name.ends_with(key));
        seen.map(|(_, body)| body.as_str()).collect()
    }
}

/// What an HTTP endpoint answers.
fn http(address: &str, path: &str, body: &str) -> String {
    let method = if body.is_empty() { "GET" } else { "POST" };
    raw(
        address,
        &format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    )
}

/// One sample through the Open Inference Protocol.
fn oip(address: &str, text: &str) -> String {
    let body = json!({
        "inputs": [{ "name": "sample", "datatype": "BYTES", "shape": [1], "data": [text] }]
    });
    http(address, "/v2/models/leaking/infer", &body.to_string())
}

fn feed(daemon: &Daemon, ways: &[&str]) -> Vec<FeedReply> {
    let payload = |way: &&str| format!("{way} {MARKER}").into_bytes();
    let samples: Vec<(&str, Vec<u8>)> = ways.iter().map(|way| (*way, payload(way))).collect();
    daemon.feed(&samples)
}

#[test]
fn nothing_of_a_class_that_never_leaves_is_found_anywhere() {
    let workspace = Workspace::new();
    let release = workspace.release(&recipe(&people("upload = \"never\"")));
    let (metrics, door) = (free_address(), free_address());
    let more = format!(
        "[metrics]\nlisten = \"{metrics}\"\n[oip]\nlisten = \"{door}\"\n[record]\nallow = [\"insight\"]\n"
    );
    let device = workspace.device("cam", &release, &more);
    let daemon = device.run();
    let mut space = WholeSpace::of(&device, &daemon);

    let fed = feed(&daemon, &["keep", "fail", "panic", "fail-policy"]);
    let kept = fed[0].result.as_ref().unwrap();
    assert_eq!(kept["insight"], Value::Null);
    assert_eq!(kept["actions"], json!([{ "action": "publish" }]));
    let never = "class_never_leaves";
    assert_eq!(
        kept["kept_back"],
        json!({ "insight": never, "action": never, "topic:told": never })
    );
    for (answer, stage, fault) in [
        (&fed[1], "leaking-stage", "invalid_input"),
        (&fed[2], "leaking-stage", "trap"),
        (&fed[3], "leaking-policy", "invalid_input"),
    ] {
        let body = refusal(answer);
        assert_eq!(body["stage"], stage, "{body}");
        assert_eq!(body["fault"], fault, "{body}");
        assert_eq!(body["message"], WITHHELD, "{body}");
    }
    let called = [
        oip(&door, &format!("keep {MARKER}")),
        oip(&door, &format!("fail {MARKER}")),
    ];
    assert!(called[0].starts_with("HTTP/1.1 200"), "{}", called[0]);
    assert!(called[1].contains(WITHHELD), "{}", called[1]);

    let file = device.config.display().to_string();
    let out = workspace.path("recorded").display().to_string();
    let record = ["record", "--device", "cam", "--config", &file, "-o", &out];
    let recording = failure(
        record
            .into_iter()
            .chain(["--stage", "post", "--count", "1"]),
    );
    assert!(recording.contains("class `people`"), "{recording}");

    // Messages keep their order: these are the last ones of Zenoh and of the protocol.
    space.hear_until("output/error", "leaking-policy");
    space.hear_until("output/error", "leaking-stage");
    for way in ["output/insight", "output/action", "output/custom/told"] {
        assert_eq!(space.ends_with(way), Vec::<&str>::new(), "{way}");
    }
    assert!(space.ends_with("output/error").len() >= 4);

    let status = daemon.status();
    let people = &status.kept_back["people"];
    // Once over Zenoh, once by the protocol.
    for output in ["insight", "action", "topic:told"] {
        assert_eq!(people[output], 2, "{output}: {people:?}");
    }
    let events = status.events.iter();
    let events = events.filter(|event| event.kind.name() == "egress_refused");
    let first: Vec<_> = events
        .map(|event| event.details["output"].clone())
        .collect();
    assert_eq!(first, ["insight", "action", "topic:told"]);
    let scraped = http(&metrics, "/metrics", "");
    for output in ["insight", "topic:told", "log", "metrics"] {
        let counter =
            format!("hotshoe_egress_refused_total{{class=\"people\",output=\"{output}\"}}");
        assert!(scraped.contains(&counter), "no {counter} in {scraped}");
    }
    let show = ["audit", "show", "--config", &file, "--json"];
    until("the audit log has the first ones", || {
        success(show).matches("egress_refused").count() == 3
    });

    let answers: Vec<String> = fed.iter().map(|it| format!("{:?}", it.result)).collect();
    let status = serde_json::to_string(&status).unwrap();
    let log = daemon.log();
    for text in answers
        .iter()
        .chain(&called)
        .chain(space.seen.iter().map(|(_, body)| body))
        .chain([&recording, &status, &scraped, &log, &success(show)])
    {
        assert!(!text.contains(MARKER), "{text}");
    }
    assert!(daemon.status().counters.add_up());
}

#[test]
fn texts_that_stay_are_counted_with_the_other_outputs() {
    let workspace = Workspace::new();
    let release = workspace.release(&recipe(&people("upload = \"never\"")));
    let daemon = workspace.device("cam", &release, "").run();
    feed(&daemon, &["keep", "fail"]);
    let kept_back = daemon.status().kept_back;
    let people = &kept_back["people"];
    // The stage writes a line and counts a metric for both samples, the policy for the first one.
    for (output, count) in [("log", 3), ("metrics", 3), ("error", 1), ("insight", 1)] {
        assert_eq!(people[output], count, "{output}: {people:?}");
    }
}

#[test]
fn the_record_of_a_failed_file_has_no_text_that_stays() {
    let workspace = Workspace::new();
    let release = workspace.release(&recipe(&people("upload = \"never\"")));
    let inbox = workspace.path("inbox");
    fs::create_dir(&inbox).unwrap();
    fs::write(inbox.join("one.txt"), format!("fail {MARKER}")).unwrap();
    let watch = "[watch]\nfolder = \"inbox\"\nafter = \"keep\"\n";
    let device = workspace.device("cam", &release, watch);
    let daemon = device.run();
    let data = Config::load(&device.config).unwrap().data;
    let record = || fs::read_to_string(data.join("watched.json")).unwrap_or_default();
    until("the failure is recorded", || {
        record().contains("invalid_input")
    });
    let record = record();
    assert!(record.contains(WITHHELD), "{record}");
    let status = serde_json::to_string(&daemon.status()).unwrap();
    for text in [record, status, daemon.log()] {
        assert!(!text.contains(MARKER), "{text}");
    }
}

#[test]
fn an_anonymised_insight_leaves_without_its_fields() {
    let workspace = Workspace::new();
    let class =
        "upload = \"anonymised\"\ndrop = [\"scalars.*.value\"]\nhash = [\"scalars.*.name\"]";
    let release = workspace.release(&recipe(&people(class)));
    let device = workspace.device("cam", &release, "");
    let daemon = device.run();
    let mut space = WholeSpace::of(&device, &daemon);
    let fed = feed(&daemon, &["keep", "keep", "fail"]);
    let [first, second] = [&fed[0], &fed[1]].map(|it| it.result.as_ref().unwrap());
    let scalar = &first["insight"]["scalars"][0];
    let fields: Vec<&String> = scalar.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["name", "unit"]);
    let hash = scalar["name"].as_str().unwrap();
    assert!(hash.len() == 32 && hash.bytes().all(|it| it.is_ascii_hexdigit()));
    // The same value, device and period; another value is the way.
    assert_eq!(first["insight"], second["insight"]);
    assert_ne!(scalar["name"], first["insight"]["scalars"][1]["name"]);
    assert_eq!(first["actions"][1]["severity"], "warning");
    assert_eq!(first["actions"][1]["message"], WITHHELD);
    // The host cannot tell what a message of the policy's own is made of.
    let kept = json!({ "topic:told": "class_not_anonymisable" });
    assert_eq!(first["kept_back"], kept);

    space.hear_until("output/error", "\"id\":\"fail\"");
    let published = space.ends_with("output/insight");
    assert!(!published.is_empty() && published.iter().all(|body| body.contains(hash)));
    assert!(space.seen.iter().all(|(_, body)| !body.contains(MARKER)));
    assert!(!daemon.log().contains(MARKER), "{}", daemon.log());
}

#[test]
fn counts_alone_leave_of_an_aggregated_class() {
    let workspace = Workspace::new();
    let release = workspace.release(&recipe(&people("upload = \"aggregate\"")));
    let daemon = workspace.device("cam", &release, "").run();
    let fed = feed(&daemon, &["keep"]);
    let body = fed[0].result.as_ref().unwrap();
    assert_eq!(body["kept_back"]["insight"], "class_only_counts");
    assert!(!body.to_string().contains(MARKER), "{body}");
    let status = daemon.status();
    assert_eq!(status.counters.results, 1);
    assert_eq!(status.kept_back["people"]["insight"], 1);
}

#[test]
fn the_operator_makes_a_contract_stricter_and_never_looser() {
    let workspace = Workspace::new();
    // No contract: what a release does today.
    let release = workspace.release(&recipe(""));
    let daemon = workspace.device("open", &release, "").run();
    let fed = feed(&daemon, &["keep", "fail"]);
    let body = fed[0].result.as_ref().unwrap();
    assert_eq!(body["insight"]["scalars"][0]["name"], MARKER);
    assert_eq!(body["actions"][1]["message"], MARKER);
    assert_eq!(body["actions"][2]["bytes"], MARKER.len());
    assert_eq!(body.get("kept_back"), None);
    assert!(refusal(&fed[1]).to_string().contains(MARKER));
    until("the log has the line", || daemon.log().contains(MARKER));
    drop(daemon);

    let bound = "[data-contract]\nmax-upload = { internal = \"never\" }\n";
    let daemon = workspace.device("bound", &release, bound).run();
    let fed = feed(&daemon, &["keep", "fail"]);
    let body = fed[0].result.as_ref().unwrap();
    assert_eq!(body["insight"], Value::Null);
    assert_eq!(body["kept_back"]["insight"], "class_never_leaves");
    assert_eq!(refusal(&fed[1])["message"], WITHHELD);
    drop(daemon);
    fs::remove_dir_all(&release).unwrap();

    // A bound of `yes` opens nothing.
    let release = workspace.release(&recipe(&people("upload = \"never\"")));
    let loose =
        "[data-contract]\nmax-upload = { personal = \"yes\", \"class:people\" = \"yes\" }\n";
    let daemon = workspace.device("loose", &release, loose).run();
    let fed = feed(&daemon, &["keep"]);
    let body = fed[0].result.as_ref().unwrap();
    assert_eq!(body["kept_back"]["insight"], "class_never_leaves");
}

#[test]
fn a_component_with_a_way_past_the_host_is_refused() {
    let workspace = Workspace::new();
    let network = |contract: &str| {
        recipe(contract).replace(
            "grants = [\"log\", \"metrics\"]\ntopics",
            "grants = [\"log\", \"metrics\", \"wasi\", \"wasi-http\"]\nhosts = [\"api.example.org:443\"]\ntopics",
        )
    };
    let text = network(&people("upload = \"never\""));
    fs::write(workspace.path("release.toml"), text).unwrap();
    let toml = workspace.path("release.toml").display().to_string();
    let out = workspace.path("refused").display().to_string();
    let why = failure(["pack", &toml, "--out", &out]);
    for part in ["`leaking-policy`", "`people`", "wasi-http"] {
        assert!(why.contains(part), "no {part} in {why}");
    }
    // The signers allow it, and the operator does not.
    let release = workspace.release(&network(&people("upload = \"yes\"")));
    let config = workspace.path("cam.toml");
    let allowed = "site = \"lab\"\ndevice = \"cam\"\ndata = \"cam-data\"\nallow = [\"log\", \"metrics\", \"wasi\", \"wasi-http\"]\n[network]\nhosts = [\"api.example.org:443\"]\n";
    let bound = "[data-contract]\nmax-upload = { personal = \"anonymised\" }\n";
    fs::write(&config, format!("{allowed}{bound}")).unwrap();
    let (release, file) = (release.display().to_string(), config.display().to_string());
    let install = ["install", &release, "--config", &file];
    let why = failure(install);
    assert!(why.starts_with("data_contract"), "{why}");
    fs::write(&config, allowed).unwrap();
    success(install);
}

#[test]
fn link_publishes_what_components_made_as_egress_only() {
    let root = &environment().root;
    let mut raw_bytes = Vec::new();
    for file in ["lib.rs", "device.rs"] {
        let text = fs::read_to_string(root.join("host/link/src").join(file)).unwrap();
        for function in text.split("\n    pub fn ").skip(1) {
            let (name, rest) = function.split_once(['(', '<']).unwrap();
            let head = rest.split(" {\n").next().unwrap();
            if head.contains("Vec<u8>") || head.contains("[u8]") {
                raw_bytes.push(name.to_owned());
            }
        }
    }
    raw_bytes.sort();
    // Answers of the host, statements and requests from outside, and values that operators write.
    assert_eq!(
        raw_bytes,
        [
            "orders",
            "publish_shared_data",
            "recordings",
            "rollouts",
            "shared_data",
            "trust_updates"
        ]
    );
}
