"""Write components for Hotshoe in Python.

A component is a file `component.py` with the one function of its world:

    preprocessor    prepare(sample)               -> list of NamedTensor
    postprocessor   interpret(sample, outputs)    -> an insight
    policy          decide(insight, device)       -> list of actions
    stage           process(sample)               -> an insight

The host's interfaces are the modules `config`, `data`, `log`, `metrics`, `clock`, `state`, `vision` and `infer` of this package. Each module that a component imports
needs the grant of its name in release.toml.

An exception costs only the sample: the host gets its text, and the same instance serves the next sample.
"""

from componentize_py_types import Err
from wit_world.imports.samples import Sample
from wit_world.imports.tensors import ElementType, NamedTensor, Tensor

from .errors import Denied, Error, InvalidInput, LimitExceeded, NotFound, Unsupported

__all__ = [
    "Denied",
    "ElementType",
    "Err",
    "Error",
    "InvalidInput",
    "LimitExceeded",
    "NamedTensor",
    "NotFound",
    "Sample",
    "Tensor",
    "Unsupported",
]
