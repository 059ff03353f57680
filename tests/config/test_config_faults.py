"""One fault in a config gives one line: file and line, key path, what was expected and what is there."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from ampsim.config.load import load

NETWORK = "  network: {topology: switch, latency: 5 us, bandwidth: 10 Gbit/s}\n"
FOUR_DEVICES = """\
    d0: {kind: cpu-core, nodes: [linear1, relu1]}
    d1: {kind: cpu-core, nodes: [linear2, relu2]}
    d2: {kind: cpu-core, nodes: [linear3, relu3]}
    d3: {kind: cpu-core, nodes: [linear4, loss]}
"""
DEVICES = "  devices:\n" + FOUR_DEVICES
OPTIMIZER = "{name: sgd, learning_rate: 0.1}"

# what to replace, by what: the line and the key path of the fault, and a telling part of its text
FAULTS = [
    # keys
    ("  epochs: 10", "  epoch: 10", 14, "training.epoch", "unknown key 'epoch' (did you mean 'epochs'? there are: "),
    (
        "name: mnist-mlp\n",
        "nam: mnist-mlp\n",
        1,
        "nam",
        "unknown key 'nam' (did you mean 'name'? there are: name, seed",
    ),
    ("seed: 0", "sede: 0", 2, "sede", "did you mean 'seed'?"),
    ("seed: 0", "xyz: red", 2, "xyz", "unknown key 'xyz' (there are: name, seed, model"),
    ("  clock: wall\n", "  Clock: wall\n", 17, "cluster.Clock", "did you mean 'clock'?"),
    ("  hidden:", "  hiden:", 5, "model.hiden", "unknown key 'hiden' (did you mean 'hidden'? there are: name, hidden)"),
    ("  batch: 100", "  bacth: 100", 8, "data.bacth", "did you mean 'batch'?"),
    ("learning_rate", "learningrate", 13, "training.optimizer.learningrate", "did you mean 'learning_rate'?"),
    ("topology: switch", "topolgy: switch", 24, "cluster.network.topolgy", "did you mean 'topology'?"),
    ("d2: {kind", "d2: {knid", 22, "cluster.devices.d2.knid", "did you mean 'kind'?"),
    (
        "d2: {kind: cpu-core, nodes",
        "d2: {kind: cpu-core, ndoes",
        22,
        "cluster.devices.d2.ndoes",
        "did you mean 'nodes'?",
    ),
    (
        "validation.accuracy",
        "validation.acuracy",
        15,
        "training.stop_at.validation.acuracy",
        "did you mean 'validation.acc",
    ),
    ("validation.accuracy", "test.loss", 15, "training.stop_at.test.loss", "unknown key 'test.loss'"),
    ("  name: mlp\n", "  nmae: mlp\n", 4, "model.nmae", "unknown key 'nmae' (did you mean 'name'?)"),
    (
        "  max_batch: 1\n",
        "  max_batch: 1\n  max_batch: 2\n",
        19,
        "cluster.max_batch",
        "duplicate key, first on line 18",
    ),
    ("seed: 0", "3: 0", 2, "", "expected a text as key, found '3' (put it in quotes)"),
    ("seed: 0", "[a, b]: 0", 2, "", "expected a text as key, found a list or mapping"),
    ("seed: 0", '"a\\nb": 0', 2, "a\\nb", "unknown key"),
    # missing keys are told at the line of what should hold them
    ("name: mnist-mlp\n", "", 1, "name", "missing key 'name': name of the experiment"),
    ("  epochs: 10\n", "", 9, "training.epochs", "missing key 'epochs': how often"),
    (f"  optimizer: {OPTIMIZER}\n", "", 9, "training.optimizer", "missing key 'optimizer'"),
    (OPTIMIZER, "{name: sgd}", 13, "training.optimizer.learning_rate", "missing key 'learning_rate'"),
    (OPTIMIZER, "{learning_rate: 0.1}", 13, "training.optimizer.name", "missing key 'name'"),
    ("d3: {kind: cpu-core, ", "d3: {", 23, "cluster.devices.d3.kind", "missing key 'kind': the kind of device"),
    ("  name: mnist\n", "", 6, "data.name", "missing key 'name'"),
    # types
    ("name: mnist-mlp\n", "name: 3\n", 1, "name", "expected a text, found 3"),
    ("name: mnist-mlp\n", "name: [a]\n", 1, "name", "expected a text, found a list"),
    ("name: mnist-mlp\n", "name:\n", 1, "name", "expected a text, found nothing"),
    ("name: mnist-mlp\n", "name: true\n", 1, "name", "expected a text, found true"),
    ("name: mnist-mlp\n", "name: 2024-01-01\n", 1, "name", "found the date 2024-01-01 (put it in quotes)"),
    ("name: mnist-mlp\n", "name: a/b\n", 1, "name", "expected letters, digits, '-', '_' and '.'"),
    ("name: mnist-mlp\n", "name: ''\n", 1, "name", "found an empty text"),
    ("name: mnist-mlp\n", "name: ..\n", 1, "name", "expected letters, digits"),
    ("name: mnist-mlp\n", f"name: {'x' * 200}\n", 1, "name", "expected at most 100 characters, found 200"),
    ("seed: 0", "seed: -1", 2, "seed", "expected a whole number from 0 to"),
    ("seed: 0", "seed: abc", 2, "seed", "found the text 'abc'"),
    ("seed: 0", f"seed: {'9' * 5000}", 2, "seed", "expected a whole number from 0 to"),
    ("seed: 0", "seed: !!python/object:os.system x", 2, "seed", "the tag '!!python/object:os.system' is not allowed"),
    ("seed: 0", "seed: !secret x", 2, "seed", "the tag '!secret' is not allowed"),
    ("epochs: 10", "epochs: -3", 14, "training.epochs", "expected a whole number above 0, found -3"),
    ("epochs: 10", "epochs: 0", 14, "training.epochs", "expected a whole number above 0, found 0"),
    ("epochs: 10", "epochs: '10'", 14, "training.epochs", "found the text '10'"),
    ("epochs: 10", "epochs: 10.0", 14, "training.epochs", "expected a whole number above 0, found 10.0"),
    ("epochs: 10", "epochs: yes", 14, "training.epochs", "found the text 'yes'"),
    ("epochs: 10", "epochs: true", 14, "training.epochs", "found true"),
    ("epochs: 10", "epochs: .inf", 14, "training.epochs", "found inf"),
    ("max_active_keys: 4", "max_active_keys: 0", 11, "training.max_active_keys", "above 0, found 0"),
    ("min_update_frequency: 1", "min_update_frequency: -1", 12, "training.min_update_frequency", "above 0, found -1"),
    ("max_batch: 1", "max_batch: 0", 18, "cluster.max_batch", "above 0, found 0"),
    ("max_batch: 1", "max_batch: [1]", 18, "cluster.max_batch", "above 0, found a list"),
    ("algorithm: amp", "algorithm: sync", 10, "training.algorithm", "expected 'amp', found the text 'sync'"),
    ("clock: wall", "clock: wal", 17, "cluster.clock", "did you mean 'wall'?"),
    ("clock: wall", "clock: wal", 17, "cluster.clock", "expected 'wall' or 'simulated', found the text 'wal'"),
    (
        "clock: wall",
        "clock: wall\n  numerics: off",
        18,
        "cluster.numerics",
        "'off' runs the clock without the arithmetic",
    ),
    ("switch", "swich", 24, "cluster.network.topology", "'switch', 'full', 'ring', 'mesh', 'torus' or 'links'"),
    ("{validation.accuracy: 0.97}", "0.97", 15, "training.stop_at", "expected a mapping, found 0.97"),
    ("0.97", "97", 15, "training.stop_at.validation.accuracy", "expected a number from 0 to 1, found 97"),
    ("0.97", "-0.1", 15, "training.stop_at.validation.accuracy", "expected a number from 0 to 1, found -0.1"),
    ("0.97", "high", 15, "training.stop_at.validation.accuracy", "found the text 'high'"),
    (
        "validation.accuracy",
        "train.mae",
        15,
        "training.stop_at.train.mae",
        "reports no 'mae': expected loss or accuracy",
    ),
    (OPTIMIZER, "sgd", 13, "training.optimizer", "expected a mapping with the key 'name', found the text 'sgd'"),
    (
        "learning_rate: 0.1",
        "learning_rate: -0.1",
        13,
        "training.optimizer.learning_rate",
        "a number above 0, found -0.1",
    ),
    (
        "learning_rate: 0.1",
        "learning_rate: .nan",
        13,
        "training.optimizer.learning_rate",
        "a number above 0, found nan",
    ),
    ("learning_rate: 0.1", "learning_rate: 1 %", 13, "training.optimizer.learning_rate", "found the text '1 %'"),
    ("[784, 784, 784]", "784", 5, "model.hidden", "each item a whole number above 0, found 784"),
    ("[784, 784, 784]", "[]", 5, "model.hidden", "found an empty list"),
    ("[784, 784, 784]", "[784, 0]", 5, "model.hidden.1", "expected a whole number above 0 or a list of at least 1"),
    ("[784, 784, 784]", "&a [*a]", 5, "", "an alias stands inside what it stands for"),
    ("[784, 784, 784]", "*a", 5, "", "not YAML: found undefined alias 'a'"),
    ("batch: 100", "batch: 0", 8, "data.batch", "expected a whole number from 1 to 10000, found 0"),
    ("batch: 100", "batch: 1e2", 8, "data.batch", "found 100.0"),
    # units
    (
        "5 us",
        "5 parsec",
        24,
        "cluster.network.latency",
        "expected a time such as '5 us', found '5 parsec': there is no",
    ),
    ("5 us", "5 GB", 24, "cluster.network.latency", "found '5 GB': that is a size"),
    ("5 us", "5", 24, "cluster.network.latency", "found 5: write the unit"),
    ("5 us", "'5'", 24, "cluster.network.latency", "found '5': write the unit"),
    ("5 us", "-5 us", 24, "cluster.network.latency", "it can't be negative"),
    ("5 us", "soon", 24, "cluster.network.latency", "expected a time such as '5 us', found 'soon'"),
    (
        "10 Gbit/s",
        "10 GHz",
        24,
        "cluster.network.bandwidth",
        "expected a bandwidth such as '10 Gbit/s', found '10 GHz'",
    ),
    ("10 Gbit/s", "10 Gbit", 24, "cluster.network.bandwidth", "found '10 Gbit': that is a size"),
    ("10 Gbit/s", "0 Gbit/s", 24, "cluster.network.bandwidth", "it must be above 0"),
    ("10 Gbit/s", "10 mbit/s", 24, "cluster.network.bandwidth", "there is no unit 'mbit/s'"),
    ("10 Gbit/s", "nan Gbit/s", 24, "cluster.network.bandwidth", "found 'nan Gbit/s'"),
    ("10 Gbit/s", "9**9**9 bit/s", 24, "cluster.network.bandwidth", "found '9**9**9 bit/s'"),
    ("  max_batch: 1", "  log_interval: 0 s", 18, "cluster.log_interval", "it must be above 0"),
    # names of things
    ("name: mlp\n", "name: mpl\n", 4, "model.name", "no model 'mpl' (did you mean 'mlp'?"),
    ("name: mlp\n", "name: no_such_module:build\n", 4, "model.name", "there is no module 'no_such_module'"),
    ("name: mlp\n", "name: 'my module:build'\n", 4, "model.name", "expected module:function"),
    ("name: mlp\n", "name: 'math:'\n", 4, "model.name", "expected module:function, found 'math:'"),
    ("name: mnist\n", "name: minst\n", 7, "data.name", "no data set 'minst' (did you mean 'mnist'?"),
    ("name: sgd", "name: sdg", 13, "training.optimizer.name", "no optimizer 'sdg' (did you mean 'sgd'?"),
    (
        "d1: {kind: cpu-core",
        "d1: {kind: cpu-cor",
        21,
        "cluster.devices.d1.kind",
        "no device kind 'cpu-cor' (did you mean",
    ),
    ("d1: {kind: cpu-core", "d1: {kind: 3", 21, "cluster.devices.d1.kind", "expected a text, found 3"),
    # devices and placement
    (FOUR_DEVICES, "    - d0\n", 19, "cluster.devices", "found a list"),
    (FOUR_DEVICES, "", 19, "cluster.devices", "found nothing"),
    (DEVICES, "  devices: {}\n", 19, "cluster.devices", "found an empty mapping"),
    (DEVICES, "  devices: {count: 0, kind: cpu-core}\n", 19, "cluster.devices.count", "found 0"),
    (DEVICES, "  devices: {count: -2, kind: cpu-core}\n", 19, "cluster.devices.count", "from 1 to"),
    (DEVICES, "  devices: {count: 2}\n", 19, "cluster.devices.kind", "missing key 'kind'"),
    (DEVICES, "  devices: {kind: cpu-core}\n", 19, "cluster.devices.count", "missing key 'count'"),
    (DEVICES, "  devices: {cuont: 2, kind: cpu-core}\n", 19, "cluster.devices.cuont", "'count'?"),
    (DEVICES, "  devices: {count: 1, kind: abacus}\n", 19, "cluster.devices.kind", "no device kind"),
    ("d1: {kind", "d0: {kind", 21, "cluster.devices.d0", "duplicate key, first on line 20"),
    ("d1: {kind", "1: {kind", 21, "cluster.devices", "expected a text as key, found '1'"),
    ("d0: {kind", "d 0: {kind", 20, "cluster.devices.d 0", "expected letters, digits"),
    ("d0: {kind", "controller: {kind", 20, "cluster.devices.controller", "'controller' is not free"),
    ("d0: {kind: cpu-core, nodes: [linear1, relu1]}", "d0: cpu-core", 20, "cluster.devices.d0", "with the key 'kind'"),
    ("[linear1, relu1]", "linear1", 20, "cluster.devices.d0.nodes", "expected a list"),
    ("[linear1, relu1]", "[linear1, relu1, '']", 20, "cluster.devices.d0.nodes.2", "found an empty text"),
    ("[linear1, relu1]", "[linear1, relu1, 7]", 20, "cluster.devices.d0.nodes.2", "found 7"),
    (
        "[linear1, relu1]",
        "[linear1, rleu1]",
        20,
        "cluster.devices.d0.nodes.1",
        "no node 'rleu1' (did you mean 'relu1'?",
    ),
    ("[linear1, relu1]", "[linear1, relu1, 'gru*']", 20, "cluster.devices.d0.nodes.2", "no node 'gru*'"),
    ("[linear1, relu1]", "[linear1, 'relu[1']", 20, "cluster.devices.d0.nodes.1", "expected a ']' behind '['"),
    ("[linear1, relu1]", "[linear1, 'relu[2-1]']", 20, "cluster.devices.d0.nodes.1", "a range from low to high"),
    (
        "[linear2, relu2]",
        "[linear2, relu2, linear1]",
        21,
        "cluster.devices.d1.nodes.2",
        "node 'linear1' is on two devices, d0 and d1",
    ),
    (
        "[linear2, relu2]",
        "['linear[1-2]', relu2]",
        21,
        "cluster.devices.d1.nodes.0",
        "node 'linear1' is on two devices",
    ),
    ("[linear4, loss]", "[linear4]", 19, "cluster.devices", "node 'loss' is on no device: add it to the nodes of one"),
    (", nodes: [linear4, loss]", "", 19, "cluster.devices", "nodes 'linear4' and 'loss' are on no device"),
    (NETWORK, "  placement: atuo\n" + NETWORK, 24, "cluster.placement", "(did you mean 'auto'?)"),
    # not YAML
    ("  max_batch: 1", "\tmax_batch: 1", 18, "", "not YAML: found character '\\t'"),
    ("epochs: 10", "epochs: 10: 3", 14, "", "not YAML: a second ': ' in a line"),
    ("[linear2, relu2]", "[linear2, relu2", 21, "", "not YAML: expected ',' or ']'"),
    ("seed: 0", "seed: 'abc", 25, "", "a quoted scalar that starts on line 2"),
    ("seed: 0", "seed: @0", 2, "", "not YAML"),
    ("seed: 0", "seed: 0\n---\nseed: 1", 3, "", "a second document begins here"),
    ("seed: 0", "seed: \a", 2, "", "the character '\\x07' is not allowed"),
    ("seed: 0", "seed: \0", 2, "", "it holds a NUL byte"),
]


@pytest.mark.parametrize(("old", "new", "line", "path", "text"), FAULTS, ids=range(len(FAULTS)))
def test_a_fault_is_told_in_one_line_with_its_place(
    bench: Any, old: str, new: str, line: int, path: str, text: str
) -> None:
    (fault,) = bench.faults((old, new))
    assert fault.startswith(f"x.yaml:{line}: {path}: " if path else f"x.yaml:{line}: ")
    assert text in fault


@pytest.mark.parametrize(
    ("content", "line", "text"),
    [
        (b"", 1, "the file is empty"),
        (b"# only\n# comments\n", 1, "the file is empty"),
        (b"---\n", 1, "the file is empty"),
        (b"- a\n- b\n", 1, "expected a mapping of keys to values"),
        (b"just words\n", 1, "expected a mapping of keys to values"),
        (b"\n\n42\n", 3, "expected a mapping of keys to values"),
        (bytes(range(256)), 2, "this is not a text file: byte 0x80 is not UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0", 1, "this is not a text file"),
        ("name: é\n".encode("latin-1"), 1, "byte 0xe9 is not UTF-8"),
        ("name: x\n".encode("utf-16"), 1, "not UTF-8"),
        (b"a: " + b"[" * 200 + b"]" * 200, 1, "nested more than 50 deep"),
        (b"a: " + b"[" * 3000, 1, "nested more than 50 deep"),
        (
            b"a: &a [1, 1]\n" + b"".join(b"%c: &%c [*%c, *%c]\n" % (c + 1, c + 1, c, c) for c in range(97, 120)),
            1,
            "100,000",
        ),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_file_that_is_no_mapping_in_yaml_is_one_fault(bench: Any, content: bytes, line: int, text: str) -> None:
    name = bench.write(content)
    (fault,) = bench.lines(lambda: load(name))
    assert fault.startswith(f"x.yaml:{line}: ")
    assert text in fault


def test_a_file_of_more_than_a_megabyte_is_not_parsed(bench: Any) -> None:
    name = bench.write(b"# " + b"x" * 1_000_000)
    assert bench.lines(lambda: load(name)) == ["x.yaml: the file is larger than 1 MB: expected a config in YAML"]


def test_a_missing_file_is_told_with_the_shipped_configs(bench: Any) -> None:
    (fault,) = bench.lines(lambda: load("mnist-mpl"))
    assert fault.startswith(
        "mnist-mpl: there is no such file, and no shipped config of this name (did you mean 'mnist-mlp'?"
    )
    (fault,) = bench.lines(lambda: load(""))
    assert "there is no such file" in fault


def test_a_directory_is_told_as_one(bench: Any) -> None:
    (bench.folder / "configs").mkdir()
    assert bench.lines(lambda: load("configs")) == ["configs: this is a directory: expected a YAML file"]


def test_an_unreadable_file_is_told_as_one(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **keywords: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")  # as anyone but root would see it

    name = bench.write("name: x\n")
    monkeypatch.setattr(Path, "open", refuse)
    assert bench.lines(lambda: load(name)) == ["x.yaml: cannot read the file: Permission denied"]


def test_a_file_name_with_a_line_break_stays_in_one_line(bench: Any) -> None:
    (fault,) = bench.lines(lambda: load(bench.write("", "a\nb.yaml")))
    assert fault.startswith("a\\nb.yaml:1: ")
