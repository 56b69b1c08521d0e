"""Static INT8 quantisation of the ONNX file argv[1] into argv[2], calibrated on the .npz files in the folder argv[3].

argv[4] is 1 for a scale for each channel of the weights, 0 for one scale. Of convolutions and matrix products, those are quantised
whose multiply-adds, for each value that they read and write, are more than argv[5].
"""
import math
import sys
from pathlib import Path

try:
    import numpy
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(3)

source, target, samples, per_channel, least = sys.argv[1:]


class Samples(CalibrationDataReader):
    def __init__(self):
        self.left = iter(sorted(Path(samples).glob("*.npz")))

    def get_next(self):
        path = next(self.left, None)
        return None if path is None else dict(numpy.load(path))


model = onnx.load(source)
weights = {weight.name: weight.dims for weight in model.graph.initializer}


def gain(node):
    """Multiply-adds for each value that the layer reads and writes; 0 if it is not to be quantised."""
    # Neither backend is faster with depthwise convolutions in INT8.
    if any(it.name == "group" and it.i > 1 for it in node.attribute):
        return 0
    shape = weights.get(node.input[1])
    if not shape or len(shape) < 2:
        return 0
    if node.op_type == "Conv":
        written, read = shape[0], math.prod(shape[1:])
    else:
        read, written = shape[-2:]
    return read * written / (read + written) if read and written else 0


chosen = []
for number, node in enumerate(model.graph.node):
    # Layers are chosen by name, which a file may leave out.
    node.name = node.name or f"node {number}"
    if node.op_type in ("Conv", "MatMul") and gain(node) > float(least):
        chosen.append(node.name)
if not chosen:
    print("no layer is large enough", file=sys.stderr)
    sys.exit(4)

# The operators' own INT8 forms, since tract computes pairs of QuantizeLinear and DequantizeLinear as floats. u8 with i8 is what ONNX
# Runtime's convolutions take, and tract's kernels need symmetric weights.
quantize_static(
    model,
    target,
    Samples(),
    quant_format=QuantFormat.QOperator,
    nodes_to_quantize=chosen,
    op_types_to_quantize=["Conv", "MatMul"],
    per_channel=per_channel == "1",
    activation_type=QuantType.QUInt8,
    weight_type=QuantType.QInt8,
)
