"""Trains a workload in DyNet with autobatching on, and prints its figures. DyNet computes on one thread."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import dynet_config

dynet_config.set(mem=2048, autobatch=1, random_seed=1)

import dynet as dy  # noqa: E402  (after it has been configured)
import numpy as np  # noqa: E402
from dynet_models import MODELS, Expressions, Parameters  # noqa: E402
from passes import arguments, make_task, measure  # noqa: E402
from workload import Task  # noqa: E402

from ampsim.data.dataset import Instance  # noqa: E402


class DynetPeer:
    """A model of `dynet_models` with its trainer, whose updates of an embedding are those of the rows looked up."""

    def __init__(self, name: str, task: Task) -> None:
        parameters = Parameters(task.parameters)
        self.model = MODELS[name](parameters, task.config.model.options)
        options = task.config.training.optimizer.options
        if task.config.training.optimizer.name == "sgd":
            self.trainer = dy.SimpleSGDTrainer(parameters.collection, options["learning_rate"])
        else:
            rest = options["beta1"], options["beta2"], options["epsilon"]
            self.trainer = dy.AdamTrainer(parameters.collection, options["learning_rate"], *rest)
        # Off: no other contender clips.
        self.trainer.set_clip_threshold(0)

    def train(self, group: list[Instance]) -> Callable[[], tuple[float, float, int]]:
        """Update once."""
        dy.renew_cg()
        made: Expressions = self.model(group)
        loss = made.objective.value() * made.scale
        made.objective.backward()
        self.trainer.update()
        return lambda: (loss, 0.0, made.rows)

    def evaluate(self, group: list[Instance]) -> Callable[[], tuple[float, float, int]]:
        """Forward only."""
        dy.renew_cg()
        made: Expressions = self.model(group)
        answer = made.objective.value() * made.scale, made.metric(), made.rows
        return lambda: answer

    def decay(self, factor: float) -> None:
        """Lower the learning rate."""
        self.trainer.learning_rate *= factor

    def gflops(self) -> float:
        """The perceptron's product, of 100 rows and 784 x 784."""
        x, weight = (np.random.default_rng(0).random(shape, np.float32) for shape in ((784, 100), (784, 784)))
        times = []
        for _ in range(20):
            dy.renew_cg()
            inputs = dy.inputTensor(weight), dy.inputTensor(x)
            for one in inputs:
                one.forward()
            began_s = perf_counter()
            (inputs[0] * inputs[1]).forward()
            times.append(perf_counter() - began_s)
        return 2 * 100 * 784 * 784 / sorted(times)[len(times) // 2] / 1e9


def main() -> None:
    """Train and print."""
    options = arguments(__doc__).parse_args()
    task = make_task(options)
    measure(DynetPeer(options.workload, task), task, options.target)


if __name__ == "__main__":
    main()
