from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ampsim.config.load import Experiment, load
from ampsim.errors import ConfigError

CONFIG = """\
name: mnist-mlp
seed: 0
model:
  name: mlp
  hidden: [784, 784, 784]
data:
  name: mnist
  batch: 100
training:
  algorithm: amp
  max_active_keys: 4
  min_update_frequency: 1
  optimizer: {name: sgd, learning_rate: 0.1}
  epochs: 10
  stop_at: {validation.accuracy: 0.97}
cluster:
  clock: wall
  max_batch: 1
  devices:
    d0: {kind: cpu-core, nodes: [linear1, relu1]}
    d1: {kind: cpu-core, nodes: [linear2, relu2]}
    d2: {kind: cpu-core, nodes: [linear3, relu3]}
    d3: {kind: cpu-core, nodes: [linear4, loss]}
  network: {topology: switch, latency: 5 us, bandwidth: 10 Gbit/s}
"""


class Workbench:
    """A folder of its own with a config in it, as the current folder."""

    text = CONFIG

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, text: str | bytes, name: str = "x.yaml") -> str:
        (self.folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return name

    def load(self, *changes: tuple[str, str], overrides: tuple[str, ...] = ()) -> Experiment:
        """Load the standard config after textual replacements."""
        text = self.text
        for old, new in changes:
            assert text.count(old) == 1, f"{old!r} is not there exactly once"
            text = text.replace(old, new)
        return load(self.write(text), overrides)

    def faults(self, *changes: tuple[str, str], overrides: tuple[str, ...] = ()) -> list[str]:
        """The lines that `load` ends with."""
        return self.lines(lambda: self.load(*changes, overrides=overrides))

    @staticmethod
    def lines(action: Callable[[], object]) -> list[str]:
        """The lines of the ConfigError that an action raises."""
        with pytest.raises(ConfigError) as raised:
            action()
        assert raised.value.exit_code == 2
        found = str(raised.value).splitlines()
        assert len(found) == len(raised.value.faults), "a fault has several lines"
        return found


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    monkeypatch.chdir(tmp_path)
    return Workbench(tmp_path)
