"""What the builder finds wrong with loops, branches and joins: each rule alone, and all of them together."""

from __future__ import annotations

import re

import numpy as np
import pytest

from ampsim.errors import GraphError
from ampsim.ir.builder import GraphBuilder
from ampsim.ops import ArraySpec

INPUTS = {"x": ArraySpec((3,)), "y": ArraySpec((3,))}
SPARE = {"spare": ArraySpec((3,))}


def branch(states, structure):
    return states[:, 1] > 3


def member(states, structure):
    return np.column_stack([states, np.zeros_like(states)])


def children(states, structure):
    return np.arange(len(states)), states


def row_state(states, places):
    return states


def looped(builder, wire, name="loop"):
    """A loop that is as it should be: three times round, then out."""
    loop = builder.phi(name, wire, loops=1)
    again, done = builder.cond(f"{name}-leave", builder.count_up(f"{name}-step", loop, "t"), 2, branch)
    builder.back(loop, builder.transform(f"{name}-linear", "linear", again, units=3))
    return done


def end(builder, wire, name="loss"):
    builder.loss(name, "squared_error", wire, builder.input("y"))


def problems_of(build, inputs=INPUTS):
    """All problems of what `build(builder, x)` adds to a builder, as the error tells them."""
    builder = GraphBuilder(inputs, {"t": 8})
    build(builder, builder.input("x"))
    with pytest.raises(GraphError) as raised:
        builder.graph()
    assert str(raised.value) == "\n".join(raised.value.problems)
    return raised.value.problems


def built(build, inputs=INPUTS):
    builder = GraphBuilder(inputs, {"t": 8})
    build(builder, builder.input("x"))
    return builder.graph()


def phi_of_one(builder, x):
    end(builder, builder.phi("join", x))


def phi_of_none(builder, x):
    builder.phi("join")
    end(builder, x)


def cond_of_one(builder, x):
    end(builder, *builder.cond("choose", x, 1, branch))


def bcast_to_none(builder, x):
    builder.bcast("copy", builder.input("spare"), 0)
    end(builder, x)


def open_loop(builder, x):
    loop = builder.phi("loop", x, loops=2)
    again, done = builder.cond("leave", loop, 2, branch)
    builder.back(loop, again)
    end(builder, done)


def back_without_an_open_input(builder, x):
    done = looped(builder, x)
    again, done = builder.cond("more", done, 2, branch)
    loop = builder.phi("second", done, builder.input("spare"))
    builder.back(loop, again)
    end(builder, loop)


def back_to_no_phi(builder, x):
    relu = builder.transform("relu", "relu", x)
    again, done = builder.cond("more", relu, 2, branch)
    builder.back(relu, again)
    end(builder, done)


def endless(builder, x):
    first, second = builder.bcast("copy", x, 2)
    loop = builder.phi("loop", first, loops=1)
    builder.back(loop, builder.count_up("step", loop, "t"))
    end(builder, second)


def cond_in_the_loop_that_cannot_leave(builder, x):
    first, second = builder.bcast("copy", x, 2)
    loop = builder.phi("loop", first, loops=2)
    one, other = builder.cond("choose", loop, 2, branch)
    builder.back(loop, one)
    builder.back(loop, builder.count_up("step", other, "t"))
    end(builder, second)


def cond_beside_the_way_round(builder, x):
    loop = builder.phi("loop", x, loops=2)
    here, there = builder.bcast("copy", loop, 2)
    builder.back(loop, here)
    again, done = builder.cond("leave", there, 2, branch)
    builder.back(loop, again)
    end(builder, done)


def phi_of_two_widths(builder, x):
    narrow = builder.transform("narrow", "linear", builder.input("spare"), units=2)
    end(builder, builder.phi("join", x, narrow))


def edge_back_of_another_width(builder, x):
    loop = builder.phi("loop", x, loops=1)
    again, done = builder.cond("leave", loop, 2, branch)
    builder.back(loop, builder.transform("wide", "linear", again, units=4))
    end(builder, done)


def unknown_field(builder, x):
    end(builder, builder.count_up("step", x, "tt"))


def the_instance_counted_up(builder, x):
    end(builder, builder.count_up("step", x, "instance"))


def branch_that_goes_nowhere(builder, x):
    done, _ = builder.cond("choose", x, 2, branch)
    end(builder, done)


