from __future__ import annotations

import gzip
import re
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampsim.data import babi15
from ampsim.data.babi15 import FEAR, FEAR_REVERSED, IS, IS_REVERSED, TEST_FILE, TRAIN_FILE, Babi15
from ampsim.data.babi_text import read_stories
from ampsim.errors import DataError

STORY = [
    "1 Mice are afraid of wolves.",
    "2 Gertrude is a mouse.",
    "3 Wolves are afraid of cats.",
    "4 What is gertrude afraid of?\twolf\t2 1",
]


@pytest.fixture(scope="module")
def data():
    return Babi15(0)


@pytest.mark.parametrize(
    ("file", "stories", "answers"),
    [
        (TRAIN_FILE, 2500, {"wolf": 2383, "mouse": 2540, "cat": 2615, "sheep": 2462}),
        (TEST_FILE, 250, {"wolf": 341, "mouse": 239, "cat": 213, "sheep": 207}),
    ],
)
def test_the_text_that_ships_is_whole(file, stories, answers):
    found = read_stories(file)
    assert len(found) == stories
    assert {(story.facts, len(story.questions), len(story.nodes)) for story in found} == {(8, 4, 8)}
    assert Counter(answer for story in found for _, answer in story.questions) == answers


def test_the_licence_ships_with_the_text():
    text = TRAIN_FILE.with_name("babi15-licence.txt").read_text()
    assert "bAbI tasks data" in text
    assert "Attribution 3.0" in text


def test_every_answer_is_reached_by_is_and_then_fear(data):
    for split in ("train", "validation", "test"):
        for instance in data.instances(split, 1):
            structure, annotation, answer = (
                instance.structure,
                *(instance.inputs[name].arrays[0] for name in ("annotation", "answer")),
            )
            (n,) = structure["nodes"].tolist()
            edges = list(zip(*(structure[name].tolist() for name in ("source", "type", "target")), strict=True))
            follow = {(source, kind): target for source, kind, target in edges if kind in (IS, FEAR)}
            assert annotation.sum() == answer.sum() == 1
            asked = int(annotation[:, 0].argmax())
            assert follow[follow[asked, IS], FEAR] == answer.argmax()
            assert len(annotation) == len(answer) == n == 8
            assert edges == sorted(set(edges))
            assert Counter(kind for _, kind, _ in edges) == {IS: 4, FEAR: 4, IS_REVERSED: 4, FEAR_REVERSED: 4}
            assert {(target, kind ^ 2, source) for source, kind, target in edges} == set(edges)
            assert set(structure["target"].tolist()) == set(range(n))


def test_nodes_are_numbered_by_first_appearance(monkeypatch, zipped):
    monkeypatch.setattr(babi15, "TEST_FILE", zipped(STORY))
    (instance,) = Babi15(0).instances("test", 1)
    # mouse 0, wolf 1, gertrude 2, cat 3
    assert instance.inputs["annotation"].arrays[0].tolist() == [[0], [0], [1], [0]]
    assert instance.inputs["annotation"].fields.tolist() == [[0, 0], [0, 1], [0, 2], [0, 3]]
    assert instance.inputs["answer"].arrays[0].tolist() == [0, 1, 0, 0]
    assert instance.inputs["answer"].fields.tolist() == [[0, 0]]
    edges = zip(*(instance.structure[name].tolist() for name in ("source", "type", "target")), strict=True)
    assert list(edges) == [(0, 1, 1), (0, 2, 2), (1, 1, 3), (1, 3, 0), (2, 0, 0), (3, 3, 1)]


def test_validation_questions_are_whole_stories_drawn_by_the_seed():
    stories = {}
    for seed in (0, 1):
        data = Babi15(seed, validation=998)
        assert {split: sizes.examples for split, sizes in data.splits.items()} == {
            "train": 9000,
            "validation": 1000,
            "test": 1000,
        }
        held_out = [instance.structure for instance in data.instances("validation", 1)]
        assert all(len({id(structure) for structure in held_out[at : at + 4]}) == 1 for at in range(0, 1000, 4))
        in_training = {id(instance.structure) for instance in data.instances("train", 1)}
        assert not in_training & {id(structure) for structure in held_out}
        stories[seed] = b"".join(structure["target"].tobytes() for structure in held_out)
    assert stories[0] != stories[1]


