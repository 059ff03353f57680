"""The five models in PyTorch: a loss of the instances of one update, batched by hand, and of one instance alone.

Each is given the parameters by `node.parameter`, shaped as this runtime has them. A loss is the sum over the messages
of an instance of the mean over their rows, as this runtime takes it; `rows` is what its mean is taken over when told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from batching import Tree, disjoint_graph, forest, starts
from torch import Tensor
from torch.nn.functional import cross_entropy, embedding, pad

from ampsim.data.dataset import Instance

Parameters = Mapping[str, Tensor]


class Loss(NamedTuple):
    """`objective` is what is differentiated, `total` the sum over `rows` of what is told, `metric` likewise."""

    objective: Tensor
    total: Tensor
    metric: Tensor
    rows: int


def affine(p: Parameters, name: str, x: Tensor) -> Tensor:
    """x float32[rows, inputs] -> float32[rows, units]."""
    return torch.addmm(p[f"{name}.bias"], x, p[f"{name}.weight"])


def classify(logits: Tensor, labels: Tensor, mean: bool) -> Loss:
    """Softmax cross entropy; the objective is the mean or the sum over the rows."""
    total = cross_entropy(logits, labels, reduction="sum")
    right = (logits.detach().argmax(1) == labels).sum()
    return Loss(total / len(labels) if mean else total, total.detach(), right, len(labels))


class Perceptron:
    """One key is a minibatch."""

    def __init__(self, parameters: Parameters, options: Mapping[str, object]) -> None:
        self.p, self.layers = parameters, len(parameters) // 2

    def batched(self, group: Sequence[Instance]) -> Loss:
        """The loss of a minibatch."""
        (instance,) = group
        return self._of(instance.inputs["image"].arrays[0], instance.inputs["label"].arrays[0])

    def singly(self, group: Sequence[Instance]):
        """The loss of one image after the other."""
        (instance,) = group
        images, labels = instance.inputs["image"].arrays[0], instance.inputs["label"].arrays[0]
        for row in range(len(labels)):
            yield self._of(images[row : row + 1], labels[row : row + 1])

    def _of(self, images, labels) -> Loss:
        x = torch.from_numpy(images)
        for layer in range(1, self.layers):
            x = affine(self.p, f"linear{layer}", x).relu()
        return classify(affine(self.p, f"linear{self.layers}", x), torch.from_numpy(labels), mean=True)


class Recurrent:
    """One key is a minibatch of lists of one length."""

    def __init__(self, parameters: Parameters, options: Mapping[str, object]) -> None:
        self.p = parameters

    def batched(self, group: Sequence[Instance]) -> Loss:
        """The loss of a minibatch."""
        (instance,) = group
        labels = instance.inputs["label"].arrays[0]
        return self._of(instance.inputs["token"].arrays[0].reshape(-1, len(labels)), labels)

    def singly(self, group: Sequence[Instance]):
        """The loss of one list after the other."""
        (instance,) = group
        labels = instance.inputs["label"].arrays[0]
        tokens = instance.inputs["token"].arrays[0].reshape(-1, len(labels))
        for row in range(len(labels)):
            yield self._of(tokens[:, row : row + 1], labels[row : row + 1])

    def _of(self, tokens, labels) -> Loss:
        # What a token adds to the state does not wait for the state, and is the same for all tokens of a word.
        steps, size = tokens.shape
        weight = self.p["linear1.weight"]
        split = weight.shape[0] - weight.shape[1]
        words = torch.addmm(self.p["linear1.bias"], self.p["embed.weight"], weight[:split])
        inputs = embedding(torch.from_numpy(tokens.reshape(-1)), words).view(steps, size, -1)
        h, recurrent = self.p["first.weight"].expand(size, -1), weight[split:]
        for x in inputs.unbind():
            h = torch.addmm(x, h, recurrent).relu()
        return classify(affine(self.p, "linear2", h), torch.from_numpy(labels), mean=True)


class TreeLstm:
    """One key is a tree."""

    def __init__(self, parameters: Parameters, options: Mapping[str, object]) -> None:
        self.p = parameters
        self.units = parameters["leaf.bias"].shape[0] // 3
        self._trees: dict[int, Tree] = {}

    def batched(self, group: Sequence[Instance]) -> Loss:
        """The loss of all trees of an update, depth by depth from the deepest leaves to the roots."""
        trees = forest([self._tree(instance) for instance in group])
        words = self.p["embed.weight"].index_select(0, torch.from_numpy(trees.tokens))
        leaves = torch.cat(self._leaf(words), 1).split(trees.leaves)
        inner, states = None, []
        for leaf, order in zip(leaves, trees.order, strict=True):
            states.append(leaf if inner is None else torch.cat([inner, leaf]).index_select(0, torch.from_numpy(order)))
            if len(states) < len(leaves):
                left, left_c, right, right_c = states[-1].view(-1, 4 * self.units).split(self.units, 1)
                inner = torch.cat(self._branch(torch.cat([left, right], 1), left_c, right_c), 1)
        h = torch.cat(states)[:, : self.units]
        return classify(affine(self.p, "linear", h), torch.from_numpy(trees.labels), mean=False)

    def singly(self, group: Sequence[Instance]):
        """The loss of one tree after the other, each node by itself."""
        for instance in group:
            (token,), (label,) = instance.inputs["token"].arrays, instance.inputs["label"].arrays
            words = self.p["embed.weight"].index_select(0, torch.from_numpy(token))
            children: list[list[tuple[Tensor, Tensor]]] = [[None, None] for _ in label]
            states, side = [], instance.structure["side"].tolist()
            for node, parent in enumerate(instance.structure["parent"].tolist()):
                if node < len(token):
                    cell = self._leaf(words[node : node + 1])
                else:
                    (left, left_c), (right, right_c) = children[node]
                    cell = self._branch(torch.cat([left, right], 1), left_c, right_c)
                states.append(cell[0])
                # Nodes stand before their parents.
                if parent >= 0:
                    children[parent][side[node]] = cell
            yield classify(affine(self.p, "linear", torch.cat(states)), torch.from_numpy(label), mean=False)

    def _tree(self, instance: Instance) -> Tree:
        # A tree's label array is a view of the data set's: its address is the tree.
        key = instance.inputs["label"].arrays[0].__array_interface__["data"][0]
        if key not in self._trees:
            self._trees[key] = Tree(instance)
        return self._trees[key]

    def _leaf(self, words: Tensor) -> tuple[Tensor, Tensor]:
        gates, candidate = affine(self.p, "leaf", words).split([2 * self.units, self.units], 1)
        i, o = gates.sigmoid().chunk(2, 1)
        c = i * candidate.tanh()
        return o * c.tanh(), c

    def _branch(self, children: Tensor, left_c: Tensor, right_c: Tensor) -> tuple[Tensor, Tensor]:
        gates, candidate = affine(self.p, "branch", children).split([4 * self.units, self.units], 1)
        i, o, left, right = gates.sigmoid().chunk(4, 1)
        c = i * candidate.tanh() + left * left_c + right * right_c
        return o * c.tanh(), c


class GraphNetwork:
    """One key is a graph."""

    def __init__(self, parameters: Parameters, options: Mapping[str, object]) -> None:
        self.p = parameters
        self.steps = int(options["steps"])
        self.units = parameters["gru.candidate_bias"].shape[0]
        self.types = sum(name.startswith("edge") and name.endswith("weight") for name in parameters)
        self.selects = options["readout"] == "node_selection"

    def batched(self, group: Sequence[Instance]) -> Loss:
        """The loss of all graphs of an update, as one graph."""
        graphs = disjoint_graph(group, self.types)
        annotation, number = torch.from_numpy(graphs.annotation), torch.from_numpy(graphs.graph)
        h = pad(annotation, (0, self.units - annotation.shape[1]))
        incoming = self._all_types(graphs) if self.units < 32 else self._type_by_type(graphs)
        for _ in range(self.steps):
            h = self._gru(incoming(h), h)
        if self.selects:
            scores = (h @ self.p["scores.weight"])[:, 0]
            place = number * graphs.largest + torch.from_numpy(graphs.place)
            padded = scores.new_full((len(group) * graphs.largest,), float("-inf")).index_copy(0, place, scores)
            answers = torch.tensor([int(instance.inputs["answer"].arrays[0].argmax()) for instance in group])
            return classify(padded.view(len(group), -1), answers, mean=False)
        gate, value = affine(self.p, "readout", h).chunk(2, 1)
        sums = h.new_zeros(len(group), self.units).index_add(0, number, gate.sigmoid() * value.tanh())
        prediction = affine(self.p, "dipole", affine(self.p, "head", sums).relu())
        dipole = torch.tensor([float(instance.inputs["dipole"].arrays[0][0, 0]) for instance in group])
        total = (prediction[:, 0] - dipole).abs().sum()
        return Loss(total, total.detach(), total.detach(), len(group))

    def singly(self, group: Sequence[Instance]):
        """The loss of one graph after the other."""
        for instance in group:
            yield self.batched([instance])

    def _type_by_type(self, graphs):
        """A product for each type of edge, over its own edges only."""
        source, target, bounds = torch.from_numpy(graphs.source), torch.from_numpy(graphs.target), starts(graphs.edges)
        kinds = [(k, source[bounds[k] : bounds[k + 1]]) for k in range(self.types) if graphs.edges[k]]

        def incoming(h: Tensor) -> Tensor:
            mapped = torch.cat([affine(self.p, f"edge{k}", h.index_select(0, sources)) for k, sources in kinds])
            return torch.zeros_like(h).index_add(0, target, mapped)

        return incoming

    def _all_types(self, graphs):
        """One product for all types at every node, of which each edge takes its own: less to call, more to compute."""
        weight = torch.cat([self.p[f"edge{k}.weight"] for k in range(self.types)], 1)
        bias = torch.cat([self.p[f"edge{k}.bias"] for k in range(self.types)])
        which = torch.from_numpy(graphs.source * self.types + graphs.kind)
        target = torch.from_numpy(graphs.target)

        def incoming(h: Tensor) -> Tensor:
            mapped = torch.addmm(bias, h, weight).view(-1, self.units).index_select(0, which)
            return torch.zeros_like(h).index_add(0, target, mapped)

        return incoming

    def _gru(self, a: Tensor, h: Tensor) -> Tensor:
        update, reset = affine(self.p, "gru", torch.cat([a, h], 1)).sigmoid().chunk(2, 1)
        candidate = torch.addmm(
            self.p["gru.candidate_bias"], torch.cat([a, reset * h], 1), self.p["gru.candidate_weight"]
        ).tanh()
        return h + update * (candidate - h)


MODELS = {
    "mnist": Perceptron,
    "list-reduction": Recurrent,
    "sst": TreeLstm,
    "babi15": GraphNetwork,
    "qm9": GraphNetwork,
}
