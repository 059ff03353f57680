"""`{name, **options}`: what a function's signature says about its options, as a schema, and the function's call.

One mechanism for models, data sets and optimizers: adding a keyword to the function adds the option.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic_core import to_jsonable_python

from ampsim.config.faults import check, parse
from ampsim.config.imports import ImportFault, import_function, import_path, what_happened
from ampsim.config.schema import Choice
from ampsim.config.tree import Document, KeyPath
from ampsim.config.wording import did_you_mean, nearest, shorten
from ampsim.errors import DataError, GraphError

Function = Callable[..., Any]


@dataclass(frozen=True)
class Chosen:
    """A function and its options, every default filled in.

    `sound` is False if the section has a fault and this is what was probably meant: good enough to look for further
    faults with, no more.
    """

    name: str
    function: Function
    options: dict[str, Any]
    sound: bool

    @property
    def choice(self) -> Choice:
        """The section as a resolved config has it."""
        return Choice.model_validate({"name": self.name, **self.options})


def choose(
    document: Document,
    path: KeyPath,
    what: str,
    registry: Mapping[str, Function],
    ours: int = 0,
    import_paths: list[str] | None = None,
) -> Chosen | None:
    """What the section at `path` chooses, its faults being noted in the document.

    `what` is what a person calls it ("data set"), `ours` how many leading arguments are not options. Where
    `import_paths` is given, `module:function` is a name too.
    """
    section = document.at(*path)
    if not isinstance(section, dict) or not isinstance(section.get("name"), str):
        return None
    before, name = len(document.faults), section["name"]
    if import_paths is not None and ":" in name:
        function = _import(document, path, name, ours, import_paths)
        if function is None:
            return None
    elif name in registry:
        function = registry[name]
    else:
        own = ", or module:function for one of your own" if import_paths is not None else ""
        text = f"no {what} {shorten(name)!r}{did_you_mean(name, registry)}{own}"
        document.fault((*path, "name"), text)
        meant = nearest(name, registry)
        return _guess(registry[meant], ours, meant, section) if meant else None
    sound = check(options_model(function, ours), document, path)
    if sound is None or len(document.faults) > before:
        return _guess(function, ours, name, section)
    return Chosen(name, function, _values(sound), sound=True)


def call(document: Document, path: KeyPath, chosen: Chosen, *ours: Any, import_paths: Sequence[str] = ()) -> Any:
    """What the chosen function returns, or None if it raised; what it raised is noted in the document."""
    try:
        with import_path(import_paths):
            return chosen.function(*ours, **chosen.options)
    except GraphError as error:
        for problem in error.problems if chosen.sound else ():
            document.fault(path, shorten(problem, 400))
    except DataError as error:
        document.fault(path, shorten(str(error), 400))
    except (Exception, SystemExit) as error:
        if chosen.sound:
            document.fault((*path, "name"), f"{chosen.name} raised {what_happened(error, import_paths)}")
    return None


@lru_cache(maxsize=256)
def options_model(function: Function, ours: int) -> type[BaseModel]:
    """A schema of the section that chooses `function`: its name, and an option for each keyword.

    The first `ours` parameters are no options. A function with `**keywords` takes any option.
    """
    parameters = list(inspect.signature(function).parameters.values())
    hints = _hints(function)
    fields: dict[str, Any] = {"name": (str, Field(description="the name of what is chosen"))}
    for index, parameter in enumerate(parameters[ours:]):
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY) and parameter.name != "name":
            default = ... if parameter.default is parameter.empty else parameter.default
            # Numbered, because an option may have a name that pydantic keeps for itself.
            about = _about(function, parameter.name)
            field = Field(default, alias=parameter.name, title=parameter.name, description=about)
            fields[f"option{index}"] = (_known(hints.get(parameter.name, Any)), field)
    anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    config = ConfigDict(extra="allow" if anything else "forbid", strict=True, frozen=True, allow_inf_nan=False)
    return create_model(_name(function), __config__=config, **fields)


def _about(function: Function, option: str) -> str:
    """The sentence of the function's docstring that speaks of an option, or else the first line."""
    text = (function.__doc__ or "").strip()
    sentences = re.split(r"(?<=[.;]) ", " ".join(text.split()))
    first = f"see {_name(function)}: {text.partition(chr(10))[0]}"
    return next((sentence for sentence in sentences if f"`{option}`" in sentence), first).rstrip(".;: ")


def _name(function: Function) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _values(model: BaseModel) -> dict[str, Any]:
    """The options by name, without defaults that YAML cannot say: the function has them anyway."""
    values = {
        field.alias: getattr(model, name)
        for name, field in type(model).model_fields.items()
        if field.alias is not None and (name in model.model_fields_set or _is_plain(field.default))
    }
    return {**values, **(model.model_extra or {})}


def _is_plain(value: Any) -> bool:
    try:
        json.dumps(to_jsonable_python(value), allow_nan=False)
    except ValueError:
        return False
    return True


def _guess(function: Function, ours: int, name: str, section: dict[str, Any]) -> Chosen | None:
    """The section with misspelt options put right and unknown ones left out, if that makes it sound."""
    model = options_model(function, ours)
    known = [field.alias or key for key, field in model.model_fields.items()]
    meant: dict[str, Any] = {}
    for key, value in section.items():
        option = key if key in known else nearest(key, known)
        if option is not None:
            meant.setdefault(option, value)
    try:
        return Chosen(name, function, _values(parse(model, {**meant, "name": name})), sound=False)
    except ValidationError:
        return None


def _import(document: Document, path: KeyPath, name: str, ours: int, import_paths: list[str]) -> Function | None:
    try:
        function = import_function(name, import_paths)
        parameters = inspect.signature(function).parameters.values()
    except ImportFault as fault:
        document.fault((*path, "name"), str(fault))
        return None
    except (TypeError, ValueError):
        document.fault((*path, "name"), f"{name!r} is no function written in Python: it has no signature")
        return None
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) < ours and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        document.fault((*path, "name"), f"{name!r} must take the data's description (a DataSpec) as its first argument")
        return None
    return function


def _hints(function: Function) -> dict[str, Any]:
    try:
        return get_type_hints(function.__init__ if inspect.isclass(function) else function, include_extras=True)
    except Exception:  # whatever a user's annotations may raise when they are evaluated
        return {}


def _known(hint: Any) -> Any:
    """The type hint, or Any if pydantic cannot tell what it asks of a value in YAML."""
    try:
        TypeAdapter(hint).json_schema()
    except (PydanticUserError, TypeError, AttributeError):
        return Any
    return hint
