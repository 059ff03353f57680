"""Each model written a second time, plainly: recursion over trees, loops over edges and over time, one row at a time.

The formulas are those of the papers, the gradients those of an automatic differentiation that has nothing of ampsim's:
a tape of our own in NumPy, and PyTorch's where it is installed.
"""

from __future__ import annotations

from importlib.util import find_spec
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


class Value:
    """An array on the tape, and how a gradient of it goes on to what it was made of."""

    made = 0

    def __init__(self, array, *pulls):
        self.array, self.pulls, self.gradient = np.asarray(array, np.float64), pulls, None
        Value.made += 1
        self.number = Value.made

    @property
    def shape(self):
        return self.array.shape

    def __add__(self, other):
        other = constant(other)
        return Value(self.array + other.array, (self, lambda g: g), (other, lambda g: g))

    def __mul__(self, other):
        other = constant(other)
        pulls = (self, lambda g: g * other.array), (other, lambda g: g * self.array)
        return Value(self.array * other.array, *pulls)

    def __rsub__(self, other):
        return self * -1.0 + other

    def __sub__(self, other):
        return self + constant(other) * -1.0

    def __matmul__(self, matrix):
        pulls = (self, lambda g: matrix.array @ g), (matrix, lambda g: np.outer(self.array, g))
        return Value(self.array @ matrix.array, *pulls)

    def __getitem__(self, index):
        def pull(g):
            whole = np.zeros_like(self.array)
            whole[index] = g
            return whole

        return Value(self.array[index], (self, pull))

    def backward(self):
        """Leave the gradient of this number in everything that it was made of."""
        found, front = {}, [self]
        while front:
            value = front.pop()
            if value.number not in found:
                found[value.number] = value
                front += [parent for parent, _ in value.pulls]
        self.gradient = np.ones_like(self.array)
        for number in sorted(found, reverse=True):
            for parent, pull in found[number].pulls:
                g = pull(found[number].gradient)
                if g.shape == parent.array.shape:  # or else it is a number beside a vector, and a constant
                    parent.gradient = g if parent.gradient is None else parent.gradient + g


def constant(other):
    return other if isinstance(other, Value) else Value(other)


def function(value, derivative):
    """A function of each number; the derivative is given x and y."""

    def apply(x):
        y = value(x.array)
        return Value(y, (x, lambda g: g * derivative(x.array, y)))

    return apply


class NumPy:
    """What the models are written in, on our own tape."""

    tanh = staticmethod(function(np.tanh, lambda x, y: 1 - y**2))
    sigmoid = staticmethod(function(lambda x: 1 / (1 + np.exp(-x)), lambda x, y: y * (1 - y)))
    relu = staticmethod(function(lambda x: np.where(x > 0, x, 0.0), lambda x, y: np.where(x > 0, 1.0, 0.0)))
    absolute = staticmethod(function(np.abs, lambda x, y: np.sign(x)))
    parameter = staticmethod(Value)
    row = staticmethod(Value)

    @staticmethod
    def cat(values):
        stops = np.cumsum([len(value.array) for value in values])
        places = [slice(stop - len(value.array), stop) for stop, value in zip(stops, values, strict=True)]
        pulls = [(value, lambda g, place=place: g[place]) for value, place in zip(values, places, strict=True)]
        return Value(np.concatenate([value.array for value in values]), *pulls)

    @staticmethod
    def cross_entropy(scores, chosen):
        e = np.exp(scores.array - scores.array.max())
        probability = e / e.sum()
        hot = np.arange(len(probability)) == chosen
        return Value(-np.log(probability[chosen]), (scores, lambda g: g * (probability - hot)))

    @staticmethod
    def array(value):
        return value.array

    @staticmethod
    def gradient(parameter):
        return np.zeros_like(parameter.array) if parameter.gradient is None else parameter.gradient


def pytorch():
    """The same in PyTorch."""
    import torch

    class PyTorch:
        tanh, sigmoid, relu, absolute, cat = torch.tanh, torch.sigmoid, torch.relu, torch.abs, torch.cat

        @staticmethod
        def parameter(array):
            return torch.tensor(array, dtype=torch.float64, requires_grad=True)

        @staticmethod
        def row(array):
            return torch.tensor(np.asarray(array), dtype=torch.float64)

        @staticmethod
        def cross_entropy(scores, chosen):
            return torch.nn.functional.cross_entropy(scores, torch.tensor(int(chosen)))

        @staticmethod
        def array(value):
            return value.detach().numpy()

        @staticmethod
        def gradient(parameter):
            return np.zeros(parameter.shape) if parameter.grad is None else parameter.grad.numpy()

    return PyTorch


