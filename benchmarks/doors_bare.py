"""A bare Typer program with the commands, options and help that gcbench had on 2026-11-27; kept as it is."""

from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def bench(
    blocks: Annotated[
        str | None,
        typer.Argument(
            help="Block specs, TARGET[:key=value]..., such as gc:ratio=8 or my.module:MyBlock:width=3. Default: gc se snl nl.",
            metavar="BLOCK",
        ),
    ] = None,
    batch: Annotated[
        str | None, typer.Option("-B", "--batch", help="Images in the input.", metavar="N")
    ] = None,
    channels: Annotated[
        str | None, typer.Option("-C", "--channels", help="Channels of the input.", metavar="N")
    ] = None,
    size: Annotated[
        str | None,
        typer.Option("-s", "--size", help="Height and width: 56, or 50x80.", metavar="H[xW]"),
    ] = None,
    ratio: Annotated[
        str | None,
        typer.Option(
            "-r", "--ratio", help="Bottleneck reduction where a block has one.", metavar="N"
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option("--dtype", help="Element type.", metavar="float32|float16|bfloat16|float64"),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            help="Default: the accelerator, if there is one. Several are measured in turn.",
            metavar="cpu|cuda[:I][,...]",
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option("--layout", help="Memory layout.", metavar="contiguous|channels_last"),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            "--mode",
            help="infer: no gradients; train: forward and backward; backward: that pass alone.",
            metavar="infer|train|backward",
        ),
    ] = None,
    runtime: Annotated[
        str | None, typer.Option("--runtime", help="How it runs.", metavar="eager|compile|graph")
    ] = None,
    cache: Annotated[
        str | None,
        typer.Option(
            "--cache",
            help="cold: the last-level cache is flushed before each sample. Default: warm on a CPU, cold on CUDA.",
            metavar="warm|cold",
        ),
    ] = None,
    threads: Annotated[
        str | None,
        typer.Option("--threads", help="CPU threads. Default: PyTorch's own.", metavar="N"),
    ] = None,
    regime: Annotated[
        str | None,
        typer.Option(
            "--regime",
            help="sustained: of a device kept busy for seconds before, and all through.",
            metavar="burst|sustained",
        ),
    ] = None,
    tf32: Annotated[
        str | None,
        typer.Option(
            "--tf32",
            help="Whether CUDA may shorten float32 to 19 bits in products and convolutions. Default: as torch has it. Recorded with the run either way.",
            metavar="on|off",
        ),
    ] = None,
    heap: Annotated[
        str | None,
        typer.Option(
            "--heap",
            help="steady: keep freed memory, so that no latency depends on what ran before (glibc). default: the allocator as it is, page faults and all. Default: steady.",
            metavar="steady|default",
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            help="Half-width asked of every relative. Default: 2% on a CPU, 1% on CUDA.",
            metavar="SHARE",
        ),
    ] = None,
    max_time: Annotated[
        str | None,
        typer.Option(
            "--max-time",
            help="Time that a comparison may take. Default: 10s on a CPU, 5s on CUDA.",
            metavar="TIME",
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Same as --precision 5% --max-time 2s.", metavar=None)
    ] = False,
    rigorous: Annotated[
        bool,
        typer.Option(
            "--rigorous",
            help="Same as --precision 0.5% --max-time 60s, shared by three fresh processes.",
            metavar=None,
        ),
    ] = False,
    no_wait: Annotated[
        bool,
        typer.Option(
            "--no-wait",
            help="Do not wait for another gcbench that measures on the device.",
            metavar=None,
        ),
    ] = False,
    seed: Annotated[
        str | None, typer.Option("--seed", help="Of weights, inputs and order.", metavar="N")
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            help="What the others are divided by. Default: the first block.",
            metavar="BLOCK",
        ),
    ] = None,
    pair: Annotated[
        str | None,
        typer.Option(
            "--pair",
            help="Each block at two values of an axis, the second against the first: runtime, dtype, layout, mode, cache, threads; or with values, as in dtype=float16,float32.",
            metavar="AXIS[=V,V]",
        ),
    ] = None,
    counter: Annotated[
        str | None,
        typer.Option(
            "--counter", help="Who counts MACs.", metavar="auto|gcbench|fvcore|torch|formula"
        ),
    ] = None,
    allow_nondeterministic: Annotated[
        bool,
        typer.Option(
            "--allow-nondeterministic",
            help="Time blocks whose calls differ on one input, and flag them.",
            metavar=None,
        ),
    ] = False,
    csv: Annotated[
        str | None, typer.Option("--csv", help="Write the rows here.", metavar="FILE")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help="Keep the run, raw samples and all, in this new file.",
            metavar="RUN",
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="What stdout carries.",
            metavar="table|csv|markdown|latex|json|pytest-benchmark",
        ),
    ] = None,
    verbose: Annotated[
        bool,
        typer.Option(
            "-v",
            "--verbose",
            help="All notes below tables; of bench, network and report also each row's samples.",
            metavar=None,
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="No notes below tables.", metavar=None)
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 5 where a verdict is untrusted.", metavar=None)
    ] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where an error came from.", metavar=None)
    ] = False,
) -> None:
    "Measure blocks side by side at one shape: a table, and a CSV."


