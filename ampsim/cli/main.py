"""The command line. Exit codes: 0 done, 1 failed while running, 2 bad input, 130 interrupted."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import click

from ampsim import __version__
from ampsim.cli.bench import bench
from ampsim.cli.calibrate import calibrate, validate
from ampsim.cli.compare import compare
from ampsim.cli.console import new_console
from ampsim.cli.data import data
from ampsim.cli.graph import graph
from ampsim.cli.listing import check_text, kind_text, kinds_listing
from ampsim.cli.options import overrides_option
from ampsim.cli.replay import replay
from ampsim.cli.running import run_and_show
from ampsim.cli.sweep import sweep
from ampsim.config.catalogue import device_profiles
from ampsim.config.json_schema import json_schema
from ampsim.config.load import load
from ampsim.config.resolved import to_yaml
from ampsim.errors import AmpsimError, DeviceFailed, RunFailed
from ampsim.portable import NotPinned
from ampsim.report.run_files import RunFiles
from ampsim.report.tables import bound_lines, device_table, error_lines, outcome_text, passes_table


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ampsim")
def commands() -> None:
    """Train a dynamic neural network on a simulated network of devices, and see what the network does."""


@commands.command()
@click.argument("config")
@overrides_option
@click.option("--out", metavar="DIR", help="Run directory; by default runs/<name>-<number>.")
@click.option("--quiet", is_flag=True, help="Print only the result.")
@click.option("--in-process", is_flag=True, help="Run all devices in this process, turn by turn: the reference.")
def run(config: str, overrides: tuple[str, ...], out: str | None, quiet: bool, in_process: bool) -> None:
    """Train as CONFIG says: a file, or the name of a shipped config such as mnist-mlp."""
    run_and_show(load(config, overrides), out, quiet, in_process)


@commands.command()
@click.argument("config")
@overrides_option
@click.option("--resolved", is_flag=True, help="Print the config with every default filled in and nodes placed.")
def check(config: str, overrides: tuple[str, ...], resolved: bool) -> None:
    """Check CONFIG and say where its nodes would go; starts nothing."""
    experiment = load(config, overrides)
    if resolved:
        click.echo(to_yaml(experiment), nl=False)
    else:
        new_console().print(check_text(experiment), highlight=False)


@commands.command()
@click.argument("kind", required=False)
def devices(kind: str | None) -> None:
    """List the catalogue of device kinds, or show one KIND and where its figures come from.

    KIND is a name of the catalogue, or the path of a device file of your own, which ends in .yaml.
    """
    if kind is None:
        console = new_console()
        console.print(kinds_listing(device_profiles(), console), highlight=False)
    else:
        click.echo(kind_text(kind), nl=False)


@commands.command()
@click.argument("run", type=click.Path(path_type=Path))
def report(run: Path) -> None:
    """Show a run directory: its passes, its devices, and how it ended."""
    files = RunFiles.read(run)
    console = new_console()
    console.print(passes_table(files.metrics), "", device_table(files.summary["devices"]), "", sep="\n")
    for line in (outcome_text(files.summary), *bound_lines(files.summary)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for line in error_lines(files.summary):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


@commands.command()
def schema() -> None:
    """Print the JSON Schema of the config, for editors."""
    click.echo(json.dumps(json_schema(), indent=2))


commands.add_command(bench)
commands.add_command(compare)
commands.add_command(calibrate)
commands.add_command(validate)
commands.add_command(data)
commands.add_command(graph)
commands.add_command(replay)
commands.add_command(sweep)


def main() -> int:
    """Run the command line; its exit code. Raises NotPinned for a command that has to be started anew."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A bar that the locale cannot write is no reason to fail.
            stream.reconfigure(errors="replace")
    try:
        commands.main(standalone_mode=False)
    except NotPinned:
        raise
    except AmpsimError as error:
        _complain(error)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    except OSError as error:
        # Nobody reads the output any more, or it cannot be written: nothing else here does I/O of its own.
        click.echo(f"error: cannot write the output: {error.strerror}", err=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _complain(error: AmpsimError) -> None:
    prefix = "error: " if isinstance(error, RunFailed) else ""
    click.echo(f"{prefix}{error}", err=True)
    if isinstance(error, DeviceFailed) and error.traceback:
        click.echo(f"--- what device {error.device} said ---\n{error.traceback.rstrip()}", err=True)
