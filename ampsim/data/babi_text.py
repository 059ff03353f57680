"""Reads the text of bAbI task 15: numbered lines, facts and then questions, the number going back to 1 at each story.

    1 Mice are afraid of wolves.
    2 Gertrude is a mouse.
    3 What is gertrude afraid of?<tab>wolf<tab>2 1

Nothing is forgiven: every line that is none of these, and every answer that does not follow, is told.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from ampsim.data.faults import Faults, read_lines

SINGULAR = {"mice": "mouse", "wolves": "wolf", "cats": "cat", "sheep": "sheep"}
_PLURALS, _SINGULARS = "|".join(SINGULAR), "|".join(SINGULAR.values())
_LINE = re.compile(r"([1-9][0-9]{0,8}) (.+)")
_FEAR = re.compile(rf"((?i:{_PLURALS})) are afraid of ({_PLURALS})\.")
_IS = re.compile(rf"([A-Z][a-z]*) is a ({_SINGULARS})\.")
_QUESTION = re.compile(rf"What is ([a-z]+) afraid of\?\t({_SINGULARS})\t([0-9]{{1,9}}(?: [0-9]{{1,9}})*)")


@dataclass
class Story:
    """The facts of a story, by lower-case names and singular species, and what is asked.

    `nodes` numbers everything that is named from 0, in the order of first appearance. `species` says what each
    individual is, `fears` what each species is afraid of, `questions` has the individual and the answer.
    """

    nodes: dict[str, int] = field(default_factory=dict)
    species: dict[str, str] = field(default_factory=dict)
    fears: dict[str, str] = field(default_factory=dict)
    questions: list[tuple[str, str]] = field(default_factory=list)
    facts: int = 0

    def add(self, facts: dict[str, str], what: str, other: str) -> str | None:
        """Note a fact about `what` in one of the two dictionaries; the fault, if there is one."""
        self.facts += 1
        for name in (what, other):
            self.nodes.setdefault(name, len(self.nodes))
        if what in facts:
            return f"a second fact of the kind about {what!r}, which has one already"
        facts[what] = other
        return None

    def ask(self, name: str, answer: str, support: list[int]) -> str | None:
        """Note a question; the fault, if its answer does not follow from the facts."""
        if name not in self.species:
            return f"asks about {name!r}, of whom no fact of the story says what it is"
        if self.species[name] not in self.fears:
            return f"asks about {name!r}, but no fact says what a {self.species[name]} is afraid of"
        follows = self.fears[self.species[name]]
        if follows != answer:
            return f"the answer {answer!r} does not follow from the facts, which say {follows!r}"
        if not all(1 <= fact <= self.facts for fact in support):
            return f"supporting facts {support} are not all among the story's facts, 1 to {self.facts}"
        self.questions.append((name, answer))
        return None


def read_stories(file: Path) -> list[Story]:
    """The stories of a gzip-compressed file. Raises DataError with every fault as `file:line: fault`."""
    faults = Faults(file)
    stories = list[Story]()
    expected = 1
    lines = read_lines(file)
    for number, line in enumerate(lines, start=1):
        match = _LINE.fullmatch(line)
        if not match:
            faults.add(number, f"expected a line number, a space and a sentence, found {line[:60]!r}")
            continue
        found = int(match[1])
        if found == 1:
            if stories and not stories[-1].questions:
                faults.add(number, "a new story begins, but the one before asks nothing")
            stories.append(Story())
        elif found != expected:
            faults.add(number, f"numbered {found}: expected {expected}{', or 1 for a new story' * bool(stories)}")
        expected = found + 1
        fault = _take(stories[-1], match[2]) if stories else None
        if fault:
            faults.add(number, fault)
    if stories and not stories[-1].questions:
        faults.add(len(lines), "the last story asks nothing")
    faults.raise_faults()
    return stories


def _take(story: Story, sentence: str) -> str | None:
    """Add a fact or a question to the story; the fault, if there is one."""
    if match := _QUESTION.fullmatch(sentence):
        return story.ask(match[1], match[2], [int(fact) for fact in match[3].split(" ")])
    if match := _FEAR.fullmatch(sentence):
        facts, what, other = story.fears, SINGULAR[match[1].lower()], SINGULAR[match[2]]
    elif match := _IS.fullmatch(sentence):
        facts, what, other = story.species, match[1].lower(), match[2]
    else:
        return (
            "expected '<Species> are afraid of <species>.', '<Name> is a <species>.' or 'What is <name> afraid of?"
            f"<tab><answer><tab><facts>', found {sentence[:60]!r}"
        )
    return "a fact after a question: expected all facts first" if story.questions else story.add(facts, what, other)