@app.command()
def sweep(
    blocks: Annotated[
        str | None,
        typer.Argument(
            help="Block specs, TARGET[:key=value]..., such as gc:ratio=8 or my.module:MyBlock:width=3. Default: gc se snl nl.",
            metavar="BLOCK",
        ),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(
            "-B", "--batch", help="Images in the input: 1,8 or 1..32x2. Default: 1.", metavar="LIST"
        ),
    ] = None,
    channels: Annotated[
        str | None,
        typer.Option(
            "-C",
            "--channels",
            help="Channels: 64,256 or 64:512:64 or 64..1024x2. Default: 256.",
            metavar="LIST",
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            "-s",
            "--size",
            help="Heights and widths: 14,28,56 or 14:56:14 (start:stop:step) or 7..56x2 (doubling), ends included; 50x80 is height x width. Default: 56.",
            metavar="LIST",
        ),
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option(
            "--shape",
            help="A whole input, instead of batch, channels and size; repeatable.",
            metavar="BxCxHxW",
        ),
    ] = None,
    stages: Annotated[
        str | None,
        typer.Option(
            "--stages",
            help="The shapes of a backbone's four stages at 224x224, instead of channels and size.",
            metavar="resnet50,resnet18",
        ),
    ] = None,
    ratio: Annotated[
        str | None,
        typer.Option(
            "-r", "--ratio", help="Bottleneck reductions: 4,8,16. Default: 16.", metavar="LIST"
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            "--dtype", help="Default: float32.", metavar="float32,float16,bfloat16,float64"
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device", help="Default: the accelerator, if there is one.", metavar="cpu,cuda[:I]"
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option("--layout", help="Default: contiguous.", metavar="contiguous,channels_last"),
    ] = None,
    mode: Annotated[
        str | None, typer.Option("--mode", help="Default: infer.", metavar="infer,train,backward")
    ] = None,
    runtime: Annotated[
        str | None, typer.Option("--runtime", help="Default: eager.", metavar="eager,compile,graph")
    ] = None,
    cache: Annotated[
        str | None,
        typer.Option("--cache", help="Default: warm on a CPU, cold on CUDA.", metavar="warm,cold"),
    ] = None,
    threads: Annotated[
        str | None,
        typer.Option(
            "--threads", help="CPU threads, or auto: PyTorch's own. Default: auto.", metavar="LIST"
        ),
    ] = None,
    regime: Annotated[
        str | None, typer.Option("--regime", help="Default: burst.", metavar="burst,sustained")
    ] = None,
    tf32: Annotated[
        str | None,
        typer.Option(
            "--tf32",
            help="Whether CUDA may shorten float32 to 19 bits in products and convolutions. Default: as torch has it. Recorded with the run either way.",
            metavar="on|off",
        ),
    ] = None,
    heap: Annotated[
        str | None,
        typer.Option(
            "--heap",
            help="steady: keep freed memory, so that no latency depends on what ran before (glibc). default: the allocator as it is, page faults and all. Default: steady.",
            metavar="steady|default",
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            help="Keep the cases for which this holds, as in \"channels * height < 2**14 and block != 'nl'\".",
            metavar="CONDITION",
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            help="Half-width asked of every relative. Default: 2% on a CPU, 1% on CUDA.",
            metavar="SHARE",
        ),
    ] = None,
    max_time: Annotated[
        str | None,
        typer.Option(
            "--max-time",
            help="Time that a comparison may take. Default: 10s on a CPU, 5s on CUDA.",
            metavar="TIME",
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Same as --precision 5% --max-time 2s.", metavar=None)
    ] = False,
    rigorous: Annotated[
        bool,
        typer.Option(
            "--rigorous",
            help="Same as --precision 0.5% --max-time 60s, shared by three fresh processes.",
            metavar=None,
        ),
    ] = False,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            help="Time of the whole sweep, shared among its comparisons; what does not get its turn is a row that says so. With --resume it begins anew, for what is left.",
            metavar="TIME",
        ),
    ] = None,
    static: Annotated[
        bool,
        typer.Option(
            "--static",
            help="Parameters, MACs, bytes and memory alone: nothing is timed.",
            metavar=None,
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say what it would measure, how long and how large, and measure nothing.",
            metavar=None,
        ),
    ] = False,
    no_wait: Annotated[
        bool,
        typer.Option(
            "--no-wait",
            help="Do not wait for another gcbench that measures on the device.",
            metavar=None,
        ),
    ] = False,
    timeout: Annotated[
        str | None,
        typer.Option(
            "--timeout", help="Time that trying one case may take. Default: 2m.", metavar="TIME"
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine",
            help="process: in a worker, so that a case can end only itself; inline: in this process, for debugging; ray: on all nodes of a cluster. Default: process.",
            metavar="process|inline|ray",
        ),
    ] = None,
    memory_limit: Annotated[
        str | None,
        typer.Option(
            "--memory-limit",
            help="Memory that the cases of a comparison may take. Default: what is free.",
            metavar="SIZE",
        ),
    ] = None,
    on_oom: Annotated[
        str | None,
        typer.Option(
            "--on-oom",
            help="When a case runs out of memory: leave out those of the same block that need as much, try them all the same, or end the sweep. Default: skip-larger.",
            metavar="skip-larger|continue|stop",
        ),
    ] = None,
    seed: Annotated[
        str | None,
        typer.Option("--seed", help="Of weights, inputs and order. Default: 0.", metavar="N"),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            help="What the others are divided by. Default: the first block.",
            metavar="BLOCK",
        ),
    ] = None,
    pair: Annotated[
        str | None,
        typer.Option(
            "--pair",
            help="Each block at two values of an axis, the second against the first: runtime, dtype, layout, mode, cache, threads; or with values, as in dtype=float16,float32.",
            metavar="AXIS[=V,V]",
        ),
    ] = None,
    counter: Annotated[
        str | None,
        typer.Option(
            "--counter",
            help="Who counts MACs. Default: auto.",
            metavar="auto|gcbench|fvcore|torch|formula",
        ),
    ] = None,
    allow_nondeterministic: Annotated[
        bool,
        typer.Option(
            "--allow-nondeterministic",
            help="Time blocks whose calls differ on one input, and flag them.",
            metavar=None,
        ),
    ] = False,
    file: Annotated[
        str | None,
        typer.Option(
            "--file",
            help="Read the sweep from TOML; what the line says goes before it.",
            metavar="SWEEP.toml",
        ),
    ] = None,
    dump_file: Annotated[
        str | None,
        typer.Option(
            "--dump-file", help="Write the sweep as TOML, and measure nothing.", metavar="FILE"
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume", help="Go on with this run: no other option is needed.", metavar="RUN"
        ),
    ] = None,
    retry: Annotated[
        str | None,
        typer.Option(
            "--retry",
            help="With --resume: measure again the cases that ended so.",
            metavar="oom,timeout,error,crashed,skipped",
        ),
    ] = None,
    allow_mismatch: Annotated[
        bool,
        typer.Option(
            "--allow-mismatch",
            help="With --resume: go on although machine or versions have changed. With --engine ray: also use nodes with another torch.",
            metavar=None,
        ),
    ] = False,
    ray_address: Annotated[
        str | None,
        typer.Option(
            "--ray-address",
            help="With --engine ray: the cluster; auto is the one of this machine. Default: Ray is started on this machine, and ended with the sweep.",
            metavar="HOST:PORT",
        ),
    ] = None,
    cpus_per_comparison: Annotated[
        str | None,
        typer.Option(
            "--cpus-per-comparison",
            help="With --engine ray: CPUs that a comparison has for itself. Default: all of a node; beside a GPU, one.",
            metavar="N",
        ),
    ] = None,
    per_device: Annotated[
        bool,
        typer.Option(
            "--per-device",
            help="With --engine ray: measure every comparison on each kind of device.",
            metavar=None,
        ),
    ] = False,
    csv: Annotated[
        str | None, typer.Option("--csv", help="Write the rows here.", metavar="FILE")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help="Keep the run, raw samples and all, in this new file.",
            metavar="RUN",
        ),
    ] = None,
    verbose: Annotated[
        bool,
        typer.Option(
            "-v",
            "--verbose",
            help="All notes below tables; of bench, network and report also each row's samples.",
            metavar=None,
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="No notes below tables.", metavar=None)
    ] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where an error came from.", metavar=None)
    ] = False,
) -> None:
    "Measure blocks over a grid of axes, into a run that can be resumed."


