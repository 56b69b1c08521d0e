"""Wraps the author's function: an exception becomes an error and not a trap, which would cost the instance. For the file that `hotshoe build` writes."""

import os
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from types import ModuleType

from componentize_py_types import Err
from wit_world.imports import types

from .errors import Error
from .result import misfit, well_formed

# The type of what the function returns, which the file of `hotshoe build` sets.
RESULT = None
# `async def`, and a generator of it.
_ASYNC = 0x0080 | 0x0200


class NoFunction(Exception):
    """component.py lacks the function of its world."""


class Async(Exception):
    """The function of its world is a coroutine."""


class _Late:
    """Replaces the finder of files, which exist only during the build."""

    @staticmethod
    def find_spec(name: str, path=None, target=None):
        raise ModuleNotFoundError(f"`{name}` is imported while the component runs, but files exist only during the build: import it at the top of component.py", name=name)


def guarded(component: ModuleType, name: str, parameters: str) -> Callable:
    """The author's function, whose exceptions become errors of the host."""
    function = getattr(component, name, None)
    if not callable(function):
        raise NoFunction(f"component.py has no function `{name}`. Its world calls it for every sample; write `def {name}({parameters}):`")
    if getattr(getattr(function, "__code__", None), "co_flags", 0) & _ASYNC:
        raise Async(f"`{name}` of component.py is async, and the host does not wait for a coroutine; write it without `async`")
    result = RESULT

    def call(_self, *arguments):
        # Not before: the bundler imports modules too.
        if PathFinder in sys.meta_path:
            sys.meta_path[:] = [_Late if finder is PathFinder else finder for finder in sys.meta_path]
        try:
            value = function(*arguments)
            found = misfit(value, result, f"{name}()")
            if found:
                raise Error(f"the result has the wrong type: {found}")
            return value
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            answer = _describe(error)
            # The traceback keeps the frames and so the handles of the call, which must be released before it ends. (`Err` is frozen, so a plain assignment fails.)
            for held in ("__traceback__", "__context__", "__cause__"):
                object.__setattr__(error, held, None)
        raise Err(answer)

    return call


def _describe(error: BaseException) -> types.Error:
    described = _described(error)
    return types.Error(described.code, well_formed(described.message))


def _described(error: BaseException) -> types.Error:
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


def _place(error: BaseException) -> str:
    """The author's innermost line on the stack."""
    place = ""
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if trace.tb_frame.f_globals.get("__name__") != __name__:
            place = f" ({os.path.basename(file)}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return place
