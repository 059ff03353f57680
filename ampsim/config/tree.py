"""YAML 1.2 text into plain values, the line of each of them, and the faults found so far.

The values are those that JSON has: dict with text keys, list, str, int, float, bool, None. What else YAML can say
(dates, tags, anchors that contain themselves) is a fault.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from ampsim.config.wording import printable, shorten
from ampsim.errors import ConfigError, Fault

MAX_BYTES = 1_000_000
MAX_VALUES = 100_000
MAX_DEPTH = 50

KeyPath = tuple[str | int, ...]

_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Place:
    """Where a value was written: `file:line`, or `--set key=value` with line 0."""

    where: str
    line: int


@dataclass
class Document:
    """A config while it is being checked: its values, where each was written, and what is wrong with them.

    `torn` has the mappings that lost an entry, because its key was faulty: what seems to be missing there may not be.
    """

    file: str
    tree: dict[str, Any] = field(default_factory=dict)
    places: dict[KeyPath, Place] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    torn: set[KeyPath] = field(default_factory=set)

    def at(self, *path: str | int) -> Any:
        """The value at a path, or None where there is none."""
        value: Any = self.tree
        for part in path:
            if not has(value, part):
                return None
            value = value[part]
        return value

    def fault(self, path: KeyPath, text: str) -> None:
        """Note a fault of the value at `path`; one that is missing is told at the line of what should hold it."""
        known = next((path[:n] for n in range(len(path), 0, -1) if path[:n] in self.places), ())
        place = self.places.get(known, Place(self.file, 0))
        self.faults.append(Fault(place.line, place.where, dotted(path), text))

    def raise_faults(self) -> None:
        """Raises ConfigError if there are any faults."""
        if self.faults:
            raise ConfigError(self.faults)


def has(value: Any, part: str | int) -> bool:
    """Whether a mapping has this key, or a list this index; a scalar has none."""
    return part in value if isinstance(value, dict) else isinstance(value, list) and part in range(len(value))


def dotted(path: KeyPath) -> str:
    """A path as `--set` takes it: `cluster.devices.d1.kind`."""
    return ".".join(shorten(str(part)) for part in path)


def read(path: Path, name: str) -> Document:
    """The document in a file, which faults call `name`.

    Raises ConfigError if there is no such file, or it is no YAML mapping; lesser faults are noted in the document.
    """
    text = _decode(_read_bytes(path, printable(name)), printable(name))
    document = Document(printable(name))
    value = _Reader(document, text).read()
    if value is None and not document.faults:
        _fail(document.file, 1, "the file is empty: expected keys such as 'name: ...'")
    if not isinstance(value, dict):
        document.raise_faults()
        _fail(document.file, document.places[()].line, "expected a mapping of keys to values ('name: ...') at the top")
    document.tree = value
    return document


def read_value(text: str, where: str) -> tuple[Any, list[Fault]]:
    """The value that a piece of YAML stands for, and its faults; `where` is told as their place."""
    document = Document(where)
    try:
        value = _Reader(document, text, where).read()
    except ConfigError as error:
        return None, error.faults
    return value, document.faults


def _read_bytes(path: Path, name: str) -> bytes:
    try:
        if path.is_dir():
            _fail(name, 0, "this is a directory: expected a YAML file")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        _fail(name, 0, "there is no such file")
    except (OSError, ValueError) as error:
        _fail(name, 0, f"cannot read the file: {getattr(error, 'strerror', None) or error}")
    if len(data) > MAX_BYTES:
        _fail(name, 0, f"the file is larger than {MAX_BYTES // 1_000_000} MB: expected a config in YAML")
    return data


def _decode(data: bytes, name: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        _fail(name, line, f"this is not a text file: byte 0x{data[error.start]:02x} is not UTF-8")
    if "\0" in text:
        _fail(name, text.count("\n", 0, text.index("\0")) + 1, "this is not a text file: it holds a NUL byte")
    return text


class _Reader:
    """Walks the nodes that ruamel composes, and turns them into values."""

    def __init__(self, document: Document, text: str, where: str | None = None) -> None:
        self._document, self._text, self._where = document, text, where
        self._scalars = SafeConstructor(loader=YAML(typ="safe", pure=True))
        self._values = 0

    def read(self) -> Any:
        """The value of the only document in the text; None if it is empty. Raises ConfigError if it isn't YAML."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an anchor defined anew is legal YAML
                node = YAML(typ="safe", pure=True).compose(self._text)
            return None if node is None else self._value(node, (), ())
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self._give_up(mark.line + 1 if mark else 1, f"not YAML: {_problem(error)}")
        except ReaderError as error:
            line = self._text.count("\n", 0, error.position) + 1
            self._give_up(line, f"not YAML: the character {chr(error.character)!r} is not allowed")
        except YAMLError as error:
            self._give_up(1, f"not YAML: {shorten(' '.join(str(error).split()), 100)}")
        except RecursionError:
            self._give_up(1, f"nested more than {MAX_DEPTH} deep")

    def _value(self, node: Node, path: KeyPath, above: tuple[Node, ...]) -> Any:
        line = node.start_mark.line + 1
        self._document.places.setdefault(path, self._place(line))
        self._values += 1
        if self._values > MAX_VALUES:
            self._give_up(line, f"more than {MAX_VALUES:,} values, counting those that aliases repeat")
        if any(node is parent for parent in above):
            self._give_up(line, "an alias stands inside what it stands for")
        if len(above) >= MAX_DEPTH:
            self._give_up(line, f"nested more than {MAX_DEPTH} deep")
        match node:
            case MappingNode() if node.tag == f"{_TAG}map":
                return dict(self._items(node, path, (*above, node)))
            case SequenceNode() if node.tag == f"{_TAG}seq":
                return [self._value(item, (*path, i), (*above, node)) for i, item in enumerate(node.value)]
            case ScalarNode():
                return self._scalar(node, path)
        self._refuse_tag(node, path)
        return None

    def _items(self, mapping: MappingNode, path: KeyPath, above: tuple[Node, ...]) -> Iterator[tuple[str, Any]]:
        first: dict[str, int] = {}
        for key, value in mapping.value:
            line = key.start_mark.line + 1
            if not isinstance(key, ScalarNode) or key.tag not in (f"{_TAG}str", f"{_TAG}merge"):
                found = repr(shorten(key.value)) if isinstance(key, ScalarNode) else "a list or mapping"
                self._note(line, path, f"expected a text as key, found {found} (put it in quotes)")
                self._document.torn.add(path)
            elif key.value in first:
                self._note(line, (*path, key.value), f"duplicate key, first on line {first[key.value]}")
                self._document.torn.add(path)
            else:
                first[key.value] = line
                inner = (*path, key.value)
                self._document.places[inner] = self._place(line)
                yield key.value, self._value(value, inner, above)

    def _scalar(self, node: ScalarNode, path: KeyPath) -> Any:
        text, kind = str(node.value), str(node.tag).removeprefix(_TAG)
        if kind == "timestamp":
            self._note(
                node.start_mark.line + 1, path, f"expected a text or a number, found the date {text} (put it in quotes)"
            )
            return text
        convert = {
            "null": lambda _: None,
            "bool": self._scalars.construct_yaml_bool,
            "int": self._scalars.construct_yaml_int,
            "float": self._scalars.construct_yaml_float,
            "str": self._text_of,
        }.get(kind)
        if convert is None:
            self._refuse_tag(node, path)
            return text
        try:
            return convert(node)
        except (ValueError, LookupError, OverflowError):
            return text  # what only looks like a number is a text

    def _text_of(self, node: ScalarNode) -> str:
        # A lone half of a surrogate pair can be written as an escape, but is no character.
        return str(node.value).encode("utf-8", "replace").decode()

    def _refuse_tag(self, node: Node, path: KeyPath) -> None:
        tag = shorten(str(node.tag).replace(_TAG, "!!"))
        self._note(node.start_mark.line + 1, path, f"the tag {tag!r} is not allowed: expected a plain value")

    def _place(self, line: int) -> Place:
        return Place(self._where, 0) if self._where else Place(f"{self._document.file}:{line}", line)

    def _note(self, line: int, path: KeyPath, text: str) -> None:
        place = self._place(line)
        self._document.faults.append(Fault(place.line, place.where, dotted(path), text))

    def _give_up(self, line: int, text: str) -> NoReturn:
        place = self._place(line)
        raise ConfigError([*self._document.faults, Fault(place.line, place.where, "", text)])


# What the parser calls things, and what a person does.
_PLAIN_WORDS = {
    "<block end>": "a line at the same indentation",
    "'<stream end>'": "the end of the text",
    "'<scalar>'": "a text",
    "'<block mapping start>'": "a key further in",
    "'<block sequence start>'": "an item further in",
    "mapping values are not allowed here": "a second ': ' in a line, or a key at the wrong indentation",
}


def _problem(error: MarkedYAMLError) -> str:
    problem = " ".join(str(error.problem or error.context).split())
    for theirs, ours in _PLAIN_WORDS.items():
        problem = problem.replace(theirs, ours)
    mark, start = error.problem_mark, error.context_mark
    if error.problem == "but found another document":
        return "a second document begins here, expected one ('---' stands between documents)"
    if "'\\t'" in problem:
        return f"{problem} (indent with spaces, not with tabs)"
    if start is not None and mark is not None and start.line != mark.line:
        return f"{problem} ({' '.join(str(error.context).split())} that starts on line {start.line + 1})"
    return problem


def _fail(name: str, line: int, text: str) -> NoReturn:
    where = f"{name}:{line}" if line else name
    raise ConfigError([Fault(line, where, "", text)])