@app.command()
def report(
    run: Annotated[
        str | None,
        typer.Argument(help="A run's file. Default: the newest in results/.", metavar="RUN"),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="What stdout carries.",
            metavar="table|csv|markdown|latex|json|pytest-benchmark",
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            help="Only the cases for which this holds, over columns of the CSV, as in \"status == 'ok' and relative < 1\".",
            metavar="CONDITION",
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            "--sort",
            help="Order by columns of the CSV; a minus before a name means descending.",
            metavar="[-]NAME[,...]",
        ),
    ] = None,
    rows: Annotated[
        str | None,
        typer.Option(
            "--rows",
            help="What a line of the pivot shares: columns of the CSV, size (HxW), shape or N (H*W). Default: whatever varies beside --columns.",
            metavar="NAME[,NAME]",
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            help="What a column of the pivot shares. Default: block, with its ratio; or what varies.",
            metavar="NAME",
        ),
    ] = None,
    value: Annotated[
        str | None,
        typer.Option(
            "--value",
            help="The column to show. Default: relative; where nothing is, latency_us, else macs.",
            metavar="NAME",
        ),
    ] = None,
    csv: Annotated[
        str | None, typer.Option("--csv", help="Write the rows here.", metavar="FILE")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", help="Write the report here instead of on stdout.", metavar="FILE"
        ),
    ] = None,
    verbose: Annotated[
        bool,
        typer.Option(
            "-v",
            "--verbose",
            help="All notes below tables; of bench, network and report also each row's samples.",
            metavar=None,
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="No notes below tables.", metavar=None)
    ] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where an error came from.", metavar=None)
    ] = False,
) -> None:
    "Show a stored run: every case, or one value of each in rows and columns."


