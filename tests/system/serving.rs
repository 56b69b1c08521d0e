//! The daemon over Zenoh: what comes in, what goes out, what it says of itself.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use hotshoe_link::OutputMessage;
use hotshoe_tests::until;
use serde_json::Value;

use crate::support::{DEADLINE, Daemon, Workspace, environment, failure, lines, success};

fn page() -> Vec<u8> {
    fs::read(environment().picture("page.png")).unwrap()
}

/// The next message whose key ends so.
fn next(outputs: &hotshoe_link::Outputs, end: &str) -> OutputMessage {
    loop {
        let published = outputs.next(DEADLINE).expect("a message");
        if published.key.ends_with(end) {
            return published;
        }
    }
}

#[test]
fn a_published_sample_becomes_an_insight_with_its_release() {
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("release.toml"));
    let daemon = workspace.device("a", &release, "").run();
    let outputs = daemon.client().outputs(Some("lab"), Some("a"), 64).unwrap();
    daemon
        .client()
        .put(
            "lab",
            "a",
            "door/page.png",
            "image/png",
            Some("sample-7"),
            page(),
        )
        .unwrap();
    let insight = next(&outputs, "output/insight");
    assert_eq!(insight.key, "hotshoe/lab/a/output/insight");
    let status = daemon.status();
    assert_eq!(insight.body["id"], "sample-7");
    assert_eq!(insight.body["release"]["name"], "label-reader");
    assert_eq!(insight.body["release"]["generation"], 1);
    assert_eq!(
        insight.body["release"]["digest"],
        status.release.unwrap().digest.to_string()
    );
    assert_eq!(lines(&insight.body["insight"]).len(), 5);
    // A sample that fails says so under a key of its own.
    daemon
        .client()
        .put(
            "lab",
            "a",
            "door/page.png",
            "image/png",
            Some("sample-8"),
            b"junk".to_vec(),
        )
        .unwrap();
    let error = next(&outputs, "output/error");
    assert_eq!(error.body["id"], "sample-8");
    assert_eq!(error.body["fault"], "unsupported");
}

#[test]
fn samples_come_from_other_keys_too_but_never_from_its_own_results() {
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("classify-angle.toml"));
    let camera = workspace.device("camera", &release, "").run();
    let endpoint = camera.status().session.locators.remove(0);
    // A device that reads what the other one is sent: one key expression away from a loop.
    let config =
        |keys: &str| format!("connect = [\"{endpoint}\"]\n[intake]\nsubscribe = [\"{keys}\"]");
    let reader = workspace
        .device("reader", &release, &config("hotshoe/lab/camera/input/**"))
        .run();
    let outputs = reader
        .client()
        .outputs(Some("lab"), Some("reader"), 64)
        .unwrap();
    reader
        .client()
        .put("lab", "camera", "door", "image/png", Some("shared"), page())
        .unwrap();
    let insight = next(&outputs, "output/insight");
    assert_eq!(insight.body["id"], "shared");
    assert_eq!(insight.body["source"], "hotshoe/lab/camera/input/door");

    let looped = workspace.device("loop", &release, &config("hotshoe/**"));
    let config = looped.config.display().to_string();
    let said = failure(["run", "--config", &config]);
    assert!(said.contains("intake.subscribe"), "{said}");
}

#[test]
fn a_file_in_the_watched_folder_is_a_sample() {
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("classify-angle.toml"));
    fs::create_dir(workspace.path("inbox")).unwrap();
    let daemon = workspace
        .device(
            "a",
            &release,
            "[watch]\nfolder = \"inbox\"\nafter = \"move\"",
        )
        .run();
    let outputs = daemon.client().outputs(Some("lab"), Some("a"), 64).unwrap();
    fs::write(workspace.path("inbox/page.part"), page()).unwrap();
    fs::rename(
        workspace.path("inbox/page.part"),
        workspace.path("inbox/page.png"),
    )
    .unwrap();
    let insight = next(&outputs, "output/insight");
    assert!(
        insight.body["source"]
            .as_str()
            .unwrap()
            .ends_with("page.png")
    );
    assert_eq!(insight.body["insight"]["kind"], "classes");
}

#[test]
fn two_daemons_on_one_machine_do_not_disturb_each_other() {
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("classify-angle.toml"));
    // The same site and device name, apart by namespace and data folder alone.
    let other = Workspace::new();
    let theirs = other.release(&Workspace::recipe("classify-angle.toml"));
    let one = workspace
        .device("a", &release, "namespace = \"east\"")
        .run();
    let two = other.device("a", &theirs, "namespace = \"west\"").run();
    let samples: Vec<(&str, Vec<u8>)> = vec![("1", page()), ("2", page()), ("3", page())];
    assert!(one.feed(&samples).iter().all(|fed| fed.result.is_ok()));
    assert!(two.feed(&samples[..1]).iter().all(|fed| fed.result.is_ok()));
    let accepted = |daemon: &Daemon| daemon.status().counters.accepted;
    assert_eq!((accepted(&one), accepted(&two)), (3, 1));
    one.kill();
    assert!(two.feed(&samples[..1])[0].result.is_ok());
}

