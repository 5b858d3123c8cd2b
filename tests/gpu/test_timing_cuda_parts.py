"""What real parts do that a plain queue does not, on a device that exists only in numbers: kernels
loaded late, clocks that rise, a queue with an end, launches that delay, events that cost."""

import random

import pytest
from fake_gpu import MHZ, FakeGpu, FakeKernels

from gcbench.measure.timing.clocks import Sample
from gcbench.measure.timing.cuda import KNOWN_AFTER, CudaClock
from gcbench.measure.timing.gpu import Waiter
from gcbench.measure.timing.launch import energy_mj, queueing
from gcbench.measure.timing.replicates import _cost
from gcbench.measure.workload import Rotated
from gcbench.records import DeviceState

MS = 1_000_000


def clock_of(gpu):
    return CudaClock(gpu, now=gpu.now, sleep=gpu.sleep)


def rounds_of(*works, count=1, calls=1, before=0):
    return [[Sample(work, calls, before) for work in works] for _ in range(count)]


def waited_ns(clock):
    """Pairs of what the next waits of a clock are asked to last and what they last."""
    pairs, wait = [], clock.waiter.wait

    def noting(ns):
        queued = wait(ns)
        pairs.append((ns, clock.gpu.waited[-1]))
        return queued

    clock.waiter.wait = noting
    return pairs


def test_loading_the_kernel_of_the_wait_is_not_read_as_waiting():
    gpu = FakeGpu(lazy_ns=30 * MS)
    waiter = Waiter(gpu)
    waiter.wait(10 * MS)
    assert gpu.waited[-1] == pytest.approx(10 * MS, rel=0.01)


def test_a_clock_that_rises_after_calibrating_is_followed():
    gpu = FakeGpu(idle_mhz=MHZ / 5.7, ramp_ns=30 * MS)
    clock = clock_of(gpu)
    pairs = waited_ns(clock)
    for _ in range(12):
        reading = clock.time(rounds_of(FakeKernels(gpu, 5_000, host_ns=40_000), count=20))
        assert reading.durations_ns == [[5_000]] * 20
    assert gpu.busy_ns > gpu.ramp_ns
    asked, lasted = pairs[-1]
    assert lasted == pytest.approx(asked, rel=0.05)


def test_calibration_waits_until_two_readings_agree():
    # the first long reading is of the idle clock, the next ones are not
    gpu = FakeGpu(idle_mhz=MHZ / 5.7, ramp_ns=2 * MS)
    Waiter(gpu).wait(10 * MS)
    assert gpu.waited[-1] == pytest.approx(10 * MS, rel=0.05)


@pytest.mark.parametrize(("kernels", "host_ns"), [(1_300, 4_000), (3_000, 9_000), (1_300, 1_000)])
def test_a_call_of_more_kernels_than_the_queue_holds_does_not_synchronise(kernels, host_ns):
    gpu = FakeGpu(depth=1024)
    work = FakeKernels(gpu, kernels * 3_000, kernels * host_ns, kernels=kernels)
    assert queueing(clock_of(gpu), work) == "fills"


@pytest.mark.parametrize("told", [True, False])
def test_a_call_that_synchronises_is_found_out_though_torch_may_not_see_it(told):
    gpu = FakeGpu()
    work = FakeKernels(gpu, 5_000, synchronises=True, told=told)
    assert queueing(clock_of(gpu), work) == "syncs"


def test_a_long_call_that_synchronises_is_found_out_where_torch_sees_it():
    gpu = FakeGpu()
    work = FakeKernels(gpu, 1_300 * 3_000, 1_300 * 1_000, kernels=1_300, synchronises=True)
    assert queueing(clock_of(gpu), work) == "syncs"


def test_a_call_that_fills_the_queue_is_timed_as_what_the_device_does():
    gpu = FakeGpu(depth=1024)
    deep = FakeKernels(gpu, 1_300 * 3_000, 1_300 * 1_000, kernels=1_300, queueing="fills")
    quick = FakeKernels(gpu, 5_000)
    reading = clock_of(gpu).time(rounds_of(quick, deep, count=5))
    assert reading.durations_ns == [[5_000, 1_300 * 3_000]] * 5
    assert not reading.exposed
    assert reading.discarded == 0
    # no wait is longer than the queue of a slow host takes to fill
    assert max(gpu.waited) < 26 * MS


def test_a_host_that_lags_behind_a_filled_queue_is_told():
    gpu = FakeGpu(depth=1024)
    lagging = FakeKernels(gpu, 3_000 * 1_000, 3_000 * 5_000, kernels=3_000, queueing="fills")
    assert clock_of(gpu).time(rounds_of(lagging)).exposed == {(0, 0)}


