"""Values that the component keeps between samples, restarts and releases. They need the grant `state`.

All instances of a component share one store, so what is read may have changed when it is written. `update` and `add` are safe in that.
"""

from collections.abc import Callable

from wit_world.imports.state import delete, get, keys, replace, set, version

from .errors import Error


def update(key: str, change: Callable[[bytes | None], bytes | None]) -> bytes | None:
    """Replaces a value by the result of `change`, which gets the current value (None: no entry). Calls it again if another instance wrote in between."""
    while True:
        present = get(key)
        following = change(present)
        if replace(key, present, following):
            return following


def add(key: str, by: int) -> int:
    """Adds to the number under a key, kept as eight bytes, little-endian, and returns the sum. A missing key counts as 0."""

    def sum_of(present: bytes | None) -> bytes:
        if present is not None and len(present) != 8:
            raise Error(f"`{key}` of the state is not a number of eight bytes")
        number = int.from_bytes(present or b"", "little") + by
        return (number % 2**64).to_bytes(8, "little")

    return int.from_bytes(update(key, sum_of) or b"", "little")


__all__ = ["add", "delete", "get", "keys", "replace", "set", "update", "version"]