@app.command()
def compare(
    a: Annotated[str | None, typer.Argument(help="A run's file: what was.", metavar="A")] = None,
    b: Annotated[str | None, typer.Argument(help="Another's: what is now.", metavar="B")] = None,
    fail_on: Annotated[
        str | None,
        typer.Option(
            "--fail-on",
            help="Exit 1 where this holds: slower, faster (of a case or a block), together (all slower at once), each with a share such as slower:3%, which the whole interval must exceed; missing (a case of A that B lacks), failed (ok in A, not in B), counts (other parameters, MACs, memory), unresolved. Commas or repetition add more.",
            metavar="CONDITION",
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            help="Say it of the cases for which this holds, as in \"block == 'gc' and height < 28\"; what was measured beside them is what they are held against all the same.",
            metavar="CONDITION",
        ),
    ] = None,
    allow_mismatch: Annotated[
        bool,
        typer.Option(
            "--allow-mismatch",
            help="Compare although machine, versions or settings differ.",
            metavar=None,
        ),
    ] = False,
    format: Annotated[
        str | None,
        typer.Option("--format", help="What stdout carries.", metavar="table|markdown|csv|json"),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", help="Write the report here instead of on stdout.", metavar="FILE"
        ),
    ] = None,
    verbose: Annotated[
        bool,
        typer.Option(
            "-v",
            "--verbose",
            help="All notes below tables; of bench, network and report also each row's samples.",
            metavar=None,
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="No notes below tables.", metavar=None)
    ] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where an error came from.", metavar=None)
    ] = False,
) -> None:
    "Compare two stored runs: what became slower or faster, and what cannot be told."


@app.command()
def plot(
    run: Annotated[
        str | None,
        typer.Argument(help="A run's file. Default: the newest in results/.", metavar="RUN"),
    ] = None,
    chart: Annotated[
        str | None,
        typer.Option(
            "--chart",
            help="What is drawn. Default: what the run varies decides.",
            metavar="latency|relative|memory|macs|ratio|roofline",
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            help="Only the cases for which this holds, over columns of the CSV, as in \"status == 'ok' and relative < 1\".",
            metavar="CONDITION",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help="Write the picture here; the suffix says how: .svg, .png, .pdf, .html. Default: beside the run, RUN-CHART.svg.",
            metavar="FILE",
        ),
    ] = None,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where an error came from.", metavar=None)
    ] = False,
) -> None:
    "Draw a stored run: svg, png, pdf, or a page that needs no network."


