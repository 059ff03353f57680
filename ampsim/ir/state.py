"""The state of a message: a small record of ints, packed into one int where it serves as a key."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ampsim.ops.table import Array


@dataclass(frozen=True)
class Field:
    """One integer of a state, from 0 to 2**bits - 1."""

    name: str
    bits: int


@dataclass(frozen=True)
class StateSchema:
    """The fields of every state in a graph; the first is always the instance.

    Raises ValueError if the fields do not fit into 63 bits together.
    """

    fields: tuple[Field, ...] = (Field("instance", 40),)

    def __post_init__(self) -> None:
        bits = sum(field.bits for field in self.fields)
        if bits > 63:
            raise ValueError(f"the fields of a state take {bits} bits together, and 63 is the most: make one smaller")

    def check(self, states: Array, count: int, source: str) -> None:
        """Raise ValueError unless what the user's function `source` gave is `count` states that fit their fields."""
        width = len(self.fields)
        if not isinstance(states, np.ndarray) or states.dtype.kind != "i" or states.shape != (count, width):
            raise ValueError(f"{source} must give states int64[{count}, {width}], not {_describe_array(states)}")
        # As unsigned numbers, negative ones have bits beyond any field.
        outside = states.astype(np.int64, copy=False).view(np.uint64) >> self._bits
        if np.count_nonzero(outside):
            message, column = (int(number) for number in np.argwhere(outside)[0])
            field, value = self.fields[column], int(states[message, column])
            others = ", ".join(
                f"{other.name} {number}" for other, number in zip(self.fields, states[message].tolist(), strict=True)
            )
            raise ValueError(
                f"{source} gives a state whose {field.name} is {value}, and {field.name} has {field.bits} bits "
                f"(0 to {2**field.bits - 1}): {others}; a loop that does not end, or a field that is too small?"
            )

    @cached_property
    def _bits(self) -> Array:
        return np.array(self._widths, np.uint64)

    @cached_property
    def _widths(self) -> list[int]:
        return [field.bits for field in self.fields]

    def packed(self, states: Array) -> Array:
        """`int64[n, fields]` to `int64[n]`, equal where the states are equal."""
        keys: Array = states[:, 0] if len(self.fields) == 1 else states @ self._weights
        return keys

    @cached_property
    def _weights(self) -> Array:
        """What each field counts in a packed state: 2 to the power of the bits behind it."""
        behind = np.cumsum([0, *self._widths[:0:-1]])[::-1]
        weights: Array = np.left_shift(1, behind)
        return weights

    def keys(self, states: Array) -> list[int]:
        """The packed states as n ints, for use as dictionary keys."""
        if len(states) == 1:  # in Python: it takes a third of what NumPy would
            key = 0
            for number, bits in zip(states[0].tolist(), self._widths, strict=True):
                key = key << bits | number
            return [key]
        keys: list[int] = self.packed(states).tolist()
        return keys

    def describe(self, key: int) -> str:
        """A packed key as a person reads it: `instance 7, t 3`."""
        parts = []
        for field in reversed(self.fields[1:]):
            parts.append(f"{field.name} {key & ((1 << field.bits) - 1)}")
            key >>= field.bits
        return ", ".join([f"{self.fields[0].name} {key}", *reversed(parts)])


def check_numbers(numbers: Array, count: int, end: int, source: str) -> None:
    """Raise ValueError unless what the user's function `source` gave is `count` integers from 0 to `end - 1`."""
    if not isinstance(numbers, np.ndarray) or numbers.dtype.kind not in "iub" or numbers.shape != (count,):
        raise ValueError(
            f"{source} must give an integer for each of {count}, int64[{count}], not {_describe_array(numbers)}"
        )
    if numbers.dtype == np.int64 and not np.count_nonzero(numbers.view(np.uint64) >= end):
        return  # as unsigned numbers, negative ones are the largest
    if count and (numbers.min() < 0 or numbers.max() >= end):
        wrong = int(numbers.min()) if numbers.min() < 0 else int(numbers.max())
        raise ValueError(f"{source} gives {wrong}: expected 0 to {end - 1}")


def _describe_array(found: object) -> str:
    if isinstance(found, np.ndarray):
        return f"{found.dtype}{list(found.shape)}"
    return repr(found)
