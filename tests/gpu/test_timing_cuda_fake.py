"""The clock of a GPU on a device that exists only in numbers: what is queued, when, and what of it
is believed."""

import gc

import pytest
from fake_gpu import MHZ, FakeGpu, FakeKernels

from gcbench.measure.timing.clocks import Sample, WorkError
from gcbench.measure.timing.cuda import COOLING_S, KNOWN_AFTER, RETRIES, CudaClock
from gcbench.measure.timing.gpu import Nvml, TorchGpu, _nvml_of
from gcbench.measure.timing.launch import device_us, host_us, queueing
from gcbench.records import DeviceState


def clock_of(gpu):
    return CudaClock(gpu, now=gpu.now, sleep=gpu.sleep)


def rounds_of(*works, count=1, calls=1, before=0):
    return [[Sample(work, calls, before) for work in works] for _ in range(count)]


def test_durations_are_those_of_the_device_though_the_host_is_slower():
    gpu = FakeGpu()
    small, large = FakeKernels(gpu, 3_000, host_ns=60_000), FakeKernels(gpu, 40_000)
    reading = clock_of(gpu).time(rounds_of(small, large, count=40, calls=2))
    assert reading.durations_ns == [[6_000, 80_000]] * 40
    assert not reading.exposed


def test_without_a_wait_the_same_kernels_would_read_as_what_the_host_takes():
    gpu = FakeGpu()
    start, end = gpu.event(), gpu.event()
    start.record()
    FakeKernels(gpu, 3_000, host_ns=60_000).call()
    end.record()
    gpu.synchronize()
    assert start.elapsed_time(end) * 1e6 > 10 * 3_000


def test_the_queue_never_runs_dry_between_the_first_and_the_last_event_of_a_batch():
    gpu = FakeGpu()
    works = [FakeKernels(gpu, device_ns, host_ns=30_000) for device_ns in (2_000, 5_000, 9_000)]
    clock = clock_of(gpu)
    for _ in range(5):
        reading = clock.time(rounds_of(*works, count=20))
        assert reading.durations_ns == [[2_000, 5_000, 9_000]] * 20
        # since the last wait began
        assert gpu.starved_ns == 0


def test_preparing_and_calls_before_are_outside_the_events():
    gpu = FakeGpu()
    work = FakeKernels(gpu, 8_000, preparation_ns=500_000)
    assert clock_of(gpu).time(rounds_of(work, before=1, calls=2)).durations_ns == [[16_000]]
    assert work.calls == 3


def test_more_rounds_are_put_behind_a_wait_while_it_outlasts_the_host():
    gpu = FakeGpu()
    work = FakeKernels(gpu, 5_000)
    clock_of(gpu).time(rounds_of(work, count=63))
    # 1, 2, 4, 8, 16 and 32 rounds
    assert gpu.batches == 6


def test_a_host_slower_than_the_wait_halves_the_batch_and_what_was_exposed_is_timed_again():
    gpu = FakeGpu()
    work = FakeKernels(gpu, 5_000, host_ns=20_000)
    clock = clock_of(gpu)
    clock.time(rounds_of(work, count=31))
    work.host_ns = 70_000
    reading = clock.time(rounds_of(work, count=16))
    # 16 rounds were thrown away, then came twice 8
    assert reading.discarded == 16
    assert reading.durations_ns == [[5_000]] * 16
    assert not reading.exposed


def test_a_queue_that_blocks_the_host_when_it_is_full_ends_in_smaller_batches():
    gpu = FakeGpu()

    class Deep(FakeKernels):
        # no more than 64 calls are queued ahead: the next one waits for the whole queue
        ends_ns = ()

        def call(self):
            self.ends_ns = [end for end in self.ends_ns if end > self.gpu.host_ns]
            if len(self.ends_ns) >= 64:
                self.gpu.synchronize()
            super().call()
            self.ends_ns.append(self.gpu.free_ns)

    reading = clock_of(gpu).time(rounds_of(Deep(gpu, 4_000), count=200, calls=4))
    assert reading.durations_ns == [[16_000]] * 200
    assert not reading.exposed
    assert reading.discarded > 0


def test_one_round_that_outlasts_every_wait_is_timed_sample_by_sample():
    gpu = FakeGpu()
    works = [FakeKernels(gpu, 5_000, host_ns=20_000_000) for _ in range(4)]
    reading = clock_of(gpu).time(rounds_of(*works, count=3))
    assert reading.durations_ns == [[5_000] * 4] * 3
    assert not reading.exposed


