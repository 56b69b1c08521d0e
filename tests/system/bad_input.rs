//! Bad samples and files: each has a typed error and costs itself alone.

use std::fs;
use std::path::PathBuf;

use hotshoe_link::FeedError;
use hotshoe_store::Layout;
use hotshoe_trust::is_active;
use hotshoe_vision::{Budget, Format, Image, encode};

use crate::support::{Workspace, environment, failure, hotshoe, json_lines};

/// A PNG's signature and header, of this many pixels each way, and nothing else.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut chunk = b"IHDR".to_vec();
    chunk.extend(width.to_be_bytes());
    chunk.extend(height.to_be_bytes());
    chunk.extend([8, 2, 0, 0, 0]); // 8 bits, RGB, deflate, adaptive filters, not interlaced
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    png.extend(13_u32.to_be_bytes());
    png.extend(&chunk);
    png.extend(crc32(&chunk).to_be_bytes());
    png
}

/// CRC-32 of ISO 3309, as PNG's section 5.5 has it.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 * (crc & 1));
        }
    }
    !crc
}

#[test]
fn a_bad_picture_costs_itself_alone() {
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("release.toml"));
    let page = fs::read(environment().picture("page.png")).unwrap();
    let write = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = workspace.path(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let inputs = [
        write("truncated.png", &page[..page.len() / 2]),
        write("empty.png", b""),
        write("huge.png", &png_header(30_000, 30_000)),
        write("noise.bin", b"this is no picture"),
        workspace.path("missing.png"),
        environment().picture("page.png"),
    ];
    let output = workspace.exec(&release, &inputs);
    assert_eq!(output.status.code(), Some(1));
    let results = json_lines(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(results.len(), inputs.len(), "one object an input");
    let faults: Vec<&str> = results
        .iter()
        .map(|result| result["error"]["fault"].as_str().unwrap_or("none"))
        .collect();
    assert_eq!(
        faults,
        [
            "invalid_input",
            "invalid_input",
            "limit_exceeded",
            "unsupported",
            "unreadable",
            "none"
        ]
    );
    let huge = results[2]["error"]["message"].as_str().unwrap();
    assert!(huge.contains("30000"), "{huge}");
    assert_eq!(results[5]["insight"]["kind"], "text");
}

/// Scaled to 192 x 48, it once was 1.2 billion pixels between the two passes.
#[test]
fn a_row_of_24_million_pixels_costs_its_own_sample_at_most() {
    let row = Image::from_rgb(24_000_000, 1, vec![200; 72_000_000]).unwrap();
    let row = encode(&row, Format::Png, 0, &Budget::unlimited()).unwrap();
    let page = fs::read(environment().picture("page.png")).unwrap();
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("classify-angle.toml"));
    let daemon = workspace.device("a", &release, "").run();
    let fed = daemon.feed(&[("row", row), ("page", page)]);
    match &fed[0].result {
        Ok(answer) => assert_eq!(answer["insight"]["kind"], "classes"),
        // On a slow machine.
        Err(FeedError::Refused(body)) => assert_eq!(body["fault"], "deadline"),
        Err(error) => panic!("{error}"),
    }
    assert!(fed[1].result.is_ok());
    let peak = daemon.peak_memory_kib() >> 10;
    assert!(peak < 700, "{peak} MiB");
    assert!(daemon.stop().success());
}

#[test]
fn a_misspelt_configuration_names_the_key_that_was_meant() {
    let workspace = Workspace::new();
    let config = workspace.path("hotshoe.toml");
    fs::write(
        &config,
        "site = \"lab\"\ndevice = \"a\"\n[intake]\nqueu = 4\n",
    )
    .unwrap();
    let said = failure(["run", "--config", &config.display().to_string()]);
    assert!(
        said.starts_with("unknown_key: ") && said.contains("did you mean `queue`"),
        "{said}"
    );
}

