from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampsim.ir.parameters import ParameterSet, parameter_generator
from ampsim.ops import OPTIMIZERS, ParameterSpec
from ampsim.ops.linear import unit_normal

SPECS = {"weight": ParameterSpec((2, 3), unit_normal), "bias": ParameterSpec((3,), unit_normal)}


def parameter_set(node="linear1", seed=0, optimizer="sgd", frequency=1, **options):
    return ParameterSet(node, SPECS, seed, OPTIMIZERS[optimizer](learning_rate=0.5, **options), frequency)


def gradients(value=1.0):
    return {name: np.full(spec.shape, value, np.float32) for name, spec in SPECS.items()}


def accumulate(parameters, gradients, messages):
    parameters.accumulate(gradients, messages, np.zeros(messages, np.int64), np.ones(messages, np.int64))


@given(frequency=st.integers(1, 6), messages=st.lists(st.integers(1, 4), min_size=1, max_size=8))
def test_an_update_comes_as_soon_as_enough_messages_have_accumulated(frequency, messages):
    parameters, accumulated, expected = parameter_set(frequency=frequency), 0, 0
    for count in messages:
        accumulated += count
        due = accumulated >= frequency
        accumulate(parameters, gradients(), count)
        assert parameters.update_if_due() == due
        expected += due
        accumulated = 0 if due else accumulated
        assert parameters.version == expected
    assert parameters.flush() == (accumulated > 0)
    assert parameters.version == expected + (accumulated > 0)


def test_the_gradient_of_an_update_is_the_sum_over_what_was_accumulated():
    parameters = parameter_set(frequency=3)
    before = dict(parameters.values)
    for value in (1.0, 2.0, 4.0):
        accumulate(parameters, gradients(value), 1)
    assert parameters.update_if_due() == 1
    for name, value in parameters.values.items():
        np.testing.assert_allclose(value, before[name] - 0.5 * 7, rtol=1e-6)


def test_an_update_is_made_of_so_many_instances_at_most_and_then_another():
    optimizer = OPTIMIZERS["adam"](learning_rate=0.5)
    one_by_one = ParameterSet("linear1", SPECS, 0, optimizer, 1)
    grouped = ParameterSet("linear1", SPECS, 0, optimizer, 3, shares=True, instances_per_update=2)
    for instance, value in ((1, 1.0), (3, 4.0), (0, 2.0)):
        grouped.accumulate(gradients(value), 1, np.array([instance]), np.array([1]))
    assert grouped.update_if_due() == grouped.own_updates == grouped.version == 2
    for value in (3.0, 4.0):
        accumulate(one_by_one, gradients(value), 1)
        one_by_one.update_if_due()
    for name, values in grouped.values.items():
        np.testing.assert_array_equal(values, one_by_one.values[name])
    assert [payload[0][0, 0] for _, payload in grouped.take_outgoing()] == [3, 4]


def test_nothing_moves_before_the_update_is_due():
    parameters = parameter_set(frequency=3)
    before = dict(parameters.values)
    accumulate(parameters, gradients(), 2)
    assert parameters.update_if_due() == 0
    assert all(parameters.values[name] is value for name, value in before.items())
    assert parameters.version == 0


def test_a_flush_updates_with_what_is_there_and_then_there_is_nothing_left():
    parameters = parameter_set(frequency=10)
    assert parameters.flush() == 0
    before = parameters.values["bias"]
    accumulate(parameters, gradients(2.0), 1)
    assert parameters.flush() == 1
    np.testing.assert_allclose(parameters.values["bias"], before - 1, rtol=1e-6)
    assert (parameters.flush(), parameters.version) == (0, 1)


def test_the_learning_rate_falls_with_each_epoch():
    parameters = ParameterSet("linear1", SPECS, 0, OPTIMIZERS["sgd"](learning_rate=0.5), 10, learning_rate_decay=0.5)
    for step in (0.5, 0.25, 0.125):
        before = parameters.values["bias"]
        accumulate(parameters, gradients(2.0), 1)
        assert parameters.end_epoch() == 1
        np.testing.assert_allclose(parameters.values["bias"], before - 2 * step, rtol=1e-6)


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_values_are_replaced_and_never_written_to(optimizer):
    parameters = parameter_set(optimizer=optimizer)
    taken = []
    for _ in range(3):
        taken.append({name: (value, value.copy()) for name, value in parameters.values.items()})
        accumulate(parameters, gradients(), 1)
        parameters.update_if_due()
    for values in taken:
        for value, copy in values.values():
            np.testing.assert_array_equal(value, copy)
    assert parameters.version == 3


@pytest.mark.parametrize(("optimizer", "copies"), [("sgd", 0), ("momentum", 1), ("adam", 2)])
def test_size_counts_values_gradients_and_optimizer_state(optimizer, copies):
    parameters = parameter_set(optimizer=optimizer)
    values = 4 * (2 * 3 + 3)
    assert parameters.size_bytes == (2 + copies) * values
    accumulate(parameters, gradients(), 1)
    parameters.update_if_due()
    assert parameters.size_bytes == (2 + copies) * values


def test_first_values_are_a_function_of_seed_and_name_alone():
    one, same = parameter_set(seed=3), parameter_set(seed=3, optimizer="adam", frequency=5)
    for name in SPECS:
        np.testing.assert_array_equal(one.values[name], same.values[name])


def test_another_seed_node_or_parameter_has_other_first_values():
    drawn = {
        (seed, name): tuple(parameter_generator(seed, name).standard_normal(4))
        for seed in (0, 1, 2**40)
        for name in ("linear1.weight", "linear1.bias", "linear2.weight", "linear11.weight")
    }
    assert len(set(drawn.values())) == len(drawn)


@pytest.mark.parametrize(("optimizer", "copies"), [("sgd", 0), ("momentum", 1), ("adam", 2)])
def test_without_arithmetic_there_are_no_values_and_updates_are_only_counted(optimizer, copies):
    chosen = OPTIMIZERS[optimizer](learning_rate=0.5)
    parameters = ParameterSet("linear1", SPECS, 0, chosen, 2, arithmetic=False)
    real = ParameterSet("linear1", SPECS, 0, chosen, 2)
    assert parameters.values == {}
    for counts in (1, 1, 3, 1):
        accumulate(parameters, {}, counts)
        accumulate(real, gradients(), counts)
        assert parameters.update_if_due() == real.update_if_due()
    assert parameters.end_epoch() == real.end_epoch() == 1
    assert parameters.end_epoch() == 0
    assert parameters.version == real.version == 3
    sizes = parameters.values_bytes, parameters.size_bytes
    assert sizes == (real.values_bytes, real.size_bytes) == (4 * 9, (2 + copies) * 4 * 9)
