"""Trains a workload in PyTorch, batched by hand or one instance at a time, and prints its figures."""

from __future__ import annotations

import os
from collections.abc import Callable
from time import perf_counter

import mkl_kernel
import torch
from passes import arguments, make_task, measure
from torch_models import MODELS, Loss
from workload import Task

from ampsim.data.dataset import Instance


class TorchPeer:
    """A model of `torch_models` with its optimizer; gradients are summed over an update, as this runtime does it."""

    def __init__(self, name: str, task: Task, singly: bool) -> None:
        self.parameters = {key: torch.tensor(value).requires_grad_() for key, value in task.parameters.items()}
        self.model = MODELS[name](self.parameters, task.config.model.options)
        self.optimizer = make_optimizer(list(self.parameters.values()), task)
        self.train = self._singly if singly else self._batched

    def _batched(self, group: list[Instance]) -> Callable[[], tuple[float, float, int]]:
        loss = self.model.batched(group)
        self.optimizer.zero_grad()
        loss.objective.backward()
        self.optimizer.step()
        return lambda: told([loss])

    def _singly(self, group: list[Instance]) -> Callable[[], tuple[float, float, int]]:
        losses = list(self.model.singly(group))
        self.optimizer.zero_grad()
        # The loss of a minibatch is a mean: so many single examples share it.
        (sum(loss.objective for loss in losses) / group[0].size).backward()
        self.optimizer.step()
        return lambda: told(losses)

    def evaluate(self, group: list[Instance]) -> Callable[[], tuple[float, float, int]]:
        """Forward only."""
        with torch.no_grad():
            loss = self.model.batched(group)
        return lambda: told([loss])

    def decay(self, factor: float) -> None:
        """Lower the learning rate."""
        for parameters in self.optimizer.param_groups:
            parameters["lr"] *= factor

    def gflops(self) -> float:
        """The perceptron's product, of 100 rows and 784 x 784."""
        x, weight = torch.randn(100, 784), torch.randn(784, 784)
        times = []
        for _ in range(100):
            began_s = perf_counter()
            torch.mm(x, weight)
            times.append(perf_counter() - began_s)
        return 2 * 100 * 784 * 784 / sorted(times)[len(times) // 2] / 1e9


def told(losses: list[Loss]) -> tuple[float, float, int]:
    """Loss and metric summed, and rows."""
    total, metric = (float(sum(part)) for part in ([x.total for x in losses], [x.metric for x in losses]))
    return total, metric, sum(x.rows for x in losses)


def make_optimizer(parameters: list[torch.Tensor], task: Task) -> torch.optim.Optimizer:
    """The config's, in PyTorch's fused form, which is its fastest here."""
    options = task.config.training.optimizer.options
    if task.config.training.optimizer.name == "sgd":
        return torch.optim.SGD(parameters, lr=options["learning_rate"], fused=True)
    betas = (options["beta1"], options["beta2"])
    return torch.optim.Adam(parameters, options["learning_rate"], betas, options["epsilon"], fused=True)


def main() -> None:
    """Train and print."""
    parser = arguments(__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--singly", action="store_true", help="one instance at a time")
    parser.add_argument("--best", action="store_true", help="tell MKL that this is a CPU of its maker's")
    options = parser.parse_args()
    if options.best:
        mkl_kernel.restart_as_intel()
    torch.set_num_threads(options.threads)
    # A peer has the machine's threads to itself, however many are asked for.
    os.environ.pop("OMP_NUM_THREADS", None)
    task = make_task(options)
    measure(TorchPeer(options.workload, task, options.singly), task, options.target)


if __name__ == "__main__":
    main()
