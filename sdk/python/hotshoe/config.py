"""The component's settings, `config = { width = "32" }` in release.toml. They need the grant `config`."""

import math

from wit_world.imports.config import get

from .errors import InvalidInput


def text(name: str, default: str) -> str:
    """The text of a setting."""
    value = get(name)
    return default if value is None else value


def integer(name: str, default: int, lowest: int, highest: int) -> int:
    """A whole number from `lowest` to `highest`."""
    value = get(name)
    if value is None:
        return default
    if value.isascii() and value.isdigit() and lowest <= int(value) <= highest:
        return int(value)
    raise InvalidInput(f'the setting "{name}" is "{value}", no number from {lowest} to {highest}')


def number(name: str, default: float) -> float:
    """Any number."""
    value = get(name)
    if value is None:
        return default
    try:
        # Python takes `1_0` for a number.
        result = math.nan if "_" in value else float(value)
    except ValueError:
        result = math.nan
    if math.isfinite(result):
        return result
    raise InvalidInput(f'the setting "{name}" is "{value}", no number')


__all__ = ["get", "integer", "number", "text"]
