#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
//! Graphs by their operators: whose rows keep to themselves, and whose do not.

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension::Value as Size};
use tract_onnx::pb::type_proto::{Tensor, Value};
use tract_onnx::pb::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
};

use super::check_rows;

/// A graph in the making: `x` is `[N, 4, 6, 6]` unless it is said to be something else.
struct Graph {
    graph: GraphProto,
    opset: i64,
    functions: Vec<FunctionProto>,
}

fn value(name: &str, shape: &[&str]) -> ValueInfoProto {
    let dim = shape.iter().map(|size| Dimension {
        value: Some(match size.parse() {
            Ok(size) => Size::DimValue(size),
            Err(_) => Size::DimParam((*size).to_owned()),
        }),
        ..Dimension::default()
    });
    let tensor = Tensor {
        elem_type: DataType::Float as i32,
        shape: Some(TensorShapeProto { dim: dim.collect() }),
    };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            value: Some(Value::TensorType(tensor)),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

/// `axis=1`, `perm=0,2,1`, `equation=ij->ji`.
fn attribute(text: &str) -> AttributeProto {
    let (name, value) = text.split_once('=').unwrap();
    let mut made = AttributeProto {
        name: name.to_owned(),
        ..AttributeProto::default()
    };
    let numbers: Result<Vec<i64>, _> = value.split(',').map(str::parse).collect();
    match (
        numbers,
        value.contains(',') || name == "axes" || name == "pads",
    ) {
        (Ok(numbers), true) => {
            made.ints = numbers;
            made.r#type = AttributeType::Ints as i32;
        }
        (Ok(numbers), false) => {
            made.i = numbers[0];
            made.r#type = AttributeType::Int as i32;
        }
        (Err(_), _) => {
            made.s = value.as_bytes().to_vec();
            made.r#type = AttributeType::String as i32;
        }
    }
    made
}

impl Graph {
    fn new() -> Self {
        Self::of(&["N", "4", "6", "6"])
    }

    fn of(x: &[&str]) -> Self {
        Self {
            graph: GraphProto {
                input: vec![value("x", x)],
                output: vec![value("y", &["K"])],
                ..GraphProto::default()
            },
            opset: 17,
            functions: Vec::new(),
        }
    }

    fn opset(mut self, version: i64) -> Self {
        self.opset = version;
        self
    }

    fn input(mut self, name: &str, shape: &[&str]) -> Self {
        self.graph.input.push(value(name, shape));
        self
    }

    /// A weight of zeros.
    fn weight(mut self, name: &str, shape: &[i64]) -> Self {
        let count = shape.iter().product::<i64>() as usize;
        self.graph.initializer.push(TensorProto {
            name: name.to_owned(),
            dims: shape.to_vec(),
            data_type: DataType::Float as i32,
            float_data: vec![0.0; count],
            ..TensorProto::default()
        });
        self
    }

    /// A list of whole numbers.
    fn list(mut self, name: &str, numbers: &[i64]) -> Self {
        self.graph.initializer.push(TensorProto {
            name: name.to_owned(),
            dims: vec![numbers.len() as i64],
            data_type: DataType::Int64 as i32,
            int64_data: numbers.to_vec(),
            ..TensorProto::default()
        });
        self
    }

    fn floats(mut self, name: &str, numbers: &[f32]) -> Self {
        self.graph.initializer.push(TensorProto {
            name: name.to_owned(),
            dims: vec![numbers.len() as i64],
            data_type: DataType::Float as i32,
            float_data: numbers.to_vec(),
            ..TensorProto::default()
        });
        self
    }

    /// `Softmax axis=1: x -> y`; an input `-` is left out.
    fn then(mut self, text: &str) -> Self {
        let (head, wires) = text.split_once(": ").unwrap();
        let (inputs, outputs) = wires.split_once("->").unwrap();
        let mut words = head.split(' ');
        let operator = words.next().unwrap();
        let (domain, operator) = operator.rsplit_once('.').unwrap_or(("", operator));
        let names = |text: &str| -> Vec<String> {
            let names = text.split_whitespace();
            names
                .map(|it| if it == "-" { "" } else { it }.to_owned())
                .collect()
        };
        self.graph.node.push(NodeProto {
            op_type: operator.to_owned(),
            domain: domain.to_owned(),
            attribute: words.map(attribute).collect(),
            input: names(inputs),
            output: names(outputs),
            ..NodeProto::default()
        });
        self
    }

    fn mixing_reason(self) -> Option<String> {
        let model = ModelProto {
            opset_import: vec![OperatorSetIdProto {
                version: self.opset,
                ..OperatorSetIdProto::default()
            }],
            functions: self.functions,
            ..ModelProto::default()
        };
        check_rows(&model, &self.graph)
    }

    #[track_caller]
    fn keeps(self) {
        assert_eq!(self.mixing_reason(), None);
    }

    #[track_caller]
    fn mixes(self, word: &str) {
        let reason = self.mixing_reason().unwrap();
        assert!(reason.contains(word), "{reason}");
    }
}

#[test]
fn rows_of_ordinary_networks_keep_to_themselves() {
    // A classifier.
    Graph::new()
        .weight("w", &[8, 4, 3, 3])
        .weight("b", &[8])
        .weight("fc", &[8, 5])
        .weight("bias", &[5])
        .then("Conv pads=1,1,1,1: x w b -> a")
        .then("Clip: a -> c")
        .then("BatchNormalization: c b b b b -> d")
        .then("MaxPool kernel_shape=2,2: d -> e")
        .then("GlobalAveragePool: e -> g")
        .then("Flatten: g -> f")
        .then("Gemm: f fc bias -> h")
        .then("Softmax axis=-1: h -> y")
        .keeps();
    // What spreads over rows, of all ranks.
    for (shape, name) in [
        (vec![], "s"),
        (vec![6], "s"),
        (vec![4, 1, 1], "s"),
        (vec![1, 4, 6, 6], "s"),
    ] {
        Graph::new()
            .weight(name, &shape)
            .then("Mul: x s -> y")
            .keeps();
    }
    for step in [
        "ReduceMean axes=2,3: x -> y",
        "ReduceMax axes=1 keepdims=0: x -> y",
        "ArgMax axis=1: x -> y",
        "Softmax axis=2: x -> y",
        "LayerNormalization axis=1: x -> y",
        "LpNormalization axis=1: x -> y",
        "MeanVarianceNormalization axes=2,3: x -> y",
        "DepthToSpace blocksize=2: x -> y",
        "Trilu: x -> y",
        "Dropout: x -> y",
        "Einsum equation=nchw->nhwc: x -> y",
        "Concat axis=1: x x -> y",
        "Split axis=1: x -> y z",
        "Where: x x x -> y",
        "MatMul: x x -> y",
        "InstanceNormalization: x four four -> y",
    ] {
        Graph::new().weight("four", &[4]).then(step).keeps();
    }
    // There and back.
    Graph::new()
        .then("Transpose perm=2,3,0,1: x -> a")
        .then("Softmax axis=0: a -> b")
        .then("Transpose perm=2,3,0,1: b -> y")
        .keeps();
    Graph::new()
        .list("first", &[0])
        .then("Unsqueeze: x first -> a")
        .then("Relu: a -> b")
        .then("Squeeze: b first -> y")
        .keeps();
}

#[test]
fn rows_keep_to_themselves_where_shapes_are_worked_out() {
    let flat = |graph: Graph| {
        graph
            .then("Shape: x -> s")
            .then("Slice: s zero one zero -> n")
            .then("Concat axis=0: n rest -> target")
            .then("Reshape: x target -> y")
    };
    let numbers = || Graph::new().list("zero", &[0]).list("one", &[1]);
    flat(numbers().list("rest", &[-1])).keeps();
    flat(numbers().list("rest", &[12, 12])).keeps();
    Graph::new()
        .list("zero", &[0])
        .list("rest", &[144])
        .then("Shape: x -> s")
        .then("Gather axis=0: s zero -> n")
        .then("Concat axis=0: n rest -> target")
        .then("Reshape: x target -> y")
        .keeps();
    for target in [
        &[0, 144][..],
        &[0, -1],
        &[-1, 144],
        &[-1, 4, 36],
        &[0, 4, 6, 6],
        &[-1, 1, 144],
    ] {
        Graph::new()
            .list("t", target)
            .then("Reshape: x t -> y")
            .keeps();
    }
    // Heads of an attention.
    Graph::of(&["N", "T", "8"])
        .list("split", &[0, 0, 2, 4])
        .list("join", &[0, 0, 8])
        .weight("w", &[8, 8])
        .then("MatMul: x w -> q")
        .then("Reshape: q split -> a")
        .then("Transpose perm=0,2,1,3: a -> b")
        .then("Transpose perm=0,2,3,1: a -> c")
        .then("MatMul: b c -> d")
        .then("Softmax axis=-1: d -> e")
        .then("MatMul: e b -> f")
        .then("Transpose perm=0,2,1,3: f -> g")
        .then("Reshape: g join -> h")
        .then("Add: x h -> y")
        .keeps();
    // A state of zeros, as many as there are rows.
    Graph::of(&["N", "5", "3"])
        .list("zero", &[0])
        .list("one", &[1])
        .list("four", &[4])
        .weight("w", &[1, 16, 3])
        .weight("r", &[1, 16, 4])
        .then("Transpose perm=1,0,2: x -> steps")
        .then("Shape: x -> s")
        .then("Gather axis=0: s zero -> n")
        .then("Concat axis=0: one n four -> shape")
        .then("ConstantOfShape: shape -> h")
        .then("LSTM hidden_size=4: steps w r - - h h -> all last")
        .then("Squeeze: last zero -> y")
        .keeps();
}

#[test]
fn what_is_known_of_an_input_is_known_of_others() {
    Graph::new()
        .input("z", &["M", "4", "6", "6"])
        .then("Add: x z -> y")
        .keeps();
    // Rows of both meet row by row alone; here each meets each.
    Graph::of(&["N", "3"])
        .input("z", &["M", "3"])
        .then("Transpose: z -> t")
        .then("MatMul: x t -> y")
        .mixes("MatMul");
    Graph::of(&["N", "N"])
        .then("Relu: x -> y")
        .mixes("as many columns");
    Graph::of(&["?", "?"]).then("Relu: x -> y").keeps();
}

#[test]
fn rows_that_meet_are_told() {
    for step in [
        "Softmax axis=0: x -> y",
        "LogSoftmax axis=-4: x -> y",
        "Hardmax axis=0: x -> y",
        "ReduceMean axes=0: x -> y",
        "ReduceMax axes=-4: x -> y",
        "ReduceSum keepdims=0: x -> y",
        "ArgMax: x -> y",
        "ArgMin axis=0: x -> y",
        "CumSum: x zero -> y",
        "TopK axis=0: x three -> y z",
        "Concat axis=0: x x -> y",
        "Split axis=0: x -> y z",
        "Gather axis=0: x zero -> y",
        "Slice: x zero three zero -> y",
        "Slice: x zero three -> y",
        "GatherND: x zero -> y",
        "Flatten axis=0: x -> y",
        "Flatten axis=2: x -> y",
        "Flatten axis=-1: x -> y",
        "Reshape: x minus -> y",
        "Reshape: x halves -> y",
        "LpNormalization axis=0: x -> y",
        "LayerNormalization axis=0: x -> y",
        "MeanVarianceNormalization: x -> y",
        "BatchNormalization training_mode=1: x four four four four -> y",
        "Pad pads=1,0,0,0,0,0,0,0: x -> y",
        "DynamicQuantizeLinear: x -> y scale zero_point",
        "RandomNormalLike: x -> y",
        "Dropout: x half yes -> y",
        "NonZero: x -> y",
        "Compress: x four -> y",
        "Unique: x -> y",
        "Squeeze: x -> y",
        "Einsum equation=nchw->chw: x -> y",
        "Einsum equation=nchw,mchw->nm: x x -> y",
        "Tile: x twice -> y",
        "Size: x -> y",
        "Shape: x -> y",
        "Transpose: x -> y",
        "Loop: x -> y",
        "Levitate: x -> y",
        "com.acme.Relu: x -> y",
        "Add: x rows -> y",
        "ReverseSequence: x four -> y",
        "NonMaxSuppression: x x -> y",
    ] {
        let found = Graph::new()
            .list("zero", &[0])
            .list("three", &[3])
            .list("minus", &[-1, 6])
            .list("halves", &[2, -1])
            .list("twice", &[2, 1, 1, 1])
            .weight("four", &[4])
            .weight("half", &[])
            .weight("yes", &[])
            .weight("rows", &[8, 4, 6, 6])
            .then(step)
            .mixing_reason();
        assert!(found.is_some(), "{step}");
    }
    // Older softmaxes take all from an axis on as one.
    Graph::new()
        .opset(11)
        .then("Softmax axis=0: x -> y")
        .mixes("Softmax");
    Graph::new().opset(11).then("Softmax: x -> y").keeps();
    // The number of rows, as a number: alone it is another one.
    Graph::new()
        .list("zero", &[0])
        .then("Shape: x -> s")
        .then("Gather axis=0: s zero -> n")
        .then("Cast to=1: n -> f")
        .then("Mul: x f -> y")
        .mixes("Mul");
    // Places in the batch.
    Graph::new()
        .then("MaxPool kernel_shape=2,2: x -> m y")
        .mixes("MaxPool");
    // Scores of the batch sorted, and looked up in it.
    Graph::of(&["N", "3", "6"])
        .weight("half", &[])
        .then("Greater: x half -> g")
        .then("NonZero: g -> z")
        .then("Transpose: z -> i")
        .then("GatherND: x i -> y")
        .mixes("NonZero");
}

#[test]
fn scales_must_leave_the_rows_alone() {
    let resize = |scales: &[f32]| {
        Graph::new()
            .floats("scales", scales)
            .then("Resize mode=nearest: x - scales -> y")
    };
    resize(&[1.0, 1.0, 2.0, 2.0]).keeps();
    resize(&[1.0, 1.0, 0.5, 1.5]).keeps();
    resize(&[2.0, 1.0, 1.0, 1.0]).mixes("Resize");
    Graph::new()
        .floats("scales", &[1.0, 1.0, 2.0, 2.0])
        .then("Resize coordinate_transformation_mode=tf_crop_and_resize: x scales scales -> y")
        .mixes("Resize");
    Graph::new()
        .list("pads", &[0, 0, 1, 1, 0, 0, 1, 1])
        .then("Pad: x pads -> y")
        .keeps();
    Graph::new()
        .list("pads", &[0, 0, 1, 1, 1, 0, 1, 1])
        .then("Pad: x pads -> y")
        .mixes("Pad");
}

#[test]
fn a_function_may_do_anything_with_rows() {
    let mut graph = Graph::new().then("Relu: x -> y");
    graph.functions = vec![FunctionProto {
        name: Some("Relu".to_owned()),
        domain: Some("ai.onnx".to_owned()),
        ..FunctionProto::default()
    }];
    graph.mixes("Relu");
}

#[test]
fn branches_are_followed_where_the_condition_is_the_same_in_any_batch() {
    let branch = |name: &str, step: &str| AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Graph as i32,
        g: Some(GraphProto {
            output: vec![value("b", &["K"])],
            ..Graph::new().then(step).graph
        }),
        ..AttributeProto::default()
    };
    let choose = |condition: &str, steps: [&str; 2]| {
        let mut graph = Graph::new()
            .weight("yes", &[])
            .then(&format!("If: {condition} -> y"));
        graph.graph.node[0].attribute = vec![
            branch("then_branch", steps[0]),
            branch("else_branch", steps[1]),
        ];
        for attribute in &mut graph.graph.node[0].attribute {
            if let Some(inner) = &mut attribute.g {
                inner.input.clear();
            }
        }
        graph
    };
    choose("yes", ["Relu: x -> b", "Neg: x -> b"]).keeps();
    choose("yes", ["Relu: x -> b", "Softmax axis=0: x -> b"]).mixes("Softmax");
    choose("x", ["Relu: x -> b", "Neg: x -> b"]).mixes("If");
}
