"""The multilayer perceptron: linear layers with ReLU between them, and a softmax at the end."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Annotated

from annotated_types import Gt, MinLen

from ampsim.data.dataset import DataSpec
from ampsim.ir.builder import GraphBuilder, Wire
from ampsim.ir.graph import Graph
from ampsim.ops.linear import block_of_linear

Units = Annotated[int, Gt(0)]
Blocks = Annotated[list[Units], MinLen(1)]


def mlp(data: DataSpec, *, hidden: Annotated[list[Units | Blocks], MinLen(1)] = [784, 784, 784]) -> Graph:  # noqa: B006 (read only; the default is shown in the schema)
    """A perceptron for `image float32[rows, pixels]` and `label int64[rows]` (paper, MNIST workload).

    `hidden` has the units of each hidden layer, or a list of blocks of them, which different devices can host. Nodes:
    linear1, relu1, linear2, ..., and loss; of a layer in blocks, linear1_0, linear1_1, relu1_0, relu1_1, and of the
    layer above it linear2_0, linear2_1, a part of its sum over the inputs each, which linear2_sum adds up. It is the
    same model: blocks draw the weights that the whole layer would have.
    """
    graph = GraphBuilder(data.inputs)
    parts: Sequence[Wire] = [graph.input("image")]
    widths = [0]
    for layer, units in enumerate(hidden, start=1):
        blocks = units if isinstance(units, list) else [units]
        parts = _linear(graph, f"linear{layer}", parts, widths, blocks)
        names = [f"relu{layer}_{block}" for block in range(len(parts))] if len(parts) > 1 else [f"relu{layer}"]
        parts = [graph.transform(name, "relu", part) for name, part in zip(names, parts, strict=True)]
        widths = blocks
    (logits,) = _linear(graph, f"linear{len(hidden) + 1}", parts, widths, [data.classes])
    graph.loss("loss", "softmax_cross_entropy", logits, graph.input("label"))
    return graph.graph()


def _linear(
    graph: GraphBuilder, name: str, parts: Sequence[Wire], widths: Sequence[int], blocks: Sequence[int]
) -> Sequence[Wire]:
    """A linear layer of inputs that come in `parts`, so many in each, with a wire for each of its blocks of units."""
    units = sum(blocks)
    if len(parts) > 1:
        firsts = accumulate(widths, initial=0)
        sums = [
            graph.transform(
                f"{name}_{number}",
                block_of_linear((first, 0), inputs=sum(widths)),
                part,
                draws_as=name,
                units=units,
                bias=number == 0,
            )
            for number, (part, first) in enumerate(zip(parts, firsts, strict=False))
        ]
        whole = graph.transform(f"{name}_sum", "add", *sums)
        return graph.split(f"{name}_split", whole, *blocks) if len(blocks) > 1 else [whole]
    if len(blocks) == 1:
        return [graph.transform(name, "linear", parts[0], units=units)]
    ways = graph.bcast(f"{name}_bcast", parts[0], len(blocks))
    firsts = accumulate(blocks, initial=0)
    return [
        graph.transform(f"{name}_{number}", block_of_linear((0, first), units=units), way, draws_as=name, units=block)
        for number, (way, block, first) in enumerate(zip(ways, blocks, firsts, strict=False))
    ]
