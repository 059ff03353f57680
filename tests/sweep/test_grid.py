"""What `--vary` says: where its values are split, which grid they make, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampsim.errors import BadInput, ConfigError
from ampsim.sweep.grid import MOST_COMBINATIONS, read_grid, split


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("1,2, 4", ["1", "2", "4"]),
        ("1 Gbit/s,10 Gbit/s", ["1 Gbit/s", "10 Gbit/s"]),
        ("[784, 784],[100]", ["[784, 784]", "[100]"]),
        ("{count: 2, kind: x},{count: 4, kind: x}", ["{count: 2, kind: x}", "{count: 4, kind: x}"]),
        ("'a,b',c", ["'a,b'", "c"]),
        ('"a\\",b", c', ['"a\\",b"', "c"]),
        ("'it''s, so',x", ["'it''s, so'", "x"]),
        ("don't,can't", ["don't", "can't"]),
        ("['],', {a: \"}\"}],2", ["['],', {a: \"}\"}]", "2"]),
        ("linear[3-4],relu", ["linear[3-4]", "relu"]),
        ("1,,2", ["1", "", "2"]),
        ("[1,2", ["[1,2"]),
    ],
)
def test_values_are_split_at_commas_outside_quotes_and_brackets(text: str, parts: list[str]) -> None:
    assert split(text) == parts


@given(st.lists(st.integers() | st.booleans() | st.lists(st.integers(), max_size=3), min_size=1, unique_by=str))
def test_values_that_are_joined_by_commas_come_back(values: list[object]) -> None:
    texts = [str(value).lower() for value in values]
    (axis,) = read_grid([f"seed={','.join(texts)}"]).axes
    assert list(axis.values) == values
    assert list(axis.texts) == texts


def test_the_grid_has_all_combinations_and_the_last_key_is_the_fastest() -> None:
    grid = read_grid(["seed=1,2", "cluster.network.bandwidth=1 Gbit/s, 10 Gbit/s", "model.hidden=[8]"])
    assert len(grid) == 4
    assert [combination.labels for combination in grid] == [
        ("1", "1 Gbit/s", "[8]"),
        ("1", "10 Gbit/s", "[8]"),
        ("2", "1 Gbit/s", "[8]"),
        ("2", "10 Gbit/s", "[8]"),
    ]
    assert next(iter(grid)).overrides == ["seed=1", "cluster.network.bandwidth=1 Gbit/s", "model.hidden=[8]"]


def test_all_faults_are_told_together() -> None:
    varied = ["seed=1,1", "seed=2", "foo", "a.b=", "c=1,,2", "d=[1,2", "a..b=1", "e=1", "f.g=1", "f={}"]
    with pytest.raises(ConfigError) as caught:
        read_grid(varied, {"e": "2", "f.h": "1"})
    told = str(caught.value)
    for part in (
        "--vary seed=1,1: the value 1 stands there twice",
        "--vary seed: this key is varied twice",
        "--vary foo: expected path=value",
        "--vary a.b=: expected at least one value, found none",
        "--vary c=1,,2: value 2 of 3 is empty",
        "--vary d=[1,2: [1,2: not YAML",
        "--vary a..b=1: expected path=value",
        "--vary e: this key is varied, and --set gives it a value as well",
        "--vary f: this would replace what --vary f.g gives: vary the inner key after the outer one",
        "--vary f: this would replace what --set f.h gives",
    ):
        assert part in told
    assert len(told.splitlines()) == 10


def test_too_many_combinations_are_refused_with_their_number() -> None:
    hundred = ",".join(map(str, range(100)))
    assert len(read_grid([f"seed={hundred}", f"training.epochs={hundred}"])) == MOST_COMBINATIONS
    with pytest.raises(BadInput, match=r"100 x 100 x 2 values make 20,000 combinations, and a sweep runs at most 10,"):
        read_grid([f"seed={hundred}", f"training.epochs={hundred}", "x=1,2"])


def test_a_sweep_varies_something() -> None:
    with pytest.raises(BadInput, match="--vary: expected at least one key"):
        read_grid([])
