//! The page of a site, by its requests: a real registry with real daemons. What it shows is what `hotshoe status` says.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use hotshoe_config::{ZenohConfig, ZenohMode};
use hotshoe_egress::Classifier;
use hotshoe_link::Link;
use hotshoe_tests::until;
use serde_json::{Value, json};

use super::device_page::{get, json_of, status_of};
use super::oip::free_address;
use super::site::{Site, light, settled_on};
use super::support::{DEADLINE, Daemon, failure, free_endpoint, hotshoe};

/// A registry with a page, which connects its site. It is killed when it is dropped.
pub(crate) struct Registry {
    child: Child,
    pub(crate) address: String,
    endpoint: String,
}

impl Registry {
    /// Starts it at `endpoint`; `top` and `page` are added to its configuration.
    pub(crate) fn start(site: &Site, endpoint: &str, top: &str, page: &str) -> Self {
        let address = free_address();
        let config = site.workspace.path("registry.toml");
        let publisher = &site.endpoint;
        let text = format!(
            "site = \"lab\"\nname = \"shelf\"\ndata = \"shelf-registry\"\ntrust = \"trust.toml\"\n{top}\n\
             [zenoh]\nmode = \"router\"\nlisten = [\"{endpoint}\"]\nconnect = [\"{publisher}\"]\n\
             [page]\nlisten = \"{address}\"\n{page}"
        );
        fs::write(&config, text).unwrap();
        let log = site.workspace.path("shelf.log");
        let child = Command::new(env!("CARGO_BIN_EXE_hotshoe"))
            .args(["registry", "--config"])
            .arg(&config)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let registry = Self {
            child,
            address,
            endpoint: endpoint.to_owned(),
        };
        until("the page listens", || {
            TcpStream::connect(&registry.address).is_ok()
        });
        registry
    }

