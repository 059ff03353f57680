"""What a schema has against a document, in our words: one line each, at the line of the value.

What was expected is read off the JSON Schema of the field, so that it is worded the same way whatever pydantic
stumbled over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import ErrorDetails

from ampsim.config.tree import Document, KeyPath, dotted, has
from ampsim.config.wording import describe, did_you_mean, enumerated, nearest

Schema = dict[str, Any]
Model = TypeVar("Model", bound=BaseModel)

_TYPES = {"string": "a text", "boolean": "true or false", "null": "nothing"}


class QuietSchema(GenerateJsonSchema):
    """A schema generator that leaves out what JSON cannot say, without a warning."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}


def parse(model: type[Model], value: Any) -> Model:
    """`value`, of JSON's types, as a `model`. Raises pydantic's ValidationError."""
    # By way of JSON text, where pydantic is strict about what YAML tells apart and lets a list be a tuple.
    return model.model_validate_json(json.dumps(value), strict=True)


def check(model: type[Model], document: Document, path: KeyPath = ()) -> Model | None:
    """What stands at `path` as a `model`, or None, and the faults noted in the document."""
    value = document.at(*path)
    try:
        return parse(model, value)
    except ValidationError as error:
        schema = model.model_json_schema(schema_generator=QuietSchema)
        told = {fault.path for fault in document.faults}  # what is no plain value has its fault already
        for where, text in _faults(error, value, schema):
            if dotted((*path, *where)) not in told:
                document.fault((*path, *where), text)
    return None


def _faults(error: ValidationError, value: Any, schema: Schema) -> Iterator[tuple[KeyPath, str]]:
    """Path and text of each fault; one for a value, and none for a key that is missing because it is misspelt."""
    told: set[KeyPath] = set()
    missing = []
    for entry in error.errors(include_url=False):
        kind = entry["type"]
        path = _within(value, entry["loc"])
        if kind == "missing":
            missing.append((path, str(entry["loc"][-1])))
        elif path not in told:
            told.add(path)
            yield path, _unknown(path, schema) if kind == "extra_forbidden" else _sentence(entry, path, value, schema)
    for path, key in missing:
        parent, known = _at(value, path), _properties(_resolve(schema, path))
        misspelt = [other for other in parent if other not in known and nearest(other, known) == key]
        if not misspelt:
            about = known.get(key, {}).get("description")
            yield (*path, key), f"missing key {key!r}" + (f": {about}" if about else "")
        elif (*path, misspelt[0]) not in told:  # where any key is allowed, nobody else has told it
            yield (*path, misspelt[0]), f"unknown key {misspelt[0]!r} (did you mean {key!r}?)"


def _within(value: Any, loc: tuple[str | int, ...]) -> KeyPath:
    """Those parts of pydantic's path that are in the document; the others name members of a union and the like."""
    path: list[str | int] = []
    for part in loc:
        if has(value, part):
            path.append(part)
            value = value[part]
    return tuple(path)


def _at(value: Any, path: KeyPath) -> Any:
    for part in path:
        value = value[part]
    return value


def _unknown(path: KeyPath, schema: Schema) -> str:
    known = _properties(_resolve(schema, path[:-1]))
    return f"unknown key {describe(path[-1]).removeprefix('the text ')}{did_you_mean(str(path[-1]), known)}"


def _sentence(entry: ErrorDetails, path: KeyPath, value: Any, schema: Schema) -> str:
    if entry["type"] == "value_error":
        return str(entry["ctx"]["error"])
    found, field = entry["input"], _resolve(schema, path)
    names = _choices(field)
    if names and isinstance(found, str):
        return f"expected {_expectation(field, schema)}, found {describe(found)}{_hint(found, names)}"
    return f"expected {_expectation(field, schema)}, found {describe(found)}"


def _hint(word: str, names: list[str]) -> str:
    meant = nearest(word, names)
    return f" (did you mean {meant!r}?)" if meant else ""


def _choices(field: Schema) -> list[str]:
    values = field.get("enum", [field["const"]] if "const" in field else [])
    return [value for value in values if isinstance(value, str)]


def _expectation(field: Schema, root: Schema) -> str:
    """What a JSON Schema asks for, as a noun phrase: `a whole number above 0`."""
    field = _dereference(field, root)
    if alternatives := field.get("anyOf") or field.get("oneOf"):
        return " or ".join(dict.fromkeys(_expectation(one, root) for one in alternatives))
    if "const" in field or "enum" in field:
        values = [repr(value) for value in field.get("enum", [field.get("const")])]
        return enumerated(values, "or")
    kind = field.get("type")
    if kind in ("integer", "number"):
        return ("a whole number" if kind == "integer" else "a number") + _bounds(field)
    if kind == "array":
        items = field.get("items")
        least, most = field.get("minItems"), field.get("maxItems")
        few = f" of {least}" if least and least == most else f" of at least {least}" if least else ""
        return f"a list{few}" + (f", each item {_expectation(items, root)}" if items else "")
    if kind == "object":
        required = [repr(key) for key in field.get("required", ())]
        if required:
            return f"a mapping with the key{'s' if len(required) > 1 else ''} {enumerated(required)}"
        return "a mapping" + (" with at least one key" if field.get("minProperties") else "")
    if kind == "string" and field.get("minLength"):
        return "a text that is not empty"
    return _TYPES.get(str(kind), "another value")


def _bounds(field: Schema) -> str:
    low, high = field.get("minimum"), field.get("maximum")
    above, below = field.get("exclusiveMinimum"), field.get("exclusiveMaximum")
    if field["type"] == "integer" and above is not None and high is not None:
        low, above = above + 1, None
    elif field["type"] == "integer" and low == 1 and high is None:
        low, above = None, 0
    if low is not None and high is not None:
        return f" from {low} to {high}"
    limits = {"of at least": low, "above": above, "of at most": high, "below": below}
    told = [f"{word} {limit}" for word, limit in limits.items() if limit is not None]
    return f" {enumerated(told)}" if told else ""


def _dereference(field: Schema, root: Schema) -> Schema:
    while "$ref" in field:
        field = root["$defs"][field["$ref"].rpartition("/")[2]]
    return field


def _alternatives(field: Schema, root: Schema) -> Iterator[Schema]:
    field = _dereference(field, root)
    alternatives = field.get("anyOf") or field.get("oneOf")
    if alternatives:
        for one in alternatives:
            yield from _alternatives(one, root)
    else:
        yield field


def _resolve(root: Schema, path: KeyPath) -> Schema:
    """The schema of the value at `path`; the empty schema where none is known."""
    fields = [root]
    for part in path:
        alternatives = [one for field in fields for one in _alternatives(field, root)]
        # Who knows the key by name knows it better than who takes any key.
        by_name = [one for one in alternatives if part in one.get("properties", {})]
        fields = [inner for one in by_name or alternatives for inner in _step(one, part)]
    found = [one for field in fields for one in _alternatives(field, root)]
    if len(found) < 2:
        return found[0] if found else {}
    properties = {key: value for one in found for key, value in one.get("properties", {}).items()}
    return {"anyOf": found, "properties": properties}


def _step(field: Schema, part: str | int) -> list[Schema]:
    if isinstance(part, int):
        return [field["items"]] if "items" in field else []
    if part in field.get("properties", {}):
        return [field["properties"][part]]
    extra = field.get("additionalProperties")
    return [extra] if isinstance(extra, dict) else []


def _properties(field: Schema) -> dict[str, Schema]:
    properties: dict[str, Schema] = field.get("properties", {})
    return properties
