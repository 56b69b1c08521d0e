//! Tiny ONNX files, written by hand: protocol buffers' wire format is short, and the fields used here are few.
//!
//! Field numbers are those of `onnx.proto` (<https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>).

/// Wire type of a field with a length.
const LENGTH: u64 = 2;
/// `TensorProto.DataType.FLOAT`.
const FLOAT: u64 = 1;

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    [
        varint(field << 3 | LENGTH),
        varint(value.len() as u64),
        value.to_vec(),
    ]
    .concat()
}

fn text(field: u64, value: &str) -> Vec<u8> {
    bytes(field, value.as_bytes())
}

/// An attribute that is a whole number.
pub fn whole(name: &str, value: u64) -> Vec<u8> {
    [text(1, name), number(3, value), number(20, 2)].concat()
}

/// An attribute that is a word.
pub fn word(name: &str, value: &str) -> Vec<u8> {
    [text(1, name), text(4, value), number(20, 3)].concat()
}

/// A graph of f32 values.
#[derive(Default)]
pub struct Graph {
    body: Vec<u8>,
    outputs: usize,
}

impl Graph {
    /// A named value; `None` is open.
    fn value(name: &str, shape: &[Option<u64>]) -> Vec<u8> {
        let dims: Vec<u8> = shape
            .iter()
            .enumerate()
            .flat_map(|(at, size)| {
                bytes(
                    1,
                    &match size {
                        Some(size) => number(1, *size),
                        None => text(2, &format!("{name}_{at}")),
                    },
                )
            })
            .collect();
        let tensor = [number(1, FLOAT), bytes(2, &dims)].concat();
        [text(1, name), bytes(2, &bytes(1, &tensor))].concat()
    }

    pub fn input(mut self, name: &str, shape: &[Option<u64>]) -> Self {
        self.body.extend(bytes(11, &Self::value(name, shape)));
        self
    }

    pub fn output(mut self, name: &str, shape: &[Option<u64>]) -> Self {
        self.body.extend(bytes(12, &Self::value(name, shape)));
        self
    }

    pub fn weight(mut self, name: &str, shape: &[u64], elements: &[f32]) -> Self {
        let mut tensor: Vec<u8> = shape.iter().flat_map(|size| number(1, *size)).collect();
        tensor.extend(number(2, FLOAT));
        let raw: Vec<u8> = elements.iter().flat_map(|e| e.to_le_bytes()).collect();
        tensor.extend(bytes(9, &raw));
        tensor.extend(text(8, name));
        self.body.extend(bytes(5, &tensor));
        self
    }

    /// An operator with the defaults of its attributes.
    pub fn node(self, operator: &str, inputs: &[&str], output: &str) -> Self {
        self.node_with(operator, inputs, output, &[])
    }

    /// An operator with attributes: [`whole`], [`word`].
    pub fn node_with(
        mut self,
        operator: &str,
        inputs: &[&str],
        output: &str,
        attributes: &[Vec<u8>],
    ) -> Self {
        self.outputs += 1;
        let mut node: Vec<u8> = inputs.iter().flat_map(|name| text(1, name)).collect();
        node.extend(text(2, output));
        node.extend(text(3, &format!("{operator}_{}", self.outputs)));
        node.extend(text(4, operator));
        node.extend(attributes.iter().flat_map(|it| bytes(5, it)));
        self.body.extend(bytes(1, &node));
        self
    }

    /// The file, of operator set 13.
    pub fn file(self) -> Vec<u8> {
        let graph = [self.body, text(2, "graph")].concat();
        let opset = [text(1, ""), number(2, 13)].concat();
        [number(1, 8), bytes(8, &opset), bytes(7, &graph)].concat()
    }
}

/// The angle classifier's input, which the preprocessors of the tests give: zeros.
const PICTURE: [Option<u64>; 4] = [None, Some(3), Some(48), Some(192)];

/// `y = mean(x) + bias`, as two scores.
fn scores(bias: &str) -> Graph {
    Graph::default()
        .input("x", &PICTURE)
        .node("ReduceMean", &["x"], "mean")
        .node("Flatten", &["mean"], "flat")
        .node("Add", &["flat", bias], "y")
        .output("y", &[None, Some(2)])
}

/// Always the same two scores.
pub fn constant(first: f32, second: f32) -> Vec<u8> {
    scores("bias")
        .weight("bias", &[1, 2], &[first, second])
        .file()
}

/// `y = h + mean(x) + (1, 0.5)`, and `h-next = y`: what it gives grows with each sample.
pub fn counter() -> Vec<u8> {
    scores("sum")
        .input("h", &[None, Some(2)])
        .weight("one", &[1, 2], &[1.0, 0.5])
        .node("Add", &["h", "one"], "sum")
        .node("Identity", &["y"], "h-next")
        .output("h-next", &[None, Some(2)])
        .file()
}

/// Has one output more than the others.
pub fn other_outputs() -> Vec<u8> {
    scores("bias")
        .weight("bias", &[1, 2], &[0.0, 0.0])
        .node("Identity", &["y"], "z")
        .output("z", &[None, Some(2)])
        .file()
}

/// Loads, and fails on every input: what has 27,648 elements and what has five cannot be added.
pub fn fails() -> Vec<u8> {
    Graph::default()
        .input("x", &PICTURE)
        .weight("five", &[5], &[0.0; 5])
        .node("Flatten", &["x"], "long")
        .node("Add", &["long", "five"], "y")
        .output("y", &[None, Some(2)])
        .file()
}

/// Some billions of multiplications for each sample.
pub fn slow() -> Vec<u8> {
    const CHANNELS: u64 = 64;
    // Each takes two rows and two columns off the 48 rows that there are.
    const LAYERS: usize = 22;
    let first = vec![0.01; (CHANNELS * 3 * 9) as usize];
    let rest = vec![0.01; (CHANNELS * CHANNELS * 9) as usize];
    let mut graph = Graph::default()
        .input("x", &PICTURE)
        .weight("first", &[CHANNELS, 3, 3, 3], &first)
        .weight("rest", &[CHANNELS, CHANNELS, 3, 3], &rest)
        .weight("bias", &[1, 2], &[0.0, 0.0])
        .node("Conv", &["x", "first"], "layer_0");
    for layer in 0..LAYERS {
        let (from, to) = (format!("layer_{layer}"), format!("layer_{}", layer + 1));
        graph = graph.node("Conv", &[&from, "rest"], &to);
    }
    graph
        .node("ReduceMean", &[&format!("layer_{LAYERS}")], "mean")
        .node("Flatten", &["mean"], "flat")
        .node("Add", &["flat", "bias"], "y")
        .output("y", &[None, Some(2)])
        .file()
}
