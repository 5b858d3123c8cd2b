"""A comparison on a fake GPU: real blocks on the CPU, the device's time, the engine between."""

import contextlib
import gc
import itertools
import weakref
from dataclasses import replace

import pytest
import torch
from one_gpu import Graph

from gcbench import engines
from gcbench.engines import inline, isolated, probe
from gcbench.engines.attempts import ProcessTaintedError, Taint
from gcbench.engines.jobs import Job
from gcbench.measure import environment, workload
from gcbench.measure.timing import launch, replicates
from gcbench.measure.timing.cuda import CudaClock
from gcbench.records import ComparisonRecord, DeviceState, Measurement
from gcbench.results import tables
from gcbench.spec.cases import Axes, Effort

AXES = Axes(channels=16, size=(6, 5), ratio=4, device="cuda", cache="warm")
SHORT = Effort(precision=0.5, max_time_s=0.3)


@pytest.fixture(autouse=True)
def gradients():
    """What a preparation does to the gradient mode ends with a test."""
    with torch.enable_grad():
        yield


def measured(names, axes=AXES):
    return tables.frame(engines.run([engines.compare(names, axes)], SHORT))


@pytest.mark.parametrize("cache", ["warm", "cold"])
@pytest.mark.parametrize("mode", ["infer", "train", "backward"])
def test_device_host_and_graph_time_stand_side_by_side(gpu, cache, mode):
    axes = Axes(channels=16, size=(6, 5), ratio=4, device="cuda", cache=cache, mode=mode)
    table = measured(["gc", "se"], axes)
    assert table["status"].tolist() == ["ok"] * 2, table["reason"].tolist()
    latency = 800.0 if mode == "train" else 400.0
    assert table["latency_us"].tolist() == pytest.approx([latency] * 2)
    if mode != "backward":
        assert table["host_us"].tolist() == pytest.approx([60.0] * 2)
        assert table["graph_us"].tolist() == pytest.approx([200.0] * 2)
        # replaying is twice as fast: what takes the time is launching
        assert table["bound"].tolist() == ["launch"] * 2
    else:
        assert table["graph_us"].isna().all()
    assert (table["cache"] == cache).all()
    assert table["flags"].isna().all() or not table["flags"].str.contains("launch_exposed").any()


def test_a_graph_is_a_runtime_of_its_own(gpu):
    axes = Axes(channels=16, size=(6, 5), ratio=4, device="cuda", cache="warm", runtime="graph")
    table = measured(["gc", "se"], axes)
    assert table["status"].tolist() == ["ok"] * 2, table["reason"].tolist()
    assert table["latency_us"].tolist() == pytest.approx([200.0] * 2)
    assert table["host_us"].isna().all()


def test_a_block_that_no_graph_can_hold_keeps_its_row_and_says_why(gpu, monkeypatch):
    def refuses(work):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(workload, "recorded", refuses)
    table = measured(["gc"])
    assert table["status"].tolist() == ["ok"]
    assert table["latency_us"].tolist() == pytest.approx([400.0])
    assert table["graph_us"].isna().all()
    # this process cannot be replaced
    assert "tainted" in table["flags"].iloc[0].split()
    assert (
        "no CUDA graph could be recorded: RuntimeError: operation not permitted"
        in (table["reason"].iloc[0])
    )
    axes = Axes(channels=16, size=(6, 5), ratio=4, device="cuda", cache="warm", runtime="graph")
    table = measured(["gc"], axes)
    assert table["status"].tolist() == ["error"]
    assert "not permitted" in table["reason"].iloc[0]


def test_a_block_that_waits_for_the_device_is_flagged_and_leaves_the_others_alone(gpu):
    import on_gpu

    on_gpu.Waits.synchronize = staticmethod(gpu.synchronize)
    table = measured(["gc", "on_gpu:Waits"]).set_index("spec")
    assert "syncs_inside" in table.loc["on_gpu:Waits", "flags"].split()
    assert "launch_exposed" in table.loc["on_gpu:Waits", "flags"].split()
    assert table.loc["gc", "latency_us"] == pytest.approx(400.0)
    assert not {"syncs_inside", "launch_exposed"} & set(str(table.loc["gc", "flags"]).split())