def test_a_validation_set_that_leaves_nothing_to_train_on_is_refused():
    with pytest.raises(DataError, match=r"data\.validation: 10000 of the 10000 training questions leave none"):
        _ = Babi15(0, validation=10_000).splits


@pytest.mark.parametrize(
    ("line", "text", "fault"),
    [
        (1, "Mice are afraid of wolves.", "expected a line number, a space and a sentence, found 'Mice are"),
        (2, "", "expected a line number, a space and a sentence, found ''"),
        (2, "3 Gertrude is a mouse.", "numbered 3: expected 2, or 1 for a new story"),
        (1, "2 Mice are afraid of wolves.", "numbered 2: expected 1"),
        (2, "2 Gertrude is a dog.", "found 'Gertrude is a dog.'"),
        (2, "2 Gertrude is a mouse", "found 'Gertrude is a mouse'"),
        (2, "2 Gertrude  is a mouse.", "found 'Gertrude  is a mouse.'"),
        (1, "1 Mice are afraid of wolf.", "found 'Mice are afraid of wolf.'"),
        (3, "3 Mice are afraid of cats.", "a second fact of the kind about 'mouse', which has one already"),
        (3, "3 Gertrude is a cat.", "a second fact of the kind about 'gertrude', which has one already"),
        (4, "4 What is gertrude afraid of? wolf 2 1", "expected '<Species> are afraid of"),
        (
            4,
            "4 What is gertrude afraid of?\tcat\t2 1",
            "the answer 'cat' does not follow from the facts, which say 'wolf'",
        ),
        (
            4,
            "4 What is emily afraid of?\twolf\t2 1",
            "asks about 'emily', of whom no fact of the story says what it is",
        ),
        (
            4,
            "4 What is gertrude afraid of?\twolf\t2 9",
            "supporting facts [2, 9] are not all among the story's facts, 1 to 3",
        ),
        (4, "4 What is gertrude afraid of?\twolf\t0", "supporting facts [0] are not all among"),
        (1, "1 Sheep are afraid of wolves.", "but no fact says what a mouse is afraid of"),
        (4, "4 Emily is a wolf.", "the last story asks nothing"),
        (4, "1 Emily is a wolf.", "a new story begins, but the one before asks nothing"),
    ],
)
def test_a_malformed_line_is_named(zipped, line, text, fault):
    file = zipped([text if number == line else good for number, good in enumerate(STORY, start=1)])
    with pytest.raises(DataError) as error:
        read_stories(file)
    assert str(error.value).startswith(f"{file}:")
    assert fault in str(error.value)
    numbers = [int(number) for number in re.findall(rf"{re.escape(str(file))}:(\d+): ", str(error.value))]
    assert numbers == sorted(numbers)
    assert line in numbers or set(numbers) == {4}


def test_a_fact_after_a_question_is_refused(zipped):
    with pytest.raises(DataError, match=r":5: a fact after a question: expected all facts first"):
        read_stories(zipped([*STORY, "5 Emily is a wolf."]))


@given(st.data())
def test_no_character_may_be_missing(tmp_path_factory, data):
    lines = [*STORY, *STORY]
    number = data.draw(st.integers(0, len(lines) - 1))
    # A name may be any word, and so may be a shorter one; a question's line must then say another than the fact.
    place = data.draw(st.integers(0, len(lines[number]) - 1))
    lines[number] = lines[number][:place] + lines[number][place + 1 :]
    if re.fullmatch(r"4 What is gertrude afraid of\?\twolf\t[12 ]*[12]", lines[number]):
        return
    file = tmp_path_factory.mktemp("babi") / "x.txt.gz"
    file.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))
    with pytest.raises(DataError):
        read_stories(file)


def test_questions_of_a_story_share_its_structure(data):
    structures = [instance.structure for instance in data.instances("validation", 1)]
    assert sum(a is not b for a, b in pairwise(structures)) == 249


def test_numbers_without_end_are_a_fault_of_their_line(zipped):
    for line in (f"{'1' * 5000} Mice are afraid of wolves.", f"1 What is emily afraid of?\twolf\t{'2' * 5000}"):
        with pytest.raises(DataError, match=r"some\.txt\.gz:1: expected"):
            read_stories(zipped([line]))
