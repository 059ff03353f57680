"""What every data set promises (ampsim/data/dataset.py), of those whose instances vary in shape."""

from __future__ import annotations

import inspect
from collections import Counter

import numpy as np
import pytest

from ampsim.config.options import options_model
from ampsim.data import DATASETS
from ampsim.data.dataset import SPLITS, TEST, TRAIN, VALIDATION
from ampsim.data.sources import SOURCES
from ampsim.errors import DataError

OPTIONS = {
    "list-reduction": {"batch": 10, "train": 200, "validation": 30, "test": 30},
    "sst": {},
    "babi15": {"validation": 100, "limit": 300},
    "qm9": {"validation": 10, "test": 10, "limit": 300},
}
names = pytest.mark.parametrize("name", OPTIONS)


def make(name, seed=0, **more):
    return DATASETS[name](seed, **{**OPTIONS[name], **more})


def fingerprint(instance):
    """An instance as something that can be compared and counted."""
    inputs = tuple(
        (name, *(array.tobytes() for array in (*messages.arrays, messages.fields) if array is not None))
        for name, messages in sorted(instance.inputs.items())
    )
    return inputs, tuple((name, array.tobytes()) for name, array in sorted(instance.structure.items()))


def epoch(data, split, number):
    return [fingerprint(instance) for instance in data.instances(split, number)]


@names
def test_the_description_needs_no_data(name):
    spec = make(name).spec
    assert spec.inputs
    # What is left of 63 bits numbers the instances.
    assert sum(spec.fields.values()) <= 63 - 32


def test_every_set_has_a_source_and_every_source_a_set():
    assert list(DATASETS) == list(SOURCES)


@names
@pytest.mark.usefixtures("sample")
def test_instances_fit_the_description(name):
    data = make(name)
    for split in SPLITS:
        instances = list(data.instances(split, 1))
        assert len(instances) == data.splits[split].keys
        assert sum(instance.size for instance in instances) == data.splits[split].examples
        for instance in instances:
            check(instance, data.spec)


def check(instance, spec):
    assert set(instance.inputs) == set(spec.inputs)
    for name, messages in instance.inputs.items():
        (array,) = messages.arrays
        assert array.dtype == spec.inputs[name].dtype
        assert array.shape[1:] == spec.inputs[name].shape
        assert messages.fields.dtype == np.int64
        assert messages.fields.shape[1] == len(spec.fields)
        assert messages.fields.min() >= 0
        assert (messages.fields.max(axis=0) < [2**bits for bits in spec.fields.values()]).all()
        assert len({tuple(fields) for fields in messages.fields.tolist()}) == len(messages.fields)
        if messages.rows is None:
            assert len(messages.fields) == 1
        else:
            assert messages.rows.dtype == np.int64
            assert len(messages.rows) == len(messages.fields)
            assert messages.rows.sum() == len(array)
    assert all(array.dtype == np.int64 for array in instance.structure.values())


@names
@pytest.mark.usefixtures("sample")
def test_instances_are_a_function_of_seed_split_and_epoch(name):
    first, second = make(name), make(name)
    epoch(second, TRAIN, 7)
    for split in SPLITS:
        assert epoch(first, split, 3) == epoch(second, split, 3)


@names
@pytest.mark.usefixtures("sample")
def test_each_epoch_shuffles_the_training_set_and_nothing_else(name):
    data = make(name)
    assert epoch(data, TRAIN, 1) != epoch(data, TRAIN, 2)
    for split in (VALIDATION, TEST):
        assert epoch(data, split, 1) == epoch(data, split, 2)
    if name != "list-reduction":  # whose minibatches are made up anew
        assert Counter(epoch(data, TRAIN, 1)) == Counter(epoch(data, TRAIN, 2))


@names
@pytest.mark.usefixtures("sample")
def test_another_seed_gives_another_order(name):
    assert epoch(make(name, 0), TRAIN, 1) != epoch(make(name, 1), TRAIN, 1)


@pytest.mark.parametrize("name", ["sst", "babi15", "qm9"])
@pytest.mark.usefixtures("sample")
def test_a_limit_keeps_so_many_of_each_split_and_the_same_ones_in_every_epoch(name):
    data = make(name, limit=2)
    kept = {split: Counter(epoch(data, split, 1)) for split in SPLITS}
    assert kept[TRAIN].total() == 2
    assert kept[TRAIN] == Counter(epoch(data, TRAIN, 5))
    assert all(counts.total() <= 2 for counts in kept.values())
    assert {split: sizes.examples for split, sizes in data.splits.items()} == {
        split: counts.total() for split, counts in kept.items()
    }


@names
def test_every_option_is_described_and_has_a_default(name):
    model = options_model(DATASETS[name], 1)
    for field in model.model_fields.values():
        option = field.alias or "name"
        assert option == "name" or f"`{option}`" in inspect.getdoc(DATASETS[name])
    assert model(name=name)


@pytest.mark.parametrize("name", ["sst", "qm9"])
def test_a_set_that_is_not_there_is_told_with_the_command_that_gets_it(name, tmp_path):
    data = DATASETS[name](0)
    for use in (lambda: data.splits, lambda: data.instances(TRAIN, 1)):
        with pytest.raises(DataError) as error:
            use()
        assert f"data set {name} is not here" in str(error.value)
        assert str(tmp_path / "cache") in str(error.value)
        assert str(error.value).endswith(f"type: ampsim data fetch {name}")
