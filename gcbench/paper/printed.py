"""The tables of the GCNet paper: what is printed, and what each row is made of.

Cao, Xu, Lin, Wei, Hu: "GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond",
2019, arXiv 1904.11492. Cells are text, with the digits that are printed; nothing derived is here.
"""

from dataclasses import dataclass

from gcbench.errors import UsageError
from gcbench.registry import suggestion

TRANSCRIBED = (
    "Printed cells are a transcription of the paper's tables, made by hand: hold them against the "
    "paper before you cite them. An empty printed cell was not transcribed. What the paper calls "
    "FLOPs are multiply-accumulates (MACs)."
)
HEADS = (
    "The absolute count of a detector depends on what is charged for its heads (here 1000 fixed "
    "proposals and 100 masks, without the steps that multiply no matrices), so what is compared is "
    "what the blocks add to the first row."
)
PUBLISHED_LATENCIES = (
    "A published latency is one image through the whole of mmdetection on a V100, with steps that "
    "gcbench leaves out (see networks.md): hold relatives against each other, not milliseconds."
)
NO_PRODUCTS = (
    "the paper's Non-local block pools its keys and values 2x2; with its two attention products it "
    "costs {macs:.3f}G and without them {without:.3f}G, which is what is printed: the counter used "
    "seems to have left them out"
)

MASK_RCNN = "maskrcnn_resnet50_fpn"
RESNET = "resnet50:style=caffe"
DETECTION, PUBLISHED, IMAGENET = (800, 1280), (800, 1333), (224, 224)


@dataclass(frozen=True)
class PrintedRow:
    """One row: its network, what is put in, and the printed cells, None where there is none.

    `params` are millions, `macs` 1e9, `latency_ms` of one image. `why` says why a derived cell is
    another; it may name `{macs}` and `{without}`, the MACs and those without attention products.
    """

    label: str
    network: str
    insert: str | None = None
    params: str | None = None
    macs: str | None = None
    latency_ms: str | None = None
    why: str | None = None


@dataclass(frozen=True)
class PaperTable:
    """A table: what it varies, its images' height and width, its rows, and what is said below it.

    The first row of each network is what the others add to. `whole` tells that its networks are
    detectors, of which all is counted.
    """

    name: str
    summary: str
    size: tuple[int, int]
    rows: tuple[PrintedRow, ...]
    whole: bool = True
    remark: str = HEADS


def _mask_rcnn(
    label: str, insert: str | None, params: str | None = None, macs: str | None = None
) -> PrintedRow:
    return PrintedRow(label, MASK_RCNN, insert, params, macs)


_BASELINE = _mask_rcnn("baseline", None, "44.4", "279.4")
_ALL = _mask_rcnn("+all GC r16", "gc:ratio=16@+all", "46.9", "279.6")


def _published(network: str, name: str, cells: tuple[str, str, str]) -> tuple[PrintedRow, ...]:
    inserts = (
        (name, None),
        (f"{name} GC r16", "gc:ratio=16@+all"),
        (f"{name} GC r4", "gc:ratio=4@+all"),
    )
    return tuple(
        PrintedRow(label, network, insert, latency_ms=cell)
        for (label, insert), cell in zip(inserts, cells, strict=True)
    )


def _table(name: str, summary: str, *rows: PrintedRow) -> PaperTable:
    return PaperTable(name, summary, DETECTION, (_BASELINE, *rows))