    /// What `hotshoe status` says of all devices of the site, by name.
    fn status(&self) -> BTreeMap<String, Value> {
        let arguments = [
            "status",
            "--json",
            "--site",
            "lab",
            "--connect",
            &self.endpoint,
            "--timeout",
            "20",
        ];
        let output = hotshoe(arguments);
        let all: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let named = all.into_iter().map(|it| (name_of(&it), it));
        named.collect()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn name_of(device: &Value) -> String {
    device["device"].as_str().unwrap().to_owned()
}

/// An open page: what its stream has said so far.
struct Page {
    stream: TcpStream,
    received: Vec<u8>,
    rows: BTreeMap<String, Value>,
    /// The last event `site`.
    site: Value,
}

impl Page {
    fn open(address: &str, head: &str) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let request = format!("GET /api/events HTTP/1.1\r\nHost: localhost\r\n{head}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        Self {
            stream,
            received: Vec::new(),
            rows: BTreeMap::new(),
            site: Value::Null,
        }
    }

    /// Reads until the rows are as wanted. The registry says something after each round, so a read ends.
    #[track_caller]
    fn wait(&mut self, what: &str, wanted: impl Fn(&BTreeMap<String, Value>) -> bool) {
        let started = std::time::Instant::now();
        while !wanted(&self.rows) {
            assert!(started.elapsed() < DEADLINE, "{what}: {:#?}", self.rows);
            self.read();
        }
    }

    /// Reads what comes next.
    #[track_caller]
    fn read(&mut self) {
        let mut piece = [0; 16 << 10];
        let read = self.stream.read(&mut piece).unwrap();
        assert!(read > 0, "the stream ended");
        self.received.extend_from_slice(&piece[..read]);
        self.take();
    }

    /// Takes the events that are complete.
    fn take(&mut self) {
        let mut rows = BTreeMap::new();
        let text = String::from_utf8_lossy(&unchunked(&self.received)).into_owned();
        for event in text
            .split_inclusive("\n\n")
            .filter(|it| it.ends_with("\n\n"))
        {
            let line = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
            let data: Value = serde_json::from_str(line("data: ").unwrap()).unwrap();
            match line("event: ").unwrap() {
                "site" => {
                    let devices = data["devices"].as_array().unwrap();
                    rows = devices.iter().map(|it| (name_of(it), it.clone())).collect();
                    self.site = data;
                }
                "devices" => {
                    for removed in data["removed"].as_array().unwrap() {
                        rows.remove(removed.as_str().unwrap());
                    }
                    for row in data["changed"].as_array().unwrap() {
                        rows.insert(name_of(row), row.clone());
                    }
                }
                "round" => assert_eq!(data["error"], Value::Null),
                other => panic!("{other}"),
            }
        }
        self.rows = rows;
    }
}

/// The body of an answer in chunks, as far as it has arrived.
fn unchunked(answer: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    let find = |from: &[u8], what: &[u8]| from.windows(what.len()).position(|it| it == what);
    let Some(head) = find(answer, b"\r\n\r\n") else {
        return body;
    };
    let mut rest = &answer[head + 4..];
    while let Some(end) = find(rest, b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let Some(chunk) = rest.get(end + 2..end + 2 + size) else {
            break;
        };
        body.extend_from_slice(chunk);
        rest = rest.get(end + 4 + size..).unwrap_or_default();
    }
    body
}

/// What a row has besides fields of the status.
const OF_THE_PAGE: [&str; 4] = ["silent_since", "present", "listed", "broken"];

/// The fields of a row that are not what the status says.
fn differences(row: &Value, status: &Value) -> Vec<String> {
    let fields = row.as_object().unwrap().iter();
    fields
        .filter(|(name, value)| !OF_THE_PAGE.contains(&name.as_str()) && status[*name] != **value)
        .map(|(name, value)| format!("{name}: {value} is not {}", status[name]))
        .collect()
}

fn answered(rows: &BTreeMap<String, Value>, device: &str) -> bool {
    rows.get(device).is_some_and(|row| row["answered"] == true)
}

/// Two devices of a site that is connected at this endpoint.
pub(crate) fn two_devices(site: &Site, endpoint: &str) -> [Daemon; 2] {
    let installed = site.pack(&light(1, ""));
    ["cam-a", "cam-b"].map(|name| site.device_at(name, &installed, endpoint, "").run())
}

/// A session that answers as a device without its key, with the status of another one, until it is dropped.
pub(crate) fn forged(
    endpoint: &str,
    device: &str,
    version: &str,
    of: &Daemon,
) -> impl Sized + use<> {
    let zenoh = ZenohConfig {
        mode: ZenohMode::Client,
        connect: vec![endpoint.to_owned()],
        ..ZenohConfig::default()
    };
    let mut status = of.state();
    status["device"] = json!(device);
    status["version"] = json!(version);
    let link = Link::open(&zenoh, "lab", device).unwrap();
    let serving = link.serve(&[], |_, _| {}, move || Classifier::host(&status));
    (serving.unwrap(), link)
}

#[test]
fn the_page_of_a_site_says_of_its_devices_what_hotshoe_status_says() {
    let mut site = Site::new();
    let endpoint = free_endpoint();
    let registry = Registry::start(&site, &endpoint, "", "");
    let [first, second] = two_devices(&site, &endpoint);
    let mut page = Page::open(&registry.address, "");
    page.wait("both answer", |rows| {
        answered(rows, "cam-a") && answered(rows, "cam-b")
    });
    assert_eq!(page.site["site"], "lab");
    assert_eq!(page.site["registry"], "shelf");
    assert_eq!(page.site["checked"], false);

    // Numbers: samples, a release that goes live on one device while the page is open.
    for (daemon, samples) in [(&first, 3_u8), (&second, 1)] {
        for number in 0..samples {
            assert!(daemon.feed(&[("seen", vec![number; 3])])[0].result.is_ok());
        }
    }
    let newer = site.pack(&light(2, ""));
    site.publish(&newer);
    first.feed_until(settled_on(2));
    second.feed_until(settled_on(2));
    page.wait("both are live on 2", |rows| {
        rows.values()
            .all(|row| row["slots"]["live"]["generation"] == 2 && row["deploy"]["phase"] == "live")
    });
    let said = registry.status();
    assert_eq!(said.len(), 2, "{said:#?}");
    page.wait("the rows are what the status says", |rows| {
        rows.keys().eq(said.keys())
            && rows
                .iter()
                .all(|(device, row)| differences(row, &said[device]).is_empty())
    });
    let row = &page.rows["cam-a"];
    assert_eq!(
        (&row["claimed"], &row["claim"]),
        (&json!(true), &json!("no_device_list"))
    );
    assert_eq!(row["release"]["generation"], 2);
    assert_eq!(row["slots"]["previous"]["generation"], 1);
    assert_eq!(row["counters"]["failed"], 0);
    assert_eq!(row["counters"]["accepted"], row["counters"]["results"]);

    // The whole status of one, and no others.
    let details = json_of(&get(&registry.address, "/api/device/cam-a", ""));
    assert_eq!(details["slots"], said["cam-a"]["slots"]);
    assert_eq!(details["counters"], said["cam-a"]["counters"]);
    assert_eq!(details["claim"], "no_device_list");
    assert_eq!(details["slots"]["previous"]["signers"], json!(["alice"]));
    assert!(details["parts"].is_array(), "{details:#}");
    for name in ["*", "%2A%2A", "nothing"] {
        let refused = get(&registry.address, &format!("/api/device/{name}"), "");
        assert_eq!(status_of(&refused), "404", "{name}: {refused}");
        assert_eq!(json_of(&refused)["name"], "unknown_device");
    }

    // A device that ends stays on the page, with what it said.
    assert!(second.stop().success());
    page.wait("cam-b is gone", |rows| {
        rows["cam-b"]["answered"] == false && rows["cam-b"]["present"] == false
    });
    let gone = &page.rows["cam-b"];
    assert!(gone["silent_since"].is_string(), "{gone:#}");
    assert_eq!(gone["slots"]["live"]["generation"], 2);
    assert!(answered(&page.rows, "cam-a"));
}

#[test]
fn a_claim_is_shown_as_a_claim_and_a_hostile_name_as_text() {
    let site = Site::new();
    let endpoint = free_endpoint();
    let [first, second] = two_devices(&site, &endpoint);
    let keys = site.workspace.path("keys");
    fs::create_dir(&keys).unwrap();
    let key = first.status().key.unwrap();
    fs::write(keys.join("cam-a.pub"), &key.public_key).unwrap();
    // On the list, and not there.
    fs::write(keys.join("cam-z.pub"), &key.public_key).unwrap();
    let registry = Registry::start(&site, &endpoint, "device-keys = \"keys\"", "");
    let mut page = Page::open(&registry.address, "");
    page.wait("both answer", |rows| {
        answered(rows, "cam-a") && answered(rows, "cam-b")
    });
    assert_eq!(page.site["checked"], true);
    assert_eq!(page.rows["cam-a"]["claimed"], false);
    assert!(page.rows["cam-a"].get("claim").is_none());
    assert_eq!(page.rows["cam-b"]["claim"], "unlisted_device");
    page.wait("cam-z is silent", |rows| {
        rows["cam-z"]["silent_since"].is_string()
    });
    let absent = &page.rows["cam-z"];
    assert_eq!(
        (&absent["answered"], &absent["present"], &absent["listed"]),
        (&json!(false), &json!(false), &json!(true))
    );

    // Somebody answers as cam-a without its key, and somebody has a name that is markup and turns text.
    let hostile = "\u{202e}<script>alert(1)<";
    let _liar = forged(&endpoint, "cam-a", "forged", &second);
    let _odd = forged(&endpoint, hostile, "<img src=x>", &second);
    let _large = forged(&endpoint, "large", &"x".repeat(100_000), &second);
    page.wait("they are asked", |rows| {
        answered(rows, hostile)
            && answered(rows, "large")
            && rows["cam-a"].get("answers") == Some(&json!(2))
    });
    let row = &page.rows[hostile];
    assert_eq!(row["version"], "<img src=x>");
    assert_eq!(row["claim"], "unlisted_device");
    let row = &page.rows["cam-a"];
    assert_eq!(
        (&row["claimed"], &row["answers"]),
        (&json!(false), &json!(2))
    );
    assert_ne!(row["version"], "forged");
    let row = &page.rows["large"];
    assert!(row["too_large_bytes"].as_u64().unwrap() > 100_000);
    assert!(row.get("version").is_none());

    // The files have no markup for text to become, and the browser is held to them.
    let file = get(&registry.address, "/", "");
    assert!(file.contains("content-security-policy: default-src 'none'"));
    assert!(file.contains("site.js"), "{file}");
}

#[test]
fn the_page_of_a_site_needs_its_token_and_takes_no_orders() {
    let site = Site::new();
    let token = "correct-horse-battery-staple";
    fs::write(site.workspace.path("token"), token).unwrap();
    let registry = Registry::start(&site, &free_endpoint(), "", "token-file = \"token\"");
    let address = &registry.address;
    for path in ["/", "/site.js", "/site.css", "/text.js", "/page.css"] {
        assert_eq!(status_of(&get(address, path, "")), "200", "{path}");
    }
    for path in ["/api/events", "/api/device/cam"] {
        let refused = get(address, path, "");
        assert_eq!(status_of(&refused), "401", "{path}: {refused}");
    }
    let head = format!("Authorization: Bearer {token}\r\n");
    let unknown = get(address, "/api/device/cam", &head);
    assert_eq!(json_of(&unknown)["name"], "unknown_device", "{unknown}");
    for path in ["/api/rollback", "/api/status", "/api/releases"] {
        assert_eq!(status_of(&get(address, path, &head)), "404", "{path}");
    }
    let mut page = Page::open(address, &head);
    while page.site.is_null() {
        page.read();
    }
    assert_eq!(page.site["devices"], json!([]));
}

#[test]
fn a_page_beyond_loopback_without_tls_and_pictures_of_a_site_are_refused() {
    let site = Site::new();
    let config = site.workspace.path("refused.toml");
    for (page, why) in [
        ("listen = \"0.0.0.0:0\"", "`page.listen = 0.0.0.0:0`"),
        ("pictures = true", "`page.pictures` is for devices"),
    ] {
        let text = format!(
            "site = \"lab\"\nname = \"shelf\"\ntrust = \"trust.toml\"\n[zenoh]\nlisten = [\"tcp/127.0.0.1:0\"]\n[page]\n{page}\n"
        );
        fs::write(&config, text).unwrap();
        let refused = failure(["registry", "--config", &config.display().to_string()]);
        assert!(refused.contains(why), "{refused}");
    }
}
