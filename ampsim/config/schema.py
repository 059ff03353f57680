"""The keys of a config and of a device file: what may stand where, with which default.

Types are strict: the text "3" is no number, and 1.0 is no count. Times, sizes and speeds are SI floats once read.
`model`, `data` and `optimizer` have options besides their name; `options` checks those.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    GetPydanticSchema,
    SerializerFunctionWrapHandler,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    model_serializer,
    with_config,
)
from typing_extensions import TypedDict

from ampsim.config.quantities import Bytes, BytesPerSecond, FlopsPerSecond, PositiveSeconds, Seconds
from ampsim.config.wording import describe
from ampsim.sim.rates import Way
from ampsim.sim.topology import TopologyName
from ampsim.units import format_quantity

RESERVED = "controller"
LONGEST_NAME = 100
MOST_DEVICES = 100_000
SHORTEST_LOG_INTERVAL_S = {"wall": 0.01, "simulated": 10e-6}

_NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]*"


def _file_name(text: str) -> str:
    if len(text) > LONGEST_NAME:
        raise ValueError(f"expected at most {LONGEST_NAME} characters, found {len(text)}")
    if not re.fullmatch(_NAME, text):
        raise ValueError(f"expected letters, digits, '-', '_' and '.' (it names a file), found {describe(text)}")
    return text


def _device_name(text: str) -> str:
    if text == RESERVED:
        raise ValueError(f"{RESERVED!r} is not free: the process that injects instances has this name")
    return _file_name(text)


def _numerics(numerics: str, info: ValidationInfo) -> str:
    # A clock that is faulty has its own fault, and is not among the data.
    if numerics == "off" and info.data.get("clock") == "wall":
        text = "'off' runs the clock without the arithmetic, and the wall clock is that of the arithmetic"
        raise ValueError(f"{text}: expected 'native' or 'portable', or cluster.clock: simulated")
    return numerics


def _not_a_flood(seconds: float, info: ValidationInfo) -> float:
    clock = info.data.get("clock", "simulated")  # a clock that is faulty has its own fault
    least = SHORTEST_LOG_INTERVAL_S[clock]
    if seconds < least:
        shown = format_quantity(least, "s")
        raise ValueError(f"expected at least {shown!r} on the {clock} clock, found {format_quantity(seconds, 's')!r}")
    return seconds


LogInterval = Annotated[PositiveSeconds, AfterValidator(_not_a_flood)]
FileName = Annotated[str, AfterValidator(_file_name), WithJsonSchema({"type": "string", "pattern": f"^{_NAME}$"})]
DeviceName = Annotated[str, AfterValidator(_device_name)]
_AtLeast0 = Annotated[float, Field(ge=0, description="reached when the mean over the split is no more than this")]
_Share = Annotated[float, Field(ge=0, le=1, description="reached when this share of the split is right")]
_StopAt = TypedDict(
    "_StopAt",
    {
        "train.loss": _AtLeast0,
        "train.accuracy": _Share,
        "train.mae": _AtLeast0,
        "validation.loss": _AtLeast0,
        "validation.accuracy": _Share,
        "validation.mae": _AtLeast0,
    },
    total=False,
)
with_config(ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))(_StopAt)
# To those who read it, a dict of floats; the checks are those of the keys above.
StopAt = Annotated[dict[str, float], GetPydanticSchema(lambda _, handler: handler(_StopAt))]


def _written(quantity: str) -> Any:
    # Of any type for the type checker: a default is written as text, and read as a float like any other value.
    return quantity


# Tagged, so that only one of the two has something against a value; no name can have a '<'.
Shape = Annotated[
    Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=2), Tag("<shape>")]
    | Annotated[None, Tag("<none>")],
    Discriminator(lambda shape: "<none>" if shape is None else "<shape>"),
]
Pair = Annotated[list[str], Field(min_length=2, max_length=2)]


class Section(BaseModel):
    """A mapping of the config; keys that it does not know are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True)