BACKENDS = {"numpy": lambda: NumPy} | ({"torch": pytorch} if find_spec("torch") else {})


def affine(p, name, x):
    return x @ p[f"{name}.weight"] + p[f"{name}.bias"]


def blocks(x, units):
    """A vector as vectors of `units`."""
    return [x[start : start + units] for start in range(0, x.shape[0], units)]


def is_best(scores, chosen):
    """1 or 0: whether no other score is as high. NaN if another one is so near that rounding decides."""
    lead = scores[chosen] - np.delete(scores, chosen).max(initial=-np.inf)
    return float(lead > 0) if abs(lead) > 1e-4 else np.nan


# Each model: (backend, parameters, instance) -> for each message that reaches the loss, by what its state has behind
# the instance: the mean loss, the predictions of its rows, and the sum of its metric.


def mlp(xp, p, instance):
    layers = sorted({name.partition(".")[0] for name in p})

    def scores(x):
        for layer in layers[:-1]:
            x = xp.relu(affine(p, layer, x))
        return affine(p, layers[-1], x)

    return classified(xp, instance, scores)


def mlp_in_blocks(xp, p, instance):
    def scores(x):
        parts = [affine(p, "linear1_0", x), affine(p, "linear1_1", x)]
        for layer, size in (("linear2", 1), ("linear3", None)):
            left, right = map(xp.relu, parts)
            x = affine(p, f"{layer}_0", left) + right @ p[f"{layer}_1.weight"]
            parts = [x[:size], x[size:]] if size else []
        return x

    return classified(xp, instance, scores)


def classified(xp, instance, classify):
    """The loss of a minibatch of images, each by itself."""
    (image,), (label,) = instance.inputs["image"].arrays, instance.inputs["label"].arrays
    total, predictions = 0.0, [classify(xp.row(pixels)) for pixels in image]
    for scores, chosen in zip(predictions, label, strict=True):
        total = xp.cross_entropy(scores, chosen) + total
    right = [is_best(xp.array(scores), chosen) for scores, chosen in zip(predictions, label, strict=True)]
    return {(): (total * (1 / len(label)), predictions, sum(right))}


def rnn(xp, p, instance):
    (label,) = instance.inputs["label"].arrays
    tokens = instance.inputs["token"].arrays[0].reshape(-1, len(label))
    total, predictions, right = 0.0, [], 0
    for one, chosen in zip(tokens.T, label, strict=True):
        h = p["first.weight"][0]
        for token in one:
            h = xp.relu(affine(p, "linear1", xp.cat([p["embed.weight"][int(token)], h])))
        predictions.append(affine(p, "linear2", h))
        total = xp.cross_entropy(predictions[-1], chosen) + total
        right += is_best(xp.array(predictions[-1]), chosen)
    return {(len(tokens), len(tokens)): (total * (1 / len(label)), predictions, right)}


def rnn_in_one_op(xp, p, instance):
    apart = {"embed.weight": "cell1.table", "linear1.weight": "cell1.weight", "linear1.bias": "cell1.bias"}
    return rnn(xp, {**p, **{name: p[other] for name, other in apart.items()}}, instance)


def tree_lstm(xp, p, instance):
    (token,), (label,) = instance.inputs["token"].arrays, instance.inputs["label"].arrays
    parent, side = instance.structure["parent"].tolist(), instance.structure["side"].tolist()
    units = xp.array(p["branch.weight"]).shape[0] // 2
    found = {}

    def cell(node):
        """h and c of a node."""
        children = [child for child in range(len(parent)) if parent[child] == node]
        if not children:
            i, o, u = blocks(affine(p, "leaf", p["embed.weight"][int(token[node])]), units)
            c = xp.sigmoid(i) * xp.tanh(u)
        else:
            (left, left_c), (right, right_c) = (cell(child) for child in sorted(children, key=side.__getitem__))
            i, o, forget_left, forget_right, u = blocks(affine(p, "branch", xp.cat([left, right])), units)
            c = xp.sigmoid(i) * xp.tanh(u) + xp.sigmoid(forget_left) * left_c + xp.sigmoid(forget_right) * right_c
        h = xp.sigmoid(o) * xp.tanh(c)
        scores = affine(p, "linear", h)
        found[(node,)] = xp.cross_entropy(scores, label[node]), [scores], is_best(xp.array(scores), label[node])
        return h, c

    cell(parent.index(-1))
    return found