def wire_read_twice(builder, x):
    group = builder.group("group", x, member)
    both = builder.transform("both", "concat", group, builder.flatmap("flatmap", group, children))
    end(builder, builder.transform("linear", "linear", both, units=3))


ALONE = [
    (phi_of_one, r"join: a Phi joins at least two edges, this one has 1"),
    (cond_of_one, r"choose: a Cond chooses between at least two successors, this one has 1"),
    (bcast_to_none, r"copy: a Bcast sends to at least one successor, this one has 0"),
    (open_loop, r"loop: 1 of its inputs are open: connect them with back\(...\)"),
    (endless, r"loop: a message that enters this loop can never leave it: put a cond into it"),
    (cond_in_the_loop_that_cannot_leave, r"loop: a message that enters this loop can never leave it: .*"),
    (cond_beside_the_way_round, r"loop: a message that enters this loop can never leave it: .*"),
    (phi_of_two_widths, r"join: narrow brings float32\[rows, 2\], its other input float32\[rows, 3\]"),
    (edge_back_of_another_width, r"loop: wide brings float32\[rows, 4\], its other input float32\[rows, 3\]"),
    (unknown_field, r"step: states have no field 'tt' \(did you mean 't'\? there are: t\)"),
    (the_instance_counted_up, r"step: states have no field 'instance' \(there are: t\)"),
    (branch_that_goes_nowhere, r"choose \(output 1\) goes nowhere: connect it, or leave it out"),
]


@pytest.mark.parametrize(("build", "problem"), ALONE, ids=[build.__name__ for build, _ in ALONE])
def test_each_fault_alone_is_the_only_problem_told(build, problem):
    spare = {bcast_to_none, phi_of_two_widths}
    (found,) = problems_of(build, INPUTS | SPARE if build in spare else INPUTS)
    assert re.fullmatch(problem, found)


def test_a_phi_of_nothing_is_told():
    assert "join: a Phi joins at least two edges, this one has 0" in problems_of(phi_of_none)


def test_an_edge_back_to_a_phi_that_has_no_open_input_is_told_with_the_cure():
    found = problems_of(back_without_an_open_input, INPUTS | SPARE)
    assert "second: has no open input left for an edge from more: give a phi loops=..., and a loop one edge" in found


def test_an_edge_back_to_a_node_that_is_no_phi_is_told():
    told = "relu: has no open input left for an edge from more: give a phi loops=..., and a loop one edge"
    assert told in problems_of(back_to_no_phi)


def test_a_group_whose_output_two_nodes_read_is_told_with_both():
    (read_twice,) = problems_of(wire_read_twice)
    assert read_twice.startswith("group goes to flatmap and both, but an output leads to exactly one input")


def test_a_node_that_is_broken_inside_a_loop_is_told_and_the_loop_is_not():
    def build(builder, x):
        loop = builder.phi("loop", x, loops=1)
        broken = builder.transform("broken", "relo", loop)
        again, done = builder.cond("leave", broken, 2, branch)
        builder.back(loop, again)
        end(builder, done)

    (problem,) = problems_of(build)
    assert problem.startswith("broken: there is no op 'relo' (did you mean 'relu'?")


def test_a_graph_with_every_fault_tells_all_of_them_at_once():
    inputs = {name: ArraySpec((3,)) for name in ("x", "y", *"abcdefgh")}

    def build(builder, x):
        builder.phi("lonely", builder.input("a"))
        builder.cond("narrow", builder.input("b"), 1, branch)
        builder.bcast("mute", builder.input("c"), 0)
        builder.phi("open", builder.input("d"), loops=1)
        loop = builder.phi("forever", builder.input("e"), loops=1)
        builder.back(loop, builder.count_up("step", loop, "t"))
        builder.phi("mixed", builder.input("f"), builder.transform("wide", "linear", builder.input("g"), units=4))
        builder.count_up("clock", builder.input("h"), "time")
        builder.back(loop, builder.transform("relu", "relu", x))

    problems = problems_of(build, inputs)
    rules = [
        "lonely: a Phi joins at least two edges",
        "narrow: a Cond chooses between at least two successors",
        "mute: a Bcast sends to at least one successor",
        "open: 1 of its inputs are open",
        "forever: a message that enters this loop can never leave it",
        "mixed: wide brings float32[rows, 4]",
        "clock: states have no field 'time'",
        "forever: has no open input left for an edge from relu",
        "input 'y' goes nowhere",
        "lonely goes nowhere",
        "narrow goes nowhere",
        "open goes nowhere",
        "mixed goes nowhere",
    ]
    for rule in rules:
        assert len([problem for problem in problems if problem.startswith(rule)]) == 1, rule
    # And nothing else but the edges that were not made because of them.
    assert [problem for problem in problems if not problem.startswith(tuple(rules))] == [
        "input 'h' goes nowhere: connect it, or leave it out",
        "relu goes nowhere: connect it, or leave it out",
    ]


