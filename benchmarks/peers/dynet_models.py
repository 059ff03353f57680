"""The five models in DyNet: an expression for each instance, which DyNet's autobatching puts together on its own.

Minibatches of equal rows (the perceptron, lists of one length) are DyNet's own batch dimension. A vector is a column
here, so every weight is the transpose of this runtime's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import dynet as dy
import numpy as np

from ampsim.data.dataset import Instance


class Parameters:
    """What this runtime starts from, as DyNet's parameters: those of embeddings are looked up, others multiply."""

    def __init__(self, values: Mapping[str, np.ndarray]) -> None:
        self.collection = dy.ParameterCollection()
        self._kept = {name: self._add(name, value) for name, value in values.items()}

    def __getitem__(self, name: str):
        return self._kept[name]

    def __len__(self) -> int:
        return len(self._kept)

    def _add(self, name: str, value: np.ndarray):
        if name == "embed.weight":
            return self.collection.lookup_parameters_from_numpy(value)
        # A copy in its own order: what DyNet takes of an array is its memory.
        return self.collection.parameters_from_numpy(np.ascontiguousarray(value.T if value.ndim > 1 else value))

    def affine(self, name: str, x):
        """weight x + bias"""
        return dy.affine_transform([self[f"{name}.bias"], self[f"{name}.weight"], x])

    def columns(self, name: str, x, prefix: str = ""):
        """weight x + bias for each column of a matrix."""
        return dy.colwise_add(self[f"{name}.{prefix}weight"] * x, self[f"{name}.{prefix}bias"])


class Expressions:
    """What an update is told by: the objective to differentiate, what it counts for, and the scores and labels."""

    def __init__(self, objective, rows: int, scores: list, labels: list, scale: float = 1.0) -> None:
        self.objective, self.rows, self.scores, self.labels, self.scale = objective, rows, scores, labels, scale

    def metric(self) -> float:
        """How many are right, or the sum of the errors."""
        if not self.labels:
            return self.objective.value()
        values = [score.npvalue() for score in self.scores]
        if len(values) == 1:
            return float((values[0].reshape(-1, self.rows).argmax(0) == self.labels[0]).sum())
        return float(sum(value.argmax() == label for value, label in zip(values, self.labels, strict=True)))


class Perceptron:
    """One key is a minibatch."""

    def __init__(self, parameters: Parameters, options: Mapping[str, object]) -> None:
        self.p = parameters

    def __call__(self, group: Sequence[Instance]) -> Expressions:
        (instance,) = group
        (images,), (labels,) = instance.inputs["image"].arrays, instance.inputs["label"].arrays
        x, layers = dy.inputTensor(images.T, batched=True), len(self.p) // 2
        for layer in range(1, layers):
            x = dy.rectify(self.p.affine(f"linear{layer}", x))
        scores = self.p.affine(f"linear{layers}", x)
        losses = dy.pickneglogsoftmax_batch(scores, labels.tolist())
        return Expressions(dy.mean_batches(losses), len(labels), [scores], [labels], len(labels))


class Recurrent:
    """One key is a minibatch of lists of one length."""

    def __init__(self, parameters: Parameters, options: Mapping[str, object]) -> None:
        self.p = parameters

    def __call__(self, group: Sequence[Instance]) -> Expressions:
        (instance,) = group
        (labels,) = instance.inputs["label"].arrays
        h = dy.reshape(self.p["first.weight"], (self.p["linear1.bias"].shape()[0],))
        for step in instance.inputs["token"].arrays[0].reshape(-1, len(labels)).tolist():
            x = dy.lookup_batch(self.p["embed.weight"], step)
            h = dy.rectify(self.p.affine("linear1", dy.concatenate([x, h])))
        scores = self.p.affine("linear2", h)
        losses = dy.pickneglogsoftmax_batch(scores, labels.tolist())
        return Expressions(dy.mean_batches(losses), len(labels), [scores], [labels], len(labels))


