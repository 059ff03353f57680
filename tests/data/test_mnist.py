from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampsim.data import DATASETS
from ampsim.data.dataset import SPLITS, TEST, TRAIN, VALIDATION, Split
from ampsim.data.mnist import FILE, Mnist
from ampsim.errors import DataError
from ampsim.ops import ArraySpec

DIGITS = {
    "train": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    "test": [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
}
# Tells images apart: the scalar product with random integers.
MARKS = np.random.default_rng(0).integers(1, 2**40, 784)


@dataclass
class Seen:
    """What a split holds: how often each grey level and each digit occurs, and a mark for each example."""

    greys: np.ndarray = field(default_factory=lambda: np.zeros(256, int))
    digits: np.ndarray = field(default_factory=lambda: np.zeros(10, int))
    marks: list[int] = field(default_factory=list)

    def add(self, image, label):
        greys = np.rint(image * 255).astype(np.uint8)
        self.greys += np.bincount(greys.reshape(-1), minlength=256)
        self.digits += np.bincount(label, minlength=10)
        self.marks += marks(greys, label)


def marks(images, labels):
    return (images.reshape(-1, 784).astype(np.int64) @ MARKS * 10 + labels).tolist()


@pytest.fixture(scope="module")
def mnist():
    return Mnist(0, batch=1000)


@pytest.fixture(scope="module")
def seen(mnist):
    found = {split: Seen() for split in SPLITS}
    for split in SPLITS:
        for instance in mnist.instances(split, 1):
            found[split].add(*(instance.inputs[name].arrays[0] for name in ("image", "label")))
    return found


def first_labels(dataset, split, epoch, count=60):
    return next(dataset.instances(split, epoch)).inputs["label"].arrays[0][:count].tolist()


def test_every_digit_is_there_as_often_as_it_should_be(seen):
    assert (seen[TRAIN].digits + seen[VALIDATION].digits).tolist() == DIGITS["train"]
    assert seen[TEST].digits.tolist() == DIGITS["test"]


def test_the_training_images_have_the_known_mean_and_deviation(seen):
    greys = seen[TRAIN].greys + seen[VALIDATION].greys
    level = np.arange(256) / 255
    mean = (greys * level).sum() / greys.sum()
    deviation = np.sqrt((greys * (level - mean) ** 2).sum() / greys.sum())
    assert mean == pytest.approx(0.13066, abs=5e-6)
    assert deviation == pytest.approx(0.30811, abs=5e-6)


def test_training_and_validation_share_no_image_and_leave_none_out(seen):
    with np.load(FILE) as arrays:
        everything = marks(arrays["x_train"], arrays["y_train"].astype(np.int64))
        test = marks(arrays["x_test"], arrays["y_test"].astype(np.int64))
    assert len(seen[VALIDATION].marks) == 10_000
    assert Counter(seen[TRAIN].marks) + Counter(seen[VALIDATION].marks) == Counter(everything)
    assert seen[TEST].marks == test


def test_an_instance_is_a_minibatch_of_grey_levels_from_0_to_1_and_their_digits(mnist):
    instance = next(mnist.instances(TRAIN, 1))
    (image,), (label,) = instance.inputs["image"].arrays, instance.inputs["label"].arrays
    assert (image.dtype, image.shape) == (np.float32, (1000, 784))
    assert (label.dtype, label.shape) == (np.int64, (1000,))
    assert (image.min(), image.max()) == (0, 1)
    assert (instance.size, instance.losses) == (1000, 1)


def test_a_data_set_describes_itself_without_being_read(monkeypatch, tmp_path):
    monkeypatch.setattr("ampsim.data.mnist.FILE", tmp_path / "nowhere.npz")
    dataset = DATASETS["mnist"](0, batch=64, validation=5000)
    assert dataset.spec.inputs == {"image": ArraySpec((784,)), "label": ArraySpec((), "int64")}
    assert (dataset.spec.classes, dataset.spec.rows) == (10, 64)
    assert dataset.splits == {TRAIN: Split(860, 55_000), VALIDATION: Split(79, 5000), TEST: Split(157, 10_000)}


def test_training_is_shuffled_anew_each_epoch_and_the_other_splits_are_not(mnist):
    assert first_labels(mnist, TRAIN, 1) != first_labels(mnist, TRAIN, 2)
    for split in (VALIDATION, TEST):
        assert first_labels(mnist, split, 1) == first_labels(mnist, split, 2)


def test_an_epoch_is_the_same_whenever_it_is_asked_for(mnist):
    again = Mnist(0, batch=1000)
    later = {epoch: first_labels(again, TRAIN, epoch) for epoch in (3, 1, 2)}
    assert later == {epoch: first_labels(mnist, TRAIN, epoch) for epoch in (1, 2, 3)}


def test_the_order_does_not_depend_on_the_size_of_the_minibatch(mnist):
    assert first_labels(Mnist(0, batch=100), TRAIN, 1) == first_labels(mnist, TRAIN, 1)


def test_another_seed_has_another_order_and_holds_other_images_out(mnist):
    other = Mnist(1, batch=1000)
    assert first_labels(other, TRAIN, 1) != first_labels(mnist, TRAIN, 1)
    assert first_labels(other, VALIDATION, 1) != first_labels(mnist, VALIDATION, 1)
    assert first_labels(other, TEST, 1) == first_labels(mnist, TEST, 1) == first_labels(other, TEST, 2)


def test_one_iterator_does_not_disturb_another(mnist):
    def labels(instance):
        return instance.inputs["label"].arrays[0].tolist()

    one, other = mnist.instances(TRAIN, 1), mnist.instances(TRAIN, 1)
    assert labels(next(one)) == labels(next(other))
    next(one)
    mnist.instances(TEST, 1)
    next(other)
    assert labels(next(one)) == labels(next(other))


def test_the_last_minibatch_holds_what_is_left(mnist):
    sizes = [instance.size for instance in Mnist(0, batch=300, limit=1000).instances(TRAIN, 1)]
    assert sizes == [300, 300, 300, 100]
    (only,) = Mnist(0, batch=300, limit=7).instances(TEST, 1)
    assert (only.size, len(only.inputs["image"].arrays[0]), len(only.inputs["label"].arrays[0])) == (7, 7, 7)


def test_a_limit_keeps_the_first_examples_of_each_split(mnist):
    limited = Mnist(0, batch=1000, limit=50)
    assert first_labels(limited, VALIDATION, 1) == first_labels(mnist, VALIDATION, 1, 50)
    assert first_labels(limited, TEST, 1) == first_labels(mnist, TEST, 1, 50)
    assert Counter(first_labels(limited, TRAIN, 1)) == Counter(first_labels(limited, TRAIN, 2))


@given(st.integers(1, 10_000), st.integers(1, 50_000), st.one_of(st.none(), st.integers(1, 100_000)))
def test_splits_have_as_many_instances_as_it_takes(batch, validation, limit):
    sizes = {TRAIN: 60_000 - validation, VALIDATION: validation, TEST: 10_000}
    for split, counted in Mnist(0, batch=batch, validation=validation, limit=limit).splits.items():
        assert counted.examples == min(sizes[split], limit or sizes[split])
        assert (counted.keys - 1) * batch < counted.examples <= counted.keys * batch


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


IMAGES, LABELS = np.zeros((3, 28, 28), np.uint8), np.zeros(3, np.uint8)
WRONG = {
    "an empty file": b"",
    "a text": b"this is no archive\n" * 50,
    "the first half": "half",
    "a hole in the middle": "hole",
    "a single array": npy(IMAGES),
    "an archive without labels": npz(x_train=IMAGES, x_test=IMAGES),
    "an archive of objects": npz(
        x_train=IMAGES, x_test=IMAGES, y_train=np.array([None], object), y_test=LABELS, allow_pickle=True
    ),
    "too few images": npz(x_train=IMAGES, y_train=LABELS, x_test=IMAGES, y_test=LABELS),
}


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
def test_a_file_that_is_not_mnist_is_told_by_its_name_with_a_cure(content, tmp_path, monkeypatch):
    good = FILE.read_bytes()
    half = len(good) // 2
    content = {"half": good[:half], "hole": good[:half] + bytes(1000) + good[half + 1000 :]}.get(content, content)
    (tmp_path / "mnist.npz").write_bytes(content)
    monkeypatch.setattr("ampsim.data.mnist.FILE", tmp_path / "mnist.npz")
    with pytest.raises(DataError, match=r"mnist\.npz: cannot read MNIST .*: install ampsim again"):
        next(Mnist(0).instances(TRAIN, 1))


def test_a_missing_file_is_told_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr("ampsim.data.mnist.FILE", tmp_path / "mnist.npz")
    with pytest.raises(DataError, match=r"mnist\.npz: cannot read MNIST"):
        next(Mnist(0).instances(TEST, 1))
