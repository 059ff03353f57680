"""Throughput over devices, instances in flight and batching."""

from ampsim.bench.case import Case, Comparison, Contender


def case(quick: bool) -> Case:
    """The main job against a bare loop over the same ops, itself over max_active_keys, and trees over max_batch."""
    images, trees = (1000, 100) if quick else (30_000, 2000)
    train = ["{python}", "-m", "ampsim.bench.train"]
    common = ["--set=cluster.clock=wall", "--set=training.epochs=1", "--set=training.stop_at={}"]
    mnist = [*common, f"--set=data.limit={images}"]
    loop = "perceptron: plain NumPy loop"
    contenders = [
        Contender(loop, ["{python}", "plain_numpy.py", str(images)]),
        Contender("perceptron: in process", [*train, "mnist-mlp-1-device", "--in-process", *mnist]),
        Contender("perceptron: 1 device", [*train, "mnist-mlp-1-device", *mnist]),
        Contender("perceptron: 2 devices", [*train, "mnist-mlp-2-devices", *mnist]),
        Contender("perceptron: 4 devices", [*train, "mnist-mlp", *mnist]),
    ]
    comparisons = [Comparison(f"{c.name} to the loop", c.name, loop) for c in contenders[1:]]
    for keys in (1, 4, 16):
        settings = [*mnist, f"--set=training.max_active_keys={keys}"]
        contenders.append(Contender(f"perceptron: max_active_keys {keys}", [*train, "mnist-mlp-2-devices", *settings]))
    for batch in (16, 512):
        settings = [*common, f"--set=data.limit={trees}", f"--set=cluster.max_batch={batch}"]
        contenders.append(Contender(f"trees: max_batch {batch}", [*train, "sst-tree-lstm", *settings], data=["sst"]))
    comparisons += [
        Comparison("max_active_keys 4 to 1", "perceptron: max_active_keys 4", "perceptron: max_active_keys 1"),
        Comparison("max_active_keys 16 to 4", "perceptron: max_active_keys 16", "perceptron: max_active_keys 4"),
        Comparison("trees, max_batch 512 to 16", "trees: max_batch 512", "trees: max_batch 16"),
    ]
    return Case(
        title="training over devices, max_active_keys and max_batch, and against a bare NumPy loop",
        figure="instances_per_s",
        unit="instances/s",
        contenders=contenders,
        comparisons=comparisons,
        rounds=1 if quick else 5,
    )
