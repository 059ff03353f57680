"""How values and names are put into a fault: always one line, never too long, and with the nearest valid name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

LONGEST_VALUE = 60
MOST_NAMES = 24


def printable(text: str) -> str:
    """`text` with line breaks and other unprintable characters escaped."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def shorten(text: str, longest: int = LONGEST_VALUE) -> str:
    """`text` in one line, cut at `longest` characters."""
    # Cut before escaping as well: a value may have a million characters.
    line = printable(text[: longest + 1])
    return line if len(line) <= longest else line[: longest - 1] + "…"


def describe(value: Any) -> str:
    """What was found: `-3`, `the text 'abc'`, `a list`, `true`, `nothing`."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case str():
            return f"the text {shorten(value)!r}" if value else "an empty text"
        case list():
            return "a list" if value else "an empty list"
        case dict():
            return "a mapping" if value else "an empty mapping"
        case _:
            return shorten(str(value)) if not isinstance(value, int) or value.bit_length() < 10_000 else "a huge number"


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The name that was probably meant: the only one that begins so, or one that comes close, whatever its case."""
    by_folded = {name.casefold(): name for name in names}
    folded = word[:100].casefold()
    begin = [name for name in by_folded if len(folded) > 2 and name.startswith(folded)]
    close = begin if len(begin) == 1 else get_close_matches(folded, by_folded, n=1)
    return by_folded[close[0]] if close else None


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """` (did you mean 'epochs'? there are: ...)`, to be put behind a wrong name."""
    known = list(names)
    meant = nearest(word, known)
    listed = ", ".join(known[:MOST_NAMES]) + (", ..." if len(known) > MOST_NAMES else "")
    hint = f"did you mean {meant!r}? " if meant else ""
    return f" ({hint}there are: {listed})" if known else ""


def enumerated(items: Iterable[str], conjunction: str = "and") -> str:
    """`a, b and c`."""
    *head, last = items
    return f"{', '.join(head)} {conjunction} {last}" if head else last
