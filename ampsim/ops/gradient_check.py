"""Is an op's backward the derivative of its forward, and does the op keep the table's other promises?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ampsim.ops.table import OPS, Array, Arrays, ArraySpec, Op, Parameters

STEP = 1e-6
"""Of max(1, |value|): with float64, the errors by rounding and by curvature are then both well below 1e-8."""


class GradientMismatch(AssertionError):
    """An op's gradient is not its derivative, or the op breaks the contract of `Op`."""


def check_gradients(
    op: Op | str,
    *inputs: Array,
    parameters: Parameters | None = None,
    rows: Array | Sequence[int] | None = None,
    seed: int = 0,
    tolerance: float = 1e-6,
    **options: Any,
) -> None:
    """Compare every gradient of an op with central differences, in float64; raise GradientMismatch where they differ.

    op          an Op, or the name of a registered one
    inputs      arrays whose first axis is the rows; floats are cast to float64, and have their gradients checked.
                Keep them away from kinks (relu at 0), where a central difference is not the derivative
    parameters  drawn by the op's own rule if not given
    rows        int64[n], of a segmented op: how many rows each message has; if not given, drawn with at least one each
    tolerance   of max(1, |analytic|, |numeric|)

    Of a loss, the gradient from its loss to its prediction is checked. Also checked: outputs have the shapes that the
    shape rule promises; what is saved has the rows as first axis, and backward can be given those rows in another
    order; unwanted gradients come back as None; nothing that was passed in has been written to. For a segmented op the
    order is that of the messages, saved arrays may have a row for each of them, and each message by itself must give
    the same as all together.
    """
    generator = np.random.default_rng(seed)
    op = _find(op)
    xs = tuple(_as_float64(x) for x in inputs)
    if len({len(x) for x in xs}) != 1:
        raise ValueError(f"{op.name}: inputs have {[len(x) for x in xs]} rows: give all of them as many")
    if parameters is None:
        rule = op.parameters(*map(_spec, xs), **options)
        parameters = {name: spec.initialise(generator, spec.shape) for name, spec in rule.items()}
    messages = _messages(op, len(xs[0]), rows, generator)
    case = _Case(op, {name: _as_float64(w) for name, w in parameters.items()}, xs, options, messages)

    outputs, saved = case.forward()
    gradients = tuple(
        generator.standard_normal(y.shape) if _has_gradient(op, i, y) else None for i, y in enumerate(outputs)
    )
    wanted = tuple(_has_gradient(op, i, x) for i, x in enumerate(xs))
    dxs, dws = case.backward(saved, gradients, wanted)
    case.check_none_wanted(saved, gradients)

    for i, dx in enumerate(dxs):
        if dx is not None:
            case.check_derivative(i, xs[i], dx, gradients, tolerance)
    for name, dw in dws.items():
        case.check_derivative(name, case.parameters[name], dw, gradients, tolerance)
    case.check_another_order(saved, gradients, wanted, dxs)
    if op.segmented:
        case.check_one_at_a_time(outputs, gradients, wanted, dxs)


