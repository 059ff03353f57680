"""Finds the cases: the folders of `benchmarks/` that have a case.py, in a checkout or inside the installed package."""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ampsim
from ampsim.bench.case import Case
from ampsim.config.wording import did_you_mean
from ampsim.errors import BadInput

ALL = "all"


@dataclass(frozen=True)
class CaseFolder:
    """A case that there is: its name, and the folder where its contenders are run."""

    name: str
    path: Path

    def load(self, quick: bool) -> Case:
        """The case, at its small size if `quick`. Raises BadInput if its case.py makes none."""
        file = self.path / "case.py"
        try:
            made = runpy.run_path(str(file))["case"](quick)
        except Exception as error:
            raise BadInput(
                f"{file}: expected a function case(quick) -> Case: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(made, Case):
            raise BadInput(f"{file}: case() returned {type(made).__name__}, expected an ampsim.bench.case.Case")
        return made


def find_root() -> Path:
    """The folder of the cases: inside the installed package, or at the top of the checkout.

    Raises BadInput if there is neither.
    """
    package = Path(ampsim.__file__).parent
    for folder in (package / "benchmarks", package.parent / "benchmarks"):
        if any(folder.glob("*/case.py")):
            return folder
    raise BadInput(
        f"there are no benchmark cases in {package / 'benchmarks'} or {package.parent / 'benchmarks'}: install ampsim "
        "with `pip install .` from a whole checkout, or run it there"
    )


def find_cases(names: Sequence[str] = (ALL,), root: Path | None = None) -> list[CaseFolder]:
    """The cases of these names, in their order, each once; `all` stands for every one, by name.

    Raises BadInput for a name that is none, with the names that there are.
    """
    there = {file.parent.name: file.parent for file in sorted((root or find_root()).glob("*/case.py"))}
    chosen: dict[str, CaseFolder] = {}
    for name in names:
        if name != ALL and name not in there:
            raise BadInput(f"no benchmark case {name!r}{did_you_mean(name, there)}")
        for each in there if name == ALL else (name,):
            chosen[each] = CaseFolder(each, there[each])
    return list(chosen.values())