#[test]
fn a_misspelt_recipe_names_the_key_that_was_meant() {
    let workspace = Workspace::new();
    let recipe = workspace.path("release.toml");
    fs::write(&recipe, "name = \"x\"\ngenration = 1\n").unwrap();
    let out = workspace.path("out").display().to_string();
    let said = failure(["pack", &recipe.display().to_string(), "--out", &out]);
    assert!(
        said.starts_with("unknown_key: ") && said.contains("did you mean `generation`"),
        "{said}"
    );
    assert!(!workspace.path("out").exists(), "nothing half-made is left");
}

#[test]
fn a_device_that_cannot_start_says_what_it_lacks() {
    let workspace = Workspace::new();
    let config = workspace.path("hotshoe.toml").display().to_string();
    let run = || failure(["run", "--config", &config]);
    fs::write(&config, "site = \"lab\"\ndevice = \"a b\"\n").unwrap();
    assert!(run().starts_with("invalid_config: "), "{}", run());
    fs::write(&config, "site = \"lab\ndevice = \"a\"\n").unwrap();
    assert!(run().starts_with("invalid_toml: "), "{}", run());
    fs::write(&config, "site = \"lab\"\ndevice = \"a\"\n").unwrap();
    let held = hotshoe_store::Store::open(&workspace.path("data")).unwrap();
    assert!(run().starts_with("in_use: "), "{}", run());
    drop(held);
}

#[test]
fn an_input_has_at_most_what_the_device_takes() {
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("classify-angle.toml"));
    let config = workspace.path("hotshoe.toml");
    let page = environment().picture("page.png");
    let most = fs::metadata(&page).unwrap().len() - 1;
    fs::write(
        &config,
        format!("site = \"lab\"\ndevice = \"a\"\n[intake]\nmax-sample-bytes = {most}\n"),
    )
    .unwrap();
    let output = hotshoe([
        "exec".as_ref(),
        release.as_os_str(),
        page.as_os_str(),
        "--config".as_ref(),
        config.as_os_str(),
    ]);
    let results = json_lines(&String::from_utf8(output.stdout).unwrap());
    let error = &results[0]["error"];
    assert_eq!(error["fault"], "unreadable");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("max-sample-bytes"), "{message}");
}

#[test]
fn wrong_usage_names_every_way_to_do_it_right() {
    for (command, ways) in [
        ("verify", ["--config", "--trust"]),
        ("install", ["--config", "--trust"]),
        ("sign", ["--key", "--bundle"]),
    ] {
        let output = hotshoe([command, "release"]);
        assert_eq!(output.status.code(), Some(2), "{command}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(ways.iter().all(|way| said.contains(way)), "{said}");
    }
    let output = hotshoe(["trust", "--key", "a=a.pub", "--threshold", "0"]);
    assert_eq!(output.status.code(), Some(2));
}

/// Fails where a terminal would act on something, but for line ends.
fn assert_printable(what: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let active = text.chars().find(|c| is_active(*c) && *c != '\n');
    assert!(active.is_none(), "{what}: {active:?} in {text:?}");
}

#[test]
fn what_a_bundle_says_of_itself_reaches_no_terminal_as_it_is() {
    let workspace = Workspace::new();
    workspace.key("bob");
    let release = workspace.release(&Workspace::recipe("classify-angle.toml"));
    let layout = Layout::open(&release).unwrap();
    let good = String::from_utf8(layout.package().unwrap().bundles.remove(0)).unwrap();
    let bundle: serde_json::Value = serde_json::from_str(&good).unwrap();
    let hint = bundle["verificationMaterial"]["publicKey"]["hint"]
        .as_str()
        .unwrap();
    let hostile = good.replace(hint, r"\u001b]0;owned\u0007\u009b2J\u202etxt\u2028");
    layout.attach(hostile.as_bytes()).unwrap();
    workspace.trust(&["bob"], 1);
    let (folder, trust) = (release.display().to_string(), workspace.trust_file());
    for more in [None, Some("--json")] {
        for command in [
            vec!["verify", &folder, "--trust", &trust],
            vec!["inspect", &folder],
        ] {
            let output = hotshoe(command.iter().copied().chain(more));
            assert_printable(command[0], &output.stdout);
            assert_printable(command[0], &output.stderr);
        }
    }
    let said = failure(["verify", &folder, "--trust", &trust]);
    assert!(said.starts_with("unknown_signer"), "{said}");
}
