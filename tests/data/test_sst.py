from __future__ import annotations

import gzip
import shutil
from collections import Counter

import numpy as np
import pytest

from ampsim.data.cache import data_folder
from ampsim.data.sst import Sst
from ampsim.data.treebank import read_trees
from ampsim.errors import DataError

# Of data sets: trees, nodes, tokens, longest, node labels, root labels, distinct tokens, tokens unknown to train.
FIGURES = {
    "real": {
        "train": (
            8544,
            318582,
            163563,
            52,
            [8245, 34362, 219788, 44194, 11993],
            [1092, 2218, 1624, 2322, 1288],
            18280,
            0,
        ),
        "dev": (1101, 41447, 21274, 49, [1070, 4613, 28305, 5781, 1678], [139, 289, 229, 279, 165], 5374, 1185),
        "test": (2210, 82600, 42405, 56, [2008, 9255, 56548, 10998, 3791], [279, 633, 389, 510, 399], 8547, 2384),
    },
    "sample": {
        "train": (12, 42, 27, 3, [1, 1, 38, 1, 1], [0, 1, 10, 1, 0], 16, 0),
        "dev": (2, 8, 5, 3, [0, 0, 5, 1, 2], [0, 0, 1, 0, 1], 5, 2),
        "test": (1, 5, 3, 3, [1, 1, 3, 0, 0], [1, 0, 0, 0, 0], 3, 1),
    },
}


def test_every_tree_is_read(any_data):
    words = {}
    for name, expected in FIGURES[any_data].items():
        trees = read_trees(data_folder() / f"sst/{name}.txt.gz")
        words[name] = set(trees.words)
        found = (
            len(trees),
            len(trees.labels),
            len(trees.words),
            np.diff(trees.leaf_start).max(),
            np.bincount(trees.labels, minlength=5).tolist(),
            np.bincount(trees.labels[trees.node_start[1:] - 1], minlength=5).tolist(),
            len(words[name]),
            len(words[name] - words["train"]),
        )
        assert found == expected


def test_every_instance_is_a_tree(any_data):
    data = Sst(0, limit=200)
    for split in ("train", "validation", "test"):
        for instance in data.instances(split, 1):
            token, label = instance.inputs["token"], instance.inputs["label"]
            parent, side = instance.structure["parent"], instance.structure["side"]
            n, k = len(parent), len(token.arrays[0])
            assert n == 2 * k - 1 == instance.losses == len(label.arrays[0])
            assert token.fields.tolist() == [[node] for node in range(k)]
            assert label.fields.tolist() == [[node] for node in range(n)]
            assert token.rows.tolist() == [1] * k
            assert label.rows.tolist() == [1] * n
            assert parent[-1] == -1
            assert (parent[:-1] > np.arange(n - 1)).all()
            assert side[-1] == 0
            # Every inner node, and no leaf, has one left and one right child.
            children = sorted(zip(parent[:-1].tolist(), side[:-1].tolist(), strict=True))
            assert children == [(node, which) for node in range(k, n) for which in (0, 1)]


@pytest.mark.parametrize("rare", [0, 1, 3])
def test_the_vocabulary_is_that_of_all_training_trees_whatever_the_limit(any_data, rare):
    words = FIGURES[any_data]["train"][6]
    options = {"rare": rare, "vocabulary": words + 1}
    tokens = {limit: [] for limit in (5, None)}
    for limit, found in tokens.items():
        data = Sst(0, limit=limit, **options)
        found += [instance.inputs["token"].arrays[0].tobytes() for instance in data.instances("validation", 1)]
    assert set(tokens[5]) <= set(tokens[None])
    train = Sst(0, **options).instances("train", 1)
    counts = Counter(np.concatenate([instance.inputs["token"].arrays[0] for instance in train]).tolist())
    seldom = counts.pop(0, 0)
    assert set(counts) == set(range(1, len(counts) + 1))
    assert all(count > rare for count in counts.values())
    assert (seldom == 0) == (rare == 0)
    assert len(counts) == words if rare == 0 else len(counts) < words
    if (any_data, rare) == ("real", 1):
        assert Sst(0).spec.sizes["vocabulary"] == len(counts) + 1


@pytest.mark.usefixtures("sample")
def test_tokens_are_numbered_by_first_appearance_and_0_is_any_other_word():
    (test,) = Sst(0, rare=0).instances("test", 1)
    assert test.inputs["token"].arrays[0].tolist() == [4, 0, 3]
    assert test.inputs["label"].arrays[0].tolist() == [2, 2, 2, 1, 0]
    assert test.structure["parent"].tolist() == [4, 3, 3, 4, -1]
    assert test.structure["side"].tolist() == [0, 0, 1, 1, 0]


def test_a_treebank_with_too_many_words_says_what_to_set(sample):
    with pytest.raises(DataError, match=r"16 words that come more than 0 times.* set data\.vocabulary to 17") as error:
        _ = Sst(0, rare=0, vocabulary=16).splits
    assert str(sample / "sst/train.txt.gz") in str(error.value)
    assert Sst(0, rare=0, vocabulary=17).splits["train"].examples == 12


def test_faults_of_all_files_are_told_before_the_first_instance(sample, tmp_path, monkeypatch):
    shutil.copytree(sample, tmp_path / "own")
    (tmp_path / "own/sst/train.txt.gz").write_bytes(gzip.compress(b"(2 (2 a) (2 b))\n(7 (2 a) (2 b))\n"))
    (tmp_path / "own/sst/test.txt.gz").write_bytes(gzip.compress(b"(2 (2 a) (2 b)\n"))
    monkeypatch.setenv("AMPSIM_DATA", str(tmp_path / "own"))
    with pytest.raises(DataError) as error:
        Sst(0).instances("train", 1)
    lines = str(error.value).splitlines()
    assert [line.split(": ")[0] for line in lines] == [
        f"{tmp_path / 'own/sst/train.txt.gz'}:2",
        f"{tmp_path / 'own/sst/test.txt.gz'}:1",
    ]
