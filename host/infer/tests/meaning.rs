#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
//! What tract would run, and compute something else than the file says: it is refused, whoever asks, and ONNX Runtime gives the
//! right values where it takes the file. The values are those of Python's onnxruntime.

mod common;

use std::path::Path;

use common::choice::{load, with_library};
use common::{file, integer, library, node, value, weight};
use hotshoe_infer::fold::fold;
use hotshoe_infer::inspect::{InputShapes, inspect};
use hotshoe_infer::{Backend, BackendChoice, LoadError, Options, OrtOptions, Tensor};
use prost::Message;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    SparseTensorProto, StringStringEntryProto, TensorProto,
};

/// What is found of a file that tract must not get.
struct Found {
    error: String,
    /// What ONNX Runtime makes of the input, where it is there and takes the file.
    ort: Option<Vec<f32>>,
}

fn x() -> Tensor {
    Tensor::from_f32(&[2, 2], vec![0.0, 1.0, 2.0, 4.0]).unwrap()
}

/// Nothing that goes through tract takes the file: neither a load for it, nor an inspection, nor the automatic choice.
#[track_caller]
fn refused(bytes: &[u8]) -> Found {
    let error = load(bytes, BackendChoice::Tract, Options::default()).unwrap_err();
    assert!(
        matches!(
            error,
            LoadError::Operators { .. } | LoadError::Misread { .. } | LoadError::External { .. }
        ),
        "{error:?}"
    );
    let error = error.to_string();
    let seen = inspect(bytes, &InputShapes::new(), &OrtOptions::default());
    if let Ok(seen) = seen {
        let tract = &seen.backends[0];
        assert_eq!(
            (tract.backend, tract.runs),
            (Backend::Tract, false),
            "{error}"
        );
    }
    let Some(library) = library() else {
        return Found { error, ort: None };
    };
    let auto = load(bytes, BackendChoice::Auto, with_library(library.clone()));
    let alone = load(bytes, BackendChoice::Ort, with_library(library));
    assert_eq!(auto.is_ok(), alone.is_ok(), "{error}");
    let ort = auto.ok().map(|model| {
        assert_eq!(model.backends(), [Backend::Ort], "{error}");
        let given = x();
        let outputs = model.run(&[("x", &given)]).unwrap();
        outputs[0].1.as_f32().unwrap().to_vec()
    });
    Found { error, ort }
}

#[track_caller]
fn near(found: &Found, want: &[f32]) {
    let Some(got) = &found.ort else { return };
    assert_eq!(got.len(), want.len(), "{got:?}");
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() < 1e-5, "{got} instead of {want}");
    }
}

fn graph(nodes: Vec<NodeProto>) -> GraphProto {
    GraphProto {
        name: "graph".to_owned(),
        input: vec![value("x", DataType::Float, &[2, 2])],
        output: vec![value("y", DataType::Float, &[2, 2])],
        node: nodes,
        ..GraphProto::default()
    }
}

fn changed(graph: GraphProto, change: impl FnOnce(&mut ModelProto)) -> Vec<u8> {
    let mut model = ModelProto::decode(file(graph).as_slice()).unwrap();
    change(&mut model);
    model.encode_to_vec()
}

fn set(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto {
        domain: domain.to_owned(),
        version,
    }
}

fn of(domain: &str, mut node: NodeProto) -> NodeProto {
    node.domain = domain.to_owned();
    node
}

fn with(mut node: NodeProto, attributes: Vec<AttributeProto>) -> NodeProto {
    node.attribute = attributes;
    node
}

fn text(name: &str, text: &str) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        s: text.as_bytes().to_vec(),
        r#type: AttributeType::String as i32,
        ..AttributeProto::default()
    }
}

fn number(name: &str, number: f32) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        f: number,
        r#type: AttributeType::Float as i32,
        ..AttributeProto::default()
    }
}

fn numbers(name: &str, numbers: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        ints: numbers.to_vec(),
        r#type: AttributeType::Ints as i32,
        ..AttributeProto::default()
    }
}

fn body(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        g: Some(graph),
        r#type: AttributeType::Graph as i32,
        ..AttributeProto::default()
    }
}