@app.command()
def count(
    target: Annotated[
        str | None,
        typer.Argument(
            help="A block (gc:ratio=8), a network (resnet50, timm/NAME) or a module of yours (my.module:MyBlock, my.module:make_model).",
            metavar="TARGET",
        ),
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option(
            "--shape",
            help="Input of any rank, as in 2x197x768. Default: 1x256x56x56, or 1x3x224x224.",
            metavar="NxCx...",
        ),
    ] = None,
    channels: Annotated[
        str | None,
        typer.Option(
            "-C",
            "--channels",
            help="Channels that a block is built for. Default: the input's second side.",
            metavar="N",
        ),
    ] = None,
    ratio: Annotated[
        str | None,
        typer.Option(
            "-r", "--ratio", help="Bottleneck reduction where a block has one.", metavar="N"
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option("--dtype", help="Element type.", metavar="float32|float16|bfloat16|float64"),
    ] = None,
    depth: Annotated[
        str | None,
        typer.Option("--depth", help="Levels of modules shown. Default: all.", metavar="N"),
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", help="What a row is.", metavar="module|operator")
    ] = None,
    seed: Annotated[
        str | None, typer.Option("--seed", help="Of weights, inputs and order.", metavar="N")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", help="Write the result here instead of on stdout.", metavar="FILE"
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option("--format", help="What stdout carries.", metavar="table|csv|markdown|json"),
    ] = None,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where an error came from.", metavar=None)
    ] = False,
) -> None:
    "Count parameters, MACs and activations of each part of a module. Times nothing."


