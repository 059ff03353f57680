"""The control: the main job's training as a bare loop over the same ops, without nodes, messages or processes."""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from time import perf_counter

from ampsim import blas

blas.configure()

import numpy as np  # noqa: E402  (after the BLAS has been chosen)

from ampsim.data.dataset import TRAIN  # noqa: E402
from ampsim.data.mnist import Mnist  # noqa: E402
from ampsim.ir.parameters import ParameterSet  # noqa: E402
from ampsim.ops import OPS  # noqa: E402
from ampsim.ops.optimizers import sgd  # noqa: E402
from ampsim.ops.table import ArraySpec  # noqa: E402

WIDTHS = [784, 784, 784, 784, 10]


def main(limit: int) -> None:
    """Train one epoch on `limit` images; print instances per second."""
    linear, relu, loss_op = OPS["linear"], OPS["relu"], OPS["softmax_cross_entropy"]
    layers = [
        ParameterSet(f"linear{i}", linear.parameters(ArraySpec((width,)), units=units), 0, sgd(learning_rate=0.1), 1)
        for i, (width, units) in enumerate(pairwise(WIDTHS), start=1)
    ]
    data = Mnist(0, limit=limit)
    instances = list(data.instances(TRAIN, 1))
    began_s = perf_counter()
    for number, instance in enumerate(instances):
        wire = instance.inputs["image"].arrays[0]
        saved = []
        for index, layer in enumerate(layers):
            (wire,), kept = linear.forward(layer.values, wire, units=WIDTHS[index + 1])
            saved.append(kept)
            if index < len(layers) - 1:
                (wire,), kept = relu.forward({}, wire)
                saved.append(kept)
        (loss, _), kept = loss_op.forward({}, wire, instance.inputs["label"].arrays[0])
        scale = np.full(len(loss), 1 / len(loss), loss.dtype)
        (gradient, _), _ = loss_op.backward({}, kept, (scale, None), (True, False))
        for index in reversed(range(len(layers))):
            if index < len(layers) - 1:
                (gradient,), _ = relu.backward({}, saved.pop(), (gradient,), (True,))
            (gradient,), gradients = linear.backward(
                layers[index].values, saved.pop(), (gradient,), (index > 0,), units=WIDTHS[index + 1]
            )
            layers[index].accumulate(gradients, 1, np.array([number]), np.array([instance.size]))
            layers[index].update_if_due()
    rate = sum(instance.size for instance in instances) / (perf_counter() - began_s)
    print(json.dumps({"instances_per_s": rate}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
