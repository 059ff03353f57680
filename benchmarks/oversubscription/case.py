"""More device processes than cores."""

from ampsim.bench.case import Case, Comparison, Contender

SHIPPED_KEYS, MORE_KEYS = 4, 8
"""Four stages with four minibatches in flight have nothing in reserve: whoever waits for a core holds up the others."""


def case(quick: bool) -> Case:
    """The same perceptron, a layer to a device and two to a device."""
    limit = 2000 if quick else 30_000
    settings = ["--set=cluster.clock=wall", f"--set=data.limit={limit}", "--set=training.epochs=1"]
    train = ["{python}", "-m", "ampsim.bench.train"]
    contenders, comparisons = [], []
    for keys in (SHIPPED_KEYS, MORE_KEYS):
        flight = [f"--set=training.max_active_keys={keys}"]
        two, four = f"2 devices, {keys} in flight", f"4 devices, {keys} in flight"
        contenders.append(Contender(two, [*train, "mnist-mlp-2-devices", *settings, *flight]))
        contenders.append(Contender(four, [*train, "mnist-mlp", *settings, *flight]))
        comparisons.append(Comparison(f"4 devices to 2, {keys} minibatches in flight", four, two, at_least=0.85))
    return Case(
        title="4 device processes against 2 where there are 2 cores, training the MNIST perceptron on the wall clock",
        figure="instances_per_s",
        unit="instances/s",
        contenders=contenders,
        comparisons=comparisons,
        rounds=1 if quick else 5,
    )
