"""Fields that are written with a unit (`5 us`) and read as SI floats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from ampsim.config.wording import describe
from ampsim.units import MEASURES, parse

_NUMBER = r"[+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"


@dataclass(frozen=True)
class Quantity:
    """Marks a float that stands in YAML as a number with a unit; `unit` is the one it has inside."""

    unit: str
    zero: bool = False

    def parse(self, value: object) -> float:
        """The SI value. Raises ValueError with a sentence that says what was expected."""
        measure = MEASURES[self.unit]
        if not isinstance(value, str):
            cure = ": write the unit" if isinstance(value, int | float) and not isinstance(value, bool) else ""
            raise ValueError(f"expected {measure.noun} such as {measure.example!r}, found {describe(value)}{cure}")
        return parse(value, self.unit, zero=self.zero)

    def write(self, value: float) -> str:
        """The value as YAML has it, to the last bit."""
        return f"{value!r} {self.unit}"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        write = core_schema.plain_serializer_function_ser_schema(self.write, return_schema=core_schema.str_schema())
        return core_schema.no_info_before_validator_function(self.parse, handler(source), serialization=write)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        measure = MEASURES[self.unit]
        return {"type": "string", "pattern": rf"^\s*{_NUMBER}\s*[A-Za-zµμ/]+\s*$", "examples": [measure.example]}


Seconds = Annotated[float, Quantity("s", zero=True)]
PositiveSeconds = Annotated[float, Quantity("s")]
Bytes = Annotated[float, Quantity("byte")]
BytesPerSecond = Annotated[float, Quantity("byte/s")]
FlopsPerSecond = Annotated[float, Quantity("FLOP/s")]
