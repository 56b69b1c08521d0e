//! Durable outputs over MQTT: a real mosquitto, which is killed in the middle of the stream.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use hotshoe_tests::{Authority, Need, free_port, skip, until};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::Value;

use super::site::{Site, light};
use super::support::{DEADLINE, environment};

/// Samples that are fed.
const SAMPLES: usize = 300;

/// Where mosquitto is, and the folders of its libraries. Debian's is for Debian's own C library.
pub(crate) fn program() -> Result<(PathBuf, String), String> {
    let root = &environment().root;
    let package = |name| {
        hotshoe_devkit::debian_package(root, name)
            .map_err(|error| format!("{:#}", anyhow::Error::from(error)))
    };
    let program = package("mosquitto")?.join("usr/sbin/mosquitto");
    let mut folders = Vec::new();
    for name in ["libcjson1", "libdlt2", "libwrap0"] {
        let folder = package(name)?;
        for lib in ["lib", "usr/lib"] {
            let triplets = fs::read_dir(folder.join(lib)).into_iter().flatten();
            folders.extend(triplets.map(|it| it.unwrap().path().display().to_string()));
        }
    }
    let libraries = folders.join(":");
    // It knows no option that only prints: with -h it ends with a code of its own.
    let output = Command::new(&program)
        .arg("-h")
        .env("LD_LIBRARY_PATH", &libraries)
        .output();
    match output {
        Ok(output) if String::from_utf8_lossy(&output.stdout).contains("mosquitto version") => {
            Ok((program, libraries))
        }
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Err(format!("mosquitto cannot be started: {error}")),
    }
}

/// A broker, killed when it is dropped.
pub(crate) struct Broker {
    program: PathBuf,
    libraries: String,
    config: PathBuf,
    port: u16,
    process: Child,
}

impl Broker {
    pub(crate) fn start(program: PathBuf, libraries: String, config: PathBuf, port: u16) -> Self {
        let process = Self::spawn(&program, &libraries, &config);
        let broker = Self {
            program,
            libraries,
            config,
            port,
            process,
        };
        broker.wait();
        broker
    }