fn softmax(axis: i64) -> NodeProto {
    with(node("Softmax", &["x"], "y"), vec![integer("axis", axis)])
}

/// A file with a function of this name, a softmax along the rows.
fn with_function(domain: &str, name: &str, call: NodeProto) -> Vec<u8> {
    let function = FunctionProto {
        name: Some(name.to_owned()),
        domain: Some(domain.to_owned()),
        input: vec!["x".to_owned()],
        output: vec!["y".to_owned()],
        node: vec![softmax(0)],
        opset_import: vec![set("", 13)],
        ..FunctionProto::default()
    };
    changed(graph(vec![call]), |model| {
        model.functions.push(function);
        if !domain.is_empty() {
            model.opset_import.push(set(domain, 1));
        }
    })
}

/// The softmax of `x` along its first dimension.
const ALONG_ROWS: [f32; 4] = [0.119_202_92, 0.047_425_87, 0.880_797_1, 0.952_574_1];

#[test]
fn a_function_of_the_file_is_not_an_operator_of_that_name() {
    let call = of("local", node("Softmax", &["x"], "y"));
    let found = refused(&with_function("local", "Softmax", call.clone()));
    assert!(found.error.contains("local.Softmax"), "{}", found.error);
    near(&found, &ALONG_ROWS);
    // Nor where it is called inside a branch, or is of ONNX's own domain.
    let branch = |name: &str| {
        body(
            name,
            GraphProto {
                name: name.to_owned(),
                output: vec![value(name, DataType::Float, &[2, 2])],
                node: vec![NodeProto {
                    output: vec![name.to_owned()],
                    ..call.clone()
                }],
                ..GraphProto::default()
            },
        )
    };
    let choose = with(
        node("If", &["yes"], "y"),
        vec![branch("then_branch"), branch("else_branch")],
    );
    let inside = with_function("local", "Softmax", choose);
    let inside = {
        let mut model = ModelProto::decode(inside.as_slice()).unwrap();
        model.graph.as_mut().unwrap().initializer.push(TensorProto {
            name: "yes".to_owned(),
            data_type: DataType::Bool as i32,
            int32_data: vec![1],
            ..TensorProto::default()
        });
        model.encode_to_vec()
    };
    near(&refused(&inside), &ALONG_ROWS);
    refused(&with_function("", "Softmax", node("Softmax", &["x"], "y")));
    refused(&with_function(
        "ai.onnx",
        "Softmax",
        node("Softmax", &["x"], "y"),
    ));
}

#[test]
fn a_function_that_nothing_calls_is_no_matter() {
    let bytes = with_function("local", "Softmax", softmax(-1));
    let model = load(&bytes, BackendChoice::Tract, Options::default()).unwrap();
    let given = x();
    let y = model.run(&[("x", &given)]).unwrap().remove(0).1;
    assert!((y.as_f32().unwrap()[0] - 0.268_941_43).abs() < 1e-5);
}

#[test]
fn an_operator_of_another_domain_is_another_operator() {
    for domain in [
        "com.acme",
        "ai.onnx.ml",
        "com.microsoft",
        "ai.onnx.preview.training",
        " ",
    ] {
        let node = of(domain, node("Softmax", &["x"], "y"));
        let bytes = changed(graph(vec![node]), |model| {
            model.opset_import.push(set(domain, 1))
        });
        let found = refused(&bytes);
        assert!(
            found.error.contains(&format!("{domain}.Softmax")),
            "{}",
            found.error
        );
        assert!(found.ort.is_none(), "ONNX Runtime has none either");
        let seen = inspect(&bytes, &InputShapes::new(), &OrtOptions::default()).unwrap();
        assert_eq!(seen.backends[0].operator, Some(format!("{domain}.Softmax")));
    }
    // ONNX's own has two names.
    let node = of("ai.onnx", softmax(-1));
    let bytes = file(graph(vec![node]));
    assert!(load(&bytes, BackendChoice::Tract, Options::default()).is_ok());
    // And what is of another domain is not ONNX's own: this Attention takes other inputs.
    let attention = of(
        "com.microsoft",
        common::node("Attention", &["x", "x", "x"], "y"),
    );
    refused(&changed(graph(vec![attention]), |model| {
        model.opset_import.push(set("com.microsoft", 1));
    }));
    refused(&file(graph(vec![common::node("QuickGelu", &["x"], "y")])));
}