def test_a_late_first_kernel_is_no_slow_clock():
    gpu = FakeGpu(late_ns=9_000)
    clock = clock_of(gpu)
    quick, slow = FakeKernels(gpu, 2_000, host_ns=1_000), FakeKernels(gpu, 5 * MS, host_ns=9 * MS)
    for turn in range(3 * KNOWN_AFTER):
        reading = clock.time(rounds_of(slow if turn % 2 else quick))
        assert reading.device.clock_mhz == pytest.approx(MHZ, rel=0.01)
        assert reading.device.throttled_rounds == 0
    assert min(gpu.waited[-5:]) >= 20_000


def test_the_driver_is_asked_while_the_device_works():
    gpu = FakeGpu()
    busy = []
    gpu.states = lambda batch: busy.append(gpu.free_ns > gpu.host_ns) or DeviceState()
    clock_of(gpu).time(rounds_of(FakeKernels(gpu, 50_000), count=8))
    assert busy
    assert all(busy)


def test_every_round_of_a_slow_batch_is_counted():
    slow = []
    gpu = FakeGpu(mhz=lambda batch: MHZ * (0.5 if slow else 1.0))
    clock = clock_of(gpu)
    work = FakeKernels(gpu, 5_000)
    for _ in range(KNOWN_AFTER):
        clock.time(rounds_of(work, count=64))
    slow.append(True)
    assert clock.time(rounds_of(work, count=32)).device.throttled_rounds == 32


def test_what_a_pair_of_events_costs_is_measured_and_kept():
    gpu = FakeGpu(pair_ns=1_600)
    clock = clock_of(gpu)
    assert clock.event_pair_ns == pytest.approx(800)
    reading = clock.time(rounds_of(FakeKernels(gpu, 5_000)))
    assert reading.device.event_pair_ns == clock.event_pair_ns
    # it is in every sample
    assert reading.durations_ns == [[5_800]]


def test_the_size_that_overflowed_is_remembered():
    gpu = FakeGpu(depth=64)
    reading = clock_of(gpu).time(rounds_of(FakeKernels(gpu, 4_000), count=400))
    assert reading.durations_ns == [[4_000]] * 400
    assert reading.discarded < 0.25 * 400


def test_one_slow_moment_of_the_host_does_not_keep_batches_small_for_good():
    gpu = FakeGpu()
    work = FakeKernels(gpu, 5_000)
    clock = clock_of(gpu)
    clock.time(rounds_of(work, count=63))
    work.host_ns = 900_000
    clock.time(rounds_of(work, count=4))
    work.host_ns = 10_000
    clock.time(rounds_of(work, count=2_000))
    before = gpu.batches
    clock.time(rounds_of(work, count=128))
    # many rounds behind a wait again
    assert gpu.batches - before <= 10


def test_the_wait_is_no_part_of_what_preparing_costs():
    gpu = FakeGpu()
    cost = _cost(FakeKernels(gpu, 5_000, host_ns=10_000), 0, clock_of(gpu), 100 * MS)
    assert cost.call_ns == 5_000
    # what the host takes, which a wait of 200 us hides
    assert cost.prepare_ns < 30_000


def test_energy_is_read_from_step_to_step_of_the_part_and_no_idling_is_in_it():
    class Stepping(FakeGpu):
        def energy(self):
            steps = self.host_ns // (20 * MS)
            return 1_000.0 + steps * 20 * self.power_w

    gpu = Stepping(power_w=300.0)
    work = FakeKernels(gpu, 50_000, host_ns=10_000)
    # 300 W for 50 us
    assert energy_mj(clock_of(gpu), work) == pytest.approx(15.0, rel=0.1)


def test_a_part_that_tells_of_no_energy_has_none():
    gpu = FakeGpu(energy_mj=None)
    assert energy_mj(clock_of(gpu), FakeKernels(gpu, 50_000)) is None


def test_both_inputs_of_a_warm_work_are_touched_before_its_sample():
    gpu = FakeGpu()

    class Inputs:
        repeatable, cold, queueing, turns = True, False, "fits", 1

        def __init__(self):
            self.calls = 0

        def prepare(self):
            pass

        def call(self):
            self.calls += 1
            gpu.do(1_000)

        def beside(self, rng):
            return Inputs()

    first = Inputs()
    work = Rotated(first, random.Random(0))
    second = work._other
    Sample(work, 1, before=1).make_ready()
    assert (first.calls, second.calls) == (1, 1)
