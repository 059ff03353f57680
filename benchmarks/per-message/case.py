"""What a device does around the arithmetic of one small message."""

from ampsim.bench.case import Case, Comparison, Contender


def case(quick: bool) -> Case:
    """A linear node of 128 x 128 at one row, forward and backward."""
    count = f"--messages={1600 if quick else 64_000}"
    bare, one, many = "bare NumPy", "device, max_batch 1", "device, max_batch 16"
    return Case(
        title="a message within a device, from arrival to answer, both ways, against the NumPy calls that it needs",
        figure="us_per_message",
        unit="us/message",
        contenders=[
            Contender(bare, ["{python}", "bare.py", count]),
            Contender(one, ["{python}", "device.py", count, "--max-batch=1"]),
            Contender(many, ["{python}", "device.py", count, "--max-batch=16"]),
        ],
        comparisons=[
            Comparison("one at a time", one, bare, at_most=3.0),
            Comparison("up to 16 together, per message", many, bare, at_most=1.3),
        ],
        rounds=1 if quick else 7,
        higher_is_better=False,
        time_limit_s=150,
    )