def test_a_loop_with_a_way_out_is_a_graph():
    graph = built(lambda builder, x: end(builder, looped(builder, x)))
    assert list(graph.nodes) == ["loop", "loop-step", "loop-leave", "loop-linear", "loss"]
    # The input has no parameters before it, the edge back has.
    assert graph.nodes["loop"].wanted == (False, True)


def test_loops_may_follow_each_other_and_lie_inside_each_other():
    def build(builder, x):
        outer = builder.phi("outer", looped(builder, x, "before"), loops=1)
        again, done = builder.cond("leave", looped(builder, outer, "inner"), 2, branch)
        builder.back(outer, again)
        end(builder, done)

    assert set(built(build).nodes) >= {"before", "outer", "inner"}


def test_an_inner_loop_without_a_way_out_is_told_though_the_outer_has_one():
    def build(builder, x):
        outer = builder.phi("outer", x, loops=1)
        again, done = builder.cond("leave", outer, 2, branch)
        first, second = builder.bcast("copy", again, 2)
        builder.back(outer, first)
        inner = builder.phi("inner", second, loops=1)
        builder.back(inner, builder.count_up("step", inner, "t"))
        end(builder, done)

    assert problems_of(build) == ["inner: a message that enters this loop can never leave it: put a cond into it"]


def test_an_edge_back_without_parameters_before_it_wants_no_gradient():
    def build(builder, x):
        loop = builder.phi("join", builder.transform("linear", "linear", x, units=3), loops=1)
        builder.back(loop, builder.input("spare"))
        end(builder, loop)

    assert built(build, INPUTS | SPARE).nodes["join"].wanted == (True, False)


def test_only_the_nodes_that_look_at_the_structure_ask_for_it():
    def build(builder, x):
        wire = builder.ungroup(
            "ungroup", builder.group("group", builder.flatmap("flatmap", x, children), member), row_state
        )
        plain = builder.phi("plain", *builder.cond("by-state", wire, 2, branch))
        end(builder, builder.phi("both", *builder.cond("by-structure", plain, 2, branch, structured=True)))

    nodes = built(build).nodes
    assert {name for name, spec in nodes.items() if spec.needs_structure} == {"group", "flatmap", "by-structure"}


def test_an_isu_cannot_be_made_without_its_inverse():
    builder = GraphBuilder(INPUTS, {"t": 8})
    with pytest.raises(TypeError, match="inverse"):
        builder.isu("step", builder.input("x"), lambda states: states)


STEP = np.array([0, 1])


@pytest.mark.parametrize(
    ("update", "inverse", "message"),
    [
        (
            lambda s: s + STEP,
            lambda s: s + STEP,
            r"inverse does not undo update: the state \[1, 1\] does not come back",
        ),
        (lambda s: s // (STEP + 1), lambda s: s * (STEP + 1), "inverse does not undo update"),
        (lambda s: s + 1, lambda s: s - 1, "of the same instance"),
        (lambda s: s[:1], lambda s: s, "a state for each state"),
        (lambda s: s.nonsense, lambda s: s, r"raised AttributeError"),
        (lambda s: s, None, "inverse must be a function, not None"),
    ],
)
def test_an_isu_whose_inverse_does_not_undo_it_is_told(update, inverse, message):
    (problem,) = problems_of(lambda builder, x: end(builder, builder.isu("step", x, update, inverse)))
    assert re.match(f"step: .*{message}", problem)


def test_every_control_node_needs_its_functions():
    def build(builder, x):
        wire = builder.group("group", builder.flatmap("flatmap", x, children=None), member=None)
        ways = builder.cond("cond", builder.ungroup("ungroup", wire, row_state=7), 2, select="t")
        end(builder, builder.phi("phi", *ways))

    assert sorted(problems_of(build)) == [
        "cond: select must be a function, not 't'",
        "flatmap: children must be a function, not None",
        "group: member must be a function, not None",
        "ungroup: row_state must be a function, not 7",
    ]
