//! The main job: the text of a scanned page, against the recorded reference.

use serde_json::Value;

use crate::support::{
    Workspace, character_error_rate, environment, expected_lines, json_lines, lines,
};

fn read(recipe: &str, pictures: &[&str]) -> Vec<Value> {
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe(recipe));
    let inputs: Vec<_> = pictures
        .iter()
        .map(|name| environment().picture(name))
        .collect();
    let output = workspace.exec(&release, &inputs);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    json_lines(&String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_page_reads_as_the_reference_reads_it() {
    let results = read(
        "release.toml",
        &["page.png", "text.png", "china.jpg", "flower.jpg"],
    );
    let page = lines(&results[0]["insight"]);
    let expected = expected_lines("page");
    assert_eq!(page.len(), expected.len(), "{page:?}");
    let rate = character_error_rate(&page, &expected);
    assert!(rate <= 0.01, "character error rate {rate}: {page:?}");
    // The other pictures hold little or no text; what was recorded of them must come out as well.
    for (result, name) in results.iter().zip(["page", "text", "china", "flower"]) {
        let found = lines(&result["insight"]);
        let expected = expected_lines(name);
        assert_eq!(found.is_empty(), expected.is_empty(), "{name}: {found:?}");
        assert!(result["stages"][0]["micros"].as_u64().unwrap() > 0);
        assert!(
            result["release"]["digest"]
                .as_str()
                .unwrap()
                .starts_with("sha256:")
        );
    }
}

/// The four small releases: one model each, by pre, infer, post and policy, or by one stage over `wasi:nn`.
#[test]
fn one_model_at_a_time() {
    let found = read("detect.toml", &["page.png"]);
    let detections = found[0]["insight"]["detections"].as_array().unwrap();
    assert_eq!(detections.len(), expected_lines("page").len());

    let ours = read("classify-angle.toml", &["page.png"]);
    let theirs = read("classify-angle-nn.toml", &["page.png"]);
    let best = |result: &Value| result["insight"]["classes"][0].clone();
    assert_eq!(best(&ours[0])["label"], best(&theirs[0])["label"]);
    let difference =
        best(&ours[0])["score"].as_f64().unwrap() - best(&theirs[0])["score"].as_f64().unwrap();
    assert!(difference.abs() < 1e-5, "{difference}");

    let read = read("recognise.toml", &["text.png"]);
    assert_eq!(read[0]["insight"]["kind"], "text");
}
