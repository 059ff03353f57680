from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampsim import units
from ampsim.units import MEASURES, format_quantity, parse


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("5 us", "s", 5e-6),
        ("5us", "s", 5e-6),
        ("  5   us ", "s", 5e-6),
        ("5 µs", "s", 5e-6),
        ("5 μs", "s", 5e-6),
        ("1.5e3 ns", "s", 1.5e-6),
        ("2 min", "s", 120.0),
        ("1 h", "s", 3600.0),
        ("+3 seconds", "s", 3.0),
        ("0 s", "s", 0.0),
        ("10 Gbit/s", "byte/s", 1.25e9),
        ("10 Gbps", "byte/s", 1.25e9),
        ("480 GB/s", "byte/s", 480e9),
        ("1 MB/ms", "byte/s", 1e9),
        ("16 GB", "byte", 16e9),
        ("16 GiB", "byte", 16 * 2**30),
        ("1 TFLOP/s", "FLOP/s", 1e12),
        ("1 TFLOPS", "FLOP/s", 1e12),
    ],
)
def test_a_quantity_is_read_exactly(text: str, unit: str, value: float) -> None:
    assert parse(text, unit, zero=True) == value


@pytest.mark.parametrize(
    ("unit", "symbol"), [(unit, symbol) for unit in units._COMMON for symbol in units._COMMON[unit]]
)
@given(number=st.one_of(st.decimals(0, 10**9, places=3), st.floats(1e-20, 1e30)).map(str))
def test_common_units_are_what_pint_says_of_them(unit: str, symbol: str, number: str) -> None:
    text = f"{number} {symbol}"
    assert parse(text, unit, zero=True) == units._by_pint(number, symbol, unit, text)


def test_what_a_fault_names_as_a_unit_is_common_but_for_a_few() -> None:
    rare = {symbol for unit in MEASURES for symbol in MEASURES[unit].units if symbol not in units._COMMON[unit]}
    assert rare == {"min", "h", "KiB", "MiB", "GiB"}


NO_TIME = """5 parsec|5 kg|5 GHz|5 byte/s|5||us|nan s|inf s|-1 s|1e999 s|1e-999 s|1e99999999999 s|5 us us|5 us/|5 / s
5 s/s/s|0x5 s|1_000 s|٣ s|2**3 s|(5) s|5 __class__|5 mB|1,5 s|5 us;5 us|5 ks/kB|5 s*s|5 s\x00"""


@pytest.mark.parametrize("text", [*NO_TIME.replace("\n", "|").split("|"), "5 s\n5 s"])
def test_what_is_no_time_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected a time such as '5 us', found .*\(units: s, ms, us, ns, min, h\)$"):
        parse(text, "s", zero=True)


@pytest.mark.parametrize(("unit", "text"), [("s", "0 s"), ("byte", "0 B"), ("byte/s", "0 B/s"), ("FLOP/s", "0 FLOP/s")])
def test_zero_is_refused_unless_it_is_allowed(unit: str, text: str) -> None:
    assert parse(text, unit, zero=True) == 0
    with pytest.raises(ValueError, match="it must be above 0"):
        parse(text, unit)


@pytest.mark.parametrize("unit", MEASURES)
def test_the_units_that_a_fault_names_are_understood(unit: str) -> None:
    for symbol in MEASURES[unit].units:
        assert parse(f"1 {symbol}", unit) > 0
    assert parse(MEASURES[unit].example, unit) > 0


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1e12, "FLOP/s", "1 TFLOP/s"),
        (480e9, "byte/s", "480 GB/s"),
        (5e-6, "s", "5 us"),
        (1.0, "s", "1 s"),
        (90.0, "s", "90 s"),
        (0.0, "s", "0 s"),
        (0.0, "byte", "0 B"),
        (1536.0, "byte", "1.536 kB"),
        (12.0, "byte/s", "12 B/s"),
        (3e-12, "s", "0.003 ns"),
    ],
)
def test_a_quantity_is_written_for_a_person(value: float, unit: str, text: str) -> None:
    assert format_quantity(value, unit) == text


@given(value=st.floats(1e-9, 1e15), unit=st.sampled_from(sorted(MEASURES)))
def test_what_is_written_is_read_again_to_four_digits(value: float, unit: str) -> None:
    assert math.isclose(parse(format_quantity(value, unit), unit), value, rel_tol=1e-3)


@given(text=st.text(max_size=20), unit=st.sampled_from(sorted(MEASURES)))
def test_any_text_is_a_quantity_or_refused_in_one_line(text: str, unit: str) -> None:
    try:
        said = format_quantity(parse(text, unit), unit)
    except ValueError as error:
        said = str(error)
    assert len(said.splitlines()) == 1
