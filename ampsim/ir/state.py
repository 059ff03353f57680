"""The state of a message: a small record of ints, packed into one int where it serves as a key."""

from __future__ import annotations

from dataclasses import dataclass

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

    def packed(self, states: Array) -> Array:
        """`int64[n, fields]` to `int64[n]`, equal where the states are equal."""
        keys: Array = states[:, 0]
        for column, field in enumerate(self.fields[1:], start=1):
            keys = (keys << field.bits) | states[:, column]
        return keys

    def keys(self, states: Array) -> list[int]:
        """The packed states as n ints, for use as dictionary keys."""
        return list(self.packed(states).tolist())

    def describe(self, key: int) -> str:
        """A packed key as a person reads it: `instance 7, t 3`."""
        parts = []
        for field in reversed(self.fields[1:]):
            parts.append(f"{field.name} {key & ((1 << field.bits) - 1)}")
            key >>= field.bits
        return ", ".join([f"{self.fields[0].name} {key}", *reversed(parts)])
