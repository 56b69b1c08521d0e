//! The same four tasks in every language give the same bytes: on the templates' own samples, and on real pictures and real models' outputs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hotshoe_author::Language;
use hotshoe_devkit::{Extra, Progress, fetch};
use hotshoe_engine::Insight;
use hotshoe_infer::{Tensor, npz};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Workspace, environment, json_lines, success};

const WORLDS: [&str; 4] = ["preprocessor", "postprocessor", "policy", "stage"];

/// Results by what they are of: `policy faces.json`.
type Results = BTreeMap<String, String>;

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// What every component is tried on.
struct Samples {
    pictures: Vec<PathBuf>,
    /// What a face detector gave for a photograph with a face.
    faces: PathBuf,
    /// Its boxes.
    insight: PathBuf,
}

/// Bytes as an array of an archive.
fn bytes(name: &str, bytes: &[u8]) -> (String, Tensor) {
    let tensor = Tensor::from_u8(&[bytes.len()], bytes.to_vec());
    (name.to_owned(), tensor.unwrap())
}

impl Samples {
    /// Runs the face detector on a photograph.
    fn make(workspace: &Workspace) -> Self {
        let environment = environment();
        let model = fetch(&environment.root, Extra::Faces, &Progress::plain()).unwrap();
        let recipe = format!(
            "name = \"heads\"\ngeneration = 1\nexpires-in = \"1d\"\n\
             [components.pre]\nfile = \"{}\"\nworld = \"preprocessor\"\ngrants = [\"config\", \"vision\"]\n\
             config = {{ longest-side = \"512\" }}\n\
             [models.faces]\nfile = \"{}\"\n[[pipeline]]\npreprocess = \"pre\"\n[[pipeline]]\ninfer = \"faces\"\n",
            text(&environment.component("privacy-pre")),
            text(&model)
        );
        let picture = environment.picture("astronaut.png");
        let release = workspace.release(&recipe);
        let output = workspace.exec(&release, std::slice::from_ref(&picture));
        let told = json_lines(&String::from_utf8(output.stdout).unwrap()).remove(0);
        fs::remove_dir_all(release).unwrap();
        let Insight::Custom { payload, .. } =
            serde_json::from_value(told["insight"].clone()).unwrap()
        else {
            panic!("{told}");
        };
        let mut arrays = npz::read(&payload, npz::Limits::SAMPLE).unwrap();
        arrays.push(bytes(npz::SAMPLE, &fs::read(&picture).unwrap()));
        arrays.push(bytes(npz::SAMPLE_TYPE, b"image/png"));
        let faces = workspace.path("faces.npz");
        fs::write(&faces, npz::to_bytes(&arrays).unwrap()).unwrap();
        Self {
            pictures: ["page.png", "china.jpg", "astronaut.png"]
                .map(|name| environment.picture(name))
                .to_vec(),
            faces,
            insight: workspace.path("faces.json"),
        }
    }
}

/// Makes and builds the four components of a language, and runs them all.
fn results(language: Language, workspace: &Workspace, samples: &Samples) -> Results {
    let folder = TempDir::new().unwrap();
    let mut results = Results::new();
    for world in WORLDS {
        let name = format!("same-{world}");
        let project = folder.path().join(&name);
        let word = language.word();
        success([
            "new",
            &name,
            "--lang",
            word,
            "--world",
            world,
            "--dir",
            &text(&project),
        ]);
        build(&project);
        let plain = fs::read_to_string(project.join("release.toml")).unwrap();
        // Few scores are above 0.5: more boxes than one face has are to be compared.
        let more = plain.replace("min-score = \"0.5\"", "min-score = \"0.02\"");
        let own = |name: &str| project.join("tests").join(name);
        let angle = format!("\"{}\"", text(&environment().model("classify-angle")));
        let classify = plain.replace("\"classifier.onnx\"", &angle);
        let pictures = samples.pictures.iter().cloned();
        match world {
            "preprocessor" => {
                let inputs: Vec<PathBuf> = pictures.chain([own("picture.png")]).collect();
                run(&project, &plain, &inputs, workspace, &mut results);
            }
            "postprocessor" => {
                run(
                    &project,
                    &plain,
                    &[own("outputs.npz")],
                    workspace,
                    &mut results,
                );
                let found = run(
                    &project,
                    &more,
                    std::slice::from_ref(&samples.faces),
                    workspace,
                    &mut results,
                );
                // The first language's is every policy's sample; all of them are compared below.
                if !samples.insight.exists() {
                    fs::write(&samples.insight, found).unwrap();
                }
            }
            "policy" => {
                let inputs = [own("insight.json"), samples.insight.clone()];
                run(&project, &plain, &inputs, workspace, &mut results);
            }
            _ => {
                run(
                    &project,
                    &plain,
                    &[own("picture.png")],
                    workspace,
                    &mut results,
                );
                let inputs: Vec<PathBuf> = pictures.collect();
                run(&project, &classify, &inputs, workspace, &mut results);
            }
        }
    }
    results
}

fn build(project: &Path) {
    let target = environment().root.join("target");
    let output = Command::new(env!("CARGO_BIN_EXE_hotshoe"))
        .args(["build", &text(project), "--yes"])
        .env("HOTSHOE_TOOLS", target.join("tools"))
        .env("CARGO_TARGET_DIR", target.join("author-build"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}: {}",
        project.display(),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Packs the project with this `release.toml` and runs it; the last insight.
fn run(
    project: &Path,
    manifest: &str,
    inputs: &[PathBuf],
    workspace: &Workspace,
    to: &mut Results,
) -> String {
    let file = project.join("release.toml");
    fs::write(&file, manifest).unwrap();
    let release = project.join("release");
    success(["pack", &text(&file), "--out", &text(&release)]);
    workspace.sign(&release, "alice");
    let config = workspace.path("hotshoe.toml");
    let device = "site = \"lab\"\ndevice = \"a\"\n\
        allow = [\"log\", \"config\", \"data\", \"vision\", \"wasi-nn\", \"wasi\"]\n";
    fs::write(&config, device).unwrap();
    let mut arguments = vec!["exec".to_owned(), text(&release)];
    arguments.extend(inputs.iter().map(|input| text(input)));
    arguments.extend(["--config".to_owned(), text(&config)]);
    let told = json_lines(&success(arguments));
    let mut last = String::new();
    for (input, told) in inputs.iter().zip(told) {
        assert_eq!(told["error"], Value::Null, "{} {told}", project.display());
        last = told["insight"].to_string();
        let world = project.file_name().unwrap().to_string_lossy();
        let sample = input.file_name().unwrap().to_string_lossy();
        to.insert(
            format!("{world} {sample}"),
            format!("{last} {}", told["actions"]),
        );
    }
    fs::remove_dir_all(release).unwrap();
    last
}

#[test]
fn every_language_gives_the_same_bytes() {
    let workspace = Workspace::new();
    let samples = Samples::make(&workspace);
    let rust = results(Language::Rust, &workspace, &samples);
    assert_eq!(rust.len(), 12, "{:?}", rust.keys());
    let boxes = rust["same-postprocessor faces.npz"]
        .matches("\"label\"")
        .count();
    assert!(boxes >= 3, "{boxes} boxes are too few to tell anything");
    assert!(rust["same-policy faces.json"].contains("publish"));
    for language in Language::ALL {
        if language == Language::Rust {
            continue;
        }
        let other = results(language, &workspace, &samples);
        for (what, expected) in &rust {
            let found = other.get(what).map(String::as_str);
            assert_eq!(found, Some(expected.as_str()), "{language}: {what}");
        }
    }
}
