"""A node's own parameters: values, accumulated gradients, optimizer state, and the version that staleness counts."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from math import inf, prod

import numpy as np

from ampsim.ir.accumulator import DEFERRED_BYTES, Accumulator
from ampsim.ir.gradient_exchange import GradientFormat
from ampsim.ops.gradients import DeferredGradients, summed_rows
from ampsim.ops.optimizers import VALUE_BYTES, Gradient, Optimizer
from ampsim.ops.table import Array, Arrays, ParameterSpec

DrawsAs = str | tuple[str, ...] | Mapping[str, str]
"""Whose first values parameters have: those of a node; of several nodes, one after the other along the first axis; or
for each parameter those of another `node.parameter`."""


def training_bytes(values: int, optimizer: Optimizer) -> int:
    """Bytes that are kept to train so many numbers: these, as many gradients, and what the optimizer keeps."""
    kept = len(optimizer.initial_state(np.zeros(1, np.float32)))
    return (2 + kept) * VALUE_BYTES * values


class ParameterSet:
    """Parameters that update themselves, alone (PAPER.md, "The algorithm").

    An update is due once `min_update_frequency` gradients have been accumulated; its gradient is their sum. If they are
    of more instances than `instances_per_update`, some updates are made, one after the other. `version`
    counts the updates so far. Values are replaced by an update, never written to, so an array taken from `values`
    stays as it is. The first values are those of the op for what it `draws_as`, times `gain`. Without `arithmetic`
    there are no values, and updates are only counted.

    Where the node has replicas that it `shares` with, the gradients of its own updates are kept until they are taken,
    to be sent; those of the others wait until `apply_received`.
    """

    def __init__(
        self,
        draws_as: DrawsAs,
        specs: Mapping[str, ParameterSpec],
        seed: int,
        optimizer: Optimizer,
        min_update_frequency: int,
        learning_rate_decay: float = 1.0,
        gain: float = 1.0,
        arithmetic: bool = True,
        shares: bool = False,
        instances_per_update: int = 0,
    ) -> None:
        self.values: dict[str, Array] = {
            name: _first_values(spec, name, seed, draws_as) * np.float32(gain)
            for name, spec in (specs.items() if arithmetic else ())
        }
        count = sum(prod(spec.shape) for spec in specs.values())
        self.values_bytes = VALUE_BYTES * count
        self.size_bytes = training_bytes(count, optimizer)
        """Bytes of values, gradients and optimizer state (gradients count as if always there)."""
        self.version = 0
        self._optimizer = optimizer
        self._min_update_frequency = min_update_frequency
        self._rate, self._decay = 1.0, learning_rate_decay
        self._optimizer_state: dict[str, Arrays] = {
            name: optimizer.initial_state(value) for name, value in self.values.items()
        }
        self._format = GradientFormat(specs)
        # Rows are what a table's gradient is sent as, and less than it.
        kept_bytes = inf if self._format.by_rows else max(DEFERRED_BYTES, self.values_bytes)
        self._gathered = Accumulator(instances_per_update, kept_bytes)
        self._arithmetic, self._shares = arithmetic, shares
        self._outgoing: list[tuple[int, Arrays]] = []
        self._received: list[tuple[int, Arrays]] = []
        self.own_updates = self.received_updates = 0
        """Updates whose gradients were to be sent, and those that others have sent, so far."""

    def assign(self, values: Mapping[str, Array]) -> None:
        """Replace the values, as averaging replicas does; counts as no update, and keeps the optimizer's state."""
        self.values = {name: values[name] for name in self.values}

    def accumulate(self, gradients: Mapping[str, Array], messages: int, instances: Array, rows: Array) -> None:
        """Add the gradients of `messages` messages; of each of the `instances int64[n]`, `rows int64[n]`.

        The arrays are given away.
        """
        self._gathered.add(gradients, messages, instances, rows)

    def update_if_due(self) -> int:
        """Update if enough has been accumulated; the number of updates made."""
        if self._gathered.messages < self._min_update_frequency:
            return 0
        return self._update_with_all(self._shares)

    def take_outgoing(self) -> list[tuple[int, Arrays]]:
        """Rows and payload of a message for each own update since the last call."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def receive(self, rows: int, payload: Arrays) -> None:
        """Keep the gradient of a replica's update, until `apply_received`."""
        self.received_updates += 1
        self._received.append((rows, payload))

    def apply_received(self) -> int:
        """Make the updates that replicas have sent; how many there were."""
        received, self._received = self._received, []
        for _, payload in received:
            self._update(self._format.unpack(payload) if self._arithmetic else {})
        return len(received)

    @property
    def received_bytes(self) -> int:
        """Bytes of the gradients that wait for `apply_received`."""
        return self._format.row_bytes * sum(rows for rows, _ in self._received)

    def end_epoch(self) -> int:
        """Update with what is left, and lower the learning rate; the number of updates made.

        An update here is sent to nobody: replicas are averaged right after it.
        """
        updates = self.apply_received() + self.flush()
        self._rate *= self._decay
        return updates

    def flush(self) -> int:
        """Update with what has been accumulated, however little; the number of updates made."""
        return self._update_with_all(shares=False) if self._gathered.messages else 0

    def _update_with_all(self, shares: bool) -> int:
        made = self._gathered.take()
        for rows, gradients in made:
            if shares:
                self.own_updates += 1
                payload = self._format.pack(gradients) if self._arithmetic else ()
                self._outgoing.append((rows if self._format.by_rows else 1, payload))
            self._update(gradients)
        return len(made)

    def _update(self, gradients: Mapping[str, Array]) -> None:
        self.version += 1
        by_name: Mapping[str, Gradient] = gradients
        if self._format.by_rows and isinstance(gradients, DeferredGradients):
            # A table of thousands of words learns from some dozens: their rows, and not as many zeros.
            by_name = dict.fromkeys(self.values, summed_rows(*gradients.rows))
        for name, gradient in by_name.items():
            self.values[name], self._optimizer_state[name] = self._optimizer.update(
                self.values[name], gradient, self._optimizer_state[name], self.version, self._rate
            )


def _first_values(spec: ParameterSpec, name: str, seed: int, draws_as: DrawsAs) -> Array:
    if isinstance(draws_as, tuple):
        generators = [parameter_generator(seed, f"{node}.{name}") for node in draws_as]
        return np.stack([spec.initialise(generator, spec.shape[1:]) for generator in generators])
    source = f"{draws_as}.{name}" if isinstance(draws_as, str) else draws_as[name]
    return spec.initialise(parameter_generator(seed, source), spec.shape)


def parameter_generator(seed: int, name: str) -> np.random.Generator:
    """The random generator of one parameter: a function of (seed, node and parameter name) alone."""
    digest = np.frombuffer(sha256(name.encode()).digest(), np.uint32)
    return np.random.default_rng([seed, *digest.tolist()])
