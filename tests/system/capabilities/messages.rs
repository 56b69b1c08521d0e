//! Messages of a policy's own: under topics that the release states and the device allows, and nothing of a sample that goes beyond them.

use std::time::{Duration, Instant};

use hotshoe_link::{OutputMessage, Outputs};

use crate::site::{Site, ended, light};
use crate::support::{DEADLINE, Workspace, environment, failure};

fn recipe(topics: &str) -> String {
    let path = |name: &str| environment().component(name).display().to_string();
    format!(
        "name = \"telling\"\ngeneration = 1\nexpires-in = \"90d\"\n[components.capable]\nfile = \"{}\"\nworld = \"stage\"\n[components.telling-policy]\nfile = \"{}\"\nworld = \"policy\"\n{topics}\n[[pipeline]]\nstage = \"capable\"\n[[pipeline]]\npolicy = \"telling-policy\"\n",
        path("capable"),
        path("telling-policy")
    )
}

/// All that leaves the device until the message of this topic, which is the last.
fn until(outputs: &Outputs, topic: &str) -> Vec<OutputMessage> {
    let mut heard = Vec::new();
    loop {
        let published = outputs.next(DEADLINE).expect("a message");
        let is_last = published.key.ends_with(topic);
        heard.push(published);
        if is_last {
            return heard;
        }
    }
}

#[test]
fn a_policy_sends_under_the_topics_that_are_stated() {
    let workspace = Workspace::new();
    let release = workspace.release(&recipe(
        "topics = [\"count\", \"end\", \"large\"]\nlimits = { output-kib = 16384 }",
    ));
    let daemon = workspace.device("a", &release, "").run();
    let outputs = daemon.client().outputs(Some("lab"), Some("a"), 64).unwrap();
    let fed = daemon.feed(&[
        ("kept", b"name drop\nname count".to_vec()),
        ("beyond", b"name count\nname picture".to_vec()),
        ("illegal", b"name count\nname a/b".to_vec()),
        ("wild", b"name **".to_vec()),
        ("large", b"name large".to_vec()),
        ("end", b"name end".to_vec()),
    ]);
    let answers: Vec<_> = fed.iter().map(|fed| fed.result.as_ref()).collect();
    // What was sent has left although the insight is held back.
    let kept = answers[0].unwrap();
    assert_eq!(kept["insight"], serde_json::Value::Null);
    assert_eq!(kept["actions"][2]["action"], "send");
    assert_eq!(kept["actions"][2]["topic"], "count");
    assert_eq!(kept["actions"][2]["bytes"], "count was seen".len());
    for (answer, fault) in
        answers[1..5]
            .iter()
            .zip(["denied", "denied", "denied", "limit_exceeded"])
    {
        let refused = answer.unwrap_err().to_string();
        assert!(
            refused.contains(&format!("\"fault\":\"{fault}\"")),
            "{refused}"
        );
    }
    let beyond = answers[1].unwrap_err().to_string();
    assert!(
        beyond.contains("`topics` under [components.telling-policy]"),
        "{beyond}"
    );

    let heard = until(&outputs, "output/custom/end");
    let custom: Vec<&OutputMessage> = heard
        .iter()
        .filter(|published| published.key.contains("/output/custom/"))
        .collect();
    let keys: Vec<&str> = custom
        .iter()
        .map(|published| published.key.as_str())
        .collect();
    assert_eq!(
        keys,
        [
            "hotshoe/lab/a/output/custom/count",
            "hotshoe/lab/a/output/custom/end"
        ]
    );
    assert_eq!(custom[0].payload, b"count was seen");
    assert_eq!(custom[0].content_type, "text/plain");
    // Of the samples that went too far nothing leaves but why: one insight, of the last sample.
    let ended = |end: &str| heard.iter().filter(|p| p.key.ends_with(end)).count();
    assert_eq!(ended("output/error"), 4);
    assert_eq!(ended("output/insight"), 1);
    assert_eq!(ended("output/action"), 1);
    assert!(
        outputs
            .next(Duration::ZERO)
            .is_none_or(|p| !p.key.contains("custom"))
    );

    let counters = daemon.status().counters;
    assert_eq!((counters.results, counters.failed), (2, 4), "{counters:?}");
    assert_eq!(counters.faults.get("denied"), Some(&3), "{counters:?}");
    assert!(daemon.stop().success());
}

/// The longest content type that Zenoh carries.
const LONGEST: usize = 255;

