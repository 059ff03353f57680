"""`ampsim calibrate` and `ampsim validate`: this machine as a kind of device, and how well that predicts it."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import click

from ampsim import blas
from ampsim.calibration.calibrate import calibrate as measure
from ampsim.calibration.kind_file import kind_text, network_file, network_text, read_network
from ampsim.calibration.rows import validation_table, verdict, write_rows
from ampsim.calibration.validate import validate as compare
from ampsim.cli.console import new_console
from ampsim.cli.options import overrides_option
from ampsim.cli.watch import QuietWatcher
from ampsim.errors import BadInput
from ampsim.units import format_quantity

DEFAULT_KIND = "this-machine.yaml"
SUMMARY = "this machine, a process of one thread, as measured by ampsim calibrate"


@click.command()
@click.option("--out", metavar="FILE", default=DEFAULT_KIND, show_default=True, help="File to write; ends in .yaml.")
@click.option("--quick", is_flag=True, help="Fewer runs: some seconds, and rougher figures.")
def calibrate(out: str, quick: bool) -> None:
    """Measure this machine, and write it as a kind of device and a network.

    The kind is called as FILE without .yaml; a config names it by its path. The network is written beside it, as
    <kind>-network.yaml: a section to put into a config. Leave the machine alone meanwhile.
    """
    file = Path(out)
    if file.suffix != ".yaml" or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", file.stem):
        raise BadInput(f"--out: expected a name such as my-machine.yaml, found {out!r}")
    network = network_file(file)
    for path in (file, network):
        _check_writable(path)
    found = measure(file.stem, SUMMARY, quick, lambda what: click.echo(f"measuring {what}", err=True))
    file.write_text(kind_text(found, blas.record(), date.today().isoformat()), encoding="utf-8")
    network.write_text(network_text(found), encoding="utf-8")
    latency, bandwidth = format_quantity(found.latency, "s"), format_quantity(found.bandwidth, "byte/s")
    click.echo(f"{file}: kind {file.stem}; {network}: {latency}, {bandwidth}")


@click.command()
@click.argument("config")
@overrides_option
@click.option("--kind", metavar="FILE", help="The calibrated device file; by default this-machine.yaml.")
@click.option("--placements", "count", metavar="N", default=2, show_default=True, help="How many to compare.")
@click.option("--repeats", metavar="N", default=1, show_default=True, help="Runs on the wall clock.")
@click.option("--out", metavar="FILE", help="Where to write the rows: .json or .csv; by default they are only shown.")
def validate(
    config: str, overrides: tuple[str, ...], kind: str | None, count: int, repeats: int, out: str | None
) -> None:
    """Predict CONFIG by the simulated clock, run it on the wall clock, and compare.

    Every device is taken to be of the calibrated kind, and the network to be the one that was measured with it. The
    config's own placement is compared with others: is the faster one the one that was predicted to be?
    """
    for name, number in (("--placements", count), ("--repeats", repeats)):
        if number < 1:
            raise BadInput(f"{name}: expected a number of at least 1, found {number}")
    if out is not None and Path(out).suffix not in (".json", ".csv"):
        raise BadInput(f"--out: expected a file that ends in .json or .csv, found {out!r}")
    file = Path(kind or DEFAULT_KIND)
    if not file.is_file():
        raise BadInput(
            f"{file}: there is no such device file: measure this machine with `ampsim calibrate --out {file}`"
        )
    network = read_network(network_file(file))
    if out is not None:
        _check_writable(Path(out))
    console = new_console()

    def tell(what: str) -> None:
        click.echo(what, err=True)

    rows = compare(config, overrides, file, network, count, repeats, QuietWatcher(), tell)
    if out is not None:
        write_rows(Path(out), rows)
    console.print(validation_table(rows), "", verdict(rows), sep="\n", highlight=False)


def _check_writable(path: Path) -> None:
    """Before minutes are spent: is this a place to write to?"""
    try:
        with path.open("a", encoding="utf-8"):
            pass
    except OSError as error:
        raise BadInput(f"--out: cannot write {path}: {error.strerror}") from None
