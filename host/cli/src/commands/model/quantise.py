"""Static INT8 quantisation of the ONNX file argv[1] into argv[2], calibrated on the .npz files in the folder argv[3].

Of convolutions and matrix products, those are quantised whose multiply-adds, for each value that they read and write, are more than
argv[4].
"""
import math
import sys
from pathlib import Path

try:
    import numpy
    import onnx
    from onnx import helper, numpy_helper
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(3)

# A channel is scaled up by at most this factor, so that rarely used ones do not decide the range of the output.
MOST = 16

source, target, samples, least = sys.argv[1:]


class Samples(CalibrationDataReader):
    def __init__(self):
        self.left = iter(sorted(Path(samples).glob("*.npz")))

    def get_next(self):
        path = next(self.left, None)
        return None if path is None else dict(numpy.load(path))


model = onnx.load(source)
graph = model.graph
constants = {weight.name: weight for weight in graph.initializer}


def weights(node):
    """The weights of a layer that is to be quantised; None for others."""
    # Neither backend is faster with depthwise convolutions in INT8.
    if node.op_type not in ("Conv", "MatMul") or any(it.name == "group" and it.i > 1 for it in node.attribute):
        return None
    if any(name and name not in constants for name in node.input[1:]):
        return None
    found = numpy_helper.to_array(constants[node.input[1]])
    if found.ndim < 2 or found.dtype != numpy.float32 or not found.any() or not numpy.isfinite(found).all():
        return None
    if node.op_type == "Conv":
        written, read = found.shape[0], math.prod(found.shape[1:])
    else:
        read, written = found.shape[-2:]
    return found if read * written / (read + written) > float(least) else None


def constant(name, values):
    graph.initializer.append(numpy_helper.from_array(values.astype(numpy.float32), name))
    return name


def equalise(node, found):
    """Scales the weights of each output channel to about the same range, and the output back: the returned node.

    tract is slow with a scale for each channel in the quantised layer itself, and one scale for all channels is not accurate.
    """
    is_conv = node.op_type == "Conv"
    axis = 0 if is_conv else found.ndim - 1
    largest = numpy.abs(found).max(axis=tuple(it for it in range(found.ndim) if it != axis))
    floor = largest.max() / MOST
    factor = largest.max() / numpy.maximum(largest, floor)
    shape = [-1 if it == axis else 1 for it in range(found.ndim)]
    node.input[1] = constant(f"{node.name}/weights", found * factor.reshape(shape))
    if len(node.input) > 2 and node.input[2]:
        bias = numpy_helper.to_array(constants[node.input[2]])
        node.input[2] = constant(f"{node.name}/bias", bias * factor)
    output, node.output[0] = node.output[0], f"{node.name}/output"
    back = (1 / factor).reshape([-1] + [1] * (found.ndim - 2)) if is_conv else 1 / factor
    inputs = [node.output[0], constant(f"{node.name}/back", back)]
    return helper.make_node("Mul", inputs, [output], name=f"{node.name}/scaled back")


chosen, nodes = [], []
for number, node in enumerate(graph.node):
    nodes.append(node)
    found = weights(node)
    if found is not None:
        # Layers are chosen by name, which a file may leave out or use twice.
        node.name = f"{node.name or node.op_type} {number}"
        chosen.append(node.name)
        nodes.append(equalise(node, found))
if not chosen:
    print("no layer is large enough", file=sys.stderr)
    sys.exit(4)
used = {name for node in nodes for name in node.input}
kept = [it for it in graph.initializer if it.name in used or it.name not in constants]
inner = any(it.HasField("g") or it.graphs for node in nodes for it in node.attribute)
if not inner:
    del graph.initializer[:]
    graph.initializer.extend(kept)
del graph.node[:]
graph.node.extend(nodes)

# The operators' own INT8 forms, since tract computes pairs of QuantizeLinear and DequantizeLinear as floats. u8 with i8 is what ONNX
# Runtime's convolutions take, and tract's kernels need symmetric weights.
quantize_static(
    model,
    target,
    Samples(),
    quant_format=QuantFormat.QOperator,
    nodes_to_quantize=chosen,
    op_types_to_quantize=["Conv", "MatMul"],
    activation_type=QuantType.QUInt8,
    weight_type=QuantType.QInt8,
)
