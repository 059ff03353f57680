"""What every row of the op table must keep, whatever the op."""

from __future__ import annotations

import warnings
from dataclasses import fields

import numpy as np
import pytest

from ampsim.ops import OPS, ArraySpec, Cost, Op, check_gradients, elementwise, register
from ampsim.ops.saved import saved_bytes

DRAW = np.random.default_rng(7)


def floats(*shape):
    """float32[shape], away from 0, where relu and |x| have their kinks."""
    return (DRAW.choice([-1, 1], shape) * DRAW.uniform(0.1, 2, shape)).astype(np.float32)


# op -> (inputs, options): a new op fails the first test below until it has an example here. The examples of segmented
# ops are one message, as their cost rules count; but a tree_branch always has two rows.
EXAMPLES = {
    "linear": ((floats(3, 4),), {"units": 2}),
    "embedding": ((np.array([4, 0, 4]),), {"vocabulary": 5, "units": 2}),
    "token_rnn": ((np.array([4, 0, 4]), floats(3, 2)), {"vocabulary": 5, "embedding": 4, "units": 2}),
    "typed_linear": ((floats(5, 4), np.array([2, 0, 2, 3, 0])), {"types": 4, "units": 2}),
    "relu": ((floats(3, 4),), {}),
    "tanh": ((floats(3, 2, 2),), {}),
    "sigmoid": ((floats(3, 4),), {}),
    "add": ((floats(3, 2, 2), floats(3, 2, 2), floats(3, 2, 2)), {}),
    "concat": ((floats(3, 1), floats(3, 4), floats(3, 2)), {}),
    "split": ((floats(3, 7),), {"sizes": [1, 4, 2]}),
    "select": ((floats(3, 2), floats(3, 4, 2), np.array([1, 2, 3])), {"index": 1}),
    "pad": ((floats(3, 2),), {"units": 5}),
    "sum_rows": ((floats(3, 4),), {}),
    "take_row": ((floats(3, 4),), {"place": -1}),
    "rnn": ((floats(3, 4), floats(3, 2)), {"units": 2}),
    "lstm": ((floats(3, 4), floats(3, 2), floats(3, 2)), {"units": 2}),
    "gru": ((floats(3, 4), floats(3, 2)), {"units": 2}),
    "tree_leaf": ((floats(3, 4),), {"units": 2}),
    "tree_branch": ((floats(6, 2), floats(6, 2)), {"units": 2}),
    "gated_sum": ((floats(3, 4), floats(3, 2)), {"units": 5}),
    "node_selection": ((floats(3, 1), np.array([0, 1, 0])), {}),
    "softmax_cross_entropy": ((floats(3, 4), np.array([0, 3, 3])), {}),
    "squared_error": ((floats(3, 2), floats(3, 2)), {}),
    "absolute_error": ((floats(3, 2), floats(3, 2)), {}),
}
ONCE_PER_WORD = ("token_rnn",)
# Other tests may register ops of their own: only those that ship are walked.
SHIPPED = [op for op in OPS.values() if op.forward.__module__.startswith("ampsim.")]
every_op = pytest.mark.parametrize("op", SHIPPED, ids=lambda op: op.name)


def specs(arrays):
    return [ArraySpec(x.shape[1:], str(x.dtype)) for x in arrays]


