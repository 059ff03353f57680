"""A calibration as files: the kind of device, and the network beside it, both with what they were fitted to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from math import isfinite
from pathlib import Path
from typing import Any

from ampsim.calibration.calibrate import Calibration
from ampsim.config.tree import read
from ampsim.errors import BadInput
from ampsim.sim.rates import Handing, Rate
from ampsim.units import format_quantity

UNITS = {"compute": "FLOP/s", "memory_bandwidth": "byte/s", "bandwidth": "byte/s"}
"""The units of the figures that are no times."""


def network_file(kind: Path) -> Path:
    """Where the network that was measured with a kind is written."""
    return kind.with_name(f"{kind.stem}-network.yaml")


def read_network(file: Path) -> dict[str, Any]:
    """The `network` section in a file; what is in it is checked as part of a config. Raises BadInput, ConfigError."""
    if not file.is_file():
        raise BadInput(f"{file}: there is no such file: `ampsim calibrate` writes it beside the device file")
    document = read(file, str(file))
    document.raise_faults()
    section = document.at("network")
    if not isinstance(section, dict):
        raise BadInput(f"{file}: expected a mapping 'network', as `ampsim calibrate` writes it")
    return section


def kind_text(calibration: Calibration, arithmetic: Mapping[str, Any], date: str) -> str:
    """The device file, with the measured tables in comments; `arithmetic` is what `ampsim.blas.record` says."""
    profile = calibration.profile
    plain = {
        "compute": profile.compute,
        "memory_bandwidth": profile.memory_bandwidth,
        "memory": profile.memory,
        "overhead": profile.overhead,
        "message_overhead": profile.message_overhead,
        "turn": profile.turn,
    }
    units = {**UNITS, "memory": "byte"}
    lines = [
        *_head(calibration, arithmetic, date),
        f"kind: {profile.kind}",
        f"summary: {profile.summary}",
        *(f"{name}: {format_quantity(value, units.get(name, 's'))}" for name, value in plain.items()),
        f"spread: {profile.spread:.3g}",
        f"send: {_figures(profile.send)}",
        f"receive: {_figures(profile.receive)}",
        "rates:",
    ]
    for op, ways in profile.rates.items():
        lines.append(f"  {op}:")
        lines += [f"    {way}: {_figures(rate)}" for way, rate in ways.items()]
    return "\n".join(lines) + "\n"


def network_text(calibration: Calibration) -> str:
    """The `network` section of a config, with the transfers that were timed in a comment."""
    lines = ["# Between two processes of this machine, over the runtime's own sockets (ipc), one way:", "#"]
    lines += [f"#   {size:>9,} bytes  {format_quantity(seconds, 's')}" for size, seconds in calibration.transfers]
    late = format_quantity(calibration.lateness, "s")
    lines.append(f"# In whole runs messages were {late} longer on the way between devices: part of the latency.")
    latency, bandwidth = format_quantity(calibration.latency, "s"), format_quantity(calibration.bandwidth, "byte/s")
    return "\n".join([*lines, f"network: {{topology: full, latency: {latency}, bandwidth: {bandwidth}}}", ""])


def _head(calibration: Calibration, arithmetic: Mapping[str, Any], date: str) -> Iterator[str]:
    libraries = ", ".join(f"{blas['library']} {blas['version']} ({blas['kernel']})" for blas in arithmetic["blas"])
    yield f"# Measured by `ampsim calibrate` on {date}: one process of {arithmetic['cpu']},"
    yield f"# NumPy {arithmetic['numpy']}, {libraries or 'no BLAS that tells its name'}, one thread."
    yield "#"
    yield "# Products of float32 matrices (rows x inputs by inputs x units):"
    for (rows, inputs, units), seconds in calibration.products:
        rate = format_quantity(2 * rows * inputs * units / seconds, "FLOP/s")
        yield f"#   {f'{rows} x {inputs} by {inputs} x {units}':<26} {format_quantity(seconds, 's'):>9}  {rate}"
    yield "# Copies of arrays (read and written):"
    for size, seconds in calibration.copies:
        rate = format_quantity(2 * size / seconds, "byte/s")
        yield f"#   {f'{size:,} bytes':<26} {format_quantity(seconds, 's'):>9}  {rate}"
    for what, fitted in (("handing out", calibration.send), ("taking in", calibration.receive)):
        yield f"# {what.capitalize()} in whole runs was fitted with a median error of {fitted.error:.0%}."
    yield "# Rates were fitted to so many batches; the median of |fit / measured - 1| is behind each:"
    for op, ways in calibration.rates.items():
        told = "; ".join(f"{way} {fitted.samples:,}, {fitted.error:.0%}" for way, fitted in ways.items())
        yield f"#   {op}: {told}"


def _figures(of: Rate | Handing) -> str:
    """Its figures that say something, as a mapping in one line."""
    given = {field.name: getattr(of, field.name) for field in fields(of)}
    written = [
        f"{name}: {format_quantity(value, UNITS.get(name, 's'))}"
        for name, value in given.items()
        if value and isfinite(value)
    ]
    return f"{{{', '.join(written)}}}"
