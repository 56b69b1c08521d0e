//! Power cuts, restarts and the end: with no network at all.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use hotshoe_link::FeedError;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::{DEADLINE, Device, Workspace, environment, failure, free_endpoint};

#[test]
fn killed_and_started_again_it_serves_the_same_release() {
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("classify-angle.toml"));
    let device = workspace.device("a", &release, "");
    let page = fs::read(environment().picture("page.png")).unwrap();
    let daemon = device.run();
    let before = daemon.status().release;
    assert!(daemon.feed(&[("1", page.clone())])[0].result.is_ok());
    daemon.kill();
    let daemon = device.run();
    assert_eq!(daemon.status().release, before);
    assert!(daemon.feed(&[("2", page)])[0].result.is_ok());
    assert!(daemon.stop().success());
}

#[test]
fn compiled_code_that_was_tampered_with_is_not_loaded() {
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("classify-angle.toml"));
    let device = workspace.device("a", &release, "");
    device.run().kill();
    let mut tampered = 0;
    let mut folders = vec![workspace.path("a-data")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "code")
            {
                let mut bytes = fs::read(&path).unwrap();
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
                fs::write(&path, bytes).unwrap();
                tampered += 1;
            }
        }
    }
    assert_eq!(tampered, 3, "one file of compiled code a component");
    let daemon = device.run();
    assert_eq!(daemon.log().matches("compiled code is not used").count(), 3);
    let page = fs::read(environment().picture("page.png")).unwrap();
    assert!(daemon.feed(&[("1", page)])[0].result.is_ok());
}

#[test]
fn compiled_code_that_others_may_write_is_not_loaded() {
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("classify-angle.toml"));
    let device = workspace.device("a", &release, "");
    device.run().kill();
    let folder = workspace.path("a-data/aot");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let daemon = device.run();
    assert_eq!(daemon.log().matches("compiled code is not used").count(), 3);
    let page = fs::read(environment().picture("page.png")).unwrap();
    assert!(daemon.feed(&[("1", page)])[0].result.is_ok());
}

#[test]
fn it_drains_on_sigterm() {
    let workspace = Workspace::new();
    let recipe =
        Workspace::recipe("hostile.toml").replace("deadline-ms = 500", "deadline-ms = 2000");
    let more = "[workers]\nthreads = 1\n[drain]\ndeadline-ms = 60000";
    let daemon = workspace
        .device("a", &workspace.release(&recipe), more)
        .run();
    let feeder = daemon.feeder(12);
    // The first keeps the only worker busy until its deadline; the rest wait behind it when the signal comes.
    for number in 0..12 {
        let payload = if number == 0 { "loop" } else { "good" };
        feeder
            .send("test", "text/plain", &number.to_string(), payload.into())
            .unwrap();
    }
    loop {
        let open = feeder.outstanding();
        if daemon.status().counters.accepted == 12 {
            break;
        }
        assert!(open > 0, "a sample ended without having been accepted");
    }
    assert!(daemon.stop().success());
    // Whatever was accepted before the signal was processed to its own end.
    for _ in 0..12 {
        let fed = feeder.next(DEADLINE).expect("an answer");
        match fed.result {
            Ok(answer) => assert_eq!(answer["insight"]["kind"], "classes"),
            Err(FeedError::Refused(error)) => {
                assert_eq!(
                    (fed.id.as_str(), &error["fault"]),
                    ("0", &Value::from("deadline"))
                );
            }
            Err(FeedError::NoReply) => panic!("sample {} was lost", fed.id),
        }
    }
    assert!(feeder.next(Duration::ZERO).is_none());
}

#[test]
fn samples_that_do_not_finish_in_time_are_named_drops() {
    let workspace = Workspace::new();
    let recipe =
        Workspace::recipe("hostile.toml").replace("deadline-ms = 500", "deadline-ms = 600000");
    let device = workspace.device(
        "a",
        &workspace.release(&recipe),
        "[drain]\ndeadline-ms = 100",
    );
    let mut daemon = device.run();
    let feeder = daemon.feeder(4);
    feeder
        .send("test", "text/plain", "1", b"loop".to_vec())
        .unwrap();
    while daemon.status().counters.in_flight == 0 {
        assert!(feeder.outstanding() > 0, "the loop does not end");
    }
    daemon.signal(Signal::TERM);
    daemon.wait_for_log("raise `[drain] deadline-ms`");
    assert_eq!(daemon.stop().code(), Some(1));
}

#[test]
fn a_data_folder_has_one_holder() {
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("classify-angle.toml"));
    let device = workspace.device("a", &release, "");
    let _daemon = device.run();
    let config = device.config.display().to_string();
    let said = failure([
        "install",
        &release.display().to_string(),
        "--config",
        &config,
    ]);
    assert!(said.contains("in use"), "{said}");
}

#[test]
fn with_nothing_installed_it_waits_for_its_first_release() {
    let workspace = Workspace::new();
    let config = workspace.path("a.toml");
    let endpoint = free_endpoint();
    let text = format!(
        "site = \"lab\"\ndevice = \"a\"\ndata = \"a-data\"\n[zenoh]\nlisten = [\"{endpoint}\"]\n[governor]\nenabled = false\n"
    );
    fs::write(&config, text).unwrap();
    let device = Device {
        name: "a".to_owned(),
        config,
    };
    let daemon = device.run();
    assert_eq!(daemon.status().release, None);
    let Err(FeedError::Refused(body)) = &daemon.feed(&[("1", vec![1])])[0].result else {
        panic!("a device without a release gave a result");
    };
    assert_eq!(body["fault"], "no_release");
    assert!(daemon.stop().success());
}
