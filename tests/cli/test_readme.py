"""What the README shows works as it stands there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ampsim

README = (Path(ampsim.__file__).parent.parent / "README.md").read_text()


def block(language: str, containing: str) -> str:
    """The one code block of a language that contains a text."""
    (found,) = [body for body in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if containing in body]
    return found


@pytest.fixture
def own_model(tmp_path: Path) -> Path:
    """A folder with the README's model and config."""
    (tmp_path / "my_module.py").write_text(block("python", "def build"))
    (tmp_path / "my_model.yaml").write_text(block("yaml", "my_module:build"))
    return tmp_path


def test_the_model_of_ones_own_takes_at_most_25_lines(own_model: Path) -> None:
    assert len((own_model / "my_module.py").read_text().splitlines()) <= 25


def test_the_gradient_check_of_the_model_of_ones_own_passes(own_model: Path) -> None:
    subprocess.run([sys.executable, "my_module.py"], cwd=own_model, check=True, timeout=60)


def test_the_model_of_ones_own_trains_across_processes(own_model: Path) -> None:
    settings = ["--set=data.limit=3000", "--set=training.epochs=3", "--out=run", "--quiet"]
    command = [sys.executable, "-m", "ampsim", "run", "my_model.yaml", *settings]
    subprocess.run(command, cwd=own_model, check=True, timeout=60)
    summary = json.loads((own_model / "run" / "summary.json").read_text())
    assert summary["status"] == "finished"
    assert summary["validation"]["accuracy"] > 0.6
    assert len(summary["devices"]) == 2


def test_the_config_shown_is_the_shipped_one() -> None:
    shipped = Path(ampsim.__file__).parent.parent / "configs" / "mnist-mlp.yaml"
    lines = [line for line in shipped.read_text().splitlines() if not line.startswith("#")]
    assert block("yaml", "name: mnist-mlp").strip() == "\n".join(lines).strip()