def test_an_oom_in_the_middle_is_a_row_and_leaves_no_memory_behind(gpu):
    import on_gpu

    buffers = []
    on_gpu.Greedy.seen = staticmethod(lambda buffer: buffers.append(weakref.ref(buffer)))
    alive = []
    gpu_give_back = environment.give_back

    def noting(device):
        on_gpu.Greedy.held = None
        gc.collect()
        alive.append([ref() is not None for ref in buffers])
        return gpu_give_back(device)

    environment.give_back = noting
    table = measured(["gc", "on_gpu:Greedy", "se"])
    assert table["status"].tolist() == ["ok", "oom", "ok"]
    assert "out of memory" in table["reason"].iloc[1]
    # when memory was given back, nothing held what the block had taken
    assert len(alive) == 1
    assert alive[0]
    assert not any(alive[0])
    assert gpu.given_back == ["cuda"]


def test_a_device_that_holds_its_clock_down_is_told_in_the_rows(gpu):
    gpu.states = lambda batch: DeviceState(throttle=("power_cap",))
    assert "throttled" in measured(["gc"])["flags"].iloc[0].split()


def test_what_the_device_was_like_is_kept_with_each_replicate(gpu):
    run = engines.run([engines.compare(["gc"], AXES)], SHORT)
    states = [r.device for r in run.comparisons[0].timings[0].replicates]
    assert all(state.temperature_c == 50.0 and state.told_mhz == 990.0 for state in states)
    assert all(state.clock_mhz == pytest.approx(1000.0, rel=0.01) for state in states)


def test_inputs_take_turns_where_a_gpu_is_warm(gpu):
    seen = []
    elsewhere = workload.elsewhere

    def noting(x, rng):
        moved = elsewhere(x, rng)
        seen.append(moved.data_ptr())
        return moved

    workload.elsewhere = noting
    try:
        work = inline.dressed(
            workload.Workload(torch.nn.Identity(), torch.zeros(1, 2, 3, 3)),
            engines.compare(["gc"], AXES).cases[0],
            __import__("random").Random(0),
        )
    finally:
        workload.elsewhere = elsewhere
    called = [work._next.x.data_ptr()]
    for _ in range(3):
        work.call()
        called.append(work._next.x.data_ptr())
    assert called[0] == called[2] != called[1] == called[3]


def test_graphs_take_turns_as_inputs_do_in_the_latency_beside_them(gpu, monkeypatch):
    monkeypatch.setattr(Graph, "replayed", [])
    work = workload.Workload(torch.nn.Identity(), torch.zeros(1, 2, 3, 3))
    case = engines.compare(["gc"], AXES).cases[0]
    clock = CudaClock(gpu, gpu.now, gpu.sleep)
    rng = __import__("random").Random(0)
    found = probe.launched(work, Measurement(case), clock, rng, rotates=True, graphless=None)
    assert found.metrics["graph_us"] == pytest.approx(200.0)
    timed = Graph.replayed[-20:]
    assert len(set(map(id, timed))) == 2
    assert all(one is not other for one, other in itertools.pairwise(timed))


def test_what_a_call_launches_and_uses_stands_in_its_row(gpu):
    asked = [engines.compare(["gc"], AXES)]
    row = tables.frame(engines.run(asked, SHORT, profile=True)).iloc[0]
    assert row["kernels_per_call"] == 1
    assert row["top_kernels"] == "fake 400.0 us"
    # the profiler slows what is launched later, so it is not asked unless that is wanted
    assert measured(["gc"])["kernels_per_call"].isna().all()
    # 300 W for 400 us, and nothing for the host's time
    assert row["energy_mj"] == pytest.approx(120.0)
    cold = measured(["gc"], Axes(channels=16, size=(6, 5), ratio=4, device="cuda", cache="cold"))
    # no flush of the cache is in it
    assert cold["energy_mj"].tolist() == pytest.approx([120.0])


