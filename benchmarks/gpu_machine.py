"""A CUDA device as the steps need it that measure themselves; a rehearsal simulates these calls."""

import importlib.util
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator

import torch

from gcbench.errors import told
from gcbench.measure import environment
from gcbench.measure.peaks import measuring
from gcbench.measure.timing.cuda import CudaClock
from gcbench.measure.timing.gpu import Gpu, TorchGpu
from gcbench.measure.workload import Workload, recorded
from gcbench.records import Peaks

Call = Callable[[], object]

# 8x256x56x56 numbers of float32
CLONED_BYTES = 8 * 256 * 56 * 56 * 4
PACKAGES = ("torchvision", "triton", "numpy", "pandas", "fvcore", "nvidia-ml-py", "gcbench")


class AsksStream(torch.nn.Module):
    """Asks whether its stream is done, which waits for nothing and no capture allows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.cuda.current_stream(x.device).query()
        return x + 1


class Machine:
    """A device by its name, such as cuda:0. Nothing is launched before a method asks for it."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.gpu: Gpu = TorchGpu(device)
        self.now: Callable[[], int] = time.perf_counter_ns
        self.sleep: Callable[[float], None] = time.sleep

    def card(self) -> str:
        """What the device calls itself."""
        return torch.cuda.get_device_name(self.device)

    def l2_bytes(self) -> int:
        return int(torch.cuda.get_device_properties(self.device).L2_cache_size)

    def words(self) -> Iterator[str]:
        """The machine in lines, for people."""
        yield f"python {platform.python_version()}, torch {torch.__version__}"
        yield ", ".join(f"{name} {environment.version(name)}" for name in PACKAGES)
        for tool in ("gcc", "cc", "nvcc", "nvidia-smi"):
            yield f"{tool}: {shutil.which(tool) or 'not there'}"
        yield f"altair: {'there' if importlib.util.find_spec('altair') else 'not there'}"
        yield str(torch.cuda.get_device_properties(self.device))
        if shutil.which("nvidia-smi"):
            yield subprocess.run(["nvidia-smi"], capture_output=True, text=True).stdout

    def clock(self) -> CudaClock:
        return CudaClock(self.gpu, self.now, self.sleep)

    def tiny(self) -> Call:
        """The launch of a kernel on one number."""
        return torch.zeros(1, device=self.device).zero_

    def clone(self) -> Call:
        """A clone of 25.7 MB, which allocates its target anew."""
        return torch.randn(CLONED_BYTES // 4, device=self.device).clone

    def write_flush(self) -> Call:
        """A flush that leaves the cache full of what it wrote."""
        return self._flushing().zero_

    def read_flush(self) -> Call:
        """A flush that leaves the cache full of what it read."""
        return self._flushing().sum

    def _flushing(self) -> torch.Tensor:
        # more than the cache and half of it again, as gcbench's own flush has it
        return torch.zeros(self.l2_bytes() * 3 // 8, device=self.device)

    def capture(self) -> str:
        """Record a block that no graph can hold; 'refused', as it should be, or 'recorded'."""
        work = Workload(AsksStream(), torch.randn(1, 8, 8, 8, device=self.device))
        try:
            recorded(work)
        except RuntimeError as error:
            print(f"  {told(error)}")
            return "refused"
        return "recorded"

    def ceilings(self) -> Peaks:
        """The ceilings for bfloat16, measured in this process."""
        manifest = environment.manifest("peaks", seed=0)
        return measuring.measure(manifest, self.device, None, ["bfloat16"])

    def fast_error(self, spec: str, shape: tuple[int, int, int, int]) -> float:
        """How far a block with impl=fast is from the reference in float64, of its largest output.

        In both layouts, without TF32.
        """
        import gcbench

        fast = gcbench.build(f"{spec}:impl=fast", channels=shape[1]).to(self.device).eval()
        plain = gcbench.build(spec, channels=shape[1]).to(self.device).double().eval()
        plain.load_state_dict(fast.state_dict())
        x = torch.randn(shape, device=self.device)
        worst = 0.0
        with torch.no_grad(), torch.backends.cudnn.flags(allow_tf32=False):
            expected = plain(x.double())
            for layout in (torch.contiguous_format, torch.channels_last):
                found = fast(x.contiguous(memory_format=layout)).double()
                error = (found - expected).abs().max() / expected.abs().max()
                worst = max(worst, float(error))
        return worst

    def do_bench_us(self, spec: str, shape: tuple[int, int, int, int]) -> float:
        """The median time of a block by Triton, which empties the cache before each call."""
        from triton.testing import do_bench

        import gcbench

        block = gcbench.build(spec, channels=shape[1]).to(self.device).eval()
        x = torch.randn(shape, device=self.device)
        with torch.no_grad(), torch.cuda.device(self.device):
            return 1e3 * float(do_bench(lambda: block(x), return_mode="median"))