class TreeLstm:
    """One key is a tree; each node is an expression."""

    def __init__(self, parameters: Parameters, options: Mapping[str, object]) -> None:
        self.p = parameters
        self.units = parameters["leaf.bias"].shape()[0] // 3

    def __call__(self, group: Sequence[Instance]) -> Expressions:
        losses, scores, labels, units = [], [], [], self.units
        for instance in group:
            tokens, classes = (instance.inputs[name].arrays[0].tolist() for name in ("token", "label"))
            children: list = [[None, None] for _ in classes]
            side = instance.structure["side"].tolist()
            for node, parent in enumerate(instance.structure["parent"].tolist()):
                if node < len(tokens):
                    gates = self.p.affine("leaf", self.p["embed.weight"][tokens[node]])
                    i, o = (dy.logistic(dy.pick_range(gates, k * units, (k + 1) * units)) for k in range(2))
                    c = dy.cmult(i, dy.tanh(dy.pick_range(gates, 2 * units, 3 * units)))
                else:
                    (left, left_c), (right, right_c) = children[node]
                    gates = self.p.affine("branch", dy.concatenate([left, right]))
                    i, o, keep, keep_right = (
                        dy.logistic(dy.pick_range(gates, k * units, (k + 1) * units)) for k in range(4)
                    )
                    c = dy.cmult(i, dy.tanh(dy.pick_range(gates, 4 * units, 5 * units)))
                    c = c + dy.cmult(keep, left_c) + dy.cmult(keep_right, right_c)
                h = dy.cmult(o, dy.tanh(c))
                # Nodes stand before their parents.
                if parent >= 0:
                    children[parent][side[node]] = h, c
                scores.append(self.p.affine("linear", h))
                losses.append(dy.pickneglogsoftmax(scores[-1], classes[node]))
            labels += classes
        return Expressions(dy.esum(losses), len(losses), scores, labels)


class GraphNetwork:
    """One key is a graph, whose nodes are the columns of a matrix and whose edges are a matrix that multiplies it."""

    def __init__(self, parameters: Parameters, options: Mapping[str, object]) -> None:
        self.p = parameters
        self.steps = int(options["steps"])
        self.units = parameters["gru.candidate_bias"].shape()[0]
        self.types = sum(f"edge{k}.bias" in parameters._kept for k in range(len(parameters)))
        self.selects = options["readout"] == "node_selection"

    def __call__(self, group: Sequence[Instance]) -> Expressions:
        p, types = self.p, range(self.types)
        weights = dy.concatenate_cols([p[f"edge{k}.weight"] for k in types] + [p[f"edge{k}.bias"] for k in types])
        losses, scores, labels = [], [], []
        for instance in group:
            h, edges, degrees = self._inputs(instance)
            for _ in range(self.steps):
                # The columns of h that lead to a node by an edge of each type, above each other.
                sums = dy.reshape(h * edges, (self.units * self.types, h.dim()[0][1]))
                h = self._gru(weights * dy.concatenate([sums, degrees]), h)
            if self.selects:
                scores.append(dy.transpose(p["scores.weight"] * h))
                labels.append(int(instance.inputs["answer"].arrays[0].argmax()))
                losses.append(dy.pickneglogsoftmax(scores[-1], labels[-1]))
            else:
                gates, units = p.columns("readout", h), self.units
                gate, value = dy.pick_range(gates, 0, units, 0), dy.pick_range(gates, units, 2 * units, 0)
                sums = dy.sum_dim(dy.cmult(dy.logistic(gate), dy.tanh(value)), [1])
                prediction = p.affine("dipole", dy.rectify(p.affine("head", sums)))
                losses.append(dy.abs(prediction - float(instance.inputs["dipole"].arrays[0][0, 0])))
        return Expressions(dy.esum(losses), len(losses), scores, labels)

    def _inputs(self, instance: Instance):
        (annotation,) = instance.inputs["annotation"].arrays
        n, width = annotation.shape
        start = np.zeros((self.units, n), np.float32)
        start[:width] = annotation.T
        source, target, kind = (instance.structure[name] for name in ("source", "target", "type"))
        edges = np.zeros((n, self.types * n), np.float32)
        np.add.at(edges, (source, target * self.types + kind), 1)
        degrees = np.zeros((self.types, n), np.float32)
        np.add.at(degrees, (kind, target), 1)
        return dy.inputTensor(start), dy.inputTensor(edges), dy.inputTensor(degrees)

    def _gru(self, a, h):
        gates = self.p.columns("gru", dy.concatenate([a, h]))
        update = dy.logistic(dy.pick_range(gates, 0, self.units, 0))
        reset = dy.logistic(dy.pick_range(gates, self.units, 2 * self.units, 0))
        candidate = dy.tanh(self.p.columns("gru", dy.concatenate([a, dy.cmult(reset, h)]), "candidate_"))
        return h + dy.cmult(update, candidate - h)


MODELS = {
    "mnist": Perceptron,
    "list-reduction": Recurrent,
    "sst": TreeLstm,
    "babi15": GraphNetwork,
    "qm9": GraphNetwork,
}
