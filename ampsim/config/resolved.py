"""An experiment back into YAML: every default filled in, nodes listed by name, quantities in SI units."""

from __future__ import annotations

from io import StringIO

from ruamel.yaml import YAML

from ampsim.config.load import Experiment
from ampsim.config.wording import printable
from ampsim.sim.profile import DeviceProfile
from ampsim.units import format_quantity


def to_yaml(experiment: Experiment) -> str:
    """The text of `config.yaml`: loading it gives an equal Config. A comment has the figures of each kind of device."""
    yaml = YAML()
    yaml.default_flow_style = None  # the innermost mappings and lists in one line
    yaml.width = 100_000
    text = StringIO()
    yaml.dump(experiment.config.model_dump(mode="json", by_alias=True), text)
    profiles = dict.fromkeys(device.profile for device in experiment.devices.values())
    return "".join(f"# {figures(profile)}\n" for profile in profiles) + text.getvalue()


def figures(profile: DeviceProfile) -> str:
    """A device profile in a line: `cpu-core: 100 GFLOP/s, 20 GB/s, 4 GB, 20 us overhead; ...`."""
    quantities = (
        format_quantity(profile.compute, "FLOP/s"),
        format_quantity(profile.memory_bandwidth, "byte/s"),
        format_quantity(profile.memory, "byte"),
        f"{format_quantity(profile.overhead, 's')} overhead",
    )
    return f"{profile.kind}: {', '.join(quantities)}; {printable(profile.summary)}"