#[test]
fn operators_of_onnx_runtime_that_tract_has_go_on() {
    let gelu = of("com.microsoft", node("QuickGelu", &["x"], "y"));
    let bytes = changed(graph(vec![gelu]), |model| {
        model.opset_import.push(set("com.microsoft", 1));
    });
    let given = x();
    for backend in [Backend::Tract, Backend::Ort] {
        let Some((choice, options)) = common::on(backend) else {
            continue;
        };
        let model = load(&bytes, choice, options).unwrap();
        let y = model.run(&[("x", &given)]).unwrap().remove(0).1;
        // x * sigmoid(1.702 x)
        for (got, want) in
            y.as_f32()
                .unwrap()
                .iter()
                .zip([0.0, 0.845_795_8, 1.935_658_6, 3.995_585])
        {
            assert!(
                (got - want).abs() < 1e-4,
                "{backend}: {got} instead of {want}"
            );
        }
    }
}

#[test]
fn attributes_that_tract_does_not_read_are_not_passed_over() {
    let swish = with(node("Swish", &["x"], "y"), vec![number("alpha", 2.0)]);
    let bytes = changed(graph(vec![swish]), |model| {
        model.opset_import = vec![set("", 24)]
    });
    near(
        &refused(&bytes),
        &[0.0, 0.880_797_1, 1.964_027_6, 3.998_658_7],
    );
    // Axes are an input from operator set 18 on, so that an attribute of that name is none of this operator's.
    let mean = with(node("ReduceMean", &["x"], "y"), vec![numbers("axes", &[1])]);
    let found = refused(&changed(graph(vec![mean]), |model| {
        model.opset_import = vec![set("", 18)]
    }));
    assert!(
        found.error.contains("\"axes\"") && found.ort.is_none(),
        "{}",
        found.error
    );
    let relu = |attributes| file(graph(vec![with(node("Relu", &["x"], "y"), attributes)]));
    let found = refused(&relu(vec![number("alpha", 0.5)]));
    assert!(found.error.contains("\"alpha\""), "{}", found.error);
    refused(&relu(vec![AttributeProto {
        ref_attr_name: "alpha".to_owned(),
        ..number("alpha", 0.5)
    }]));
    refused(&file(graph(vec![with(
        node("Softmax", &["x"], "y"),
        vec![integer("axis", 0), integer("axis", 1)],
    )])));
    refused(&file(graph(vec![with(
        node("Softmax", &["x"], "y"),
        vec![AttributeProto {
            ref_attr_name: "axis".to_owned(),
            ..integer("axis", 0)
        }],
    )])));
}

#[test]
fn a_recurrent_layer_that_runs_backwards_is_not_run_forward() {
    let layer = |attributes: Vec<AttributeProto>| {
        file(GraphProto {
            name: "rnn".to_owned(),
            input: vec![value("x", DataType::Float, &[2, 2])],
            output: vec![value("y", DataType::Float, &[2, 1, 1, 1])],
            initializer: vec![
                weight("w", &[1, 1, 2], &[0.5, 0.25]),
                weight("r", &[1, 1, 1], &[0.5]),
                TensorProto {
                    name: "last".to_owned(),
                    dims: vec![1],
                    data_type: DataType::Int64 as i32,
                    int64_data: vec![1],
                    ..TensorProto::default()
                },
            ],
            node: vec![
                node("Unsqueeze", &["x", "last"], "steps"),
                with(
                    node("RNN", &["steps", "w", "r"], "y"),
                    [vec![integer("hidden_size", 1)], attributes].concat(),
                ),
            ],
            ..GraphProto::default()
        })
    };
    // tanh(w.x + r.h), from the last step to the first.
    let found = refused(&layer(vec![text("direction", "reverse")]));
    near(&found, &[0.624_295_8, 0.964_027_6]);
    let plain = layer(vec![text("direction", "forward")]);
    let model = load(&plain, BackendChoice::Tract, Options::default()).unwrap();
    let given = x();
    let y = model.run(&[("x", &given)]).unwrap().remove(0).1;
    let first = 0.25_f32.tanh();
    let want = [first, (2.0 + 0.5 * first).tanh()];
    for (got, want) in y.as_f32().unwrap().iter().zip(want) {
        assert!((got - want).abs() < 1e-4, "{got} instead of {want}");
    }
    let relu = AttributeProto {
        name: "activations".to_owned(),
        strings: vec![b"Relu".to_vec()],
        r#type: AttributeType::Strings as i32,
        ..AttributeProto::default()
    };
    near(&refused(&layer(vec![relu])), &[0.25, 2.125]);
    near(
        &refused(&layer(vec![number("clip", 0.1)])),
        &[0.1_f32.tanh(), 0.1_f32.tanh()],
    );
}

