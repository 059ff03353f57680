"""Stateless NumPy: forward, backward, shape and cost of each op, one row each in OPS; and the optimizers.

    table           what an op is; the table itself
    linear          linear, embedding
    activations     relu, tanh, sigmoid
    losses          softmax_cross_entropy, squared_error, absolute_error
    optimizers      sgd, momentum, adam
    gradient_check  check_gradients, for these ops and for those of one's own

Importing this package fills the table.
"""

from ampsim.ops import activations, linear, losses
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
    "check_gradients",
    "elementwise",
    "linear",
    "losses",
    "register",
]
