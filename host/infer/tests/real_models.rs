#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
//! Models that people use, on every backend: the three of PP-OCRv4, CenterFace and silero-vad.

use std::sync::Arc;

use hotshoe_devkit::Extra;
use hotshoe_infer::{
    Backend, BackendChoice, LoadError, Model, ModelOptions, Models, Options, OrtOptions, Tensor,
};
use hotshoe_tests::extra;
use hotshoe_trust::Digest;
use hotshoe_vision::{
    Budget, Channels, DecodeLimits, Filter, Layout, Normalisation, decode, normalise, resize,
};
use prost::Message;
use tract_onnx::pb::ModelProto;
use tract_onnx::pb::type_proto::Value;

/// The least cosine between the outputs of two backends.
const COSINE: f64 = 0.9999;

fn text_model(name: &str) -> Option<Vec<u8>> {
    let folder = extra(Extra::TextModels)?;
    Some(std::fs::read(folder.join(format!("{name}.onnx"))).unwrap())
}

fn load(bytes: &[u8], backend: Backend) -> Option<Arc<Model>> {
    let mut options = Options::default();
    let choice = match backend {
        Backend::Tract => BackendChoice::Tract,
        Backend::Ort => {
            options.ort = OrtOptions {
                library: Some(extra(Extra::OnnxRuntime)?),
                ..OrtOptions::default()
            };
            BackendChoice::Ort
        }
    };
    let how = ModelOptions {
        backend: choice,
        ..ModelOptions::default()
    };
    let model = Models::new(options).load(Digest::of(bytes), bytes, &how);
    let model = model.unwrap();
    assert_eq!(model.backend(), backend);
    Some(model)
}

/// The model on every backend that is there.
fn on_each(bytes: &[u8]) -> Vec<Arc<Model>> {
    let backends = [Backend::Tract, Backend::Ort];
    backends
        .into_iter()
        .filter_map(|backend| load(bytes, backend))
        .collect()
}

/// An `[n, 3, rows, columns]` tensor of a pattern that depends on row and column alone.
fn pattern(n: usize, rows: usize, columns: usize, at: impl Fn(usize, usize) -> f32) -> Tensor {
    let plane: Vec<f32> = (0..rows * columns)
        .map(|i| at(i / columns, i % columns))
        .collect();
    Tensor::from_f32(&[n, 3, rows, columns], plane.repeat(n * 3)).unwrap()
}

fn stripes(row: usize, column: usize) -> f32 {
    ((column * 7 + row * 13 + column * row / 5) % 101) as f32 / 50.0 - 1.0
}

fn lines_of_blocks(row: usize, column: usize) -> f32 {
    let inside = (20..44).contains(&(row % 64)) && (30..290).contains(&column);
    let ink = inside
        && !(column / 4 + row / 20).is_multiple_of(3)
        && !(column / 7 + row / 5).is_multiple_of(4);
    if ink { -1.0 } else { 1.0 }
}

/// A scanned page as a tensor.
fn page(width: u32, height: u32, how: &Normalisation) -> Option<Tensor> {
    let bytes = std::fs::read(extra(Extra::Scans)?.join("page.png")).unwrap();
    let budget = Budget::unlimited();
    let picture = decode(&bytes, &DecodeLimits::default(), &budget).unwrap();
    let scaled = resize(&picture, width, height, Filter::Bilinear, &budget).unwrap();
    let (shape, elements) = normalise(&[&scaled], width, height, how, &budget).unwrap();
    Some(Tensor::from_f32(&shape, elements).unwrap())
}

/// What the models of PP-OCRv4 take.
const SIGNED: Normalisation = Normalisation {
    layout: Layout::Nchw,
    channels: Channels::Bgr,
    scale: 1.0 / 255.0,
    mean: [0.5; 3],
    std: [0.5; 3],
};

fn run(model: &Model, x: &Tensor) -> Tensor {
    model.run(&[("x", x)]).unwrap().remove(0).1
}

#[track_caller]
fn assert_near(got: f32, want: f32) {
    assert!(
        (got - want).abs() <= 1e-3,
        "{got}, but onnxruntime has {want}"
    );
}

fn cosine(one: &Tensor, other: &Tensor) -> f64 {
    let pairs = one.as_f32().unwrap().iter().zip(other.as_f32().unwrap());
    let (mut product, mut squares) = (0.0, (0.0, 0.0));
    for (&a, &b) in pairs {
        let (a, b) = (f64::from(a), f64::from(b));
        product += a * b;
        squares = (squares.0 + a * a, squares.1 + b * b);
    }
    product / (squares.0 * squares.1).sqrt()
}

