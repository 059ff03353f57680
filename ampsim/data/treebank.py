"""Reads treebanks: one strictly binary tree a line, `(label left right)` or `(label word)`, label 0 to 4.

Nothing is forgiven: spaces, brackets, labels and children must be as written above, and every line that is not is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ampsim.data.faults import Faults, read_lines

CLASSES = 5
MOST_NODES = 2**16
"""Nodes that a tree may have: a node's number is a field of 16 bits."""
OPENINGS = {f"({label}": label for label in range(CLASSES)}


@dataclass(frozen=True)
class Trees:
    """Many trees, flat. Tree t has the nodes `node_start[t]:node_start[t + 1]`, and its leaves come first among them.

    A tree's nodes are numbered from 0: the k leaves from left to right, then the inner nodes in post-order, so that
    children come before their parent and the root is last. Per node: `labels`, `parent` (-1 at the root) and `side`
    (0 left child, 1 right; 0 at the root), `int64[nodes]`. `words` are those of the leaves, in order, and tree t has
    `words[leaf_start[t]:leaf_start[t + 1]]`.
    """

    labels: NDArray[np.int64]
    parent: NDArray[np.int64]
    side: NDArray[np.int64]
    words: list[str]
    node_start: NDArray[np.int64]
    leaf_start: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.node_start) - 1


class _TreeFault(Exception):
    """What is wrong with a line, and the number of the part between spaces where it shows."""

    def __init__(self, part: int, text: str) -> None:
        self.part, self.text = part, text


def read_trees(file: Path) -> Trees:
    """The trees of a gzip-compressed file. Raises DataError with every fault as `file:line: column: fault`."""
    faults = Faults(file)
    labels, parent, side, words = list[int](), list[int](), list[int](), list[str]()
    node_start, leaf_start = [0], [0]
    for number, line in enumerate(read_lines(file), start=1):
        try:
            leaf_labels, inner_labels, children = _parse(line, words)
        except _TreeFault as fault:
            column = min(sum(len(part) + 1 for part in line.split(" ")[: fault.part]), len(line)) + 1
            faults.add(number, f"column {column}: {fault.text}")
            continue
        leaves, nodes = len(leaf_labels), len(leaf_labels) + len(inner_labels)
        if nodes > MOST_NODES:
            faults.add(number, f"a tree of {nodes} nodes: expected at most {MOST_NODES}")
        labels += leaf_labels
        labels += inner_labels
        parents, sides = [-1] * nodes, [0] * nodes
        for index, child in enumerate(children):
            node = child if child >= 0 else leaves - 1 - child
            parents[node], sides[node] = leaves + index // 2, index % 2
        parent += parents
        side += sides
        node_start.append(len(labels))
        leaf_start.append(len(words))
    faults.raise_faults()
    arrays = [np.array(values, np.int64) for values in (labels, parent, side, node_start, leaf_start)]
    return Trees(arrays[0], arrays[1], arrays[2], words, arrays[3], arrays[4])


def _parse(line: str, words: list[str]) -> tuple[list[int], list[int], list[int]]:
    """Labels of the leaves, labels of the inner nodes in post-order, and the inner nodes' children, two each.

    A child is a leaf's number, or -1 less the inner node's. The line's words are appended to `words`.
    """
    leaf_labels, inner_labels, children = list[int](), list[int](), list[int]()
    found, begun = list[str](), list[list[int]]()
    for number, part in enumerate(line.split(" ")):
        if part[:1] == "(":
            if part not in OPENINGS:
                raise _TreeFault(number, f"expected a label from 0 to {CLASSES - 1} after '(', found {part[1:]!r}")
            if begun and len(begun[-1]) == 3:
                raise _TreeFault(number, "a third child: expected two children, or one word")
            if not begun and leaf_labels:
                raise _TreeFault(number, "a second tree on the line: expected one")
            begun.append([OPENINGS[part]])
            continue
        word = part.rstrip(")")
        _check_word(number, part, word, begun, bool(leaf_labels))
        leaf_labels.append(begun.pop()[0])
        found.append(word)
        child = len(found) - 1
        for _ in range(len(part) - len(word) - 1):
            if not begun:
                raise _TreeFault(number, "unbalanced: a closing bracket too many")
            begun[-1].append(child)
            if len(begun[-1]) < 3:
                raise _TreeFault(number, "a node with one child: expected two children, or one word")
            label, left, right = begun.pop()
            inner_labels.append(label)
            children += (left, right)
            child = -len(inner_labels)
        if begun:
            begun[-1].append(child)
    if begun:
        brackets = "an opening bracket is" if len(begun) == 1 else f"{len(begun)} opening brackets are"
        raise _TreeFault(number + 1, f"unbalanced: {brackets} not closed")
    words += found
    return leaf_labels, inner_labels, children


def _check_word(number: int, part: str, word: str, begun: list[list[int]], has_leaves: bool) -> None:
    """That `part`, which is no opening bracket, is a word and closing brackets where a word may stand."""
    if part.endswith("\r"):
        raise _TreeFault(number, "a carriage return at the end of the line: expected \\n alone")
    if not part:
        raise _TreeFault(number, "empty, or a space too many: expected one space between parts")
    if not begun:
        text = f"{part!r} behind the end of the tree" if has_leaves else f"expected '(' and a label, found {part!r}"
        raise _TreeFault(number, text)
    if not word:
        raise _TreeFault(number, "expected a word or a child, found ')'")
    if len(begun[-1]) > 1:
        raise _TreeFault(number, f"a word, {word!r}, beside a child: expected two children, or one word")
    if "(" in word or ")" in word:
        raise _TreeFault(number, f"a bracket inside the word {word!r}: expected -LRB- or -RRB- for one in the text")
    if word == part:
        raise _TreeFault(number, f"expected ')' after the word {word!r}: a leaf has one word")