@app.command()
def network(
    net: Annotated[
        str | None,
        typer.Argument(
            help="One of resnet18, resnet34, resnet50, resnet101, resnet152, resnext50_32x4d, resnext101_32x4d, resnext101_32x8d, resnext101_64x4d, wide_resnet50_2, wide_resnet101_2, maskrcnn_resnet50_fpn, maskrcnn_resnet101_fpn, maskrcnn_resnext101_32x4d_fpn, fasterrcnn_resnet50_fpn; timm/NAME; my.module:make_model. Options follow as in resnet50:style=caffe.",
            metavar="NET",
        ),
    ] = None,
    insert: Annotated[
        str | None,
        typer.Option(
            "--insert",
            help="A block and where: gc@c3-c5.all, nl@c4.last-1/after_add, se:ratio=8@layer3.5, gc@features.4; gc@c3+se@c4 puts both in; +1 and +all are the GCNet paper's places. Repeatable: each is a row. Default: gc@+all snl@+1 nl@+1.",
            metavar="SPEC@PLACES",
        ),
    ] = None,
    replace: Annotated[
        str | None,
        typer.Option(
            "--replace",
            help="A class, or the path of a module, and the block that comes in its place: SqueezeExcitation=timm/eca, layer3.5.se=gc. Repeatable: each is a row.",
            metavar="WHAT=SPEC",
        ),
    ] = None,
    position: Annotated[
        str | None,
        typer.Option(
            "--position",
            help="Where at a residual block, for places that do not say: after_1x1 (behind its last norm, before the addition), after_add, or both, as in after_1x1,after_add.",
            metavar="LIST",
        ),
    ] = None,
    ratio: Annotated[
        str | None,
        typer.Option(
            "-r",
            "--ratio",
            help="Bottleneck reductions where a block has one: 4,8,16. Each is a row. Default: 16; with --within 4,16.",
            metavar="LIST",
        ),
    ] = None,
    within: Annotated[
        str | None,
        typer.Option(
            "--within",
            help="Say which rows add at most this share of the latency. A block without places is searched over stages: --insert gc --within 3%.",
            metavar="SHARE",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            help="A state dict of the plain network, by torch.save or as .safetensors. Nothing is downloaded.",
            metavar="FILE",
        ),
    ] = None,
    whole: Annotated[
        bool,
        typer.Option(
            "--whole",
            help="All of a detector, on fixed proposals, instead of its backbone and FPN.",
            metavar=None,
        ),
    ] = False,
    batch: Annotated[
        str | None, typer.Option("-B", "--batch", help="Images in the input.", metavar="N")
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            "-s",
            "--size",
            help="Height and width of the images: 224, or 800x1280.",
            metavar="H[xW]",
        ),
    ] = None,
    input: Annotated[
        str | None,
        typer.Option(
            "--input",
            help="What the network takes, instead of --batch and --size: 1x1x64x64, repeated where it takes several tensors (images first), or a function that makes them.",
            metavar="SHAPE|my.module:make",
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option("--dtype", help="Element type.", metavar="float32|float16|bfloat16|float64"),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            help="Default: the accelerator, if there is one. Several are measured in turn.",
            metavar="cpu|cuda[:I][,...]",
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option("--layout", help="Memory layout.", metavar="contiguous|channels_last"),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            "--mode",
            help="infer: no gradients; train: forward and backward; backward: that pass alone.",
            metavar="infer|train|backward",
        ),
    ] = None,
    runtime: Annotated[
        str | None, typer.Option("--runtime", help="How it runs.", metavar="eager|compile|graph")
    ] = None,
    cache: Annotated[
        str | None,
        typer.Option(
            "--cache",
            help="cold: the last-level cache is flushed before each sample. Default: warm on a CPU, cold on CUDA.",
            metavar="warm|cold",
        ),
    ] = None,
    threads: Annotated[
        str | None,
        typer.Option("--threads", help="CPU threads. Default: PyTorch's own.", metavar="N"),
    ] = None,
    regime: Annotated[
        str | None,
        typer.Option(
            "--regime",
            help="sustained: of a device kept busy for seconds before, and all through.",
            metavar="burst|sustained",
        ),
    ] = None,
    tf32: Annotated[
        str | None,
        typer.Option(
            "--tf32",
            help="Whether CUDA may shorten float32 to 19 bits in products and convolutions. Default: as torch has it. Recorded with the run either way.",
            metavar="on|off",
        ),
    ] = None,
    heap: Annotated[
        str | None,
        typer.Option(
            "--heap",
            help="steady: keep freed memory, so that no latency depends on what ran before (glibc). default: the allocator as it is, page faults and all. Default: steady.",
            metavar="steady|default",
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            help="Half-width asked of every relative. Default: 2% on a CPU, 1% on CUDA.",
            metavar="SHARE",
        ),
    ] = None,
    max_time: Annotated[
        str | None,
        typer.Option(
            "--max-time",
            help="Time that it may take. Default: 60s on a CPU, 20s on CUDA.",
            metavar="TIME",
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Same as --precision 5% --max-time 2s.", metavar=None)
    ] = False,
    rigorous: Annotated[
        bool,
        typer.Option(
            "--rigorous",
            help="Same as --precision 0.5% --max-time 60s, shared by three fresh processes.",
            metavar=None,
        ),
    ] = False,
    static: Annotated[
        bool, typer.Option("--static", help="Count, and time nothing.", metavar=None)
    ] = False,
    no_wait: Annotated[
        bool,
        typer.Option(
            "--no-wait",
            help="Do not wait for another gcbench that measures on the device.",
            metavar=None,
        ),
    ] = False,
    seed: Annotated[
        str | None, typer.Option("--seed", help="Of weights, inputs and order.", metavar="N")
    ] = None,
    counter: Annotated[
        str | None,
        typer.Option(
            "--counter", help="Who counts MACs.", metavar="auto|gcbench|fvcore|torch|formula"
        ),
    ] = None,
    csv: Annotated[
        str | None, typer.Option("--csv", help="Write the rows here.", metavar="FILE")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help="Keep the run, raw samples and all, in this new file.",
            metavar="RUN",
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="What stdout carries.",
            metavar="table|csv|markdown|latex|json|pytest-benchmark",
        ),
    ] = None,
    verbose: Annotated[
        bool,
        typer.Option(
            "-v",
            "--verbose",
            help="All notes below tables; of bench, network and report also each row's samples.",
            metavar=None,
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="No notes below tables.", metavar=None)
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 5 where a verdict is untrusted.", metavar=None)
    ] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where an error came from.", metavar=None)
    ] = False,
) -> None:
    "Measure a network with blocks inside against the plain one."


