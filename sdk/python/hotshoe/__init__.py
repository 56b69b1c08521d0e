"""Write components for Hotshoe in Python.

A component is a file `component.py` with the one function of its world:

    preprocessor    prepare(sample)               -> list of NamedTensor
    postprocessor   interpret(sample, outputs)    -> an insight
    policy          decide(insight, device)       -> list of actions
    stage           process(sample)               -> an insight

What a component may use beside Python is in the modules of this package: `config`, `data`, `log`, `metrics`, `clock`, `state`, `vision` and `infer`. Each needs
the grant of its name in release.toml, and what a component does not import it does not ask for.

An exception costs the sample and nothing else: the host gets its text, and the next sample is served by the same instance.
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
