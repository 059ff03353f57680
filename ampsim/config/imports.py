"""A user's own function by `module:function`, and what it raised, in one line with the user's file and line."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module, invalidate_caches
from importlib.machinery import PathFinder
from typing import Any

from ampsim.config.wording import did_you_mean, printable, shorten

_REFERENCE = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*):([^\W\d]\w*)")


class ImportFault(Exception):
    """The function cannot be had; the text is the fault."""


def import_function(reference: str, paths: Sequence[str]) -> Callable[..., Any]:
    """The function that `module:function` names, the module being looked for in `paths` first.

    Raises ImportFault if there is none.
    """
    match = _REFERENCE.fullmatch(reference)
    if not match:
        raise ImportFault(f"expected module:function, found {shorten(reference)!r}")
    name, attribute = match.groups()
    _forget(name.partition(".")[0], paths)
    try:
        with import_path(paths):
            module = import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise ImportFault(f"there is no module {error.name!r} in {' or '.join(map(printable, paths))}") from None
        raise ImportFault(f"importing {name!r} raised {what_happened(error, paths)}") from error
    except (Exception, SystemExit) as error:
        raise ImportFault(f"importing {name!r} raised {what_happened(error, paths)}") from error
    function = getattr(module, attribute, None)
    if function is None:
        functions = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        file = printable(str(getattr(module, "__file__", None) or name))
        raise ImportFault(f"there is no function {attribute!r} in {file}{did_you_mean(attribute, functions)}")
    if not callable(function):
        raise ImportFault(f"{reference!r} is not a function: found {shorten(type(function).__name__)}")
    return function  # type: ignore[no-any-return]  # a module's attributes have no types


@contextmanager
def import_path(paths: Sequence[str]) -> Iterator[None]:
    """Imports look in `paths` first."""
    before = list(sys.path)
    sys.path[:0] = paths
    invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before


def what_happened(error: BaseException, paths: Sequence[str] = ()) -> str:
    """`ZeroDivisionError: division by zero (/home/me/my_module.py:3)`: the last line of the user's code is told."""
    text = shorten(" ".join(str(error).split()), 200)
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {shorten(error.msg, 200)} ({printable(error.filename)}:{error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    own = [frame for frame in frames if any(frame.filename.startswith(path) for path in paths)]
    last = (own or frames)[-1:]
    place = "".join(f" ({printable(frame.filename)}:{frame.lineno})" for frame in last)
    return f"{type(error).__name__}{': ' if text else ''}{text}{place}"


def _forget(top: str, paths: Sequence[str]) -> None:
    """Drop a module of this name that another config brought in, from a folder that is no longer searched."""
    cached = getattr(sys.modules.get(top), "__file__", None)
    here, usual = PathFinder.find_spec(top, list(paths)), PathFinder.find_spec(top)
    if cached and here and cached != here.origin and not (usual and usual.origin == cached):
        for name in [name for name in sys.modules if name == top or name.startswith(f"{top}.")]:
            del sys.modules[name]
