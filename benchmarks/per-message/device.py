"""The same messages through a device core: delivered, queued, answered, both ways. No process, no socket."""

from __future__ import annotations

from work import LEARNING_RATE, MIN_UPDATE_FREQUENCY, WIDTH, measure, np, rows

from ampsim import ArraySpec, GraphBuilder
from ampsim.ir.batch import Batch, Direction, single_rows
from ampsim.ir.graph import Target
from ampsim.ir.node import TrainingSetup
from ampsim.ops.optimizers import sgd
from ampsim.runtime.device_core import DeviceCore
from ampsim.runtime.device_events import Deliver, Send, Turn

builder = GraphBuilder({"x": ArraySpec((WIDTH,)), "label": ArraySpec((), "int64")})
wire = builder.transform("before", "linear", builder.input("x"), units=WIDTH)
wire = builder.transform("here", "linear", wire, units=WIDTH)
builder.loss("loss", "softmax_cross_entropy", wire, builder.input("label"))
graph = builder.graph()

FORWARD, BACKWARD = Target("here", 0, Direction.FORWARD), Target("here", 0, Direction.BACKWARD)
inputs, gradients = rows(64, 1), rows(64, 2)
one_row = single_rows(1)  # as from the wire


def through(messages: int, max_batch: int) -> None:
    """`max_batch` messages arrive, and are answered; then their gradients."""
    setup = TrainingSetup(0, sgd(learning_rate=LEARNING_RATE), MIN_UPDATE_FREQUENCY)
    core = DeviceCore("d0", graph, {"before": "d1", "here": "d0", "loss": "d1"}, setup, max_batch)
    states = np.repeat(np.arange(messages)[:, None], len(graph.schema.fields), axis=1)
    for first in range(0, messages, max_batch):
        numbers = range(first, first + max_batch)
        for target, tensors in ((FORWARD, inputs), (BACKWARD, gradients)):
            for number in numbers:
                batch = Batch(states[number : number + 1], one_row, (tensors[number % 64],))
                core.handle(Deliver(target, batch, "d1"))
            _, answer = core.handle(Turn())
            assert type(answer) is Send
    counts = core.take_counts()
    assert counts.forward_messages == counts.backward_messages == messages, counts


if __name__ == "__main__":
    measure(through)
