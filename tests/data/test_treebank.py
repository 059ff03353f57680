from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampsim.data.treebank import read_trees
from ampsim.errors import DataError

words = st.text(st.characters(codec="utf-8", exclude_characters="() \n\r"), min_size=1, max_size=8)
labels = st.integers(0, 4)
trees = st.recursive(
    st.tuples(labels, words), lambda children: st.tuples(labels, children, children), max_leaves=12
).filter(lambda tree: len(tree) == 3)


def written(tree):
    return f"({tree[0]} {' '.join(part if isinstance(part, str) else written(part) for part in tree[1:])})"


def numbered(tree):
    """What is promised of a tree, worked out slowly: words, labels, parents and sides by node."""
    leaves, inner = [], []

    def walk(node):
        if len(node) == 2:
            leaves.append(node)
        else:
            walk(node[1])
            walk(node[2])
            inner.append(node)

    walk(tree)
    nodes = leaves + inner
    number = {id(node): index for index, node in enumerate(nodes)}
    parent, side = [-1] * len(nodes), [0] * len(nodes)
    for node in inner:
        for which, child in enumerate(node[1:]):
            parent[number[id(child)]], side[number[id(child)]] = number[id(node)], which
    return [leaf[1] for leaf in leaves], [node[0] for node in nodes], parent, side


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("trees")


def parse(folder, lines):
    file = folder / "some.txt.gz"
    file.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode(), compresslevel=1))
    return read_trees(file)


@given(st.lists(trees, min_size=1, max_size=4))
def test_leaves_come_first_then_inner_nodes_in_post_order_and_the_root_last(folder, drawn):
    drawn = [list_tree(tree) for tree in drawn]
    found = parse(folder, [written(tree) for tree in drawn])
    assert len(found) == len(drawn)
    for index, tree in enumerate(drawn):
        nodes = slice(*found.node_start[index : index + 2])
        leaves = slice(*found.leaf_start[index : index + 2])
        expected = numbered(tree)
        assert found.words[leaves] == expected[0]
        assert found.labels[nodes].tolist() == expected[1]
        assert found.parent[nodes].tolist() == expected[2]
        assert found.side[nodes].tolist() == expected[3]
        assert found.parent[nodes][-1] == -1


def list_tree(tree):
    return [tree[0], *(part if isinstance(part, str) else list_tree(part) for part in tree[1:])]


