"""What the simulated clock costs: alone, and beside the arithmetic."""

from ampsim.bench.case import Case, Comparison, Contender

DATA = {"sst-tree-lstm": ["sst"], "qm9-ggsnn": ["qm9"]}
"""What does not ship with ampsim."""

SMALL = {
    "list-reduction-rnn": ["--set=data.validation=200", "--set=data.test=200"],
    "qm9-ggsnn": ["--set=data.validation=20", "--set=data.test=20"],
}
"""What else is made small."""

MODELS = {
    # instances of training at the small and at the full size
    "mnist-mlp": (1000, 20_000),
    "list-reduction-rnn": (400, 20_000),
    "sst-tree-lstm": (100, 2000),
    "babi15-ggsnn": (100, 1000),
    "qm9-ggsnn": (100, 2000),
}

LIMIT = {"list-reduction-rnn": "data.train"}
"""What the number of training instances is called, where it is not data.limit."""


def case(quick: bool) -> Case:
    """The clock alone on trees, with batching and without; then each model with arithmetic, on both clocks."""
    trees = f"--set=data.limit={40 if quick else 300}"
    once = ["--set=training.epochs=1", "--set=training.stop_at={}"]
    alone = ["{python}", "clock_alone.py", "sst-tree-lstm", trees, *once]
    contenders = [
        Contender("clock alone, trees, as shipped", alone, data=["sst"]),
        Contender("clock alone, trees, max_batch 1", [*alone, "--set=cluster.max_batch=1"], data=["sst"]),
    ]
    shipped, single = (contender.name for contender in contenders)
    comparisons = [
        Comparison("clock alone, as shipped: messages/s", shipped, figure="messages_per_s", at_least=100_000),
        Comparison("clock alone, max_batch 1: messages/s", single, figure="messages_per_s"),
    ]
    for config, sizes in MODELS.items():
        limit = f"--set={LIMIT.get(config, 'data.limit')}={sizes[not quick]}"
        settings = [config, limit, *once, *(SMALL.get(config, ()) if quick else ())]
        for clock in ("wall", "simulated"):
            command = ["{python}", "-m", "ampsim.bench.train", *settings, f"--set=cluster.clock={clock}"]
            contenders.append(Contender(f"{config}, {clock} clock", command, data=DATA.get(config, ())))
        name = f"{config}: simulated clock to wall clock"
        simulated, wall = f"{config}, simulated clock", f"{config}, wall clock"
        comparisons.append(Comparison(name, simulated, wall, at_most=1.25))
    return Case(
        title="the simulated clock alone, and seconds of training with it against the wall clock",
        figure="wall_s",
        unit="s of this machine",
        contenders=contenders,
        comparisons=comparisons,
        rounds=1 if quick else 5,
        higher_is_better=False,
    )
