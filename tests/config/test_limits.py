"""What does not fit: a device's memory, and the processes of a machine."""

from __future__ import annotations

from typing import Any

SMALL = """\
kind: small
summary: a device with little memory
compute: 1 GFLOP/s
memory_bandwidth: 1 GB/s
memory: {memory}
overhead: 1 us
"""

# linear1 has 784 x 784 weights and 784 biases; each is kept with its gradient, and SGD keeps nothing else.
LINEAR1_BYTES = 2 * 4 * (784 * 784 + 784)
SIMULATED = ("clock: wall", "clock: simulated")
ON_SMALL = ("d0: {kind: cpu-core", "d0: {kind: ./small.yaml")


def test_a_device_that_cannot_hold_its_parameters_is_a_fault_where_it_stands(bench: Any) -> None:
    bench.write(SMALL.format(memory=f"{LINEAR1_BYTES - 1} B"), "small.yaml")
    (fault,) = bench.faults(SIMULATED, ON_SMALL)
    assert fault.startswith("x.yaml:20: cluster.devices.d0: d0 would hold 4.924 MB of parameters, gradients and opt")
    assert "a small has 4.924 MB of memory: give it fewer nodes, or choose a kind with more" in fault


def test_what_just_fits_is_no_fault_and_on_the_wall_clock_nothing_is(bench: Any) -> None:
    bench.write(SMALL.format(memory=f"{LINEAR1_BYTES} B"), "small.yaml")
    bench.load(SIMULATED, ON_SMALL)
    bench.write(SMALL.format(memory="1 kB"), "small.yaml")
    bench.load(ON_SMALL)


def test_what_the_optimizer_keeps_counts(bench: Any) -> None:
    bench.write(SMALL.format(memory=f"{2 * LINEAR1_BYTES} B"), "small.yaml")
    adam = ("{name: sgd, learning_rate: 0.1}", "{name: adam, learning_rate: 0.001}")
    bench.load(SIMULATED, ON_SMALL, adam)
    bench.write(SMALL.format(memory=f"{2 * LINEAR1_BYTES - 1} B"), "small.yaml")
    assert len(bench.faults(SIMULATED, ON_SMALL, adam)) == 1


def test_more_processes_than_a_machine_can_start_are_a_fault_and_devices_without_any_are_not(bench: Any) -> None:
    many = "cluster.devices={count: 1025, kind: cpu-core}"
    for clock in ("wall", "simulated"):
        (fault,) = bench.faults(overrides=(many, f"cluster.clock={clock}"))
        assert "1,025 devices would be as many processes of this machine, and 1,024 is the most" in fault
    experiment = bench.load(overrides=(many, "cluster.clock=simulated", "cluster.numerics=off"))
    assert len(experiment.devices) == 1025


def test_the_shortest_interval_of_the_log_depends_on_the_clock(bench: Any) -> None:
    (fault,) = bench.faults(overrides=("cluster.log_interval=9 ms",))
    assert "expected at least '10 ms' on the wall clock, found '9 ms'" in fault
    bench.load(overrides=("cluster.log_interval=10 us", "cluster.clock=simulated"))
    (fault,) = bench.faults(overrides=("cluster.log_interval=9 us", "cluster.clock=simulated"))
    assert "expected at least '10 us' on the simulated clock" in fault