@app.command()
def attention(
    model: Annotated[
        str | None,
        typer.Argument(
            help="A network as `gcbench network` names it: resnet50, timm/NAME, my.module:make_model.",
            metavar="MODEL",
        ),
    ] = None,
    insert: Annotated[
        str | None,
        typer.Option(
            "--insert",
            help="Put a block in first: nl@+1, nl:similarity=gaussian@c4.last. Repeatable.",
            metavar="SPEC@PLACES",
        ),
    ] = None,
    block: Annotated[
        str | None,
        typer.Option(
            "--block",
            help="Only the blocks at this place: a module's path, or c4.last-1. Default: all.",
            metavar="PLACE",
        ),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            "--images",
            help="A folder of pictures, or a file. Repeatable. Default: the two photographs that scikit-learn ships.",
            metavar="DIR|FILE",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            help="A state dict of the network, with what was inserted or without. Nothing is downloaded: else they are as the network makes them.",
            metavar="FILE",
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            "-s",
            "--size",
            help="What the middle of a picture is cut to, after its shorter side was scaled to 256/224 of that, as torchvision does.",
            metavar="H[xW]",
        ),
    ] = None,
    demo: Annotated[
        bool,
        typer.Option(
            "--demo",
            help="Train small ResNets on scikit-learn's digits and measure them, before and after. Some minutes.",
            metavar=None,
        ),
    ] = False,
    no_latency: Annotated[
        bool,
        typer.Option(
            "--no-latency", help="Count what snl and gc would save, and time nothing.", metavar=None
        ),
    ] = False,
    no_wait: Annotated[
        bool,
        typer.Option(
            "--no-wait",
            help="Do not wait for another gcbench that measures on the device.",
            metavar=None,
        ),
    ] = False,
    queries: Annotated[
        str | None,
        typer.Option(
            "--queries",
            help="Whose maps are drawn: how many, or positions of the block's input, row x column: 3x4,7x7.",
            metavar="N|HxW,...",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", help="Draw the maps of the first pictures here.", metavar="FILE.png"
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device", help="Default: the accelerator, if there is one.", metavar="cpu|cuda[:I]"
        ),
    ] = None,
    threads: Annotated[
        str | None,
        typer.Option("--threads", help="CPU threads. Default: PyTorch's own.", metavar="N"),
    ] = None,
    seed: Annotated[
        str | None, typer.Option("--seed", help="Of weights, inputs and order.", metavar="N")
    ] = None,
    csv: Annotated[
        str | None, typer.Option("--csv", help="Write the rows here.", metavar="FILE")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option("--format", help="What stdout carries.", metavar="table|markdown|csv|json"),
    ] = None,
    verbose: Annotated[
        bool,
        typer.Option(
            "-v",
            "--verbose",
            help="All notes below tables; of bench, network and report also each row's samples.",
            metavar=None,
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="No notes below tables.", metavar=None)
    ] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where an error came from.", metavar=None)
    ] = False,
) -> None:
    "Measure how much attention depends on the query, and what a block of one map would save."


@app.command()
def paper(
    table: Annotated[
        str | None,
        typer.Option(
            "--table",
            help="One of design, positions, stages, bottleneck, ratio, pooling, imagenet, backbones. Repeatable. Default: all; with --latency backbones.",
            metavar="NAME",
        ),
    ] = None,
    latency: Annotated[
        bool,
        typer.Option(
            "--latency",
            help="Time the rows here too, beside what is published of a V100.",
            metavar=None,
        ),
    ] = False,
    size: Annotated[
        str | None,
        typer.Option(
            "-s",
            "--size",
            help="Images to time, where the table's own are too large. Counts stay the table's.",
            metavar="H[xW]",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device", help="Default: the accelerator, if there is one.", metavar="cpu|cuda[:I]"
        ),
    ] = None,
    threads: Annotated[
        str | None,
        typer.Option("--threads", help="CPU threads. Default: PyTorch's own.", metavar="N"),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            help="Half-width asked of every relative. Default: 2% on a CPU, 1% on CUDA.",
            metavar="SHARE",
        ),
    ] = None,
    max_time: Annotated[
        str | None,
        typer.Option(
            "--max-time",
            help="Time that it may take. Default: 60s on a CPU, 20s on CUDA.",
            metavar="TIME",
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Same as --precision 5% --max-time 2s.", metavar=None)
    ] = False,
    no_wait: Annotated[
        bool,
        typer.Option(
            "--no-wait",
            help="Do not wait for another gcbench that measures on the device.",
            metavar=None,
        ),
    ] = False,
    csv: Annotated[
        str | None, typer.Option("--csv", help="Write the rows here.", metavar="FILE")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option("--format", help="What stdout carries.", metavar="table|markdown|csv"),
    ] = None,
    verbose: Annotated[
        bool,
        typer.Option(
            "-v",
            "--verbose",
            help="All notes below tables; of bench, network and report also each row's samples.",
            metavar=None,
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="No notes below tables.", metavar=None)
    ] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where an error came from.", metavar=None)
    ] = False,
) -> None:
    "Show the GCNet paper's tables, every printed cell beside what is derived now."