#[test]
fn operator_sets_must_be_known() {
    let sets = |sets: Vec<OperatorSetIdProto>| {
        changed(graph(vec![softmax(0)]), |model| model.opset_import = sets)
    };
    for wrong in [
        vec![],
        vec![set("", 99)],
        vec![set("", 0)],
        vec![set("", 13), set("ai.onnx", 11)],
        vec![set("com.acme", 1)],
    ] {
        let error = refused(&sets(wrong.clone())).error;
        assert!(error.contains("version"), "{wrong:?}: {error}");
    }
    let newer = changed(graph(vec![softmax(0)]), |model| model.ir_version = 99);
    assert!(refused(&newer).error.contains("file format"));
    for right in [
        vec![set("", 13), set("ai.onnx", 13)],
        vec![set("", 13), set("com.acme", 1)],
    ] {
        assert!(load(&sets(right), BackendChoice::Tract, Options::default()).is_ok());
    }
}

#[test]
fn a_name_stands_for_one_tensor() {
    let twice = graph(vec![
        node("Neg", &["x"], "t"),
        node("Relu", &["t"], "y"),
        node("Abs", &["x"], "t"),
    ]);
    assert!(refused(&file(twice)).error.contains("\"t\""));
    // Over an input, over a weight, and over what is outside a branch.
    refused(&file(graph(vec![
        node("Neg", &["x"], "x"),
        node("Relu", &["x"], "y"),
    ])));
    let mut over_weight = graph(vec![
        node("Neg", &["x"], "w"),
        node("Add", &["x", "w"], "y"),
    ]);
    over_weight.initializer = vec![weight("w", &[1], &[10.0])];
    refused(&file(over_weight));
    let mut weights = graph(vec![node("Add", &["x", "w"], "y")]);
    weights.initializer = vec![weight("w", &[1], &[10.0]), weight("w", &[1], &[20.0])];
    refused(&file(weights));
    let mut inputs = graph(vec![node("Neg", &["x"], "y")]);
    inputs.input.push(value("x", DataType::Float, &[2, 2]));
    refused(&file(inputs));
    let branch = |name: &str| {
        body(
            name,
            GraphProto {
                name: name.to_owned(),
                output: vec![value("z", DataType::Float, &[2, 2])],
                node: vec![node("Neg", &["t"], "z"), node("Abs", &["x"], "t")],
                ..GraphProto::default()
            },
        )
    };
    let mut shadows = graph(vec![
        node("Neg", &["x"], "t"),
        with(
            node("If", &["yes"], "y"),
            vec![branch("then_branch"), branch("else_branch")],
        ),
    ]);
    shadows.initializer = vec![TensorProto {
        name: "yes".to_owned(),
        data_type: DataType::Bool as i32,
        int32_data: vec![1],
        ..TensorProto::default()
    }];
    refused(&file(shadows));
}

#[test]
fn weights_that_tract_leaves_out_are_not_left_out() {
    let mut sparse = graph(vec![node("Add", &["x", "w"], "y")]);
    sparse.sparse_initializer = vec![SparseTensorProto {
        values: Some(weight("w", &[1], &[10.0])),
        indices: Some(TensorProto {
            dims: vec![1],
            data_type: DataType::Int64 as i32,
            int64_data: vec![1],
            ..TensorProto::default()
        }),
        dims: vec![2],
    }];
    near(&refused(&file(sparse)), &[0.0, 11.0, 2.0, 14.0]);
}

