"""How long one waits for ampsim to start, and to end."""

from ampsim.bench.case import Case, Comparison, Contender


def case(quick: bool) -> Case:
    """Two commands that start nothing, and a cluster of 4 devices."""
    repeats = "1" if quick else "5"
    cluster = "4 devices ready"
    return Case(
        title="start-up of the command line and of a cluster of 4 devices, and tear-down",
        figure="seconds",
        unit="s",
        contenders=[
            Contender("ampsim --help", ["{python}", "command.py", repeats, "--help"]),
            Contender("ampsim check mnist-mlp", ["{python}", "command.py", repeats, "check", "mnist-mlp"]),
            Contender(cluster, ["{python}", "cluster.py"]),
        ],
        comparisons=[
            Comparison("ampsim --help: s", "ampsim --help", at_most=0.5),
            Comparison("ampsim check mnist-mlp: s", "ampsim check mnist-mlp", at_most=0.5),
            Comparison("4 devices ready, from the run directory on: s", cluster, at_most=1.5),
            Comparison("4 devices ready, from the command on: s", cluster, figure="from_command_s"),
            Comparison("gone, after the summary: s", cluster, figure="tear_down_s"),
        ],
        rounds=1 if quick else 5,
        higher_is_better=False,
    )