#[test]
fn a_content_type_that_zenoh_cannot_carry_costs_its_sample_alone() {
    let workspace = Workspace::new();
    let release = workspace.release(&recipe("topics = [\"typed\", \"end\"]"));
    let daemon = workspace.device("a", &release, "").run();
    let lengths = [0, 1, LONGEST - 1, LONGEST, 256, 257, 511, 512, 513, 70_000];
    // It is the same whether somebody listens or not.
    let mut outputs = None;
    for _ in 0..2 {
        for length in lengths {
            let sample = format!("name type-{length}").into_bytes();
            let fed = daemon.feed(&[("typed", sample)]).remove(0);
            match fed.result {
                Ok(_) => assert!(length <= LONGEST, "{length} bytes were taken"),
                Err(error) => {
                    assert!(length > LONGEST, "{length} bytes: {error}");
                    let error = error.to_string();
                    assert!(error.contains("\"fault\":\"invalid_input\""), "{error}");
                    assert!(error.contains("at most 255"), "{error}");
                }
            }
        }
        if outputs.is_none() {
            outputs = Some(daemon.client().outputs(Some("lab"), Some("a"), 64).unwrap());
        }
    }
    daemon.feed(&[("end", b"name end".to_vec())]);
    let heard = until(outputs.as_ref().unwrap(), "output/custom/end");
    let typed = heard.iter().filter(|p| p.key.ends_with("/typed"));
    let types: Vec<usize> = typed.map(|p| p.content_type.len()).collect();
    // Zenoh has a word for none.
    assert_eq!(types, ["zenoh/bytes".len(), 1, LONGEST - 1, LONGEST]);
    assert!(daemon.stop().success());
}

#[test]
fn a_release_that_sends_such_a_type_is_rolled_back_though_nobody_listens() {
    let mut site = Site::new();
    let telling = recipe("topics = [\"typed\"]")
        .replace("name = \"telling\"", "name = \"light\"")
        .replace("generation = 1", "generation = 2")
        + "[health]\nmin-samples = 3\nmin-seconds = 0\n";
    let first = site.pack(&light(1, ""));
    let second = site.pack(&telling);
    let daemon = site.device("a", &first, "").run();
    site.publish(&second);
    let started = Instant::now();
    let is_over = ended(2, "rolled-back");
    while !is_over(&daemon.state()) {
        assert!(started.elapsed() < DEADLINE, "{}", daemon.log());
        daemon.feed(&[("typed", b"name type-256".to_vec())]);
    }
    assert_eq!(daemon.state()["deploy"]["cause"]["name"], "error_rate");
    assert_eq!(daemon.state()["release"]["generation"], 1);
}

#[test]
fn going_beyond_the_topics_is_not_let_pass() {
    let workspace = Workspace::new();
    let open = recipe("").replace(
        "policy = \"telling-policy\"",
        "policy = \"telling-policy\"\non-failure = \"fail-open\"",
    );
    let daemon = workspace.device("a", &workspace.release(&open), "").run();
    let fed = daemon.feed(&[("beyond", b"name count".to_vec())]);
    let refused = fed[0].result.as_ref().unwrap_err().to_string();
    assert!(refused.contains("\"fault\":\"denied\""), "{refused}");
}

#[test]
fn the_device_and_the_release_are_checked_for_topics() {
    let workspace = Workspace::new();
    let release = workspace.release(&recipe("topics = [\"count\", \"picture\"]"));
    let config = workspace.path("hotshoe.toml");
    let write = |topics: &str| {
        let text = format!("site = \"lab\"\ndevice = \"a\"\n[output]\ntopics = {topics}\n");
        std::fs::write(&config, text).unwrap();
    };
    let (release, file) = (release.display().to_string(), config.display().to_string());
    let sample = workspace.path("sample");
    std::fs::write(&sample, "name count").unwrap();
    let sample = sample.display().to_string();
    write("[\"count*\"]");
    let said = failure(["exec", &release, &sample, "--config", &file]);
    assert!(said.starts_with("topic_not_allowed"), "{said}");
    assert!(
        said.contains("topics = [\"count*\", \"picture\"]"),
        "{said}"
    );
    write("[\"count*\", \"pic*\"]");
    let told = crate::support::success(["exec", &release, &sample, "--config", &file]);
    assert!(
        told.contains("\"topic\":\"count\"") && told.contains("\"payload\":"),
        "{told}"
    );
    write("[\"{\"]");
    let said = failure(["exec", &release, &sample, "--config", &file]);
    assert!(said.contains("output.topics"), "{said}");

    std::fs::write(workspace.path("release.toml"), recipe("topics = [\"a/b\"]")).unwrap();
    let toml = workspace.path("release.toml").display().to_string();
    let out = workspace.path("other").display().to_string();
    let said = failure(["pack", &toml, "--out", &out]);
    assert!(said.contains("lists the topic `a/b`"), "{said}");
}