def graph_network(xp, p, instance, steps):
    """The states of all nodes after some steps along the edges."""
    (annotation,) = instance.inputs["annotation"].arrays
    edges = list(zip(*(instance.structure[name].tolist() for name in ("source", "target", "type")), strict=True))
    units = xp.array(p["gru.candidate_bias"]).shape[0]
    nodes = [xp.row(np.concatenate([row, np.zeros(units - len(row))])) for row in annotation]
    for _ in range(steps):
        incoming = [xp.row(np.zeros(units)) for _ in nodes]
        for source, target, kind in edges:
            if "edge.weight" in p:
                mapped = nodes[source] @ p["edge.weight"][kind] + p["edge.bias"][kind]
            else:
                mapped = affine(p, f"edge{kind}", nodes[source])
            incoming[target] = incoming[target] + mapped
        for node, (a, h) in enumerate(zip(incoming, list(nodes), strict=True)):
            update, reset = (xp.sigmoid(gate) for gate in blocks(affine(p, "gru", xp.cat([a, h])), units))
            ah = xp.cat([a, reset * h])
            candidate = xp.tanh(ah @ p["gru.candidate_weight"] + p["gru.candidate_bias"])
            nodes[node] = (1.0 - update) * h + update * candidate
    return nodes


def select_node(xp, p, instance):
    (answer,) = instance.inputs["answer"].arrays
    scores = [h @ p["scores.weight"] for h in graph_network(xp, p, instance, steps=2)]
    together, chosen = xp.cat(scores), int(np.flatnonzero(answer)[0])
    return {(0, 0): (xp.cross_entropy(together, chosen), scores, is_best(xp.array(together), chosen))}


def predict_dipole(xp, p, instance):
    ((dipole,),) = instance.inputs["dipole"].arrays
    units = xp.array(p["gru.candidate_bias"]).shape[0]
    whole = xp.row(np.zeros(units))
    for h in graph_network(xp, p, instance, steps=2):
        gate, value = blocks(affine(p, "readout", h), units)
        whole = whole + xp.sigmoid(gate) * xp.tanh(value)
    prediction = affine(p, "dipole", xp.relu(affine(p, "head", whole)))
    error = prediction - xp.row(dipole)
    return {(0, 0): (xp.absolute(error)[0], [prediction], abs(float(xp.array(error)[0])))}


REFERENCES = {
    "mlp": mlp,
    "mlp, in blocks": mlp_in_blocks,
    "rnn": rnn,
    "rnn, together": rnn_in_one_op,
    "rnn, scan": rnn_in_one_op,
    "tree_lstm": tree_lstm,
    "ggsnn, node_selection": select_node,
    "ggsnn, maps together": select_node,
    "ggsnn, gated_sum": predict_dipole,
}


def close(found, expected, tolerance):
    """Equal to `tolerance` of the largest number."""
    scale = float(np.abs(expected).max()) + 1.0
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-12)])
@settings(max_examples=6)
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_a_plain_implementation_finds_the_same_outputs_losses_and_gradients(
    model, backend, dtype, tolerance, data, seed
):
    xp, instances = BACKENDS[backend](), data.draw(model.instances(most=3))
    wires = model.wires(dtype, Random(seed)).run(instances, in_flight=3)
    p = {
        f"{node}.{name}": xp.parameter(value)
        for node, values in model.parameters().items()
        for name, value in values.items()
    }
    total, messages = 0.0, 0
    for number, instance in enumerate(instances):
        for state, (loss, predictions, metric) in REFERENCES[model.name](xp, p, instance).items():
            (key,) = wires.graph.schema.keys(np.array([[number, *state]]))
            expected_loss, expected_metric, rows = wires.reports[key]
            close(expected_loss / rows, xp.array(loss), tolerance)
            if not np.isnan(metric):
                close(expected_metric, metric, tolerance)
            close(wires.predictions[key], np.stack([xp.array(row) for row in predictions]), tolerance)
            total, messages = loss + total, messages + 1
    assert messages == len(wires.reports)
    total.backward()
    gradients = wires.gradients()
    assert gradients.keys() == p.keys()
    scale = max(float(np.abs(xp.gradient(parameter)).max()) for parameter in p.values()) + 1.0
    for name, gradient in gradients.items():
        assert gradient.dtype == dtype
        np.testing.assert_allclose(gradient, xp.gradient(p[name]), rtol=0, atol=tolerance * scale, err_msg=name)