fn largest_difference(one: &Tensor, other: &Tensor) -> f32 {
    let pairs = one.as_f32().unwrap().iter().zip(other.as_f32().unwrap());
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Runs the model on every backend and compares all outputs with those of the first.
#[track_caller]
fn assert_agree(bytes: &[u8], inputs: &[(&str, &Tensor)]) -> Vec<Vec<(String, Tensor)>> {
    let models = on_each(bytes);
    let runs: Vec<_> = models
        .iter()
        .map(|model| model.run(inputs).unwrap())
        .collect();
    for (model, outputs) in models.iter().zip(&runs) {
        for ((name, one), (_, other)) in runs[0].iter().zip(outputs) {
            assert_eq!(one.shape(), other.shape(), "{name}");
            let (cosine, backend) = (cosine(one, other), model.backend());
            let difference = largest_difference(one, other);
            println!("{name} on {backend}: cosine {cosine:.9}, largest difference {difference:e}");
            assert!(cosine >= COSINE, "{name} on {backend}: {cosine}");
        }
    }
    runs
}

#[test]
fn the_angle_classifier_agrees() {
    let Some(bytes) = text_model("classify-angle") else {
        return;
    };
    let input = pattern(1, 48, 192, stripes);
    for model in on_each(&bytes) {
        assert_eq!(model.inputs()[0].shape, [None, Some(3), None, None]);
        let angles = run(&model, &input);
        // What Python's onnxruntime 1.31.1 gives, here and below.
        assert_near(angles.as_f32().unwrap()[0], 0.643_766_6);
        assert_near(angles.as_f32().unwrap()[1], 0.356_233_4);
    }
    assert_agree(&bytes, &[("x", &input)]);
}

#[test]
fn the_recogniser_agrees_for_any_batch() {
    let Some(bytes) = text_model("recognise") else {
        return;
    };
    let want = [
        0.238_780_57,
        0.860_196_6,
        0.874_419_8,
        0.921_991_2,
        0.905_930_8,
        0.887_201_55,
    ];
    for model in on_each(&bytes) {
        for n in [1, 2] {
            let output = run(&model, &pattern(n, 48, 320, stripes));
            assert_eq!(output.shape(), [n, 40, 6625]);
            for (step, want) in output.as_f32().unwrap().chunks_exact(6625).zip(want) {
                assert_near(step.iter().copied().fold(0.0, f32::max), want);
            }
        }
        let characters = model.metadata("character").unwrap();
        assert_eq!(
            characters.lines().count(),
            6623,
            "all classes but the blank and the space"
        );
    }
    let Some(line) = page(320, 48, &SIGNED) else {
        return;
    };
    assert_agree(&bytes, &[("x", &line)]);
}

#[test]
fn the_detector_agrees() {
    let Some(bytes) = text_model("detect") else {
        return;
    };
    for model in on_each(&bytes) {
        let output = run(&model, &pattern(1, 320, 320, lines_of_blocks));
        assert_eq!(output.shape(), [1, 1, 320, 320]);
        let map = output.as_f32().unwrap();
        let sum: f32 = map.iter().sum();
        assert!(
            (sum / 13_258.0 - 1.0).abs() < 0.01,
            "the probabilities add up to {sum}, but with onnxruntime to 13258"
        );
        assert_near(map[31_507], 1.0);
        assert_near(map[15_753], 0.0);
    }
    // The size that the label reader takes for this page.
    let Some(page) = page(1472, 736, &SIGNED) else {
        return;
    };
    let runs = assert_agree(&bytes, &[("x", &page)]);
    for outputs in &runs {
        let difference = largest_difference(&runs[0][0].1, &outputs[0].1);
        assert!(difference <= 1e-3, "the maps differ by {difference}");
    }
}

/// On a picture without text the detector's map is as good as 0 on every backend, and yet the sums of two maps may differ by
/// four powers of ten. All logits of this ramp lie from -39.6 to -18.2 (the same on both backends), so that the map's true
/// sum is 8.8e-6: the sigmoid in `f64` of ONNX Runtime's logits. tract's sigmoid is a rational function that is clamped at
/// both ends and never less than 4.47e-7, which adds up to 0.183 over 409,600 pixels; ONNX Runtime clamps too, to 0. Neither
/// is exact and ONNX Runtime is nearer; no pixel is off by more than 4.5e-7, and no threshold of use is so small.
#[test]
fn a_picture_without_text_has_a_map_of_zeros() {
    let Some(bytes) = text_model("detect") else {
        return;
    };
    let elements = 3 * 640 * 640;
    let ramp = (0..elements).map(|i| i as f32 / elements as f32).collect();
    let ramp = Tensor::from_f32(&[1, 3, 640, 640], ramp).unwrap();
    for model in on_each(&bytes) {
        let output = run(&model, &ramp);
        let most = output.as_f32().unwrap().iter().copied().fold(0.0, f32::max);
        assert!(most <= 5e-7, "{most} on {}", model.backend());
    }
}

#[test]
fn a_recogniser_cut_in_half_is_an_error() {
    let Some(bytes) = text_model("recognise") else {
        return;
    };
    let half = &bytes[..bytes.len() / 2];
    let how = ModelOptions::default();
    let error = Models::default()
        .load(Digest::of(half), half, &how)
        .unwrap_err();
    assert!(matches!(error, LoadError::Malformed { .. }), "{error}");
}

/// The file states one size of picture, and its users open it before they load it; so does this.
fn opened(bytes: &[u8]) -> Vec<u8> {
    let mut file = ModelProto::decode(bytes).unwrap();
    let graph = file.graph.as_mut().unwrap();
    let inputs = graph
        .input
        .iter_mut()
        .filter(|input| input.name == "input.1");
    for value in inputs.chain(&mut graph.output) {
        let Some(Value::TensorType(tensor)) = value.r#type.as_mut().unwrap().value.as_mut() else {
            panic!("no tensor");
        };
        let dimensions = &mut tensor.shape.as_mut().unwrap().dim;
        for (at, dimension) in dimensions.iter_mut().enumerate() {
            if at != 1 {
                dimension.value = None;
            }
        }
    }
    file.encode_to_vec()
}

