"""The cases that are made of these contenders: training throughput of a workload, and time to its target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from shutil import which

from ampsim.bench.case import PYTHON, Case, Comparison, Contender

OURS = "ampsim, 2 devices"
"""With layers on devices of their own."""
OTHER = {"mnist": "ampsim, a layer cut in two"}
"""The other config, where it is not of copies: a perceptron's gradients are large."""
REPLICAS = "ampsim, 2 replicas"
SMALL_WAVES = "{}, an update a wave"
LARGE_WAVES = "sst", "babi15"
"""Workloads with two updates a wave, which is faster, and gradients are staler: they are run with one a wave, too."""
SAME_RATE = 1.1
"""Up to so many times a peer's loss, ours falls at the same rate per instance."""
BEST = "{}, OpenBLAS at its best"
TORCH, TORCH_BEST = "PyTorch batched, {} thread{}", "PyTorch batched, {} thread{}, MKL at its best"
ONE, TWO = TORCH.format(1, ""), TORCH.format(2, "s")
SINGLY, DYNET = "PyTorch one at a time", "DyNet autobatching"
QUICK_ROUNDS = 1
CAN_TELL_MKL = which("cc") is not None
"""Whether PyTorch can be had at its best (`mkl_kernel.py`)."""


def _script(name: str, *arguments: str) -> list[str]:
    return [PYTHON, f"../peers/{name}.py", *arguments]


def _batched(arguments: Sequence[str], best: bool) -> list[Contender]:
    name, flag = (TORCH_BEST, ["--best"]) if best else (TORCH, [])
    return [
        Contender(
            name.format(threads, "" if threads == 1 else "s"),
            _script("torch_train", *arguments, f"--threads={threads}", *flag),
            requires=["torch"],
            extra="bench",
        )
        for threads in (1, 2)
    ]


def _dynet(arguments: Sequence[str]) -> Contender:
    return Contender(DYNET, _script("dynet_train", *arguments), requires=["dynet"], extra="bench")


def _ours(workload: str, arguments: Sequence[str]) -> list[Contender]:
    """This runtime: first by the config that trains fastest, then with layers on devices of their own."""
    other = Contender(OTHER.get(workload, REPLICAS), _script("ours", *arguments, "--other"))
    return [other, Contender(OURS, _script("ours", *arguments))]


def training(workload: str, title: str, full: int, quick: int, at_least: float, is_quick: bool) -> Case:
    """Instances per second of training: this runtime, PyTorch, DyNet, with `full` or `quick` examples a pass.

    `at_least` is the ratio to the fastest peer that is asked for. At its best this runtime has the kernel that it
    chooses by itself, whatever OPENBLAS_CORETYPE says.
    """
    arguments = [workload, f"--examples={quick if is_quick else full}"]
    # One at a time takes ten times as long: an eighth of the examples tells as much.
    fewer = [workload, f"--examples={max((quick if is_quick else full) // 8, 100)}"]
    ours = _ours(workload, arguments)
    mine = ours[0].name
    plain, dynet = _batched(arguments, False), _dynet(arguments)
    best = _batched(arguments, True) if CAN_TELL_MKL else []
    ways = ours[:1]
    if workload in LARGE_WAVES:
        name = SMALL_WAVES.format(mine)
        ways.append(replace(ours[0], name=name, command=[*ours[0].command, "--small-waves"]))
    ways_best = [replace(one, name=BEST.format(one.name), command=[*one.command, "--best"]) for one in ways]
    singly = Contender(SINGLY, _script("torch_train", *fewer, "--singly"), requires=["torch"], extra="bench")
    comparisons = []
    for one, at_best in zip(ways, ways_best, strict=True):
        way = one.name.removeprefix(mine)
        others = [other.name for other in (*plain, dynet)]
        comparisons.append(Comparison(f"to the fastest peer, defaults{way}", one.name, others, at_least=at_least))
        if best:
            others = [other.name for other in (*best, dynet)]
            name = f"to the fastest peer, both at their best{way}"
            comparisons.append(Comparison(name, at_best.name, others, at_least=at_least))
        for number, figure in (("first", "loss_first"), ("second", "loss_last")):
            name = f"loss of the {number} pass, to PyTorch's{way}"
            comparisons.append(Comparison(name, one.name, plain[0].name, at_most=SAME_RATE, figure=figure))
    if best:
        name = "matrix product on one thread, both at their best"
        comparisons.append(Comparison(name, ways_best[0].name, best[0].name, figure="matmul_gflops"))
    return Case(
        title,
        "instances_per_s",
        "instances/s",
        [*ways, *ours[1:], *(ways_best if best else []), *plain, *best, dynet, singly],
        [
            *comparisons,
            Comparison("to PyTorch one at a time", mine, SINGLY),
            Comparison("matrix product, to PyTorch's on one thread", mine, plain[0].name, figure="matmul_gflops"),
        ],
        rounds=QUICK_ROUNDS if is_quick else 5,
    )


TARGETS: dict[str, tuple[list[str], list[str] | None]] = {
    # The peers that may be fastest, and what makes a short run of it (none: at full size only).
    "mnist": ([TWO], ["data.limit=2000", "training.stop_at={validation.accuracy: 0.8}"]),
    "list-reduction": (
        [TWO, DYNET],
        ["data.train=10000", "data.validation=1000", "training.stop_at={validation.accuracy: 0.3}"],
    ),
    "babi15": ([ONE, DYNET], ["data.limit=1000", "training.stop_at={validation.accuracy: 0.5}"]),
    "sst": ([ONE, TWO, DYNET], None),
    "qm9": ([TWO], None),
}


def time_to_target(is_quick: bool) -> Case:
    """Seconds of training to each config's target: the config as shipped against synchronous training by the peers."""
    contenders, comparisons = [], []
    for workload, (peers, short) in TARGETS.items():
        if is_quick and short is None:
            continue
        settings = [f"--set={setting}" for setting in short or ()] if is_quick else []
        arguments = [workload, "--target", *settings]
        made = [
            _ours(workload, arguments)[0],
            *(peer for peer in (*_batched(arguments, False), _dynet(arguments)) if peer.name in peers),
        ]
        named = [replace(one, name=f"{workload}: {one.name}") for one in made]
        contenders += named
        ours, *others = (one.name for one in named)
        comparisons.append(Comparison(f"{workload}: time to the fastest peer's", ours, others))
        comparisons.append(Comparison(f"{workload}: epochs to {peers[0]}'s", ours, others[0], figure="epochs"))
    return Case(
        "training to the target of each config, as shipped, and by synchronous updates",
        "time_s",
        "s",
        contenders,
        comparisons,
        rounds=1,
        higher_is_better=False,
        time_limit_s=3 * 3600,
    )
