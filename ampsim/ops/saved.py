"""What an op keeps for its backward pass: found by trying it once on zeros, so that no op has to say it twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ampsim.ops.table import ArraySpec, Op

_MESSAGES = 2
_ROWS_OF_A_MESSAGE = (2, 3, 4)

_known: dict[tuple[Op, tuple[ArraySpec, ...], str], tuple[int, int]] = {}


def saved_bytes(op: Op, inputs: Sequence[ArraySpec], options: Mapping[str, Any]) -> tuple[int, int]:
    """Bytes that `op.forward` leaves to be kept: for each row, and for each message.

    An op that takes whole messages may want a certain number of rows in each; 2 to 4 are tried. Of one that takes none
    of these, inputs and outputs are counted.
    """
    key = op, tuple(inputs), repr(sorted(options.items()))
    if key not in _known:
        _known[key] = _try(op, inputs, options)
    return _known[key]


def _try(op: Op, inputs: Sequence[ArraySpec], options: Mapping[str, Any]) -> tuple[int, int]:
    specs = op.parameters(*inputs, **options)
    parameters = {name: np.zeros(spec.shape, np.float32) for name, spec in specs.items()}
    for rows_each in _ROWS_OF_A_MESSAGE:
        rows = np.full(_MESSAGES, rows_each)
        total = int(rows.sum())
        arrays = [np.zeros((total, *spec.shape), spec.dtype) for spec in inputs]
        whole = {"rows": rows} if op.segmented else {}
        try:
            _, saved = op.forward(parameters, *arrays, **options, **whole)
        except ValueError:
            continue
        by_message = [len(array) != total for array in saved]
        per_row = sum(array.nbytes for array, message in zip(saved, by_message, strict=True) if not message)
        per_message = sum(array.nbytes for array, message in zip(saved, by_message, strict=True) if message)
        return per_row // total, per_message // _MESSAGES
    outputs = op.shape(*inputs, **options)
    return sum(spec.row_bytes for spec in (*inputs, *outputs)), 0