def test_what_was_timed_is_not_lost_where_its_energy_cannot_be_read(gpu, monkeypatch):
    def runs_out(clock, work):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(launch, "energy_mj", runs_out)
    row = measured(["gc"]).iloc[0]
    assert (row["status"], row["latency_us"]) == ("ok", pytest.approx(400.0))
    assert row.isna()["energy_mj"]


def test_a_second_graph_for_which_there_is_no_memory_costs_the_graph_alone(gpu, monkeypatch):
    recorded = []

    def second_runs_out(work):
        recorded.append(work)
        if len(recorded) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return Graph(gpu), None

    monkeypatch.setattr(workload, "recorded", second_runs_out)
    row = measured(["gc"]).iloc[0]
    assert row["status"] == "ok", row["reason"]
    assert "no CUDA graph could be recorded" in row["reason"]


def test_a_device_that_no_longer_answers_ends_the_use_of_a_process(gpu, monkeypatch):
    gpu.answers = False
    table = measured(["gc", "on_gpu:Greedy"])
    assert table["status"].tolist() == ["ok", "oom"]
    job = Job(engines.compare(["gc", "on_gpu:Greedy"], AXES), SHORT)
    with pytest.raises(ProcessTaintedError) as raised:
        inline.measure(job)
    assert raised.value.taint.known[1].status == "oom"


def test_a_worker_that_is_unfit_is_replaced_and_what_it_learnt_is_kept(monkeypatch):
    job = Job(engines.cases.comparison_of(engines_blocks("gc", "se"), Axes(), "cpu"), SHORT)
    row = Measurement(job.comparison.cases[1], "error", "an illegal memory access")
    answers = [Taint(graphless={0: "no graph"}), Taint(known={1: row})]
    workers, asked = [], []

    class Unfit:
        def __init__(self):
            workers.append(self)
            self.ended = False

        def ask(self, job, timeout_s, listener):
            assert not self.ended
            asked.append(job)
            if answers:
                raise ProcessTaintedError(answers.pop(0))
            found = tuple(Measurement(case) for case in job.comparison.cases)
            return ComparisonRecord(found, job.comparison.baselines, 0.1, ())

        def end(self):
            self.ended = True

    monkeypatch.setattr(isolated, "Worker", Unfit)
    with isolated.Isolated() as engine:
        engine.measure(job)
    assert len(workers) == 3
    assert all(worker.ended for worker in workers)
    assert asked[-1].graphless == {0: "no graph"}
    assert asked[-1].known == {1: row}


def engines_blocks(*names):
    return [engines.blocks.resolve(name) for name in names]


