"""The shipped configs and devices, inside the installed package or at the top of a checkout, and the user's own."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import ampsim
from ampsim.config.faults import check
from ampsim.config.schema import DeviceFile, Section
from ampsim.config.tree import read
from ampsim.config.wording import did_you_mean, shorten
from ampsim.errors import ConfigError, Fault
from ampsim.sim.profile import DeviceProfile
from ampsim.sim.rates import Handing, Rate


def shipped(folder: str) -> dict[str, Path]:
    """The YAML files of a shipped folder (`configs` or `devices`) by their names without `.yaml`."""
    package = Path(ampsim.__file__).parent
    beside = package / folder
    root = beside if beside.is_dir() else package.parent / folder
    return {file.stem: file for file in sorted(root.glob("*.yaml"))}


def find_config(name_or_path: str) -> Path:
    """The file of a config: a path, or the name of a shipped one, with or without `.yaml`.

    Raises ConfigError if there is neither.
    """
    path = Path(name_or_path)
    configs = shipped("configs")
    found = configs.get(name_or_path.removesuffix(".yaml"))
    # A folder may well have the name of a shipped config: a run's, for one.
    if name_or_path and os.path.lexists(path) and not (found and os.path.isdir(path)):
        return path
    if found is not None:
        return found
    text = f"there is no such file, and no shipped config of this name{did_you_mean(path.stem, configs)}"
    raise ConfigError([Fault(0, shorten(name_or_path, 200) or "''", "", text)])


def device_kinds() -> list[str]:
    """The kinds of devices that there are."""
    return list(shipped("devices"))


def is_own(kind: str) -> bool:
    """Whether a kind is the path of a device file of the user's own, and not a name in the catalogue."""
    return kind.endswith((".yaml", ".yml"))


def device_file(kind: str, folders: Iterable[str | Path]) -> Path:
    """The file of a kind: by its name in the catalogue, or by its path from the first of `folders` that has it.

    Raises ValueError with a sentence if there is none.
    """
    catalogue = shipped("devices")
    if not is_own(kind):
        if kind in catalogue:
            return catalogue[kind]
        cure = "; a device file of your own is named with its ending, .yaml" if "/" in kind else ""
        raise ValueError(f"no device kind {shorten(kind)!r}{did_you_mean(kind, catalogue)}{cure}")
    for folder in folders:
        if os.path.lexists(file := Path(folder, kind)):
            return file
    stem = Path(kind).stem
    cure = f"; for the kind of the catalogue write {stem!r}" if stem in catalogue else ""
    where = "looked for beside the config and in the current folder"
    raise ValueError(f"there is no device file {shorten(kind)!r} ({where}){cure}")


@cache
def device_profile(kind: str) -> DeviceProfile:
    """The profile of a kind of the catalogue. Raises ConfigError if its file is faulty, KeyError if there is none."""
    return read_device(shipped("devices")[kind])


def device_profiles() -> dict[str, DeviceProfile]:
    """Every kind of device. Raises ConfigError with the faults of all files."""
    profiles, faults = {}, []
    for kind in device_kinds():
        try:
            profiles[kind] = device_profile(kind)
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(faults)
    return profiles


def read_device(file: Path) -> DeviceProfile:
    """The profile in a device file. Raises ConfigError with the file's faults."""
    document = read(file, shown(file))
    device = check(DeviceFile, document)
    if device is not None and device.kind != file.stem:
        document.fault(("kind",), f"expected {file.stem!r}, as the file is called, found {shorten(device.kind)!r}")
    document.raise_faults()
    assert device is not None  # else there was a fault
    return _profile(device)


def _profile(device: DeviceFile) -> DeviceProfile:
    figures = dict(device)
    for name in ("send", "receive"):
        figures[name] = Handing(**_given(figures[name]))
    figures["rates"] = {
        op: {way: Rate(**_given(rate)) for way, rate in ways.items()} for op, ways in device.rates.items()
    }
    return DeviceProfile(**figures)


def _given(section: Section) -> dict[str, float]:
    """The figures of a section but those that were left out and have no number for a default."""
    return {name: figure for name, figure in section if figure is not None}


def shown(file: Path) -> str:
    """A path as a person wants to see it: from the current folder, if it is below."""
    try:
        return str(file.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(file)