def messages(op):
    """The `rows` of the op's example: one message, or pairs for tree_branch."""
    total = len(EXAMPLES[op.name][0][0])
    return np.array([2] * (total // 2) if op.name == "tree_branch" else [total])


def run(op):
    """One call each way on the op's example.

    Gives inputs, parameters, outputs, saved, doutputs, dinputs, dparameters, costs.
    """
    inputs, options = EXAMPLES[op.name]
    keywords = options | {"rows": messages(op)} if op.segmented else options
    rule = op.parameters(*specs(inputs), **options)
    parameters = {name: spec.initialise(np.random.default_rng(0), spec.shape) for name, spec in rule.items()}
    outputs, saved = op.forward(parameters, *inputs, **keywords)
    gradients = tuple(np.ones_like(y) for y in outputs)
    if op.metric:
        gradients = (gradients[0], None)
    wanted = tuple(x.dtype.kind == "f" for x in inputs)
    dinputs, sums = op.backward(parameters, saved, gradients, wanted, **keywords)
    dparameters = dict(sums)
    costs = op.cost(len(inputs[0]), *specs(inputs), **options)
    return inputs, parameters, outputs, saved, gradients, dinputs, dparameters, costs


def test_every_shipped_op_has_every_column_and_an_example():
    assert {op.name for op in SHIPPED} == set(EXAMPLES)
    for name, op in OPS.items():
        assert op.name == name
        for column in fields(Op):
            if column.name not in ("name", "metric", "segmented", "sequential"):
                assert callable(getattr(op, column.name)), f"{name} has no {column.name}"
                assert getattr(op, column.name).__module__.startswith("ampsim.") or op not in SHIPPED


@every_op
def test_gradients_are_central_differences(op):
    inputs, options = EXAMPLES[op.name]
    check_gradients(op.name, *inputs, **options, rows=messages(op) if op.segmented else None)


@every_op
def test_the_shape_rule_tells_the_shape_and_type_of_real_outputs(op):
    inputs, _, outputs, *_ = run(op)
    _, options = EXAMPLES[op.name]
    assert list(op.shape(*specs(inputs), **options)) == specs(outputs)


@every_op
def test_float32_stays_float32_and_gradients_are_like_their_arguments(op):
    inputs, parameters, outputs, _, _, dinputs, dparameters, _ = run(op)
    assert {y.dtype for y in outputs} == {np.dtype(np.float32)}
    for x, dx in zip(inputs, dinputs, strict=True):
        assert dx is None or (dx.shape, dx.dtype) == (x.shape, np.float32)
    assert {name: (w.shape, w.dtype) for name, w in parameters.items()} == {
        name: (dw.shape, np.float32) for name, dw in dparameters.items()
    }


@every_op
def test_the_cost_rule_counts_the_bytes_that_are_written(op):
    inputs, _, outputs, saved, doutputs, dinputs, dparameters, (forward, backward) = run(op)
    assert forward.bytes_written == bytes_made([*outputs, *saved], given=inputs)
    assert backward.bytes_written == bytes_made([*dinputs, *dparameters.values()], given=doutputs)


@pytest.mark.parametrize("op", [op for op in SHIPPED if op.metric is None], ids=lambda op: op.name)
@pytest.mark.parametrize("times", [1, 3])
def test_what_is_kept_for_the_way_back_is_known_without_the_arrays(op, times):
    """Of several messages that each have the example's rows. Losses go both ways at once, and keep nothing."""
    inputs, options = EXAMPLES[op.name]
    inputs = [np.concatenate([x] * times) for x in inputs]
    rows = np.concatenate([messages(op)] * times)
    rule = op.parameters(*specs(inputs), **options)
    parameters = {name: spec.initialise(np.random.default_rng(0), spec.shape) for name, spec in rule.items()}
    _, saved = op.forward(parameters, *inputs, **options, **({"rows": rows} if op.segmented else {}))
    per_row, per_message = saved_bytes(op, specs(inputs), options)
    assert per_row * len(inputs[0]) + per_message * len(rows) == sum(array.nbytes for array in saved)
    assert op.segmented or per_message == 0


def test_an_op_that_refuses_to_be_tried_counts_its_inputs_and_outputs():
    def picky(parameters, x, *, rows):
        raise ValueError("a message must have 99 rows")

    def shape(x):
        return (ArraySpec((3,), "float64"),)

    op = Op("picky", picky, picky, shape, lambda rows, x: (Cost(), Cost()), segmented=True)
    assert saved_bytes(op, [ArraySpec((5,))], {}) == (5 * 4 + 3 * 8, 0)


def bytes_made(arrays, given):
    """Bytes of the arrays, each counted once; of what was given and is passed on without a copy, none."""
    made = {id(array): array for array in arrays if array is not None}
    passed_on = {
        key for key, array in made.items() for other in given if other is not None and np.shares_memory(array, other)
    }
    return sum(array.nbytes for key, array in made.items() if key not in passed_on)


@every_op
def test_the_cost_of_many_rows_is_less_than_that_of_as_many_calls_only_by_the_weights(op):
    inputs, options = EXAMPLES[op.name]
    one, many = (op.cost(rows, *specs(inputs), **options) for rows in (1, 1000))
    for single, batch in zip(one, many, strict=True):
        if op.segmented or op.name in ONCE_PER_WORD:
            # What is done once per message, or once per word, counts once, as the weights do.
            assert single.flops <= batch.flops <= 1000 * single.flops
            assert single.bytes_read <= batch.bytes_read <= 1000 * single.bytes_read
        else:
            assert batch.flops == 1000 * single.flops
            assert single.bytes_read < batch.bytes_read <= 1000 * single.bytes_read or op.name in ("select", "add")


@every_op
def test_bits_repeat(op):
    _, _, *first, _ = run(op)
    _, _, *second, _ = run(op)
    for a, b in zip(first, second, strict=True):
        a, b = (list(x.values()) if isinstance(x, dict) else list(x) for x in (a, b))
        assert [x if x is None else x.tobytes() for x in a] == [x if x is None else x.tobytes() for x in b]


@every_op
def test_no_rows_give_no_rows(op):
    inputs, options = EXAMPLES[op.name]
    rule = op.parameters(*specs(inputs), **options)
    parameters = {name: np.ones(spec.shape, np.float32) for name, spec in rule.items()}
    keywords = options | {"rows": np.zeros(0, np.int64)} if op.segmented else options
    wanted = tuple(x.dtype.kind == "f" and (op.metric is None or i == 0) for i, x in enumerate(inputs))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outputs, saved = op.forward(parameters, *(x[:0] for x in inputs), **keywords)
        dinputs, sums = op.backward(parameters, saved, outputs, wanted, **keywords)
        dparameters = dict(sums)
    assert all(len(y) == 0 for y in outputs)
    assert [None if dx is None else dx.shape for dx in dinputs] == [
        (0, *x.shape[1:]) if want else None for x, want in zip(inputs, wanted, strict=True)
    ]
    assert all(not dw.any() for dw in dparameters.values())


def test_only_losses_have_a_metric():
    assert {op.name: op.metric for op in SHIPPED if op.metric} == {
        "softmax_cross_entropy": "accuracy",
        "node_selection": "accuracy",
        "squared_error": "mae",
        "absolute_error": "mae",
    }


def test_a_taken_name_is_refused():
    with pytest.raises(ValueError, match="'relu'"):
        register(OPS["relu"])


def test_an_elementwise_op_of_ones_own_needs_two_functions():
    softplus = elementwise("softplus", lambda x: np.log1p(np.exp(x)), lambda x: 1 / (1 + np.exp(-x)), flops=3)
    check_gradients(softplus, floats(2, 3))
    assert softplus.cost(5, ArraySpec((2,))) == (Cost(30, 40, 40), Cost(40, 80, 40))
    assert "softplus" not in OPS


def test_specs_print_as_in_the_docstrings():
    assert str(ArraySpec((784,))) == "float32[rows, 784]"
    assert str(ArraySpec((), "int64")) == "int64[rows]"
