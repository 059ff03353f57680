"""Stateless NumPy: forward, backward, shape and cost of each op, one row each in OPS; and the optimizers.

    table           what an op is; the table itself
    gradients       parameters' gradients, deferred until an update
    linear          linear, embedding
    typed_linear    typed_linear
    activations     relu, tanh, sigmoid
    add             add
    shaping         concat, split, select, pad
    segments        sum_rows, take_row
    gates           what the gated ops share; no op
    cells           rnn, lstm, gru
    token_rnn       token_rnn
    tree_cells      tree_leaf, tree_branch
    readout         gated_sum
    losses          softmax_cross_entropy, node_selection, squared_error, absolute_error
    optimizers      sgd, momentum, adam
    gradient_check  check_gradients, for these ops and for those of one's own

Importing this package fills the table.
"""

from ampsim.ops import (
    activations,
    add,
    cells,
    linear,
    losses,
    readout,
    segments,
    shaping,
    token_rnn,
    tree_cells,
    typed_linear,
)
from ampsim.ops.gradient_check import GradientMismatch, check_gradients
from ampsim.ops.optimizers import OPTIMIZERS, Optimizer
from ampsim.ops.table import OPS, ArraySpec, Cost, Op, ParameterSpec, elementwise, register

__all__ = [
    "OPS",
    "OPTIMIZERS",
    "ArraySpec",
    "Cost",
    "GradientMismatch",
    "Op",
    "Optimizer",
    "ParameterSpec",
    "activations",
    "add",
    "cells",
    "check_gradients",
    "elementwise",
    "linear",
    "losses",
    "readout",
    "register",
    "segments",
    "shaping",
    "token_rnn",
    "tree_cells",
    "typed_linear",
]