def test_samples_that_no_wait_can_hold_are_kept_and_told_as_exposed():
    gpu = FakeGpu()
    slow, quick = FakeKernels(gpu, 5_000, host_ns=200_000_000), FakeKernels(gpu, 5_000)
    reading = clock_of(gpu).time(rounds_of(quick, slow, count=2))
    assert reading.exposed == {(0, 1), (1, 1)}
    assert [turns[0] for turns in reading.durations_ns] == [5_000] * 2
    assert all(turns[1] > 5_000 for turns in reading.durations_ns)


def test_one_that_synchronises_does_not_expose_the_others_and_is_not_waited_for_long():
    gpu = FakeGpu()
    quick = FakeKernels(gpu, 5_000)
    waits = FakeKernels(gpu, 5_000, synchronises=True, queueing="syncs")
    reading = clock_of(gpu).time(rounds_of(quick, waits, quick, count=10))
    assert {turn for _, turn in reading.exposed} == {1}
    assert all(turns[0] == turns[2] == 5_000 for turns in reading.durations_ns)
    assert reading.discarded == 0


def test_a_module_that_synchronises_is_told_from_one_whose_host_is_slow():
    gpu = FakeGpu()
    clock = clock_of(gpu)
    assert queueing(clock, FakeKernels(gpu, 5_000)) == "fits"
    assert queueing(clock, FakeKernels(gpu, 5_000, host_ns=300_000_000)) == "fits"
    for told in (True, False):
        for host_ns in (10_000, 30_000_000):
            work = FakeKernels(gpu, 5_000, host_ns=host_ns, synchronises=True, told=told)
            assert queueing(clock, work) == "syncs"


def test_the_host_is_timed_apart_from_the_device():
    gpu = FakeGpu()
    work = FakeKernels(gpu, 3_000, host_ns=60_000)
    assert host_us(clock_of(gpu), work) == pytest.approx(60.0)
    assert device_us(clock_of(gpu), work) == pytest.approx(3.0)


def throttled_from(first, last, share=0.5):
    return lambda batch: MHZ * (share if first <= batch < last else 1.0)


def test_a_throttled_batch_is_discarded_whole_counted_and_timed_again():
    gpu = FakeGpu(mhz=throttled_from(KNOWN_AFTER + 1, KNOWN_AFTER + 2))
    clock = clock_of(gpu)
    works = [FakeKernels(gpu, 5_000), FakeKernels(gpu, 7_000)]
    readings = [clock.time(rounds_of(*works)) for _ in range(KNOWN_AFTER + 3)]
    assert [reading.discarded for reading in readings].count(1) == 1
    assert all(reading.durations_ns == [[5_000, 7_000]] for reading in readings)
    assert all(reading.device.clock_mhz == pytest.approx(MHZ, rel=0.01) for reading in readings)


def test_a_device_that_stays_slow_is_measured_all_the_same_and_its_rounds_are_told():
    gpu = FakeGpu(mhz=throttled_from(KNOWN_AFTER + 1, 1000))
    clock = clock_of(gpu)
    work = FakeKernels(gpu, 5_000)
    readings = [clock.time(rounds_of(work)) for _ in range(KNOWN_AFTER + 2)]
    assert readings[-1].discarded == RETRIES
    assert readings[-1].device.throttled_rounds == 1
    assert readings[-1].durations_ns == [[5_000]]


def test_a_sustained_device_is_taken_as_it_is():
    gpu = FakeGpu(
        mhz=throttled_from(KNOWN_AFTER + 1, 1000),
        states=lambda batch: DeviceState(throttle=("hardware_thermal",)),
    )
    clock = CudaClock(gpu, gpu.now, gpu.sleep, "sustained")
    assert clock.burst_ns is None
    readings = [clock.time(rounds_of(FakeKernels(gpu, 5_000))) for _ in range(KNOWN_AFTER + 2)]
    assert gpu.slept == []
    assert [reading.discarded for reading in readings] == [0] * len(readings)
    assert readings[-1].device.throttled_rounds == 1


def test_a_clock_a_little_lower_is_no_reason_to_discard():
    gpu = FakeGpu(mhz=throttled_from(KNOWN_AFTER + 1, 1000, share=0.8))
    clock = clock_of(gpu)
    work = FakeKernels(gpu, 5_000)
    assert all(clock.time(rounds_of(work)).discarded == 0 for _ in range(KNOWN_AFTER + 5))