class Capture:
    """torch.cuda as far as recording goes: a current stream, and pools that allocations go to."""

    def __init__(self, breaks):
        self.breaks, self.current, self.pools, self.made = breaks, "default", [], 0
        # what random numbers are drawn from, which a capture takes over
        self.state = "state"

    def install(self, monkeypatch):
        cuda = torch.cuda

        def stream(device=None):
            self.made += 1
            return Stream(f"side {self.made}")

        monkeypatch.setattr(cuda, "device", lambda device: contextlib.nullcontext())
        monkeypatch.setattr(cuda, "current_device", lambda: 0)
        monkeypatch.setattr(cuda, "current_stream", lambda: Stream(self.current))
        monkeypatch.setattr(cuda, "set_stream", lambda stream: setattr(self, "current", stream))
        monkeypatch.setattr(cuda, "Stream", stream)
        monkeypatch.setattr(cuda, "stream", self.on)
        monkeypatch.setattr(cuda, "CUDAGraph", object)
        monkeypatch.setattr(cuda, "default_generators", [self])
        monkeypatch.setattr(cuda, "graph_pool_handle", lambda: "pool")
        monkeypatch.setattr(cuda, "graph", self.capture)
        monkeypatch.setattr(
            torch._C,
            "_cuda_endAllocateToPool",
            lambda device, pool: self.pools.remove(pool),
            raising=False,
        )
        workload._side_stream.cache_clear()

    def clone_state(self):
        return self.state

    def graphsafe_set_state(self, state):
        self.state = state

    @contextlib.contextmanager
    def on(self, stream):
        before, self.current = self.current, stream
        yield
        self.current = before

    @contextlib.contextmanager
    def capture(self, graph, pool, stream):
        # as torch does: where the capture cannot end, the stream stays and so does the pool
        before, self.current = self.current, stream
        self.pools.append(pool)
        drawn, self.state = self.state, "captured"
        try:
            yield
        finally:
            if self.breaks:
                raise RuntimeError("operation failed due to a previous error during capture")
        self.pools.remove(pool)
        self.current, self.state = before, drawn


class Stream(str):
    def wait_stream(self, other):
        pass


@pytest.mark.parametrize("breaks", [True, False])
def test_a_broken_capture_leaves_no_stream_current_and_no_pool_open(monkeypatch, breaks):
    device = Capture(breaks)
    device.install(monkeypatch)
    work = workload.Workload(torch.nn.Identity(), torch.zeros(1, 2, 3, 3))
    outcome = contextlib.nullcontext() if not breaks else pytest.raises(RuntimeError)
    with outcome:
        workload.Replayed(work)
    assert device.current == "default"
    assert device.pools == []
    assert device.state == "state"
    with outcome if not breaks else pytest.raises(RuntimeError):
        workload.Replayed(work)
    # one stream for each device, since libraries keep work space for each stream
    assert device.made == 1


def test_a_graph_is_recorded_when_it_is_made_and_not_behind_a_wait(monkeypatch):
    recorded = []
    monkeypatch.setattr(workload, "recorded", lambda work: recorded.append(work) or (None, None))
    replayed = workload.Replayed(workload.Workload(torch.nn.Identity(), torch.zeros(1, 2, 3, 3)))
    assert len(recorded) == 1
    replayed.prepare()
    assert len(recorded) == 1


def test_the_kernels_of_a_call_are_named_below_a_table_where_that_is_asked_for(gpu, monkeypatch):
    from typer.testing import CliRunner

    from gcbench.cli.commands import app

    asked = ["bench", "gc", "-C", "16", "-s", "6", "-r", "4", "--device", "cuda", "--quick"]
    done = CliRunner().invoke(app, [*asked, "-v"])
    assert done.exit_code == 0, done.output
    assert "gc r4: 1 kernel per call, longest:\n  fake 400.0 us" in done.stdout
    assert "longest:" not in CliRunner().invoke(app, asked).stdout


def test_a_sustained_regime_is_an_axis_and_keeps_the_device_busy(gpu, monkeypatch):
    monkeypatch.setattr(replicates, "HEAT_NS", 30_000_000)
    seen = []
    kept_busy = replicates._keep_busy
    monkeypatch.setattr(
        replicates,
        "_keep_busy",
        lambda works, clock, ns: seen.append(ns) or kept_busy(works, clock, ns),
    )
    burst = measured(["gc"])
    assert seen == []
    table = measured(["gc"], replace(AXES, regime="sustained"))
    assert table["status"].tolist() == ["ok"], table["reason"].tolist()
    assert table["regime"].tolist() == ["sustained"]
    assert burst["regime"].tolist() == ["burst"]
    assert table["key"].iloc[0] == f"{burst['key'].iloc[0]}|sustained"
    assert seen[0] == 30_000_000
    assert len(seen) == 1 + table["replicates"].iloc[0]
