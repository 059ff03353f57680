"""`--set path=value` and the like: changes to a config from the command line, each with its place in the faults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ampsim.config.tree import Document, KeyPath, Place, dotted, read_value
from ampsim.config.wording import describe, shorten
from ampsim.errors import Fault

DOTTED_KEYS = {("training", "stop_at")}
"""Mappings whose keys have dots in them: what follows such a path is one key."""


def apply(document: Document, overrides: Sequence[str], option: str = "--set") -> None:
    """Set each `path=value` in turn, the value being YAML; what is malformed becomes a fault of the document.

    Mappings on the way that do not exist are made; list items can be replaced, not added. `option` is what gave them.
    """
    for override in overrides:
        where = f"{option} {shorten(override, 100)}"
        path, equals, text = override.partition("=")
        parts = path.strip().split(".")
        if not equals or not all(parts):
            _note(document, where, "", f"expected path=value, such as training.epochs=3, found {shorten(override)!r}")
            continue
        value, faults = read_value(text, where)
        document.faults += faults
        if not faults:
            _set(document, parts, value, where)


def _set(document: Document, parts: list[str], value: Any, where: str) -> None:
    inside: Any = document.tree
    path: KeyPath = ()
    while True:
        if isinstance(inside, list):
            key: str | int = parts[0]
            if not (parts[0].isascii() and parts[0].isdigit() and len(parts[0]) < 9 and int(parts[0]) < len(inside)):
                has = f"has the items 0 to {len(inside) - 1}" if inside else "is empty"
                _note(document, where, dotted((*path, key)), f"there is no such item: the list {has}")
                return
            key, parts = int(parts[0]), parts[1:]
        elif isinstance(inside, dict):
            key, parts = _key(inside, path, parts)
        else:
            _note(document, where, dotted(path), f"cannot set a key of {describe(inside)}: expected a mapping")
            return
        path = (*path, key)
        if not parts:
            break
        if isinstance(inside, dict) and inside.get(key) is None:
            inside[key] = {}
            document.places[path] = Place(where, 0)
        inside = inside[key]
    inside[key] = value
    for old in [known for known in document.places if known[: len(path)] == path]:
        del document.places[old]
    document.places[path] = Place(where, 0)


def _key(mapping: dict[str, Any], path: KeyPath, parts: list[str]) -> tuple[str, list[str]]:
    """The key that the next parts name (the longest one there is, since keys may have dots), and the parts left."""
    if path in DOTTED_KEYS:
        return ".".join(parts), []
    for end in range(len(parts), 1, -1):
        if (joined := ".".join(parts[:end])) in mapping:
            return joined, parts[end:]
    return parts[0], parts[1:]


def _note(document: Document, where: str, path: str, text: str) -> None:
    document.faults.append(Fault(0, where, path, text))