def test_where_the_driver_names_heat_the_device_gets_time_to_cool():
    gpu = FakeGpu(
        mhz=throttled_from(KNOWN_AFTER + 1, KNOWN_AFTER + 2),
        states=lambda batch: DeviceState(told_mhz=900.0, throttle=("hardware_thermal",)),
    )
    clock = clock_of(gpu)
    readings = [clock.time(rounds_of(FakeKernels(gpu, 5_000))) for _ in range(KNOWN_AFTER + 3)]
    assert gpu.slept == [COOLING_S]
    assert readings[0].device.throttle == ("hardware_thermal",)
    assert readings[0].device.told_mhz == 900.0


def test_a_driver_that_lies_about_the_clock_discards_nothing_and_hides_nothing():
    gpu = FakeGpu(states=lambda batch: DeviceState(told_mhz=1.0))
    clock = clock_of(gpu)
    for _ in range(KNOWN_AFTER + 5):
        reading = clock.time(rounds_of(FakeKernels(gpu, 5_000)))
        assert reading.discarded == 0
    assert (reading.device.told_mhz, round(reading.device.clock_mhz)) == (1.0, round(MHZ))


@pytest.mark.parametrize("lack", [{"has_cycles": False}, {"cycles_pass": False}])
def test_where_torch_has_no_wait_in_cycles_small_copies_hold_the_queue(lack):
    gpu = FakeGpu(**lack, mhz=throttled_from(KNOWN_AFTER + 1, KNOWN_AFTER + 2))
    clock = clock_of(gpu)
    works = [FakeKernels(gpu, 3_000, host_ns=60_000), FakeKernels(gpu, 40_000)]
    readings = [clock.time(rounds_of(*works, count=4)) for _ in range(KNOWN_AFTER + 3)]
    assert gpu.in_copies > 0
    assert all(reading.durations_ns == [[3_000, 40_000]] * 4 for reading in readings)
    assert all(reading.device.clock_mhz is None for reading in readings)
    # and show a slow device as well as cycles do
    assert sum(reading.discarded for reading in readings) > 0


def test_every_wait_is_finite_and_bounded():
    gpu = FakeGpu()
    works = [FakeKernels(gpu, 5_000, host_ns=500_000_000), FakeKernels(gpu, 1)]
    clock_of(gpu).time(rounds_of(*works, count=2))
    assert max(gpu.waited) <= 51_000_000


def test_the_guilty_work_is_named_and_the_collector_restored_when_a_call_raises():
    gpu = FakeGpu()
    fine, failing = FakeKernels(gpu, 5_000), FakeKernels(gpu, 5_000, fails_at=2)
    with pytest.raises(WorkError) as raised:
        clock_of(gpu).time(rounds_of(fine, failing, count=5))
    assert raised.value.work is failing
    assert isinstance(raised.value.__cause__, MemoryError)
    assert gc.isenabled()


def test_a_cuda_clock_names_the_longest_burst_it_wants():
    assert 0 < CudaClock(FakeGpu()).burst_ns <= 50_000_000


class Driver:
    NVML_CLOCK_SM, NVML_TEMPERATURE_GPU = 1, 0

    @staticmethod
    def nvmlDeviceGetClockInfo(handle, kind):  # noqa: N802
        return 1755

    @staticmethod
    def nvmlDeviceGetTemperature(handle, kind):  # noqa: N802
        return 61

    @staticmethod
    def nvmlDeviceGetPowerUsage(handle):  # noqa: N802
        raise RuntimeError("Not Supported")

    @staticmethod
    def nvmlDeviceGetCurrentClocksThrottleReasons(handle):  # noqa: N802
        # idle, power cap, and hardware heat
        return 0x01 | 0x04 | 0x40


def test_what_the_driver_refuses_is_none_and_its_reasons_have_names():
    assert Nvml(Driver, None).energy() is None
    assert Nvml(Driver, None).state() == DeviceState(
        None, 1755.0, 61.0, None, ("power_cap", "hardware_thermal")
    )


def test_a_missing_or_failing_driver_tells_nothing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pynvml", None)
    assert _nvml_of("x") is None

    class Failing:
        @staticmethod
        def nvmlInit():  # noqa: N802
            raise OSError("libnvidia-ml.so.1: cannot open")

    monkeypatch.setitem(__import__("sys").modules, "pynvml", Failing)
    assert _nvml_of("x") is None


def test_the_real_device_keeps_the_protocol_of_the_fake():
    promised = {name for name in vars(FakeGpu) if not name.startswith("_")} & set(vars(TorchGpu))
    assert promised == {
        *("current", "event", "synchronize", "cycles", "copies"),
        *("told", "energy", "syncs", "kernels"),
    }
