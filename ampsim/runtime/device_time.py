"""How long what a device core did takes a device of some kind: the cost rules of the nodes, by the kind's profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ampsim.ir.batch import BACKWARD, FORWARD, INFERENCE, UPDATE, Batch, Direction
from ampsim.ir.graph import CONTROLLER, Graph
from ampsim.ir.node import NodeSpec
from ampsim.ops.optimizers import Optimizer
from ampsim.ops.table import Cost
from ampsim.runtime.device_events import DeviceAction, Handled, Report, Send, Work
from ampsim.sim.profile import NOTHING, DeviceProfile
from ampsim.sim.rates import Handed, Update, Way

WAYS: Mapping[Direction, Way] = {
    FORWARD: "forward",
    BACKWARD: "backward",
    INFERENCE: "inference",
    UPDATE: "backward",  # taking in a gradient computes nothing but the update
}
"""What a device's measured rates call each direction."""

REPORT_BYTES = 24
"""What a message of a loss node's figures carries beside its state: three float64."""

NO_COUNT = (0, 0, 0)

_Turn = tuple[str, Direction, int, int, tuple[int, int, int]]


class RowsGoneBack:
    """The rows that nodes went back for since their last updates: the next one sums up the gradients of these."""

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}

    def summed_by(self, batch: Work) -> int:
        """How many rows' gradients are summed up by the updates that this batch brings about; 0 if by none."""
        target, _, _, rows, updates = batch
        if target.direction is BACKWARD:
            self._rows[target.node] = self._rows.get(target.node, 0) + rows
        return self.take(target.node) if updates else 0

    def take(self, node: str) -> int:
        """The rows of a node that is updated."""
        return self._rows.pop(node, 0)


class DeviceTime:
    """The time of turns and updates on devices of one kind; turns that are alike are worked out once."""

    def __init__(self, graph: Graph, optimizer: Optimizer, profile: DeviceProfile) -> None:
        self._graph, self._optimizer, self._profile = graph, optimizer, profile
        self._turns: dict[_Turn, float] = {}
        self._gone_back = RowsGoneBack()

    def batches_s(self, handled: Handled) -> list[float]:
        """Seconds for each batch that a turn handled, with the update that it brought about."""
        known, counts = self._turns, self._profile.counts_messages
        found = []
        for batch in handled.batches:
            target, messages, parts, rows, updates = batch
            # Where time does not depend on how many messages there are, batches of equal rows are of equal length.
            count = (messages, parts, self._gone_back.summed_by(batch)) if counts else NO_COUNT
            turn = target.node, target.direction, rows, updates, count
            duration_s = known.get(turn)
            if duration_s is None:
                duration_s = known[turn] = self._batch_s(*turn)
            found.append(duration_s)
        return found

    def left_s(self, updated: Sequence[str]) -> float:
        """Seconds for updates that no batch brings about, at the end of an epoch: the name of a node for each."""
        return sum([self._update_s(node, self._gone_back.take(node)) for node in updated])

    def _batch_s(self, node: str, direction: Direction, rows: int, updates: int, count: tuple[int, int, int]) -> float:
        spec, (messages, parts, summed) = self._graph.nodes[node], count
        # What only waits for a partner computes on no rows, and reads no weights either.
        work = spec.work(direction, rows) if rows else Cost()
        update = update_of(spec, self._optimizer, summed) if updates else None
        duration_s = self._profile.batch_s(spec.op_name, WAYS[direction], work, messages, parts, rows, update)
        return duration_s + (updates - 1) * self._update_s(node) if updates > 1 else duration_s

    def _update_s(self, node: str, summed: int = 0) -> float:
        spec = self._graph.nodes[node]
        return self._profile.update_s(spec.op_name, update_of(spec, self._optimizer, summed))

    def send_s(self, actions: Sequence[DeviceAction]) -> float:
        """What handing out a turn's answers takes: those to one peer go as one bundle."""
        if self._profile.send == NOTHING:
            return 0.0
        peers, handed = set[str](), Handed()
        for action in actions:
            if isinstance(action, Send):
                peers.add(action.device)
                arrays = 2 + len(self._graph.payload(action.target) or ())
                handed.add(arrays, self._graph.size_bytes(action.target, action.batch))
            elif isinstance(action, Report):
                peers.add(CONTROLLER)
                handed.add(3, report_bytes(action.batch))
        handed.bundles = len(peers)
        return self._profile.send.duration_s(handed)


def update_of(spec: NodeSpec, optimizer: Optimizer, rows: int) -> Update:
    """An update of a node's parameters that sums up the gradients of so many rows."""
    way_back = spec.work(BACKWARD, rows) if rows else Cost()
    return Update(optimizer.name, optimizer.cost(spec.parameter_values), rows, way_back)


def report_bytes(batch: Batch) -> int:
    """Bytes of a loss node's report, by its shape."""
    return batch.states.size * 8 + len(batch) * (8 + REPORT_BYTES)
