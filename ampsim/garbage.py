"""How often Python looks for cycles of objects that nothing else refers to."""

from __future__ import annotations

import gc

BETWEEN_LOOKS = 20_000
"""New objects from which on the youngest are looked through; Python's own 700 come every few turns of a device."""


def look_seldom() -> None:
    """Leave out what there is now (what imports have made stays to the end), and look through the rest seldom.

    Hardly any cycles come up: a device's turn makes some hundred objects, and all of them go by reference counts.
    """
    gc.freeze()
    gc.set_threshold(BETWEEN_LOOKS)
    gc.enable()
