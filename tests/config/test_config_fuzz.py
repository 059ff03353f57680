"""Whatever stands in a file, loading it ends with an Experiment or with a ConfigError of one line per fault."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ampsim.config.catalogue import shipped
from ampsim.config.load import load
from ampsim.errors import ConfigError

SHIPPED = shipped("configs")["mnist-mlp"].read_text()
LINES = SHIPPED.splitlines(keepends=True)
WORDS = "- : { } [ ] ' \" # * &a !!set | > 0 -1 1e400 .nan ~ true 2024-01-01 << d0 name kind count nodes é ?"
SCRAPS = ["", ": ", "\t", "\n", "  ", "\0", "\ud7ff", "5 us", *WORDS.split()]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["cpu-core", "5 us"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "kind", "count", "x"]), inner),
    max_leaves=5,
)
PATHS = ["name", "seed", "model", "model.name", "model.hidden", "model.hidden.1", "data", "data.batch", "training",
         "training.optimizer", "training.optimizer.name", "training.epochs", "training.stop_at", "cluster",
         "cluster.clock", "cluster.log_interval", "cluster.devices", "cluster.devices.d0", "cluster.devices.d0.kind",
         "cluster.devices.d0.nodes", "cluster.devices.d0.nodes.0", "cluster.placement", "cluster.network",
         "cluster.network.latency", "cluster.network.x", "cluster.network.topology", "cluster.network.shape",
         "cluster.network.switches", "cluster.network.links", "cluster.network.links.0.between"]  # fmt: skip

several = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def outcome(path: Path, content: bytes, overrides: tuple[str, ...] = ()) -> None:
    path.write_bytes(content)
    with suppress(ConfigError):
        load(str(path), overrides)
        return
    with pytest.raises(ConfigError) as raised:
        load(str(path), overrides)
    assert raised.value.faults
    assert len(str(raised.value).splitlines()) == len(raised.value.faults)


@several
@given(edits=st.lists(st.tuples(st.integers(0, len(SHIPPED)), st.integers(0, 12), st.sampled_from(SCRAPS)), max_size=4))
def test_a_config_with_scraps_in_it_never_ends_in_another_error(tmp_path: Path, edits: Any) -> None:
    text = SHIPPED
    for start, length, scrap in edits:
        text = text[:start] + scrap + text[start + length :]
    outcome(tmp_path / "x.yaml", text.encode())


@several
@given(order=st.lists(st.sampled_from(range(len(LINES))), max_size=2 * len(LINES)))
def test_a_config_with_its_lines_shuffled_never_ends_in_another_error(tmp_path: Path, order: list[int]) -> None:
    outcome(tmp_path / "x.yaml", "".join(LINES[index] for index in order).encode())


@several
@example(b"\xef\xbb\xbf")
@example(b"? ? ?")
@example(b"%YAML 1.1\n---\na: on\n")
@given(content=st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_a_file_of_random_bytes_never_ends_in_another_error(tmp_path: Path, content: bytes) -> None:
    outcome(tmp_path / "x.yaml", content)


@several
@given(path=st.sampled_from(PATHS), value=VALUES | st.text(max_size=10))
def test_a_random_override_never_ends_in_another_error(tmp_path: Path, path: str, value: Any) -> None:
    outcome(tmp_path / "x.yaml", SHIPPED.encode(), (f"{path}={value}",))


@several
@given(override=st.text(max_size=30))
def test_a_random_text_as_override_never_ends_in_another_error(tmp_path: Path, override: str) -> None:
    outcome(tmp_path / "x.yaml", SHIPPED.encode(), (override,))
