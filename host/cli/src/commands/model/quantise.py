"""Dynamic INT8 quantisation of the ONNX file argv[1] into argv[2]."""
import sys

try:
    from onnxruntime.quantization import QuantType, quantize_dynamic
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(3)

# Unsigned, since ONNX Runtime's convolutions on the processor take no signed weights.
quantize_dynamic(sys.argv[1], sys.argv[2], weight_type=QuantType.QUInt8)
