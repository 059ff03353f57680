"""The NumPy calls that a message of one row takes in a linear layer, forward and backward, and nothing else."""

from __future__ import annotations

from work import LEARNING_RATE, MIN_UPDATE_FREQUENCY, WIDTH, measure, np, rows

weight = np.random.default_rng(0).standard_normal((WIDTH, WIDTH), np.float32) / WIDTH
bias = np.zeros(WIDTH, np.float32)
inputs, gradients = rows(64, 1), rows(64, 2)


def through(messages: int, max_batch: int) -> None:
    """One after the other; an update with the mean gradient each MIN_UPDATE_FREQUENCY messages."""
    of_weight, of_bias = np.zeros_like(weight), np.zeros_like(bias)
    for number in range(messages):
        x, gradient = inputs[number % 64], gradients[number % 64]
        y = x @ weight
        y += bias
        back = gradient @ weight.T
        of_weight += np.dot(x.T, gradient)  # for one row a tenth of the time of x.T @ gradient
        of_bias += gradient.sum(axis=0)
        assert back.shape == y.shape
        if number % MIN_UPDATE_FREQUENCY == MIN_UPDATE_FREQUENCY - 1:
            weight[:] -= LEARNING_RATE / MIN_UPDATE_FREQUENCY * of_weight
            bias[:] -= LEARNING_RATE / MIN_UPDATE_FREQUENCY * of_bias
            of_weight[:] = 0
            of_bias[:] = 0


if __name__ == "__main__":
    measure(through)
