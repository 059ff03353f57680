"""The cost of the utilization log."""

from ampsim.bench.case import Case, Comparison, Contender


def case(quick: bool) -> Case:
    """Two models, with the log as shipped (a line each 100 ms) and with one line at the end of training."""
    train = ["{python}", "-m", "ampsim.bench.train"]
    sizes = {
        "mnist-mlp-2-devices": 2000 if quick else 30_000,
        "babi15-ggsnn": 100 if quick else 1000,
    }
    contenders, comparisons = [], []
    for config, limit in sizes.items():
        settings = ["--set=cluster.clock=wall", f"--set=data.limit={limit}", "--set=training.epochs=1"]
        settings += ["--set=training.stop_at={}"]
        bare, logged = f"{config}, as little as possible", f"{config}, as shipped"
        contenders += [
            Contender(bare, [*train, config, *settings, "--set=cluster.log_interval=1 h"]),
            Contender(logged, [*train, config, *settings]),
        ]
        comparisons += [Comparison(f"{config}, as shipped to as little as possible", logged, bare, at_least=0.97)]
    return Case(
        title="training with the utilization log and spans as shipped, and with one line of log at the end",
        figure="instances_per_s",
        unit="instances/s",
        contenders=contenders,
        comparisons=comparisons,
        rounds=1 if quick else 7,
    )
