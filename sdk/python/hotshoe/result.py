"""Whether a value has the type that the component's world returns. The runtime traps without a message if it does not. For the file that `hotshoe build` writes."""

from enum import Enum

_RANGES = {"u8": 8, "u16": 16, "u32": 32, "u64": 64, "s8": 8, "s16": 16, "s32": 32, "s64": 64}
_LONGEST = 60


def misfit(value, kind, path: str) -> str | None:
    """Why a value does not fit `kind`, which `hotshoe build` makes of the WIT files, with its place below `path`; None if it fits."""
    if kind is None or kind == "any":
        return None
    if hasattr(value, "__await__"):
        value.close()
        return f"{path} is a coroutine, and the host does not wait for it; write the function without `async`"
    if isinstance(kind, str):
        return _scalar(value, kind, path)
    if "list" in kind:
        return _list(value, kind["list"], path)
    if "option" in kind:
        return None if value is None else misfit(value, kind["option"], path)
    if "tuple" in kind:
        kinds = kind["tuple"]
        if not isinstance(value, tuple) or len(value) != len(kinds):
            return _wrong(value, f"a tuple of {len(kinds)}", path)
        return _first(misfit(inner, kinds[at], f"{path}[{at}]") for at, inner in enumerate(value))
    if "enum" in kind:
        name = _pascal(kind["name"])
        fits = isinstance(value, Enum) and type(value).__name__ == name
        return None if fits else _wrong(value, f"a {name}: {', '.join(case.upper().replace('-', '_') for case in kind['enum'])}", path)
    if "record" in kind:
        return _record(value, kind, path)
    if "variant" in kind:
        return _variant(value, kind, path)
    if "handle" in kind:
        plain = value is None or isinstance(value, (str, bytes, int, float, list, dict, tuple))
        return _wrong(value, "a handle from the host", path) if plain else None
    return None


def _record(value, kind, path: str) -> str | None:
    name = _pascal(kind["name"])
    if type(value).__name__ != name:
        return _wrong(value, f"a {name}", path)
    return _first(misfit(getattr(value, field, None), inner, f"{path}.{field}") for field, inner in kind["record"])


def _variant(value, kind, path: str) -> str | None:
    name = _pascal(kind["name"])
    for case, inner in kind["variant"]:
        if type(value).__name__ == f"{name}_{_pascal(case)}":
            return misfit(getattr(value, "value", None), inner, f"{path}.value")
    return _wrong(value, " or ".join(f"{name}_{_pascal(case)}" for case, _ in kind["variant"]), path)


def _list(value, kind, path: str) -> str | None:
    if isinstance(value, (bytes, bytearray)) and kind == "u8":
        return None
    if isinstance(value, (str, bytes, dict)) or not hasattr(value, "__len__") or not hasattr(value, "__getitem__"):
        return _wrong(value, "bytes" if kind == "u8" else "a list", path)
    return _first(misfit(inner, kind, f"{path}[{at}]") for at, inner in enumerate(value))


def _scalar(value, kind: str, path: str) -> str | None:
    if kind == "string":
        if not isinstance(value, str):
            return _wrong(value, "a str", path)
        return None if _is_utf8(value) else f"{path} has half of a surrogate pair, which is not text"
    if kind == "bool":
        return None if isinstance(value, bool) else _wrong(value, "a bool", path)
    if kind == "float":
        return None if hasattr(value, "__float__") or hasattr(value, "__index__") else _wrong(value, "a number", path)
    if not hasattr(value, "__index__"):
        return _wrong(value, "an int", path)
    bits = _RANGES.get(kind, 64)
    low, high = (0, 2**bits - 1) if kind[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return None if low <= value.__index__() <= high else _wrong(value, f"an int from {low} to {high}", path)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def well_formed(text: str) -> str:
    """The text without halves of surrogate pairs, which UTF-8 cannot have."""
    return text if _is_utf8(text) else text.encode("utf-8", "replace").decode()


def _first(found) -> str | None:
    return next((text for text in found if text), None)


def _wrong(value, wanted: str, path: str) -> str:
    try:
        shown = repr(value)
    except Exception:
        shown = f"a {type(value).__name__}"
    if len(shown) > _LONGEST:
        shown = shown[:_LONGEST] + "..."
    return f"{path} is {shown}; it must be {wanted}"


def _pascal(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in name.split("-"))
