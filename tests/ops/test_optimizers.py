from __future__ import annotations

from inspect import signature
from typing import get_type_hints

import numpy as np
import pytest
from annotated_types import Ge, Gt, Lt
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ampsim.ops import OPTIMIZERS, Cost
from ampsim.ops.gradients import summed_rows

every_optimizer = pytest.mark.parametrize("name", sorted(OPTIMIZERS))
STEPS, SIZE = 5, 4
values = st.floats(-10, 10)


def textbook_sgd(w, gradients):
    for g in gradients:
        w = w - 0.1 * g
    return w


def textbook_momentum(w, gradients):
    v = 0
    for g in gradients:
        v = 0.9 * v + g
        w = w - 0.1 * v
    return w


def textbook_adam(w, gradients):
    m = s = 0
    for t, g in enumerate(gradients, start=1):
        m = 0.9 * m + 0.1 * g
        s = 0.999 * s + 0.001 * g**2
        w = w - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(s / (1 - 0.999**t)) + 1e-8)
    return w


TEXTBOOK = {"sgd": textbook_sgd, "momentum": textbook_momentum, "adam": textbook_adam}


@every_optimizer
@given(value=arrays(np.float64, SIZE, elements=values), gradients=arrays(np.float64, (STEPS, SIZE), elements=values))
def test_an_optimizer_follows_its_textbook_loop(name, value, gradients):
    optimizer = OPTIMIZERS[name](learning_rate=0.1)
    w, state = value, optimizer.initial_state(value)
    for step, gradient in enumerate(gradients, start=1):
        w, state = optimizer.update(w, gradient.copy(), state, step, 1.0)
    np.testing.assert_allclose(w, TEXTBOOK[name](value, gradients), rtol=1e-9, atol=1e-9)


@every_optimizer
@given(ids=st.lists(st.lists(st.integers(0, 4), max_size=6), min_size=1, max_size=STEPS))
def test_some_rows_are_as_good_as_the_whole_gradient(name, ids):
    draw, optimizer = np.random.default_rng(0), OPTIMIZERS[name](learning_rate=0.1)
    dense = some = draw.standard_normal((5, 2), np.float32)
    dense_state, some_state = optimizer.initial_state(dense), optimizer.initial_state(some)
    for step, chosen in enumerate(ids, start=1):
        before, rows = some.copy(), draw.standard_normal((len(chosen), 2), np.float32)
        gradient = summed_rows(np.array(chosen, np.int64), rows)
        whole = np.zeros_like(dense)
        whole[gradient.ids] = gradient.rows
        held = some
        dense, dense_state = optimizer.update(dense, whole, dense_state, step, 0.5)
        some, some_state = optimizer.update(some, gradient, some_state, step, 0.5)
        np.testing.assert_array_equal(held, before)
        np.testing.assert_array_equal(some, dense)
        assert some.dtype == np.float32


@every_optimizer
def test_a_lower_rate_is_a_lower_learning_rate(name):
    ends = []
    for learning_rate, rate in ((0.1, 0.25), (0.025, 1.0)):
        optimizer, value = OPTIMIZERS[name](learning_rate=learning_rate), np.array([1.0, -2.0])
        state = optimizer.initial_state(value)
        for step in (1, 2):
            value, state = optimizer.update(value, np.array([0.5, 3.0]), state, step, rate)
        ends.append(value)
    np.testing.assert_allclose(*ends, rtol=1e-12)


@every_optimizer
def test_an_update_leaves_the_old_value_alone_and_allocates_nothing(name):
    optimizer = OPTIMIZERS[name](learning_rate=0.1)
    value, gradient = np.ones((2, 3), np.float32), np.full((2, 3), 2, np.float32)
    value.flags.writeable = False
    state = optimizer.initial_state(value)
    new, new_state = optimizer.update(value, gradient, state, 1, 1.0)
    assert (value == 1).all()
    assert (new < 1).all()
    assert new is gradient
    assert all(after is before for after, before in zip(new_state, state, strict=True))


@every_optimizer
def test_float32_stays_float32(name):
    optimizer = OPTIMIZERS[name](learning_rate=0.1)
    value = np.ones(3, np.float32)
    state = optimizer.initial_state(value)
    for step in (1, 2):
        value, state = optimizer.update(value, np.ones(3, np.float32), state, step, 1.0)
    assert {x.dtype for x in (value, *state)} == {np.dtype(np.float32)}


@every_optimizer
def test_a_zero_gradient_changes_nothing_at_first(name):
    optimizer = OPTIMIZERS[name](learning_rate=0.1)
    value = np.array([1.5, -2.0])
    new, _ = optimizer.update(value, np.zeros(2), optimizer.initial_state(value), 1, 1.0)
    assert new.tolist() == [1.5, -2.0]


@every_optimizer
def test_the_options_and_their_bounds_can_be_read_from_the_signature(name):
    factory = OPTIMIZERS[name]
    hints = get_type_hints(factory, include_extras=True)
    for option, parameter in signature(factory).parameters.items():
        assert parameter.kind is parameter.KEYWORD_ONLY
        bounds = hints[option].__metadata__
        assert bounds in ((Gt(0),), (Ge(0), Lt(1)))
    assert factory(learning_rate=0.1).name == name


class Counting(np.ndarray):
    """An array that counts the operations on its values: each ufunc does one per value."""

    flops = 0

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **options):
        plain = [x.view(np.ndarray) if isinstance(x, Counting) else x for x in inputs]
        into = tuple(x.view(np.ndarray) for x in out)
        found = getattr(ufunc, method)(*plain, **({"out": into} if out else {}), **options)
        Counting.flops += np.size(found)
        return out[0] if out else found.view(Counting)


@every_optimizer
@pytest.mark.parametrize("values", [1, 7])
def test_the_cost_of_an_update_counts_its_operations_and_what_it_reads_and_writes(name, values):
    optimizer = OPTIMIZERS[name](learning_rate=0.1)
    value, gradient = (np.ones(values, np.float32).view(Counting) for _ in range(2))
    state = tuple(array.view(Counting) for array in optimizer.initial_state(np.ones(values, np.float32)))
    Counting.flops = 0
    _, after = optimizer.update(value, gradient, state, 1, 1.0)
    cost = optimizer.cost(values)
    read = value.nbytes + gradient.nbytes + sum(array.nbytes for array in state)
    written = value.nbytes + sum(array.nbytes for array in after)
    assert (cost.bytes_read, cost.bytes_written) == (read, written)
    assert cost.flops == Counting.flops


@every_optimizer
def test_an_update_of_nothing_costs_nothing(name):
    assert OPTIMIZERS[name](learning_rate=0.1).cost(0) == Cost()