TABLES: tuple[PaperTable, ...] = (
    _table(
        "design",
        "Which block: Mask R-CNN R50-FPN, 800x1280",
        _mask_rcnn("+1 NL", "nl:subsample=before@+1", "46.5", "288.7"),
        _mask_rcnn("+1 SNL", "snl@+1", "45.4", "279.4"),
        _mask_rcnn("+1 GC r16", "gc:ratio=16@+1", "44.5", "279.4"),
        _ALL,
    ),
    _table(
        "positions",
        "Where at a residual block: Mask R-CNN R50-FPN, 800x1280",
        _mask_rcnn("+all GC r16 after the addition", "gc:ratio=16@+all/after_add"),
        _mask_rcnn("+all GC r16 after 1x1", "gc:ratio=16@+all/after_1x1"),
    ),
    _table(
        "stages",
        "In which stages: Mask R-CNN R50-FPN, 800x1280",
        _mask_rcnn("c3", "gc:ratio=16@c3.all", "44.5", "279.5"),
        _mask_rcnn("c4", "gc:ratio=16@c4.all", "45.2", "279.5"),
        _mask_rcnn("c5", "gc:ratio=16@c5.all", "45.9", "279.4"),
        _ALL,
    ),
    _table(
        "bottleneck",
        "Which transform: Mask R-CNN R50-FPN, 800x1280",
        _mask_rcnn("C x C, no ratio", "gc:bottleneck=false@+all", "64.4", "279.6"),
        _mask_rcnn("r16, no LayerNorm", "gc:norm=none:ratio=16@+all"),
        _ALL,
    ),
    _table(
        "ratio",
        "How narrow: Mask R-CNN R50-FPN, 800x1280",
        _mask_rcnn("+all GC r4", "gc:ratio=4@+all", "54.4", "279.6"),
        _mask_rcnn("+all GC r8", "gc:ratio=8@+all", "49.4", "279.6"),
        _ALL,
        _mask_rcnn("+all GC r32", "gc:ratio=32@+all", "45.7", "279.5"),
    ),
    _table(
        "pooling",
        "Which pooling and fusion: Mask R-CNN R50-FPN, 800x1280",
        _mask_rcnn("avg + scale", "gc:fusion=scale:pooling=avg:ratio=16@+all", "46.9", "279.5"),
        _mask_rcnn("avg + add", "gc:pooling=avg:ratio=16@+all", "46.9", "279.5"),
        _mask_rcnn("att + scale", "gc:fusion=scale:ratio=16@+all", "46.9", "279.6"),
        _mask_rcnn("att + add", "gc:ratio=16@+all", "46.9", "279.6"),
    ),
    PaperTable(
        "imagenet",
        "ImageNet: ResNet-50 with the stride in its 1x1 convolutions, 224x224",
        IMAGENET,
        (
            PrintedRow("baseline", RESNET, None, "25.56", "3.86"),
            PrintedRow("+1 NL", RESNET, "nl:subsample=before@+1", "27.66", "4.11", why=NO_PRODUCTS),
            PrintedRow("+1 NL, not pooled", RESNET, "nl@+1"),
            PrintedRow("+1 SNL", RESNET, "snl@+1", "26.61", "3.86"),
            PrintedRow("+1 SNL, W_v before pooling", RESNET, "snl:hoist=false@+1"),
            PrintedRow("+1 GC r16", RESNET, "gc:ratio=16@+1", "25.69", "3.86"),
            PrintedRow("+all GC r16", RESNET, "gc:ratio=16@+all", "28.08", "3.87"),
        ),
        whole=False,
        remark="",
    ),
    PaperTable(
        "backbones",
        "Larger backbones: Mask R-CNN with FPN, 800x1333; latencies of mmdetection, V100, fp32",
        PUBLISHED,
        (
            *_published(MASK_RCNN, "R50", ("60.2", "64.5", "66.2")),
            *_published("maskrcnn_resnet101_fpn", "R101", ("75.2", "83.3", "84.8")),
            *_published("maskrcnn_resnext101_32x4d_fpn", "X101-32x4d", ("88.5", "102.0", "103.1")),
        ),
        remark=PUBLISHED_LATENCIES,
    ),
)


def table_of(option: str, name: str) -> PaperTable:
    """Find a table. Raises UsageError, which names the option, where there is none of this name."""
    found = next((table for table in TABLES if table.name == name), None)
    if found is None:
        known = suggestion(name, [table.name for table in TABLES])
        raise UsageError(f"{option} {name!r} is unknown: {known}")
    return found