@app.command()
def check(
    device: Annotated[
        str | None,
        typer.Option(
            "--device", help="Default: the accelerator, if there is one.", metavar="cpu|cuda[:I]"
        ),
    ] = None,
    threads: Annotated[
        str | None,
        typer.Option("--threads", help="CPU threads. Default: PyTorch's own.", metavar="N"),
    ] = None,
    heap: Annotated[
        str | None,
        typer.Option(
            "--heap",
            help="steady: keep freed memory, so that no latency depends on what ran before (glibc). default: the allocator as it is, page faults and all. Default: steady.",
            metavar="steady|default",
        ),
    ] = None,
    max_time: Annotated[
        str | None,
        typer.Option("--max-time", help="Time of a trial, as of a comparison.", metavar="TIME"),
    ] = None,
    repeat: Annotated[
        str | None, typer.Option("--repeat", help="How often each trial is made.", metavar="N")
    ] = None,
    no_wait: Annotated[
        bool,
        typer.Option(
            "--no-wait",
            help="Do not wait for another gcbench that measures on the device.",
            metavar=None,
        ),
    ] = False,
    seed: Annotated[
        str | None, typer.Option("--seed", help="Of weights, inputs and order.", metavar="N")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.", metavar=None)] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where an error came from.", metavar=None)
    ] = False,
) -> None:
    "Time blocks against their own copies: can this machine's numbers be believed?"


@app.command()
def peaks(
    device: Annotated[
        str | None,
        typer.Option(
            "--device", help="Default: the accelerator, if there is one.", metavar="cpu|cuda[:I]"
        ),
    ] = None,
    threads: Annotated[
        str | None,
        typer.Option("--threads", help="CPU threads. Default: PyTorch's own.", metavar="N"),
    ] = None,
    tf32: Annotated[
        str | None,
        typer.Option(
            "--tf32",
            help="Whether CUDA may shorten float32 to 19 bits in products and convolutions. Default: as torch has it. Recorded with the run either way.",
            metavar="on|off",
        ),
    ] = None,
    heap: Annotated[
        str | None,
        typer.Option(
            "--heap",
            help="steady: keep freed memory, so that no latency depends on what ran before (glibc). default: the allocator as it is, page faults and all. Default: steady.",
            metavar="steady|default",
        ),
    ] = None,
    no_wait: Annotated[
        bool,
        typer.Option(
            "--no-wait",
            help="Do not wait for another gcbench that measures on the device.",
            metavar=None,
        ),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.", metavar=None)] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where an error came from.", metavar=None)
    ] = False,
) -> None:
    "Measure the ceilings of a device: matrix products, copies, the cost of a call."


@app.command()
def blocks(
    block: Annotated[
        str | None,
        typer.Argument(
            help="A block to describe; with --shape the blocks and groups to count.",
            metavar="[BLOCK]...",
        ),
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option(
            "--shape", help="Count every block at this shape, on paper.", metavar="BxCxHxW"
        ),
    ] = None,
    ratio: Annotated[
        str | None,
        typer.Option("-r", "--ratio", help="Ratios, with --shape. Default: 16.", metavar="LIST"),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            "--sort",
            help="Sort by columns, with --shape: macs, -min_bytes,block.",
            metavar="COLUMN,...",
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Give the blocks and those of timm, mmcv and torchvision the same weights, and print the largest difference of their outputs in float64.",
            metavar=None,
        ),
    ] = False,
    format: Annotated[
        str | None,
        typer.Option("--format", help="What stdout carries.", metavar="table|markdown|csv"),
    ] = None,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where an error came from.", metavar=None)
    ] = False,
) -> None:
    "List the blocks, describe one, or count all of them at a shape."


@app.command()
def env(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.", metavar=None)] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where an error came from.", metavar=None)
    ] = False,
) -> None:
    "Show the manifest that a run would store, and warnings."


app()
