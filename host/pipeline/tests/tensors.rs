//! Tensors between a sample, models and a result: names, empty batches, chosen outputs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod fixture;

use hotshoe_engine::Insight;
use hotshoe_infer::Tensor;
use hotshoe_infer::npz::{self, Limits};

use fixture::onnx::Graph;
use fixture::{Fixture, Loaded, process};

/// A release of models in a row; each is one line of TOML with its file.
fn load(fixture: &Fixture, models: &str, steps: &[&str]) -> Loaded {
    let steps: String = steps
        .iter()
        .map(|model| format!("[[pipeline]]\ninfer = \"{model}\"\n"))
        .collect();
    let release = format!("name = \"test\"\nexpires-in = \"1d\"\ngeneration = 1\n{models}{steps}");
    fixture.load_text(&release).unwrap()
}

fn run(loaded: &Loaded, given: &[(&str, Tensor)]) -> Result<Vec<(String, Tensor)>, String> {
    let arrays = given
        .iter()
        .map(|(name, it)| ((*name).to_owned(), it.clone()));
    let sample = npz::to_bytes(&arrays.collect::<Vec<_>>()).unwrap();
    let mut worker = loaded.pipeline.worker();
    let outcome = process(&mut worker, npz::CONTENT_TYPE, &sample);
    match outcome.result.map_err(|error| error.to_string())?.insight {
        Insight::Custom { payload, .. } => Ok(npz::read(&payload, Limits::SAMPLE).unwrap()),
        other => panic!("{other:?}"),
    }
}

fn row(elements: &[f32]) -> Tensor {
    Tensor::from_f32(&[1, elements.len()], elements.to_vec()).unwrap()
}

/// `y = sample + content-type`
fn with_taken_names() -> Vec<u8> {
    let shape = [None, Some(2)];
    Graph::default()
        .input("sample", &shape)
        .input("content-type", &shape)
        .node("Add", &["sample", "content-type"], "y")
        .output("y", &shape)
        .file()
}

#[test]
fn a_model_input_called_sample_or_content_type_is_fed() {
    let fixture = Fixture::new();
    fixture.file("m.onnx", &with_taken_names());
    let loaded = load(&fixture, "[models.m]\nfile = \"m.onnx\"\n", &["m"]);
    let given = [
        ("sample", row(&[1.0, 2.0])),
        ("content-type", row(&[10.0, 20.0])),
    ];
    let outputs = run(&loaded, &given).unwrap();
    assert_eq!(outputs[0].0, "y");
    assert_eq!(outputs[0].1.as_f32().unwrap(), [11.0, 22.0]);
    // A model without such an input takes them as the sample, as ever.
    fixture.file(
        "m.onnx",
        &Graph::default()
            .input("x", &[None, Some(2)])
            .node("Relu", &["x"], "y")
            .output("y", &[None, Some(2)])
            .file(),
    );
    let loaded = load(&fixture, "[models.m]\nfile = \"m.onnx\"\n", &["m"]);
    let bytes = Tensor::from_u8(&[2], b"hi".to_vec()).unwrap();
    let outputs = run(&loaded, &[("x", row(&[-1.0, 2.0])), ("sample", bytes)]).unwrap();
    assert_eq!(outputs[0].1.as_f32().unwrap(), [0.0, 2.0]);
    let error = run(&loaded, &given[..1]).unwrap_err();
    assert!(error.contains("`sample`"), "{error}");
}

#[test]
fn an_empty_batch_passes_from_model_to_model() {
    let fixture = Fixture::new();
    // The rows of `x`, times a matrix of 2 x 3.
    let product = Graph::default()
        .input("x", &[None, Some(2)])
        .weight("w", &[2, 3], &[1.0; 6])
        .node("MatMul", &["x", "w"], "y")
        .output("y", &[None, Some(3)])
        .file();
    let negative = Graph::default()
        .input("y", &[None, Some(3)])
        .node("Neg", &["y"], "z")
        .output("z", &[None, Some(3)])
        .file();
    fixture.file("a.onnx", &product);
    fixture.file("b.onnx", &negative);
    let models = "[models.a]\nfile = \"a.onnx\"\n[models.b]\nfile = \"b.onnx\"\n";
    let loaded = load(&fixture, models, &["a", "b"]);
    let none = Tensor::from_f32(&[0, 2], Vec::new()).unwrap();
    let outputs = run(&loaded, &[("x", none)]).unwrap();
    assert_eq!(outputs[0].0, "z");
    assert_eq!(outputs[0].1.shape(), [0, 3]);
    let outputs = run(&loaded, &[("x", row(&[1.0, 2.0]))]).unwrap();
    assert_eq!(outputs[0].1.as_f32().unwrap(), [-3.0, -3.0, -3.0]);
}

#[test]
fn more_than_64_tensors_pass() {
    let fixture = Fixture::new();
    let names: Vec<String> = (0..100).map(|number| format!("x{number}")).collect();
    let shape = [Some(1), Some(2)];
    let mut graph = Graph::default();
    for name in &names {
        let output = format!("{name}-next");
        graph = graph
            .input(name, &shape)
            .node("Neg", &[name], &output)
            .output(&output, &shape);
    }
    fixture.file("m.onnx", &graph.file());
    let loaded = load(&fixture, "[models.m]\nfile = \"m.onnx\"\n", &["m"]);
    let given: Vec<(&str, Tensor)> = names
        .iter()
        .map(|name| (name.as_str(), row(&[1.0, 2.0])))
        .collect();
    let outputs = run(&loaded, &given).unwrap();
    assert_eq!(outputs.len(), 100);
    assert_eq!(outputs[99].0, "x99-next");
    assert_eq!(outputs[99].1.as_f32().unwrap(), [-1.0, -2.0]);
}

#[test]
fn the_outputs_that_a_release_chooses_are_served() {
    let fixture = Fixture::new();
    let shape = [None, Some(2)];
    let graph = Graph::default()
        .input("x", &shape)
        .node("Relu", &["x"], "y")
        .node("Levitate", &["x"], "odd")
        .output("odd", &shape)
        .output("y", &shape)
        .file();
    fixture.file("m.onnx", &graph);
    let models = "[models.m]\nfile = \"m.onnx\"\noutputs = [\"y\"]\n";
    let loaded = load(&fixture, models, &["m"]);
    let outputs = run(&loaded, &[("x", row(&[-1.0, 2.0]))]).unwrap();
    assert_eq!(outputs.len(), 1);
    assert_eq!(outputs[0].0, "y");
    assert_eq!(outputs[0].1.as_f32().unwrap(), [0.0, 2.0]);
}
