"""`ampsim replay`: a run on the wall clock once more, every device in the order in which it worked then."""

from __future__ import annotations

from pathlib import Path

import click

from ampsim.cli.running import run_and_show
from ampsim.config.load import load
from ampsim.errors import BadInput, RunFailed
from ampsim.report.compare import Run
from ampsim.report.compare import compare as compare_runs
from ampsim.runtime.assemble import cluster_spec
from ampsim.runtime.recording import Recording


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", metavar="DIR", help="Run directory; by default runs/<name>-<number>.")
@click.option("--quiet", is_flag=True, help="Print only the result.")
@click.option("--in-process", is_flag=True, help="Run all devices in this process.")
def replay(run: Path, out: str | None, quiet: bool, in_process: bool) -> None:
    """Run the config of RUN again, each device in the order in which it worked there.

    The parameters come out the same to the bit, on the same arithmetic; the exit code is 1 if they do not.
    """
    recorded = Run.read(run)
    status = recorded.at("status")
    if status != "finished":
        raise BadInput(f"{run}: its status is {status!r}, and only a run that has finished can be replayed")
    recording = Recording(run)
    experiment = load(str(run / "config.yaml"), import_paths=recording.import_paths)
    recording.check(cluster_spec(experiment))
    splits = experiment.dataset.splits
    expected = sum(splits[line["split"]].keys for line in recorded.files.metrics)
    if recording.instances != expected:
        counts = f"{recording.instances} instances were recorded, and its passes have {expected}"
        raise BadInput(f"{run}: {counts}: other data, or damaged files in orders/")
    console, directory = run_and_show(experiment, out, quiet, in_process, recording)
    found = compare_runs(recorded, Run.read(directory))
    if not found["parameters_equal"]:
        raise RunFailed("\n".join([f"the parameters differ from those of {run}", *found["notes"]]))
    console.print(f"the same parameters as {run}, to the bit", highlight=False, soft_wrap=True)
