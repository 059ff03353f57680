"""What the simulated clock alone costs by the number of devices."""

from ampsim.bench.case import Case, Comparison, Contender

UNITS = 8
"""of each layer: nothing is computed, so any number does"""

IMAGES = {4: 8000, 32: 1500, 256: 250, 1024: 75, 10_000: 5}
"""Images of a pass by the number of devices: enough messages of each that the start counts little."""

FEWEST, MANY, MOST = "4 devices", "1,024 devices", "10,000 devices"


def case(quick: bool) -> Case:
    """A perceptron with a layer on each device, every layer's messages over the network; no arithmetic."""
    contenders = []
    for devices, images in IMAGES.items():
        if quick and devices > 1024:
            continue
        settings = [
            f"model.hidden=[{','.join([str(UNITS)] * devices)}]",
            "data.batch=1",
            "data.validation=1",
            f"data.limit={max(images // 20, 2) if quick else images}",
            "training.epochs=1",
            "training.stop_at={}",
            "training.max_active_keys=16",
            f"cluster.devices={{count: {devices}, kind: cpu-core}}",
        ]
        command = ["{python}", "../simulated-clock/clock_alone.py", "mnist-mlp", *(f"--set={one}" for one in settings)]
        contenders.append(Contender(f"{devices:,} devices", command))
    comparisons = [
        Comparison("1,024 devices to 4, messages/s", MANY, FEWEST, at_least=0.8, at_most=1.25),
        Comparison("1,024 devices: MB at most", MANY, figure="peak_mb"),
    ]
    if not quick:
        comparisons.append(Comparison("10,000 devices: MB at most", MOST, figure="peak_mb"))
    return Case(
        title="the simulated clock alone, by the number of devices",
        figure="messages_per_s",
        unit="messages/s",
        contenders=contenders,
        comparisons=comparisons,
        rounds=1 if quick else 5,
    )
