from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import save_file

from ampsim.errors import BadInput
from ampsim.report.parameter_files import differences, read_parameters

MATRICES = hnp.arrays(np.float32, (2, 3), elements=st.floats(-1e3, 1e3, width=32))


def test_parameters_that_are_the_same_bits_are_left_out():
    left = {"a": np.ones(3, np.float32), "nan": np.full(2, np.nan, np.float32)}
    assert differences(left, {name: array.copy() for name, array in left.items()}) == []


def test_a_difference_is_told_relative_to_the_larger_norm():
    (found,) = differences({"a": np.array([3, 4], np.float32)}, {"a": np.array([3, 0], np.float32)})
    assert found == {"name": "a", "relative": 4 / 5, "largest": 4.0}


def test_the_farthest_comes_first_and_what_only_one_has_last():
    left = {"near": np.array([1.0]), "far": np.array([1.0]), "gone": np.array([1.0]), "bent": np.ones(2)}
    right = {"near": np.array([1.001]), "far": np.array([9.0]), "new": np.array([1.0]), "bent": np.ones((2, 1))}
    found = differences(left, right)
    assert [entry["name"] for entry in found] == ["far", "near", "bent", "gone", "new"]
    assert [entry.get("only") for entry in found] == [None, None, "shape", "left", "right"]


def test_what_is_not_finite_is_farther_than_anything():
    left = {"broken": np.array([np.nan], np.float32), "far": np.array([1.0], np.float32)}
    found = differences(left, {"broken": np.array([0], np.float32), "far": np.array([-1], np.float32)})
    assert found[0] == {"name": "broken", "relative": None, "largest": None}


def test_zeros_of_both_signs_differ_by_nothing():
    assert differences({"a": np.array([0.0])}, {"a": np.array([-0.0])}) == [
        {"name": "a", "relative": 0.0, "largest": 0.0}
    ]


@given(MATRICES, MATRICES)
def test_the_difference_is_the_same_from_both_sides_and_at_most_2(left, right):
    found = differences({"a": left}, {"a": right})
    assert found == differences({"a": right}, {"a": left})
    assert all(0 <= entry["relative"] <= 2 for entry in found)


def test_parameters_are_read_as_they_were_written(tmp_path):
    save_file({"linear1.bias": np.arange(3, dtype=np.float32)}, tmp_path / "here")
    read = read_parameters(tmp_path / "here")
    assert list(read) == ["linear1.bias"]
    np.testing.assert_array_equal(read["linear1.bias"], [0, 1, 2])


def test_no_file_is_no_parameters(tmp_path):
    assert read_parameters(tmp_path / "missing") is None


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff" * 40, b'\x02\0\0\0\0\0\0\0{"'])
def test_a_file_that_is_no_safetensors_is_told_by_its_path(tmp_path, content):
    (tmp_path / "parameters.safetensors").write_bytes(content)
    with pytest.raises(BadInput, match=r"parameters\.safetensors: cannot be read: "):
        read_parameters(tmp_path / "parameters.safetensors")
