"""The JSON Schema of a config (draft 2020-12), by which an editor completes keys and marks mistakes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ampsim.config.catalogue import device_kinds
from ampsim.config.faults import QuietSchema
from ampsim.config.options import options_model
from ampsim.config.schema import Config
from ampsim.data import DATASETS
from ampsim.models import BUILT_IN
from ampsim.ops.optimizers import OPTIMIZERS

Schema = dict[str, Any]

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> Schema:
    """The schema of a config, with the options of every built-in model, data set and optimizer."""
    schema = Config.model_json_schema(schema_generator=QuietSchema)
    definitions = schema["$defs"]
    del definitions["Choice"]
    own: Schema = {
        "type": "object",
        "title": "a model of your own",
        "description": "module:function, found beside the config or in the current folder; its keywords are options",
        "properties": {
            "name": {
                "type": "string",
                "pattern": "^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*$",
                "description": "module:function, the function being called as function(data, **options)",
            }
        },
        "required": ["name"],
    }
    _choose(schema["properties"], "model", [*_alternatives(BUILT_IN, 1, definitions), own])
    _choose(schema["properties"], "data", _alternatives(DATASETS, 1, definitions))
    _choose(definitions["Training"]["properties"], "optimizer", _alternatives(OPTIMIZERS, 0, definitions))
    for kind in (definitions["Device"], definitions["DeviceCount"]):
        name = kind["properties"]["kind"]
        del name["type"]
        name["anyOf"] = [{"enum": device_kinds()}, {"type": "string", "pattern": r"\.ya?ml$"}]
    return {"$schema": DRAFT, **schema}


def _choose(properties: Schema, key: str, alternatives: list[Schema]) -> None:
    properties[key] = {"description": properties[key]["description"], "oneOf": alternatives}


def _alternatives(registry: Mapping[str, Callable[..., Any]], ours: int, definitions: Schema) -> list[Schema]:
    """A schema for each name of a registry; what they share goes to the definitions."""
    found = []
    for name, function in registry.items():
        schema = options_model(function, ours).model_json_schema(schema_generator=QuietSchema)
        definitions.update(schema.pop("$defs", {}))
        schema["properties"]["name"] = {"const": name, "description": schema["properties"]["name"]["description"]}
        summary = (function.__doc__ or name).strip().splitlines()[0]
        found.append({**schema, "title": name, "description": summary})
    return found
