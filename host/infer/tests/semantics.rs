#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
//! Files that tract would run with wrong results: they are refused on every path, and ONNX Runtime gives the
//! right values where it takes the file. The values are those of Python's onnxruntime.

mod common;

use common::choice::load;
use common::refused::{
    body, changed, graph, near, number, numbers, of, refused, set, softmax, text, with, x,
};
use common::{file, integer, node, value, weight};
use hotshoe_infer::inspect::{InputShapes, inspect};
use hotshoe_infer::{Backend, BackendChoice, Options, OrtOptions};
use prost::Message;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto,
};

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
