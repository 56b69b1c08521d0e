"""Tensors with their shapes checked, as fast as Python reads them.

A tensor stays with the host. `floats` copies its elements once, into an `array`: never make a list of a large tensor, which takes eight times the memory.
"""

from array import array

from wit_world.imports.tensors import ElementType, NamedTensor, Tensor

from .errors import InvalidInput

# Python's letters for the element types that `array` knows.
_LETTERS = {
    ElementType.BOOL: "B",
    ElementType.U8: "B",
    ElementType.I8: "b",
    ElementType.I32: "i",
    ElementType.I64: "q",
    ElementType.F32: "f",
    ElementType.F64: "d",
}


def named(outputs: list[NamedTensor], name: str) -> Tensor:
    """The tensor of this name among a model's outputs."""
    for output in outputs:
        if output.name == name:
            return output.tensor
    there = ", ".join(output.name for output in outputs) or "none"
    raise InvalidInput(f'no tensor is called "{name}"; there are: {there}')


def elements(tensor: Tensor, element_type: ElementType, pattern: tuple[int | None, ...] | None = None) -> tuple[tuple[int, ...], array]:
    """Shape and elements of a tensor of this type. In `pattern`, None means any length: `(1, 3, None, None)`."""
    found = tensor.element_type()
    if found is not element_type:
        raise InvalidInput(f"a tensor has elements of {found.name.lower()}, not of {element_type.name.lower()}")
    shape = tuple(tensor.shape())
    if pattern is not None and not _fits(shape, pattern):
        wanted = ", ".join("any" if length is None else str(length) for length in pattern)
        raise InvalidInput(f"a tensor of the shape {list(shape)} does not fit [{wanted}]")
    values = array(_LETTERS[element_type])
    values.frombytes(tensor.read_bytes())
    return shape, values


def floats(tensor: Tensor, pattern: tuple[int | None, ...] | None = None) -> tuple[tuple[int, ...], array]:
    """Shape and elements of an f32 tensor: `(_, _, height, width), heat = floats(tensor, (1, 1, None, None))`."""
    return elements(tensor, ElementType.F32, pattern)


def from_floats(shape: tuple[int, ...] | list[int], values) -> Tensor:
    """An f32 tensor of numbers, such as a list, a generator or an `array`."""
    return Tensor.from_bytes(ElementType.F32, list(shape), array("f", values).tobytes())


def _fits(shape: tuple[int, ...], pattern: tuple[int | None, ...]) -> bool:
    return len(shape) == len(pattern) and all(wanted is None or wanted == length for length, wanted in zip(shape, pattern))
