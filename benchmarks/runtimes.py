"""What do other runtimes buy, and does gcbench read what they read by themselves? When it is quiet.

The family at one shape, in pairs against eager; then each runtime alone, by its own means: OpenVINO
by its `benchmark_app`, ONNX Runtime in a plain loop, both on the artefact that gcbench exports. The
two readings should agree within 10 %, and every A/A interval should hold 1. With `--stages` the
family stands at the four stages of a ResNet-50.
"""

import argparse
import csv
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from gcbench import blocks
from gcbench.measure import runtimes
from gcbench.measure.runtimes.foreign import exported
from gcbench.spec.cases import Axes, Case, comparison_of

Row = dict[str, str]
CALLS = 300


def paired(names: list[str], options: list[str]) -> list[Row]:
    """The rows of one bench, printed as its table too."""
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.csv"
        pair = ["--pair", "runtime=eager,onnxruntime,openvino"]
        command = [sys.executable, "-m", "gcbench", "bench", *names, *pair, *options]
        subprocess.run([*command, "--csv", str(rows)], check=True)
        with rows.open() as file:
            return list(csv.DictReader(file))


def in_a_loop(case: Case, threads: int) -> float:
    """The median latency of ONNX Runtime in a plain loop, in us."""
    runtime, module, x = made(case)
    session = runtime.load(exported(runtime, module, x), x, threads)
    took = []
    for _ in range(CALLS):
        start = time.perf_counter_ns()
        session.call()
        took.append(time.perf_counter_ns() - start)
    return statistics.median(took[CALLS // 10 :]) / 1e3


def by_benchmark_app(case: Case, threads: int) -> float:
    """The median latency of OpenVINO by its own `benchmark_app`, in us."""
    from gcbench.measure.runtimes.openvino import silent

    runtime, module, x = made(case)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.xml"
        silent().save_model(exported(runtime, module, x), str(model), compress_to_fp16=False)
        options = f"-hint none -nthreads {threads} -nstreams 1 -api sync -infer_precision f32 -t 5"
        # its own entry point, with telemetry where gcbench has it
        main = (
            "import sys; sys.modules['openvino_telemetry'] = None; "
            "from openvino.tools.benchmark.main import main; main()"
        )
        command = [sys.executable, "-c", main, "-m", str(model), *options.split()]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"Median:\s+([0-9.]+) (ms|us)", told)
    assert found, told
    return float(found[1]) * (1e3 if found[2] == "ms" else 1)


def made(case: Case):
    """A case's runtime, its module in eval, and an input."""
    module = blocks.build_case(case, 0).eval()
    x = torch.randn(case.shape, generator=torch.Generator().manual_seed(0))
    return runtimes.of(case), module, x


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("blocks", nargs="*", default=["gc", "se", "snl", "nl"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--stages", action="store_true")
    parser.add_argument("--max-time", default="60s")
    asked = parser.parse_args()
    where = ["--stages", "resnet50"] if asked.stages else []
    options = ["--threads", str(asked.threads), "--max-time", asked.max_time, *where]
    rows = paired(asked.blocks, options)
    known = [row for row in rows if row["aa_lo"] and row["aa_hi"]]
    quiet = sum(float(row["aa_lo"]) <= 1 <= float(row["aa_hi"]) for row in known)
    print(f"{quiet} of {len(known)} A/A intervals hold 1")
    torch.set_grad_enabled(False)
    for row in rows:
        alone = {"onnxruntime": in_a_loop, "openvino": by_benchmark_app}.get(row["runtime"])
        if alone is None or row["status"] != "ok":
            continue
        size, ratio = (int(row["height"]), int(row["width"])), int(row["ratio"] or 16)
        axes = Axes(channels=int(row["channels"]), size=size, ratio=ratio, runtime=row["runtime"])
        case = comparison_of([blocks.resolve(row["spec"])], axes, "cpu").cases[0]
        latency, own = float(row["latency_us"]), alone(case, asked.threads)
        print(
            f"{row['spec']:4} {row['channels']}x{row['height']} {row['runtime']:12} "
            f"{latency:9.1f} us, alone {own:9.1f} us: {latency / own:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
