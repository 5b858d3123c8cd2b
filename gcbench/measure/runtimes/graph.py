"""A call recorded once as a CUDA graph, and replayed."""

from gcbench.measure.runtimes import Runtime
from gcbench.measure.workload import Replayed, Turned, Workload
from gcbench.spec.cases import Case


class Graph(Runtime):
    """A whole call is recorded, so nothing of it is left to the host."""

    replays = True

    def why_not(self, case: Case) -> str | None:
        """Say what a graph cannot hold."""
        if case.device == "cpu":
            return "a CUDA graph needs a CUDA device; on a CPU there are eager and compile"
        if case.mode == "backward":
            return "a CUDA graph holds forward and backward together: take mode train"
        return None

    def timed(self, work: Turned) -> Turned:
        """Record a work; what is no case, such as a copy of its input, is called as it is."""
        return Replayed(work) if isinstance(work, Workload) else work
