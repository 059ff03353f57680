"""The shapes of the instances in flight, for the nodes whose control flow asks for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ampsim.ops.table import Array

Structure = Mapping[str, Array]
"""An instance's shape: a tree's parents, a graph's edges. `int64` arrays by name."""


class StructureTable(dict[int, Structure]):
    """Structures by instance: one table for all nodes of a device, filled and emptied by the device."""

    def per_instance(self, states: Array, function: Callable[[Array, Structure], Array]) -> Array:
        """`function(states of one instance, its structure)` for each instance of a batch, put back into its order.

        states int64[n, fields] -> [n, ...]
        """
        instances = states[:, 0]
        first = int(instances[0])
        if (instances == first).all():
            return function(states, self[first])
        result: Array | None = None
        for instance in np.unique(instances).tolist():
            chosen = np.flatnonzero(instances == instance)
            part = function(states[chosen], self[instance])
            if result is None:
                result = np.empty((len(states), *part.shape[1:]), part.dtype)
            result[chosen] = part
        assert result is not None  # a batch has at least one message
        return result

    def expand(self, states: Array, function: Callable[[Array, Structure], tuple[Array, Array]]) -> tuple[Array, Array]:
        """`function(states of one instance, its structure)` -> numbers int64[m] into them and states int64[m, fields].

        For each instance of a batch; the numbers are those of the whole batch, and do not descend.
        """
        instances = states[:, 0]
        numbers, expanded = [], []
        for instance in np.unique(instances).tolist():
            chosen = np.flatnonzero(instances == instance)
            part, children = function(states[chosen], self[instance])
            numbers.append(chosen[part])
            expanded.append(children)
        if len(numbers) == 1:
            return numbers[0], expanded[0]
        order = np.argsort(all_numbers := np.concatenate(numbers), kind="stable")
        return all_numbers[order], np.concatenate(expanded)[order]
