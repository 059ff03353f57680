"""MNIST: 70,000 handwritten digits, shipped inside the package (mnist.npz; mnist-licence.txt has its origin)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated
from zipfile import BadZipFile

import numpy as np
from annotated_types import Gt, Le
from numpy.typing import NDArray

from ampsim.data.dataset import SPLITS, TEST, TRAIN, VALIDATION, DataSpec, Instance, Messages, Split
from ampsim.errors import DataError
from ampsim.ops.table import ArraySpec

FILE = Path(__file__).with_name("mnist.npz")
TRAINING_IMAGES, TEST_IMAGES, PIXELS, DIGITS = 60_000, 10_000, 784, 10


class Mnist:
    """Minibatches of images `float32[batch, 784]` (grey levels from 0 to 1) and labels `int64[batch]`.

    `validation` of the 60,000 training images, drawn by the seed, are held out as the validation set; `limit`, if
    given, keeps only that many examples of each split. The last minibatch of a split may be smaller.
    """

    def __init__(
        self,
        seed: int,
        *,
        batch: Annotated[int, Gt(0), Le(10_000)] = 100,
        validation: Annotated[int, Gt(0), Le(50_000)] = 10_000,
        limit: Annotated[int, Gt(0)] | None = None,
    ) -> None:
        self._seed, self._batch = seed, batch
        sizes = {TRAIN: TRAINING_IMAGES - validation, VALIDATION: validation, TEST: TEST_IMAGES}
        self._held_out = validation
        self._sizes = {split: min(size, limit or size) for split, size in sizes.items()}
        self.splits: Mapping[str, Split] = {
            split: Split(keys=-(-size // batch), examples=size) for split, size in self._sizes.items()
        }
        self.spec = DataSpec(
            inputs={"image": ArraySpec((PIXELS,)), "label": ArraySpec((), "int64")}, classes=DIGITS, rows=batch
        )

    def instances(self, split: str, epoch: int) -> Iterator[Instance]:
        """Minibatches of a split; the training set is shuffled anew each epoch, by (seed, epoch)."""
        images, labels = self._examples[split]
        order = np.arange(len(images))
        if split == TRAIN:
            order = self._generator(1, epoch).permutation(order)
        for start in range(0, len(order), self._batch):
            rows = order[start : start + self._batch]
            image = np.multiply(images[rows], np.float32(1 / 255), dtype=np.float32)
            yield Instance({"image": Messages((image,)), "label": Messages((labels[rows],))}, size=len(rows))

    def _generator(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, *purpose])

    @cached_property
    def _examples(self) -> dict[str, tuple[NDArray[np.uint8], NDArray[np.int64]]]:
        arrays = _load(FILE)
        order = self._generator(0).permutation(TRAINING_IMAGES)
        rows = {VALIDATION: order[: self._held_out], TRAIN: order[self._held_out :], TEST: np.arange(TEST_IMAGES)}
        examples = {}
        for split in SPLITS:
            part = "test" if split == TEST else "train"
            chosen = rows[split][: self._sizes[split]]
            images = arrays[f"x_{part}"].reshape(-1, PIXELS)[chosen]
            examples[split] = (images, arrays[f"y_{part}"][chosen].astype(np.int64))
        return examples


def _load(file: Path) -> dict[str, NDArray[np.uint8]]:
    try:
        with file.open("rb") as opened:
            archive = np.load(opened, allow_pickle=False)
            arrays = {name: archive[name] for name in ("x_train", "y_train", "x_test", "y_test")}
        for part, count in (("train", TRAINING_IMAGES), ("test", TEST_IMAGES)):
            if arrays[f"x_{part}"].shape != (count, 28, 28) or arrays[f"y_{part}"].shape != (count,):
                raise ValueError(f"its {part} arrays do not hold {count} images and labels")
        return arrays
    except OSError as error:
        raise DataError(f"{file}: cannot read MNIST: {error}") from error
    except (EOFError, IndexError, KeyError, ValueError, BadZipFile, zlib.error) as error:
        raise DataError(f"{file}: cannot read MNIST ({error}): install ampsim again") from error
