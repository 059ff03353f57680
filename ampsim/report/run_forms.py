"""What reports read of a run directory's files must have these types; what else is there is not looked at."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ampsim.config.wording import describe
from ampsim.errors import BadInput

_EXPECTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}
"""What was expected where pydantic found an error of this type."""

Measure = float | None
"""None is what one that is not finite was written as."""


class _Form(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class Device(_Form):
    """A device's figures over the run."""

    kind: str
    pid: int | None = None
    utilization: float
    busy_s: float
    forward_messages: int
    backward_messages: int
    updates: int
    staleness_mean: float
    staleness_max: int
    bytes_sent: int
    bytes_received: int
    peak_memory_bytes: int


class Measures(_Form):
    """What a pass came to."""

    loss: Measure = None
    accuracy: Measure = None
    mae: Measure = None


class Train(Measures):
    """The training passes."""

    instances_per_second: float


class Bound(_Form):
    """What no order of work could have gone below."""

    device: str
    device_s: float
    link: str
    link_s: float
    critical_path_s: float
    bound_s: float
    fraction: float


class Error(_Form):
    """Why a run ended before its time."""

    text: str
    device: str = ""
    traceback: str = ""


class Arithmetic(_Form):
    """What bits depend on."""

    blas: list[dict[str, Any]] | None = None


class Summary(_Form):
    """`summary.json`."""

    name: str
    status: Literal["running", "finished", "stopped", "failed"]
    pid: int | None = None
    devices: dict[str, Device]
    epochs: int = 0
    time_s: float = 0.0
    reached: dict[str, float] | None = None
    # A pass that there was none of is left out, and not null.
    train: Train = Train(instances_per_second=0.0)
    validation: Measures = Measures()
    test: Measures = Measures()
    bound: Bound | None = None
    error: Error | None = None
    arithmetic: Arithmetic | None = None
    parameters_sha256: str | None = None


class Line(Measures):
    """A line of `metrics.jsonl`."""

    epoch: int
    split: str
    instances: int
    time_s: float
    wall_s: float


def check(form: type[BaseModel], content: object, place: str) -> None:
    """Raises BadInput, which tells of the first value in `place`, a file or a line of it, that is not as in `form`."""
    try:
        form.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "missing":
            raise BadInput(f"{place}: {key}: expected a value, and there is none") from None
        expected = _EXPECTED.get(first["type"]) or first.get("ctx", {}).get("expected", "another value")
        raise BadInput(f"{place}: {key}: expected {expected}, found {describe(first['input'])}") from None
