"""Quantities as people write them (`5 us`, `10 Gbit/s`), and the SI floats that they stand for.

The registry is our own: what a config can say is a time, a size, a bandwidth or a compute speed, and nothing else.
Small prefixes exist for seconds only, so that `10 mbit/s` is refused and not taken for a hundredth of a bit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, DecimalException
from functools import cache
from math import isinf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pint import UnitRegistry

_DEFINITIONS = """
k- = 1e3
M- = 1e6
G- = 1e9
T- = 1e12
P- = 1e15
Ki- = 1024
Mi- = 1048576
Gi- = 1073741824
Ti- = 1099511627776
second = [time] = s
millisecond = 1e-3 second = ms
microsecond = 1e-6 second = us = µs = μs
nanosecond = 1e-9 second = ns
minute = 60 second = min
hour = 3600 second = h
byte = [information] = B
bit = byte / 8
bps = bit / second
FLOP = [operation]
FLOPS = FLOP / second
"""

_PREFIXES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_COMMON: dict[str, dict[str, Decimal]] = {
    "s": {"s": Decimal(1), "ms": Decimal("1e-3"), "us": Decimal("1e-6"), "ns": Decimal("1e-9")},
    "byte": {f"{prefix}B": Decimal(factor) for prefix, factor in _PREFIXES.items()},
    "byte/s": {
        f"{prefix}{unit}/s": Decimal(factor) / size
        for unit, size in (("B", 1), ("bit", 8))
        for prefix, factor in _PREFIXES.items()
    },
    "FLOP/s": {f"{prefix}FLOP/s": Decimal(factor) for prefix, factor in _PREFIXES.items()},
}
"""What most people write, in SI units. Where a config has nothing else pint need not be loaded, which takes longer than
reading the config does. A test compares the two."""

# A number and a unit, kept apart from pint's own parser, which would evaluate `9 ** 9 ** 9`.
_QUANTITY = re.compile(r"\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*(\S*)\s*")
_UNIT = re.compile(r"[A-Za-zµμ]+(/[A-Za-zµμ]+)?")


@dataclass(frozen=True)
class Measure:
    """What is measured in a unit: how it is called, an example, what else may be written, and steps for display."""

    noun: str
    example: str
    units: tuple[str, ...]
    steps: tuple[tuple[float, str], ...]


def _steps(symbol: str) -> tuple[tuple[float, str], ...]:
    prefixes = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
    return tuple((factor, prefix + symbol) for factor, prefix in prefixes)


MEASURES = {
    "s": Measure(
        "a time", "5 us", ("s", "ms", "us", "ns", "min", "h"), ((1, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
    ),
    "byte": Measure("a size", "16 GB", ("B", "kB", "MB", "GB", "TB", "KiB", "MiB", "GiB"), _steps("B")),
    "byte/s": Measure(
        "a bandwidth", "10 Gbit/s", ("bit/s", "kbit/s", "Mbit/s", "Gbit/s", "B/s", "MB/s", "GB/s"), _steps("B/s")
    ),
    "FLOP/s": Measure("a compute speed", "1 TFLOP/s", ("FLOP/s", "MFLOP/s", "GFLOP/s", "TFLOP/s"), _steps("FLOP/s")),
}
"""By the SI unit in which `parse` answers."""


def parse(text: str, unit: str, *, zero: bool = False) -> float:
    """The value of `text` in `unit`: `s`, `byte`, `byte/s` or `FLOP/s`.

    Zero is refused unless `zero` is set. Raises ValueError with a sentence that says what was expected.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(_expectation(unit, text))
    number, symbol = match.groups()
    if not symbol:
        raise ValueError(_expectation(unit, text, "write the unit"))
    if not _UNIT.fullmatch(symbol):
        raise ValueError(_expectation(unit, text))
    try:
        common = _COMMON[unit].get(symbol)
        value = _by_pint(number, symbol, unit, text) if common is None else float(Decimal(number) * common)
    except (DecimalException, OverflowError):
        raise ValueError(_expectation(unit, text, "out of range")) from None
    if isinf(value) or (value == 0 and Decimal(number) != 0):
        raise ValueError(_expectation(unit, text, "out of range"))
    if value < 0 or (value == 0 and not zero):
        raise ValueError(_expectation(unit, text, "it can't be negative" if zero else "it must be above 0"))
    return value


def _by_pint(number: str, symbol: str, unit: str, text: str) -> float:
    """What a number of any unit is in `unit`. Raises ValueError if it is none of that, and decimal's exceptions."""
    from pint.errors import UndefinedUnitError

    try:
        quantity = _registry().Quantity(Decimal(number), _registry().parse_units(symbol))
        if quantity.dimensionality != _registry().parse_units(unit).dimensionality:
            raise ValueError(_expectation(unit, text, _what(quantity.units.dimensionality)))
        return float(quantity.to(unit).magnitude)
    except UndefinedUnitError:
        raise ValueError(_expectation(unit, text, f"there is no unit {symbol[:20]!r}")) from None


def format_quantity(value: float, unit: str) -> str:
    """`value` in `unit` for a person to read: `480 GB/s`, `5 us`; four digits, at most."""
    steps = MEASURES[unit].steps
    factor, symbol = next(((factor, symbol) for factor, symbol in steps if abs(value) >= factor), steps[-1])
    if value == 0:
        factor, symbol = next(step for step in steps if step[0] == 1)
    return f"{value / factor:.4g} {symbol}"


def _expectation(unit: str, text: str, reason: str = "") -> str:
    measure = MEASURES[unit]
    found = repr(text if len(text) <= 40 else text[:40] + "…")
    why = f": {reason}" if reason else ""
    units = ", ".join(measure.units)
    return f"expected {measure.noun} such as {measure.example!r}, found {found}{why} (units: {units})"


def _what(dimensionality: object) -> str:
    nouns = [m.noun for unit, m in MEASURES.items() if _registry().parse_units(unit).dimensionality == dimensionality]
    return f"that is {nouns[0]}" if nouns else ""


@cache
def _registry() -> UnitRegistry[Decimal]:
    from pint import UnitRegistry

    # Decimal, so that 5 us is 5e-06 s and not 4.9999999999999996e-06 s.
    registry: UnitRegistry[Decimal] = UnitRegistry(None, non_int_type=Decimal)
    for definition in _DEFINITIONS.strip().splitlines():
        registry.define(definition)
    return registry
