"""The final parameters of runs: read, and told apart."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isfinite
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from ampsim.errors import BadInput

Array = np.ndarray[Any, Any]


def read_parameters(path: Path) -> dict[str, Array] | None:
    """`node.parameter -> float32[...]`, or None if there is no such file. Raises BadInput if it is not readable."""
    try:
        return load(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise BadInput(f"{path}: cannot be read: {error}") from error


def differences(left: Mapping[str, Array], right: Mapping[str, Array]) -> list[dict[str, Any]]:
    """How far each parameter that both have is from the other's, the farthest first; those of one alone come last.

    `relative` is |left - right| / max(|left|, |right|) in the Euclidean norm, None where it is not finite; `largest`
    the largest difference of one entry. Parameters with the same bits are left out. `only` says `left`, `right`, or
    `shape` where both have it and the shapes are not the same.
    """
    found: list[dict[str, Any]] = []
    for name in {**left, **right}:
        if name not in left or name not in right:
            found.append({"name": name, "only": "left" if name in left else "right"})
        elif left[name].shape != right[name].shape:
            found.append({"name": name, "only": "shape"})
        elif left[name].tobytes() != right[name].tobytes():
            found.append({"name": name, **_distance(left[name], right[name])})
    return sorted(found, key=_rank)


def _distance(left: Array, right: Array) -> dict[str, float | None]:
    wide_left, wide_right = left.astype(np.float64), right.astype(np.float64)
    with np.errstate(all="ignore"):
        apart = wide_left - wide_right
        scale = max(float(np.linalg.norm(wide_left)), float(np.linalg.norm(wide_right)))
        relative = float(np.linalg.norm(apart)) / scale if scale else 0.0
        largest = float(np.max(np.abs(apart)))
    return {
        "relative": relative if isfinite(relative) else None,
        "largest": largest if isfinite(largest) else None,
    }


def _rank(entry: Mapping[str, Any]) -> tuple[bool, float, str]:
    relative = entry.get("relative")
    return "only" in entry, -(inf if relative is None else relative), entry["name"]