class Choice(Section):
    """Something chosen by its name, and its options."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(description="the name of what is chosen")

    @property
    def options(self) -> dict[str, Any]:
        """The options by name; once loaded, with every default filled in."""
        return dict(self.model_extra or {})


class Training(Section):
    """How the model is trained."""

    algorithm: Literal["amp"] = Field(default="amp", description="how it learns: asynchronous model parallelism")
    max_active_keys: int = Field(default=4, ge=1, description="how many instances are in flight at once")
    inject_at_once: int = Field(
        default=1,
        ge=1,
        description="how many instances are injected together, as a wave, once so many of max_active_keys are free",
    )
    min_update_frequency: int = Field(
        default=1, ge=1, description="how many gradients a parameterised node gathers before it updates its parameters"
    )
    instances_per_update: int = Field(
        default=0,
        ge=0,
        description="of how many instances, at most, the gradients make one update, if a node has gathered those of "
        "more; 0: all that it has gathered make one",
    )
    optimizer: Choice = Field(description="the optimizer by name, with its options")
    learning_rate_decay: float = Field(
        default=1.0, gt=0, le=1, description="what the learning rate is multiplied by after each epoch"
    )
    replicas: int = Field(
        default=1,
        ge=1,
        le=256,
        description="how many copies of the whole model there are, each for every n-th wave of instances; those of a "
        "node are called <node>_0, <node>_1, ..., and their parameters are averaged at the end of an epoch",
    )
    share_gradients: bool = Field(
        default=False,
        description="whether nodes that stand for one (replicas) send each other the gradient of every update",
    )
    epochs: int = Field(ge=1, description="how often the training set is gone through, at most")
    stop_at: StopAt = Field(default={}, description="stop after the epoch in which these values are reached")


_KIND = "the kind of device: one of those in devices/, or the path of a device file of your own, which ends in .yaml"


class Device(Section):
    """One device, and the nodes that it hosts."""

    kind: str = Field(description=_KIND)
    nodes: list[Annotated[str, Field(min_length=1)]] = Field(
        default=[], description="names of nodes, or patterns such as linear[3-4] and relu*"
    )


class DeviceCount(Section):
    """So many devices of one kind, named d0, d1, ..."""

    count: int = Field(ge=1, le=MOST_DEVICES, description="how many devices there are")
    kind: str = Field(description=_KIND)


class Connection(Section):
    """A pair of links, one each way, in an explicit list."""

    between: Pair = Field(description="the two vertices: devices, switches, or controller")
    latency: Seconds | None = Field(default=None, description="of both links; by default the network's")
    bandwidth: BytesPerSecond | None = Field(default=None, description="of both links; by default the network's")


class Network(Section):
    """What connects the devices."""

    topology: TopologyName = Field(
        default="switch", description="where links are; links: where the list of this name says"
    )
    latency: Seconds = Field(
        default=_written("5 us"), description="time that a message needs on a link, beside its size"
    )
    bandwidth: BytesPerSecond = Field(default=_written("10 Gbit/s"), description="bandwidth of each link")
    shape: Shape = Field(
        default=None, description="[rows, columns] of a mesh or torus; by default as near to a square as can be"
    )
    switches: list[DeviceName] = Field(default=[], description="vertices of topology links that are no devices")
    links: list[Connection] = Field(default=[], description="pairs of links, one each way, of topology links")

    @model_serializer(mode="wrap")
    def _without_what_does_not_apply(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Keys that only some topologies have, and may not stand beside another.
        optional = ("shape", "switches", "links")
        return {key: value for key, value in write(self).items() if value or key not in optional}


def is_count(devices: object) -> bool:
    """Whether `cluster.devices` says how many there are, and does not list them by name."""
    if isinstance(devices, dict):
        return ("count" in devices and not isinstance(devices["count"], dict)) or isinstance(devices.get("kind"), str)
    return isinstance(devices, DeviceCount)


# The tags stand in pydantic's paths; no name can have a '<'.
Devices = Annotated[
    Annotated[DeviceCount, Tag("<count>")] | Annotated[dict[DeviceName, Device], Field(min_length=1), Tag("<names>")],
    Discriminator(lambda devices: "<count>" if is_count(devices) else "<names>"),
]


class Cluster(Section):
    """The devices and what connects them."""

    clock: Literal["wall", "simulated"] = Field(
        default="wall",
        description="wall: devices run as fast as this machine allows; simulated: time follows from the devices' kinds "
        "and the network, and the order of all work from this file alone",
    )
    numerics: Annotated[Literal["native", "portable", "off"], AfterValidator(_numerics)] = Field(
        default="native",
        description="native: the fastest arithmetic that this CPU has; portable: the same bits on every x86-64 machine "
        "with the same libraries; off: none, the simulated clock alone",
    )
    record: bool = Field(
        default=True,
        description="on the wall clock, record the order of each device's work, so that it can be replayed",
    )
    max_batch: int = Field(default=1, ge=1, description="how many queued messages of a node are handled together")
    log_interval: LogInterval = Field(default=_written("1 s"), description="length of a line of the utilization log")
    devices: Devices = Field(description="devices by name, or {count, kind}")
    placement: Literal["explicit", "auto"] = Field(
        default="explicit",
        description="explicit: each device names its nodes; auto: the nodes that no device names are spread such that "
        "the busiest device has the least work (always so where devices are only counted)",
    )
    network: Network = Field(default_factory=Network, description="what connects the devices")
    controller: str | None = Field(
        default=None,
        description="measured kind that the controller runs on, on the simulated clock; by default it takes no time",
    )
    cores: int | None = Field(
        default=None,
        ge=1,
        description="on the simulated clock, cores that the devices share with such a controller: while all are at "
        "work it takes its time from one of them; by default each has its own",
    )


class Config(Section):
    """An experiment: a model, its data, how it is trained, and on which devices."""

    name: FileName = Field(description="name of the experiment; its runs are called <name>-<number>")
    seed: int = Field(default=0, ge=0, le=2**63 - 1, description="seed of everything that is random")
    model: Choice = Field(description="the model: a built-in one, or module:function of your own, with its options")
    data: Choice = Field(description="the data set by name, with its options")
    training: Training = Field(description="how the model is trained")
    cluster: Cluster = Field(description="the devices and what connects them")


class RateFigures(Section):
    """What one op takes on a device that was measured."""

    batch: Seconds = Field(default=_written("0 s"), description="time per batch")
    call: Seconds = Field(default=_written("0 s"), description="time per batch that computes on rows")
    message: Seconds = Field(default=_written("0 s"), description="time per message")
    part: Seconds = Field(default=_written("0 s"), description="time per batch that is merged into the one handled")
    row: Seconds = Field(default=_written("0 s"), description="time per row")
    compute: FlopsPerSecond | None = Field(default=None, description="float32 operations per second")
    memory_bandwidth: BytesPerSecond | None = Field(default=None, description="bytes read and written per second")


class HandingFigures(Section):
    """What handing out to, or taking in from, other processes takes of a device's own time."""

    bundle: Seconds = Field(default=_written("0 s"), description="time for all that goes to one peer together")
    batch: Seconds = Field(default=_written("0 s"), description="time for each batch in it")
    structure: Seconds = Field(default=_written("0 s"), description="more for a batch of instances' structures")
    array: Seconds = Field(default=_written("0 s"), description="time for each array of these")
    bandwidth: BytesPerSecond | None = Field(default=None, description="bandwidth of copying")


class DeviceFile(Section):
    """A kind of device: a file in devices/."""

    kind: str = Field(description="the name of the kind, the same as the file's")
    summary: str = Field(description="what device this is, in a line")
    compute: FlopsPerSecond = Field(description="float32 operations per second")
    memory_bandwidth: BytesPerSecond = Field(description="bandwidth of the device's memory")
    memory: Bytes = Field(description="size of the device's memory")
    overhead: Seconds = Field(description="time per batch of messages handled, beside the arithmetic")
    message_overhead: Seconds = Field(default=_written("0 s"), description="time per message of a batch")
    turn: Seconds = Field(default=_written("0 s"), description="time per turn, beside its batches")
    spread: float = Field(
        default=0.0,
        ge=0,
        le=3,
        description="how much batches that are alike vary: the standard deviation of the logarithms of their times",
    )
    send: HandingFigures = Field(default_factory=HandingFigures, description="time of handing out to other processes")
    receive: HandingFigures = Field(default_factory=HandingFigures, description="time of taking in what has come")
    rates: dict[str, dict[Way, RateFigures]] = Field(
        default={}, description="what was measured, by op or optimizer, and by way"
    )