#[test]
fn an_input_that_is_left_out_does_not_move_the_others() {
    let left_out = graph(vec![node("Where", &["", "x", "x", "x"], "y")]);
    let error = refused(&file(left_out)).error;
    assert!(error.contains("left out"), "{error}");
}

#[test]
fn other_files_are_not_read_whatever_names_them() {
    let outside = |location: &str| TensorProto {
        data_location: Some(DataLocation::External as i32),
        external_data: vec![StringStringEntryProto {
            key: "location".to_owned(),
            value: location.to_owned(),
        }],
        ..weight("w", &[1], &[])
    };
    for location in ["weights.bin", "../weights.bin", "/etc/hostname"] {
        let mut plain = graph(vec![node("Add", &["x", "w"], "y")]);
        plain.initializer = vec![outside(location)];
        let constant = AttributeProto {
            name: "sparse_value".to_owned(),
            r#type: AttributeType::SparseTensor as i32,
            sparse_tensor: Some(SparseTensorProto {
                values: Some(outside(location)),
                ..SparseTensorProto::default()
            }),
            ..AttributeProto::default()
        };
        let sparse = graph(vec![
            with(node("Constant", &[], "w"), vec![constant]),
            node("Add", &["x", "w"], "y"),
        ]);
        let context = with(
            of("com.microsoft", node("EPContext", &["x"], "y")),
            vec![integer("embed_mode", 0), text("ep_cache_context", location)],
        );
        for graph in [plain, sparse, graph(vec![context])] {
            let bytes = file(graph);
            for choice in [
                BackendChoice::Tract,
                BackendChoice::Ort,
                BackendChoice::Auto,
            ] {
                let options = library().map_or_else(Options::default, with_library);
                let error = load(&bytes, choice, options).unwrap_err();
                assert!(matches!(error, LoadError::External { .. }), "{error:?}");
            }
        }
    }
}

/// An output of another type than the file says would be read as that.
#[test]
fn an_output_is_of_the_type_that_the_file_says() {
    let bytes = file(GraphProto {
        output: vec![value("y", DataType::Int64, &[2, 2])],
        ..graph(vec![node("Neg", &["x"], "y")])
    });
    let given = x();
    match load(&bytes, BackendChoice::Tract, Options::default()) {
        Ok(model) => assert!(model.run(&[("x", &given)]).is_err()),
        Err(error) => assert!(matches!(error, LoadError::Tract { .. }), "{error}"),
    }
}

/// What is computed once and for all must not be what tract took for an operator of its own.
#[test]
fn nothing_is_computed_by_an_operator_of_that_name() {
    let mut graph = graph(vec![
        of("com.acme", node("Neg", &["w"], "t")),
        of("com.acme", node("Identity", &["t"], "u")),
        node("Add", &["x", "u"], "y"),
    ]);
    graph.initializer = vec![weight("w", &[1], &[10.0])];
    let bytes = changed(graph, |model| model.opset_import.push(set("com.acme", 1)));
    let folded = fold(&bytes, &InputShapes::new()).unwrap();
    assert_eq!((folded.computed, folded.passed_through), (0, 0));
    let after = ModelProto::decode(folded.bytes.as_slice()).unwrap();
    let after = after.graph.unwrap();
    let kept: Vec<_> = after.node.iter().map(|it| it.op_type.as_str()).collect();
    assert_eq!(kept, ["Neg", "Identity", "Add"]);
}

/// There is one way to tract for whole files, and it looks at them first.
#[test]
fn nothing_else_hands_files_to_tract() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut users) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = std::fs::read_to_string(&path).unwrap();
            let (code, _) = source.split_once("#[cfg(test)]").unwrap_or((&source, ""));
            if code.contains("tract_onnx::onnx()") {
                users.push(path.strip_prefix(&root).unwrap().display().to_string());
            }
        }
    }
    users.sort();
    // The second reads single tensors, which have no operators.
    assert_eq!(users, ["inspect/tensors.rs", "tract/meaning.rs"]);
}
