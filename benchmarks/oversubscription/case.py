"""More device processes than cores."""

from ampsim.bench.case import Case, Comparison, Contender


def case(quick: bool) -> Case:
    """The same perceptron, a layer to a device and two to a device."""
    limit = 2000 if quick else 30_000
    settings = ["--set=cluster.clock=wall", f"--set=data.limit={limit}", "--set=training.epochs=1"]
    train = ["{python}", "-m", "ampsim.bench.train"]
    return Case(
        title="4 device processes against 2, training the MNIST perceptron on the wall clock",
        figure="instances_per_s",
        unit="instances/s",
        contenders=[
            Contender("2 devices", [*train, "mnist-mlp-2-devices", *settings]),
            Contender("4 devices", [*train, "mnist-mlp", *settings]),
        ],
        comparisons=[Comparison("4 devices to 2, where there are 2 cores", "4 devices", "2 devices", at_least=0.85)],
        rounds=1 if quick else 5,
    )