#[test]
fn a_full_queue_drops_by_its_policy_and_counts_it() {
    for (policy, reason) in [
        ("drop-newest", "queue_full_newest"),
        ("drop-oldest", "queue_full_oldest"),
    ] {
        let workspace = Workspace::new();
        let release = workspace.release(&Workspace::recipe("hostile.toml"));
        let more = format!("[intake]\nqueue = 1\nwhen-full = \"{policy}\"\n[workers]\nthreads = 1");
        let daemon = workspace.device("a", &release, &more).run();
        let feeder = daemon.feeder(8);
        // The first keeps the only worker busy until its deadline.
        for number in 0..8 {
            let payload = if number == 0 { "loop" } else { "good" };
            feeder
                .send("test", "text/plain", &number.to_string(), payload.into())
                .unwrap();
        }
        for _ in 0..8 {
            feeder.next(DEADLINE).expect("an answer");
        }
        let counters = daemon.status().counters;
        assert!(counters.add_up(), "{counters:?}");
        assert!(
            counters.dropped.get(reason).is_some_and(|n| *n >= 1),
            "{counters:?}"
        );
        assert_eq!(counters.accepted, 8);
    }
}

#[test]
fn a_watched_file_is_not_displaced() {
    let workspace = Workspace::new();
    let recipe =
        Workspace::recipe("hostile.toml").replace("deadline-ms = 500", "deadline-ms = 2000");
    fs::create_dir(workspace.path("inbox")).unwrap();
    let more = "[intake]\nqueue = 1\nwhen-full = \"drop-oldest\"\n[workers]\nthreads = 1\n[watch]\nfolder = \"inbox\"\nafter = \"move\"";
    let daemon = workspace
        .device("a", &workspace.release(&recipe), more)
        .run();
    let outputs = daemon.client().outputs(Some("lab"), Some("a"), 64).unwrap();
    let feeder = daemon.feeder(4);
    // It keeps the only worker busy until its deadline, so that the file has to wait.
    feeder
        .send("test", "text/plain", "loop", b"loop".to_vec())
        .unwrap();
    let accepted = |count| {
        let what = format!("{count} samples are accepted");
        until(&what, || daemon.status().counters.accepted >= count);
    };
    accepted(1);
    fs::write(workspace.path("file.part"), "good").unwrap();
    fs::rename(
        workspace.path("file.part"),
        workspace.path("inbox/file.txt"),
    )
    .unwrap();
    accepted(2);
    for number in 0..3 {
        feeder
            .send("test", "text/plain", &number.to_string(), b"good".to_vec())
            .unwrap();
    }
    for _ in 0..4 {
        feeder.next(DEADLINE).expect("an answer");
    }
    loop {
        let insight = next(&outputs, "output/insight");
        if insight.body["source"]
            .as_str()
            .unwrap()
            .ends_with("file.txt")
        {
            break;
        }
    }
    let counters = daemon.status().counters;
    assert!(counters.add_up(), "{counters:?}");
}

#[test]
fn status_is_told_by_the_command_too() {
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("classify-angle.toml"));
    let device = workspace.device("a", &release, "");
    let daemon = device.run();
    daemon.feed(&[("1", page())]);
    let config = device.config.display().to_string();
    let told: Value =
        serde_json::from_str(&success(["status", "--config", &config, "--json"])).unwrap();
    assert_eq!(told[0]["device"], "a");
    assert_eq!(told[0]["counters"]["results"], 1);
    assert_eq!(told[0]["release"]["signers"][0], "alice");
    assert!(success(["status", "--config", &config]).contains("classify-angle"));
}

#[test]
fn metrics_are_served_where_they_are_configured() {
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("hostile.toml"));
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let daemon = workspace
        .device("a", &release, &format!("[metrics]\nlisten = \"{port}\""))
        .run();
    daemon.feed(&[("1", b"trap".to_vec()), ("2", b"good".to_vec())]);
    let mut stream = TcpStream::connect(port).unwrap();
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nHost: {port}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    for expected in [
        "trap",
        "classify-angle",
        "sha256:",
        "_bucket{stage=\"hostile\"",
        "hotshoe_queue_depth",
    ] {
        assert!(text.contains(expected), "no `{expected}` in {text}");
    }
}

#[test]
fn a_watched_file_that_kills_the_daemon_twice_is_set_aside() {
    let workspace = Workspace::new();
    let recipe =
        Workspace::recipe("hostile.toml").replace("deadline-ms = 500", "deadline-ms = 600000");
    let inbox = workspace.path("inbox");
    fs::create_dir(&inbox).unwrap();
    // It keeps the only worker busy until the daemon is killed.
    fs::write(inbox.join("a.txt"), "loop").unwrap();
    fs::write(inbox.join("b.txt"), "good").unwrap();
    let more = "[workers]\nthreads = 1\n[watch]\nfolder = \"inbox\"\nafter = \"move\"";
    let device = workspace.device("a", &workspace.release(&recipe), more);
    let notes = workspace.path("a-data/watching");
    let is_processed = || fs::read_dir(&notes).is_ok_and(|mut entries| entries.next().is_some());
    for _ in 0..2 {
        let daemon = device.run();
        until("a file has a note", is_processed);
        assert_eq!(daemon.status().watch.unwrap().set_aside, 0);
        daemon.kill();
    }
    let daemon = device.run();
    until("b.txt is done", || inbox.join("done/b.txt").exists());
    until("a.txt is set aside", || inbox.join("failed/a.txt").exists());
    let watch = daemon.status().watch.unwrap();
    assert_eq!(watch.set_aside, 1);
    assert!(watch.last_file.unwrap().ends_with("a.txt"));
    assert_eq!(daemon.log().matches("is set aside").count(), 1);
    // The same name with another content is another sample.
    fs::write(inbox.join("a.part"), "good").unwrap();
    fs::rename(inbox.join("a.part"), inbox.join("a.txt")).unwrap();
    until("a.txt is done", || inbox.join("done/a.txt").exists());
    assert!(daemon.stop().success());
}
