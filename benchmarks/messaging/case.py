"""The messaging layer against raw pyzmq."""

from ampsim.bench.case import Case, Comparison, Contender


def case(quick: bool) -> Case:
    """Bundles of 64 small messages, and tensors of 300 kB, from one process to another."""
    bundles = 200 if quick else 5000
    small = [f"--bundles={bundles}", "--packets=64", "--bytes=512"]
    large = [f"--bundles={bundles}", "--packets=1", "--bytes=300000"]
    contenders = [
        Contender(f"{side}, {size}", ["{python}", script, *options])
        for size, options in (("64 x 512 bytes", small), ("300 kB", large))
        for side, script in (("raw pyzmq", "raw.py"), ("ampsim", "own.py"))
    ]
    return Case(
        title="messages between two processes: ampsim's wire and sockets, checks and all, against raw pyzmq",
        figure="messages_per_s",
        unit="messages/s",
        contenders=contenders,
        comparisons=[
            Comparison(
                "64 x 512 bytes: messages/s", "ampsim, 64 x 512 bytes", "raw pyzmq, 64 x 512 bytes", at_least=0.5
            ),
            Comparison("300 kB: bytes/s", "ampsim, 300 kB", "raw pyzmq, 300 kB", at_least=0.8, figure="bytes_per_s"),
        ],
        rounds=1 if quick else 7,
        time_limit_s=150,
    )
