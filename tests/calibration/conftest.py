from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ampsim.calibration.calibrate import Calibration
from ampsim.calibration.fit import Fitted, FittedHanding
from ampsim.calibration.kind_file import kind_text, network_file, network_text
from ampsim.cli.main import main
from ampsim.sim.profile import DeviceProfile
from ampsim.sim.rates import Handing, Rate

ARITHMETIC = {"cpu": "a CPU", "numpy": "2", "blas": [{"library": "openblas", "version": "1", "kernel": "X"}]}
RATES = {
    "linear": {"forward": Rate(20e-6, 1e-6, 2e-7, 3e-6, 4e-8, 8e10, 2e10), "backward": Rate(batch=5e-5)},
    "sgd": {"update": Rate(memory_bandwidth=3e9)},
    "controller": {"forward": Rate(part=3e-5)},
    "phi": {"forward": Rate()},
    "phi is_inner": {"forward": Rate(batch=1e-5)},
}


def made_up(kind: str) -> Calibration:
    """A calibration that nobody measured."""
    send, receive = Handing(4e-5, 1e-5, 1e-6, 5e9), Handing(bundle=8e-5)
    profile = DeviceProfile(kind, "made up", 1e11, 2e10, 4e9, 3e-5, 2e-7, 1e-5, send, receive, RATES)
    fitted = {op: {way: Fitted(rate, 10, 0.05) for way, rate in ways.items()} for op, ways in RATES.items()}
    handing = FittedHanding(send, 6e-6, 0.2), FittedHanding(receive, 4e-6, 0.2)
    return Calibration(profile, 6e-5, 2e9, fitted, [((1, 2, 3), 1e-6)], [(4096, 1e-6)], [(48, 7e-5)], *handing, 1e-5)


@pytest.fixture
def calibration() -> Calibration:
    """A calibration that nobody measured, of a kind called `mine`."""
    return made_up("mine")


@pytest.fixture
def kind_file(tmp_path: Path, calibration: Calibration) -> Path:
    """Its device file, with the network beside it."""
    file = tmp_path / "mine.yaml"
    file.write_text(kind_text(calibration, ARITHMETIC, "2026-01-01"))
    network_file(file).write_text(network_text(calibration))
    return file


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run a command line in this process, in an otherwise empty folder; exit code, output, errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ampsim", *map(str, arguments)])
        code = main()
        return code, *capsys.readouterr()

    return run
