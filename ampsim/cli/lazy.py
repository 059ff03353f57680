"""Commands that are imported when they are called: `ampsim --help` needs none of what they do."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import click

from ampsim.garbage import look_seldom

COMMANDS: Mapping[str, str] = {
    "bench": "Measure CASEs of the benchmark suite, or `all`; without one, list them.",
    "calibrate": "Measure this machine, and write it as a kind of device and a network.",
    "check": "Check CONFIG and say where its nodes would go; starts nothing.",
    "compare": "Show two run directories side by side: configs, outcomes, devices, and whether the weights are the "
    "same.",
    "data": "List the data sets: what each is, whether it is there, and how to get it.",
    "devices": "List the catalogue of device kinds, or show one KIND and where its figures come from.",
    "graph": "Draw the graph of CONFIG, each device with its nodes; starts nothing.",
    "replay": "Run the config of RUN again, each device in the order in which it worked there.",
    "report": "Show a run directory: its passes, its devices, and how it ended.",
    "run": "Train as CONFIG says: a file, or the name of a shipped config such as mnist-mlp.",
    "schema": "Print the JSON Schema of the config, for editors.",
    "sweep": "Run CONFIG on the simulated clock with every combination of the values given to --vary.",
    "validate": "Predict CONFIG by the simulated clock, run it on the wall clock, and compare.",
}
"""The commands, and the first sentence of what each says of itself."""

MODULES = {"validate": "calibrate", "schema": "check"}
"""Where a command is, unless in the module of its own name."""


class LazyGroup(click.Group):
    """A group of COMMANDS."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in order."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name; its module is imported now."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"ampsim.cli.{MODULES.get(cmd_name, cmd_name)}")
        # __main__.py has disabled the garbage collector for the imports. When the interpreter ends it looks through all
        # there is, which took a tenth of a second.
        look_seldom()
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What --help says of them, without importing any."""
        limit = formatter.width - 6 - max(map(len, COMMANDS))
        rows = [(name, click.Command(name, help=COMMANDS[name]).get_short_help_str(limit)) for name in sorted(COMMANDS)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
