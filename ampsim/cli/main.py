"""The command line. Exit codes: 0 done, 1 failed while running, 2 bad input, 130 interrupted."""

from __future__ import annotations

import io
import os
import sys

import click

from ampsim import __version__
from ampsim.cli.lazy import LazyGroup
from ampsim.errors import AmpsimError, DeviceFailed, RunFailed
from ampsim.portable import NotPinned


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ampsim")
def commands() -> None:
    """Train a dynamic neural network on a simulated network of devices, and see what the network does."""


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