@dataclass(frozen=True)
class _Case:
    """An op with all that it takes, in float64. A str names a parameter, an int an input.

    `messages` has the rows of each message; an op that is not segmented sees each row as one.
    """

    op: Op
    parameters: dict[str, Array]
    inputs: Arrays
    options: dict[str, Any]
    messages: Array

    def forward(self) -> tuple[Arrays, Arrays]:
        """The outputs and what is saved, checked against the shape rule."""
        with self._nothing_written("forward", {}):
            outputs, saved = self.op.forward(self.parameters, *self.inputs, **self._keywords)
        rows, specs = len(self.inputs[0]), self.op.shape(*map(_spec, self.inputs), **self.options)
        promised = [(len(self.messages), *spec.shape) for spec in specs]
        if (shapes := [y.shape for y in outputs]) != promised:
            raise self._mismatch(f"outputs have the shapes {shapes}, where the shape rule promises {promised}")
        for i, array in enumerate(saved):
            if array.shape[:1] not in {(rows,), (len(self.messages),)}:
                messages = f" or {len(self.messages)} messages" if self.op.segmented else ""
                raise self._mismatch(
                    f"saved array {i} has the shape {array.shape}; its first axis must be {rows} rows{messages}"
                )
        return outputs, saved

    def backward(
        self, saved: Arrays, gradients: tuple[Array | None, ...], wanted: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        """The gradients of inputs and parameters, each there where it should be and as long as its argument."""
        given = {f"saved array {i}": array for i, array in enumerate(saved)}
        given |= {f"output gradient {i}": dy for i, dy in enumerate(gradients) if dy is not None}
        with self._nothing_written("backward", given):
            dxs, sums = self.op.backward(self.parameters, saved, gradients, wanted, **self._keywords)
        dws = dict(sums)
        if len(dxs) != len(self.inputs) or set(dws) != set(self.parameters):
            raise self._mismatch(
                f"backward gives {len(dxs)} input gradients and those of {sorted(dws)}; "
                f"there are {len(self.inputs)} inputs and the parameters {sorted(self.parameters)}"
            )
        for i, (dx, want) in enumerate(zip(dxs, wanted, strict=True)):
            if (dx is not None) != want:
                raise self._mismatch(f"input {i}: the gradient is {'' if want else 'not '}None, and wanted is {want}")
        return dxs, dws

    def check_none_wanted(self, saved: Arrays, gradients: tuple[Array | None, ...]) -> None:
        """Backward with nothing wanted gives nothing, apart from the parameters' gradients."""
        self.backward(saved, gradients, (False,) * len(self.inputs))

    def check_another_order(
        self,
        saved: Arrays,
        gradients: tuple[Array | None, ...],
        wanted: tuple[bool, ...],
        dxs: tuple[Array | None, ...],
    ) -> None:
        """Messages given to backward last first come back last first: none depends on its neighbours."""
        turned = np.arange(len(self.messages))[::-1]
        parts = np.split(np.arange(len(self.inputs[0])), np.cumsum(self.messages)[:-1])
        turned_rows = np.concatenate(parts[::-1])
        turned_saved = tuple(array[turned_rows if len(array) == len(turned_rows) else turned] for array in saved)
        turned_gradients = tuple(None if dy is None else dy[turned] for dy in gradients)
        others, _ = replace(self, messages=self.messages[turned]).backward(turned_saved, turned_gradients, wanted)
        for i, (dx, other) in enumerate(zip(dxs, others, strict=True)):
            if dx is not None and other is not None and not np.allclose(dx[turned_rows], other):
                units = "messages" if self.op.segmented else "rows"
                raise self._mismatch(f"input {i}: the gradient of a row depends on the order of the {units}")

    def check_one_at_a_time(
        self,
        outputs: Arrays,
        gradients: tuple[Array | None, ...],
        wanted: tuple[bool, ...],
        dxs: tuple[Array | None, ...],
    ) -> None:
        """Each message by itself has the outputs and input gradients that it has among others."""
        labels = [f"output {i}" for i in range(len(outputs))] + [f"the gradient of input {i}" for i in range(len(dxs))]
        for k, stop in enumerate(np.cumsum(self.messages)):
            own, message = slice(stop - self.messages[k], stop), slice(k, k + 1)
            alone = replace(self, inputs=tuple(x[own] for x in self.inputs), messages=self.messages[message])
            its_outputs, saved = alone.forward()
            its_dxs, _ = alone.backward(saved, tuple(None if dy is None else dy[message] for dy in gradients), wanted)
            together = (*(y[message] for y in outputs), *(None if dx is None else dx[own] for dx in dxs))
            for label, theirs, its in zip(labels, together, (*its_outputs, *its_dxs), strict=True):
                if theirs is not None and its is not None and not np.allclose(theirs, its):
                    raise self._mismatch(f"{label}: message {k} by itself does not get what it gets among others")

    def check_derivative(
        self,
        argument: int | str,
        value: Array,
        analytic: Array,
        gradients: tuple[Array | None, ...],
        tolerance: float,
    ) -> None:
        """Compare the gradient of one argument with central differences, value by value."""
        label = _label(argument)
        if analytic.shape != value.shape:
            raise self._mismatch(f"{label}: the gradient has the shape {analytic.shape}, the argument {value.shape}")
        for index in np.ndindex(value.shape):
            above, below = value.copy(), value.copy()
            step = STEP * max(1.0, abs(float(value[index])))
            above[index] += step
            below[index] -= step
            # Differences first, then their weighted sum: the other way round, rounding would drown them.
            pairs = zip(gradients, self._outputs(argument, above), self._outputs(argument, below), strict=True)
            change = sum(float(np.sum(dy * (high - low))) for dy, high, low in pairs if dy is not None)
            numeric, said = change / float(above[index] - below[index]), float(analytic[index])
            # Asked this way round, a NaN is a mismatch.
            if not abs(said - numeric) <= tolerance * max(1.0, abs(said), abs(numeric)):
                place = ", ".join(map(str, index))
                raise self._mismatch(f"{label}[{place}]: backward says {said:.9g}, central difference {numeric:.9g}")

    def _outputs(self, argument: int | str, value: Array) -> Arrays:
        """The outputs with one argument replaced."""
        inputs = [value if i == argument else x for i, x in enumerate(self.inputs)]
        parameters = {name: value if name == argument else w for name, w in self.parameters.items()}
        outputs: Arrays = self.op.forward(parameters, *inputs, **self._keywords)[0]
        return outputs

    @property
    def _keywords(self) -> dict[str, Any]:
        return {**self.options, "rows": self.messages} if self.op.segmented else self.options

    @contextmanager
    def _nothing_written(self, rule: str, others: Mapping[str, Array]) -> Iterator[None]:
        watched = {_label(i): x for i, x in enumerate(self.inputs)}
        watched |= {_label(name): w for name, w in self.parameters.items()} | dict(others)
        before = {label: array.tobytes() for label, array in watched.items()}
        yield
        for label, array in watched.items():
            if array.tobytes() != before[label]:
                raise self._mismatch(f"{label}: {rule} has written to it")

    def _mismatch(self, text: str) -> GradientMismatch:
        return GradientMismatch(f"{self.op.name}: {text}")


def _find(op: Op | str) -> Op:
    if isinstance(op, Op):
        return op
    if op not in OPS:
        raise ValueError(f"no op {op!r} (there are: {', '.join(sorted(OPS))})")
    return OPS[op]


def _messages(op: Op, total: int, rows: Array | Sequence[int] | None, generator: np.random.Generator) -> Array:
    """int64[n]: the rows of each message; `rows` where given, for a segmented op."""
    if not op.segmented:
        if rows is not None:
            raise ValueError(f"{op.name} is not segmented: leave rows out")
        return np.ones(total, np.int64)
    if rows is not None:
        if (told := int(np.sum(rows))) != total:
            raise ValueError(f"{op.name}: inputs have {total} rows, and rows add up to {told}: make them agree")
        return np.array(rows, np.int64)
    cuts = np.flatnonzero(generator.random(max(total - 1, 0)) < 0.5) + 1
    return np.diff(cuts, prepend=0, append=total) if total else np.zeros(0, np.int64)


def _has_gradient(op: Op, i: int, array: Array) -> bool:
    """Whether input or output number `i` takes part: floats do, but a loss's metric and target do not."""
    return array.dtype.kind == "f" and (op.metric is None or i == 0)


def _label(argument: int | str) -> str:
    return f"input {argument}" if isinstance(argument, int) else f"parameter {argument}"


def _as_float64(array: Array) -> Array:
    """A copy, in float64 if it holds floats."""
    array = np.array(array)
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _spec(array: Array) -> ArraySpec:
    return ArraySpec(array.shape[1:], str(array.dtype))
