#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use prost::Message;
use tract_onnx::pb::{FunctionProto, GraphProto, ModelProto};

use super::*;

/// A field of a newer version of the format: number 99, the value 5.
const NEWER: [u8; 3] = [0x98, 0x06, 5];

#[test]
fn another_graph_leaves_the_other_fields_as_they_are() {
    let model = |graph: &str| ModelProto {
        ir_version: 8,
        producer_name: "exporter".to_owned(),
        graph: Some(GraphProto {
            name: graph.to_owned(),
            ..GraphProto::default()
        }),
        functions: vec![FunctionProto {
            name: Some("twice".to_owned()),
            ..FunctionProto::default()
        }],
        ..ModelProto::default()
    };
    let old = [model("old").encode_to_vec(), NEWER.to_vec()].concat();
    let new = model("new");
    let written = with_graph(&old, new.graph.as_ref().unwrap());
    assert_eq!(ModelProto::decode(written.as_slice()).unwrap(), new);
    assert!(written.windows(NEWER.len()).any(|it| it == NEWER));
}