    fn spawn(program: &PathBuf, libraries: &str, config: &PathBuf) -> Child {
        Command::new(program)
            .arg("-c")
            .arg(config)
            .env("LD_LIBRARY_PATH", libraries)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn wait(&self) {
        until("the broker listens", || {
            TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
    }

    /// Kills it as a power cut would, and starts it again.
    fn restart(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.process = Self::spawn(&self.program, &self.libraries, &self.config);
        self.wait();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Subscribes to everything, again after each break, and hands on what comes.
async fn subscribe(port: u16, messages: Sender<(String, Value)>) {
    loop {
        let mut options = MqttOptions::new("subscriber", ("127.0.0.1", port));
        options.set_keep_alive(60);
        let (client, mut events) = AsyncClient::builder(options).capacity(4).build();
        client.try_subscribe("line/#", QoS::AtMostOnce).unwrap();
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::Publish(message))) => {
                    let topic = String::from_utf8(message.topic.to_vec()).unwrap();
                    let body = serde_json::from_slice(&message.payload).unwrap();
                    if messages.send((topic, body)).is_err() {
                        return;
                    }
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        // The broker is gone for a moment.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The sequences that came, each when it came first.
#[derive(Default)]
struct Seen {
    order: Vec<u64>,
    known: BTreeSet<u64>,
}

impl Seen {
    /// Takes the next message; false if none came.
    fn take(&mut self, messages: &Receiver<(String, Value)>, timeout: Duration) -> bool {
        let Ok((topic, body)) = messages.recv_timeout(timeout) else {
            return false;
        };
        assert_eq!(topic, "line/lab/cam/insight");
        assert_eq!(body["kind"], "record", "{body}");
        let sequence = body["sequence"].as_u64().unwrap();
        if self.known.insert(sequence) {
            self.order.push(sequence);
        }
        true
    }
}

fn subscriber(port: u16) -> Receiver<(String, Value)> {
    let (sender, messages) = channel();
    thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(subscribe(port, sender));
    });
    messages
}

#[test]
fn a_broker_that_is_killed_in_the_middle_gets_every_record_in_order() {
    let (program, libraries) = match program() {
        Ok(program) => program,
        Err(reason) => return skip(Need::DebianPackages, &reason),
    };
    let site = Site::new();
    let authority = Authority::new(&site.workspace.path("tls"));
    let (own, device) = (authority.issue("broker"), authority.issue("cam"));
    let (plain, tls) = (free_port(), free_port());
    let config = site.workspace.path("mosquitto.conf");
    // A message goes to its subscriber before it is acknowledged, unless too many are on their way.
    let text = format!(
        "user root\nallow_anonymous true\npersistence false\nmax_inflight_messages 0\nmax_queued_messages 0\n\
         listener {plain} 127.0.0.1\nlistener {tls} 127.0.0.1\ncafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\n",
        authority.ca().display(),
        own.certificate.display(),
        own.key.display()
    );
    fs::write(&config, text).unwrap();
    let mut broker = Broker::start(program, libraries, config, plain);
    let first = site.pack(&light(1, ""));
    let outbox = format!(
        "[outbox]\ndurable = {{ insight = \"normal\" }}\n[outbox.mqtt]\nurl = \"mqtts://localhost:{tls}\"\ntopic-prefix = \"line\"\n\
         ca = \"{}\"\ncertificate = \"{}\"\nkey = \"{}\"\n",
        authority.ca().display(),
        device.certificate.display(),
        device.key.display()
    );
    let device = site.device("cam", &first, &outbox);
    let daemon = device.run();
    // Without a subscriber, the broker would drop the record.
    assert!(daemon.feed(&[("first", b"abc".to_vec())])[0].result.is_ok());
    daemon.wait_until(|state| state["outbox"]["outlet"]["error"]["name"] == "mqtt_no_subscriber");
    let messages = subscriber(plain);
    let feeder = daemon.feeder(1);
    let mut seen = Seen::default();
    for number in 1..SAMPLES {
        feeder
            .send(
                "test",
                "application/octet-stream",
                &number.to_string(),
                b"abc".to_vec(),
            )
            .unwrap();
        assert!(feeder.next(DEADLINE).unwrap().result.is_ok());
        if number == SAMPLES / 2 {
            // The stream runs: some came, and some are on their way.
            assert!(seen.take(&messages, DEADLINE));
            broker.restart();
        }
    }
    while seen.order.len() < SAMPLES {
        assert!(seen.take(&messages, DEADLINE), "{:?}", seen.order);
    }
    let all: Vec<u64> = (1..=SAMPLES as u64).collect();
    assert_eq!(seen.order, all);
    daemon.wait_until(|state| {
        let outbox = &state["outbox"];
        outbox["outlet"]["state"] == "idle" && outbox["records"] == 0
    });
}

#[test]
fn a_broker_that_asks_for_a_password_gets_the_one_in_the_file() {
    let (program, libraries) = match program() {
        Ok(program) => program,
        Err(reason) => return skip(Need::DebianPackages, &reason),
    };
    let site = Site::new();
    let (users, password) = (
        site.workspace.path("users"),
        site.workspace.path("password"),
    );
    // The package has it beside the broker: `usr/sbin/mosquitto`, `usr/bin/mosquitto_passwd`.
    let tool = program.with_file_name("../bin/mosquitto_passwd");
    let made = Command::new(tool)
        .args(["-b", "-c"])
        .arg(&users)
        .args(["cam", "opensesame"])
        .env("LD_LIBRARY_PATH", &libraries)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let (port, config) = (free_port(), site.workspace.path("mosquitto.conf"));
    let text = format!(
        "user root\nallow_anonymous false\npassword_file {}\npersistence false\nlistener {port} 127.0.0.1\n",
        users.display()
    );
    fs::write(&config, text).unwrap();
    let _broker = Broker::start(program, libraries, config, port);
    fs::write(&password, "wrong\n").unwrap();
    let first = site.pack(&light(1, ""));
    let outbox = format!(
        "[outbox]\ndurable = {{ insight = \"normal\" }}\n[outbox.mqtt]\nurl = \"mqtt://localhost:{port}\"\nusername = \"cam\"\n\
         password-file = \"{}\"\n",
        password.display()
    );
    let device = site.device("cam", &first, &outbox);
    let daemon = device.run();
    assert!(daemon.feed(&[("first", b"abc".to_vec())])[0].result.is_ok());
    let error = |state: &Value| state["outbox"]["outlet"]["error"]["name"].clone();
    daemon.wait_until(|state| error(state) == "mqtt_unreachable");
    fs::remove_file(&password).unwrap();
    daemon.wait_until(|state| error(state) == "mqtt_password");
    fs::write(&password, "opensesame\n").unwrap();
    // Connected: there is a broker, and nothing subscribes to it.
    daemon.wait_until(|state| error(state) == "mqtt_no_subscriber");
}

#[test]
fn a_record_that_the_broker_never_takes_is_lost_by_name_and_holds_nothing_up() {
    let (program, libraries) = match program() {
        Ok(program) => program,
        Err(reason) => return skip(Need::DebianPackages, &reason),
    };
    let site = Site::new();
    let (port, config) = (free_port(), site.workspace.path("mosquitto.conf"));
    // More than a loss has, and less than a record with its digest and its insight.
    let text = format!(
        "user root\nallow_anonymous true\npersistence false\nmax_packet_size 480\nlistener {port} 127.0.0.1\n"
    );
    fs::write(&config, text).unwrap();
    let _broker = Broker::start(program, libraries, config, port);
    let messages = subscriber(port);
    let first = site.pack(&light(1, ""));
    let outbox = format!(
        "[outbox]\ndurable = {{ insight = \"normal\" }}\n[outbox.mqtt]\nurl = \"mqtt://localhost:{port}\"\ntopic-prefix = \"line\"\n"
    );
    let daemon = site.device("cam", &first, &outbox).run();
    let samples = ["first", "second"].map(|id| (id, b"abc".to_vec()));
    assert!(daemon.feed(&samples).iter().all(|it| it.result.is_ok()));
    let mut lost = 0;
    while lost < 2 {
        let (topic, body) = messages.recv_timeout(DEADLINE).unwrap();
        assert_eq!(topic, "line/lab/cam/insight");
        assert_eq!(
            (&body["kind"], &body["cause"]),
            (&"loss".into(), &"too_large".into())
        );
        lost = lost.max(body["to"].as_u64().unwrap());
    }
    daemon.wait_until(|state| {
        let outbox = &state["outbox"];
        outbox["records"] == 0 && outbox["lost"]["too_large"] == 2
    });
}