@given(trees, st.data())
def test_a_line_with_one_bracket_or_space_more_or_less_is_refused(folder, tree, data):
    line = written(tree)
    places = [place for place, character in enumerate(line) if character in "() "]
    place = data.draw(st.sampled_from(places))
    more = data.draw(st.booleans())
    wrong = line[:place] + (line[place] * 2 if more else "") + line[place + 1 :]
    with pytest.raises(DataError, match=r"some\.txt\.gz:1: column \d+: "):
        parse(folder, [wrong])


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("(2 (2 a) (2 b)", "column 15: unbalanced: an opening bracket is not closed"),
        ("(2 (2 (2 a", "column 10: expected ')' after the word 'a': a leaf has one word"),
        ("(2 (2 (2 a)", "column 12: unbalanced: 2 opening brackets are not closed"),
        ("(2 (2 a) (2 b)))", "column 13: unbalanced: a closing bracket too many"),
        ("(5 (2 a) (2 b))", "column 1: expected a label from 0 to 4 after '(', found '5'"),
        ("(2 (-1 a) (2 b))", "column 4: expected a label from 0 to 4 after '(', found '-1'"),
        ("(2 (2 a) (12 b))", "column 10: expected a label from 0 to 4 after '(', found '12'"),
        ("(2 (x a) (2 b))", "column 4: expected a label from 0 to 4 after '(', found 'x'"),
        ("(2 ( a) (2 b))", "column 4: expected a label from 0 to 4 after '(', found ''"),
        ("(2(2 a) (2 b))", "column 1: expected a label from 0 to 4 after '(', found '2(2'"),
        ("(2 (2 a) (2 b) (2 c))", "column 16: a third child: expected two children, or one word"),
        ("(2 (2 a))", "column 7: a node with one child: expected two children, or one word"),
        ("(2 (2 a b) (2 c))", "column 7: expected ')' after the word 'a': a leaf has one word"),
        ("(2 (2 a) b)", "column 10: a word, 'b', beside a child: expected two children, or one word"),
        ("(2 )", "column 4: expected a word or a child, found ')'"),
        ("(2 (2 a) (2 b)) (2 c)", "column 17: a second tree on the line: expected one"),
        ("(2 (2 a) (2 b)) c", "column 17: 'c' behind the end of the tree"),
        ("a (2 b)", "column 1: expected '(' and a label, found 'a'"),
        ("", "column 1: empty, or a space too many: expected one space between parts"),
        ("(2  (2 a) (2 b))", "column 4: empty, or a space too many: expected one space between parts"),
        ("(2 (2 a) (2 b)) ", "column 17: empty, or a space too many: expected one space between parts"),
        ("(2 (2 a)b) (2 c))", "column 7: a bracket inside the word 'a)b': expected -LRB- or -RRB- for one in the text"),
        ("(2 (2 a(b) (2 c))", "column 7: a bracket inside the word 'a(b': expected -LRB- or -RRB- for one in the text"),
        ("(2 (2 a) (2 b))\r", "column 13: a carriage return at the end of the line: expected \\n alone"),
    ],
)
def test_a_malformed_tree_is_named_with_line_and_column(folder, line, fault):
    with pytest.raises(DataError) as error:
        parse(folder, ["(2 (2 a) (2 b))", line])
    assert str(error.value) == f"{folder / 'some.txt.gz'}:2: {fault}"


def test_all_faults_of_a_file_are_told_and_many_are_counted(folder):
    with pytest.raises(DataError) as error:
        parse(folder, ["(2 (2 a) (2 b))", "(9 a)", "(2 b)", "(2 a b)"])
    assert [line.split(":")[1] for line in str(error.value).splitlines()] == ["2", "4"]
    with pytest.raises(DataError) as error:
        parse(folder, ["(9 a)"] * 25)
    lines = str(error.value).splitlines()
    assert len(lines) == 21
    assert lines[-1].endswith("and 5 more faults")


def test_a_word_may_hold_a_no_break_space(folder):
    found = parse(folder, ["(2 (2 8\u00a01\\/2) (2 -LRB-))"])
    assert found.words == ["8\u00a01\\/2", "-LRB-"]


def test_a_tree_with_more_nodes_than_a_state_can_number_is_refused(folder):
    deep = "(2 (2 a) " * 33_000 + "(2 b)" + ")" * 33_000
    with pytest.raises(DataError, match=r":1: a tree of 66001 nodes: expected at most 65536"):
        parse(folder, [deep])


def test_a_file_that_is_empty_damaged_or_not_text_is_refused(tmp_path, zipped):
    whole = gzip.compress(b"(2 (2 a) (2 b))\n" * 100)
    for content, fault in (
        (gzip.compress(b""), "the file is empty"),
        (whole[:-9], "damaged, or not compressed by gzip"),
        (whole[:20] + b"?" + whole[21:], "damaged, or not compressed by gzip"),
        (b"(2 (2 a) (2 b))\n", "damaged, or not compressed by gzip"),
        (b"", "the file is empty"),
    ):
        file = tmp_path / "x.txt.gz"
        file.write_bytes(content)
        with pytest.raises(DataError, match=fault) as error:
            read_trees(file)
        assert str(file) in str(error.value)
    with pytest.raises(DataError, match=r"x\.txt\.gz: cannot be read: No such file or directory"):
        read_trees(tmp_path / "none" / "x.txt.gz")
    with pytest.raises(DataError, match=r"some\.txt\.gz:2: not UTF-8: byte 0xff"):
        read_trees(zipped(b"(2 (2 a) (2 b))\n(2 (2 a) (2 \xff))\n"))