#[test]
fn the_face_detector_agrees() {
    let Some(path) = extra(Extra::CenterFace) else {
        return;
    };
    let bytes = std::fs::read(path).unwrap();
    let small = Tensor::from_f32(
        &[10, 3, 32, 32],
        (0..10 * 3 * 32 * 32)
            .map(|i| (i * 7 % 256) as f32)
            .collect(),
    )
    .unwrap();
    assert_agree(&bytes, &[("input.1", &small)]);
    let bytes_of_pixels = Normalisation {
        channels: Channels::Rgb,
        scale: 1.0,
        mean: [0.0; 3],
        std: [1.0; 3],
        ..SIGNED
    };
    let Some(page) = page(640, 480, &bytes_of_pixels) else {
        return;
    };
    assert_agree(&opened(&bytes), &[("input.1", &page)]);
}

#[test]
fn the_voice_detector_agrees_over_many_steps() {
    let Some(path) = extra(Extra::SileroVad) else {
        return;
    };
    let bytes = std::fs::read(path).unwrap();
    // 64 samples of what was heard before, then 512 new ones.
    let (context, step) = (64, 512);
    let rate = Tensor::from_i64(&[], vec![16_000]).unwrap();
    let models = on_each(&bytes);
    let rest = Tensor::from_f32(&[2, 1, 128], vec![0.0; 256]).unwrap();
    let mut states = vec![rest; models.len()];
    for number in 0..20 {
        let samples = (0..context + step).map(|i| (number * step + i) as f32 / 16_000.0);
        // A hum with overtones that swells and fades.
        let sound = samples.map(|t| {
            let swell = (t * 9.0).sin().abs() * 0.4;
            swell * ((t * 820.0).sin() + 0.5 * (t * 1640.0).sin() + 0.25 * (t * 4100.0).sin())
        });
        let input = Tensor::from_f32(&[1, context + step], sound.collect()).unwrap();
        let mut voices = Vec::new();
        for (model, state) in models.iter().zip(&mut states) {
            let given = [("input", &input), ("state", &*state), ("sr", &rate)];
            let mut outputs = model.run(&given).unwrap();
            *state = outputs.remove(1).1;
            voices.push(outputs.remove(0).1);
        }
        for (voice, state) in voices.iter().zip(&states) {
            assert!(largest_difference(&voices[0], voice) <= 1e-3);
            assert!(cosine(&states[0], state) >= COSINE);
        }
    }
}
