"""The component's data files, `data = ["rules"]` in release.toml. They need the grant `data`."""

from wit_world.imports.data import read


def text(name: str) -> str:
    """A whole file as UTF-8."""
    return read(name).decode("utf-8")


def lines(name: str) -> list[str]:
    """The lines of a file, without their ends."""
    found = text(name).split("\n")
    if found[-1] == "":
        found.pop()
    return [line.removesuffix("\r") for line in found]


__all__ = ["lines", "read", "text"]
