"""The gradient of an update as a message's payload, for the replicas of the node that made it, and back."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from ampsim.ops.gradients import DeferredGradients
from ampsim.ops.linear import table_gradients
from ampsim.ops.table import Array, Arrays, ArraySpec, ParameterSpec


class GradientFormat:
    """How the gradients of a node's parameters travel, one message for each update.

    Those of a table that is looked up by rows as one row for each look-up, of id and gradient; all others in one row,
    one parameter after the other.
    """

    def __init__(self, specs: Mapping[str, ParameterSpec]) -> None:
        self._specs = specs
        self.by_rows = len(specs) == 1 and all(spec.by_rows for spec in specs.values())
        """Whether a message has a row for each row that was computed on since the update before; else it has one."""
        if self.by_rows:
            ((*_, units),) = [spec.shape for spec in specs.values()]
            self.payload: tuple[ArraySpec, ...] = (ArraySpec((), "int64"), ArraySpec((units,)))
        else:
            self.payload = (ArraySpec((sum(prod(spec.shape) for spec in specs.values()),)),)
        ends = np.cumsum([prod(spec.shape) for spec in specs.values()]).tolist()
        self._slices = {name: slice(first, end) for name, first, end in zip(specs, [0, *ends], ends, strict=False)}
        self.row_bytes = sum(array.row_bytes for array in self.payload)

    def pack(self, gradients: Mapping[str, Array]) -> Arrays:
        """The payload of a message: copies, since an update takes the gradients' memory."""
        if self.by_rows:
            assert isinstance(gradients, DeferredGradients)  # the op says so of its parameter
            return gradients.rows
        return (np.concatenate([gradients[name].ravel() for name in self._specs])[None],)

    def unpack(self, payload: Arrays) -> Mapping[str, Array]:
        """The gradients in the payload of one message, in memory of their own."""
        if self.by_rows:
            ((name, spec),) = self._specs.items()
            ids, rows = payload
            return table_gradients(spec.shape[0], ids, rows, name)
        values = payload[0][0].copy()
        return {name: values[part].reshape(self._specs[name].shape) for name, part in self._slices.items()}
