"""What stands between the host and the author's function: no exception ever becomes a trap, which would cost the instance. For the file that `hotshoe build` writes."""

import os
from collections.abc import Callable
from types import ModuleType

from componentize_py_types import Err
from wit_world.imports import types

from .errors import Error


class NoFunction(Exception):
    """component.py lacks the function of its world."""


def guarded(component: ModuleType, name: str, parameters: str) -> Callable:
    """The author's function, with every exception made an error that the host understands."""
    function = getattr(component, name, None)
    if not callable(function):
        raise NoFunction(f"component.py has no function `{name}`. Its world calls it for every sample; write `def {name}({parameters}):`")

    def call(_self, *arguments):
        try:
            return function(*arguments)
        except Exception as error:
            answer = _describe(error)
            # The traceback holds the frames, and they the handles of the call, which must go before it ends. (`Err` is frozen, hence this way.)
            for name in ("__traceback__", "__context__", "__cause__"):
                object.__setattr__(error, name, None)
        raise Err(answer)

    return call


def _describe(error: Exception) -> types.Error:
    if isinstance(error, Error):
        return types.Error(error.code, str(error))
    if isinstance(error, Err):
        value = error.value
        if isinstance(value, types.Error):
            return value
        if callable(getattr(value, "code", None)) and callable(getattr(value, "data", None)):
            # `wasi:nn` gives its errors as objects of the host.
            with value:
                return types.Error(types.ErrorCode.INTERNAL, f"wasi:nn: {value.code().name.lower().replace('_', '-')}: {value.data()}")
        return types.Error(types.ErrorCode.INTERNAL, str(value))
    return types.Error(types.ErrorCode.INTERNAL, f"{type(error).__name__}: {error}{_place(error)}")


def _place(error: Exception) -> str:
    """The innermost line of the author's that the exception passed."""
    place = ""
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if trace.tb_frame.f_globals.get("__name__") != __name__:
            place = f" ({os.path.basename(file)}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return place
