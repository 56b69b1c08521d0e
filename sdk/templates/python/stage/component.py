"""A whole pipeline in one component: it makes a model's input of a picture, runs the model through `wasi:nn`, and returns the classes with their scores.

`wasi:nn` is WebAssembly's standard interface for models. Its functions are in `wit_world.imports`, where componentize-py puts everything that a component
imports. Hotshoe's own interface, `hotshoe.infer`, does the same without a copy of the tensor.
"""

from array import array

from hotshoe import Err, Error, Sample, config, data
from hotshoe.types import Class, ErrorCode, Insight, Insight_Classes
from hotshoe.vision import Channels, Filter, Layout, Normalisation, decode, normalise, resize
from wit_world.imports import graph
from wit_world.imports.tensor import Tensor, TensorType

# The input of models from PaddlePaddle: blue first, from -1 to 1.
BGR = Normalisation(Layout.NCHW, Channels.BGR, scale=1 / 255, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def process(sample: Sample) -> Insight:
    """Called for every sample."""
    width = config.integer("width", 192, 1, 4096)
    height = config.integer("height", 48, 1, 4096)
    with decode(sample) as picture, resize(picture, width, height, Filter.BILINEAR) as small:
        with normalise([small], width, height, BGR) as tensor:
            pixels = tensor.read_bytes()
    scores = run_model(config.text("model", "classifier"), config.text("input", "x"), [1, 3, height, width], pixels)
    return Insight_Classes(best_first(scores, labels()))


def run_model(name: str, input_name: str, shape: list[int], elements: bytes) -> array:
    """The first output of a model of the release. An error of `wasi:nn` becomes an error of the sample, with its code and text."""
    with graph.load_by_name(name) as model, model.init_execution_context() as context:
        outputs = context.compute([(input_name, Tensor(shape, TensorType.FP32, elements))])
    if not outputs:
        raise Error(f'the model "{name}" has no output')
    _, first = outputs[0]
    scores = array("f")
    scores.frombytes(first.data())
    return scores


def labels() -> list[str]:
    """The names of the classes, one a line. No names if the release has no such file."""
    try:
        return data.lines("labels")
    except Err as error:
        if error.value.code is ErrorCode.NOT_FOUND:
            return []
        raise


def best_first(scores: array, names: list[str]) -> list[Class]:
    classes = [Class(names[index] if index < len(names) and names[index] else str(index), index, score) for index, score in enumerate(scores)]
    classes.sort(key=lambda found: (-found.score, found.index))
    return classes
