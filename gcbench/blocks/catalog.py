"""The table of blocks, and those that installed packages announce beside it."""

from dataclasses import dataclass

from gcbench.blocks import peers
from gcbench.registry import Entry, Registry


@dataclass(frozen=True)
class BlockEntry(Entry):
    """A line of the table: the entry, the paper that the block comes from, its place in the family.

    `context`, `transform` and `fusion` are the three steps of arXiv 1904.11492 as the block takes
    them by default. `order` has the terms of its MACs for an image that grow with N or C, without
    factors, for H = W: `C N + C^2`. Announced blocks have no place.
    """

    source: str
    context: str = ""
    transform: str = ""
    fusion: str = ""
    order: str = ""

    @property
    def tier(self) -> str:
        """What the block's cost grows like: quadratic in N, linear with C^2, or neither."""
        terms = self.order.split(" + ")
        if "C N^2" in terms:
            return "quadratic"
        return "linear" if "C^2 N" in terms else "light"


_HERE = "gcbench.blocks"

BLOCKS: Registry[BlockEntry] = Registry(
    "block",
    (
        BlockEntry(
            "gc",
            f"{_HERE}.gc:GlobalContext",
            "Global Context: attention pooling, bottleneck, addition; options span the framework",
            "arXiv 1904.11492, eq. 5",
            context="one map for all queries",
            transform="bottleneck with LN",
            fusion="add",
            order="C N + C^2",
        ),
        BlockEntry(
            "se",
            f"{_HERE}.se:SqueezeExcitation",
            "Squeeze-Excitation: average pooling, bottleneck, scaling",
            "arXiv 1709.01507, eq. 2-4",
            context="average",
            transform="bottleneck",
            fusion="scale",
            order="C^2",
        ),
        BlockEntry(
            "snl",
            f"{_HERE}.snl:SimplifiedNonLocal",
            "simplified Non-local: one attention map for every query",
            "arXiv 1904.11492, eq. 2-3",
            context="one map for all queries",
            transform="C x C",
            fusion="add",
            order="C N + C^2",
        ),
        BlockEntry(
            "nl",
            f"{_HERE}.nl:NonLocal",
            "Non-local: an attention map of its own for every query, O(N^2)",
            "arXiv 1711.07971, eq. 1-6",
            context="a map per query",
            transform="values and output",
            fusion="add",
            order="C^2 N + C N^2",
        ),
        BlockEntry(
            "eca",
            f"{_HERE}.eca:EfficientChannelAttention",
            "Efficient Channel Attention: average pooling, a short convolution along the channels",
            "arXiv 1910.03151, eq. 9",
            context="average",
            transform="k taps along the channels",
            fusion="scale",
            order="C log(C)",
        ),
        BlockEntry(
            "cbam",
            f"{_HERE}.cbam:ConvolutionalBlockAttention",
            "Convolutional Block Attention Module: channels gated, then positions",
            "arXiv 1807.06521, eq. 1-3",
            context="mean and maximum, of positions, then channels",
            transform="shared bottleneck, then k x k",
            fusion="scale, twice",
            order="N + C^2",
        ),
        BlockEntry(
            "ge",
            f"{_HERE}.ge:GatherExcite",
            "Gather-Excite: contexts of all positions or of windows; options have the variants",
            "arXiv 1810.12348",
            context="average; or windows, or depthwise",
            transform="none; or bottleneck",
            fusion="scale",
            order="0",
        ),
        BlockEntry(
            "coord",
            f"{_HERE}.coord:CoordinateAttention",
            "Coordinate Attention: averages of rows and columns, a gate for each",
            "arXiv 2103.02907",
            context="averages of rows and columns",
            transform="bottleneck with BN",
            fusion="scale, twice",
            order="C^2 N^0.5",
        ),
        BlockEntry(
            "simam",
            f"{_HERE}.simam:SimpleAttention",
            "SimAM: a gate from each element's distance to its channel's mean, no parameters",
            "PMLR 139:11863-11874 (ICML 2021)",
            context="mean and variance of a channel",
            transform="none",
            fusion="scale",
            order="0",
        ),
        BlockEntry(
            "triplet",
            f"{_HERE}.triplet:TripletAttention",
            "Triplet Attention: mean and maximum over each axis, gates of three planes",
            "arXiv 2010.03045",
            context="mean and maximum over each axis",
            transform="k x k on three planes",
            fusion="scale, averaged",
            order="N + C N^0.5",
        ),
        BlockEntry(
            "a2",
            f"{_HERE}.a2:DoubleAttention",
            "Double Attention: n shared maps gather, each position mixes what they gathered",
            "arXiv 1810.11579",
            context="n maps for all queries",
            transform="none on n descriptors",
            fusion="mixed by position, add",
            order="C^2 N",
        ),
        BlockEntry(
            "efficient",
            f"{_HERE}.efficient:EfficientAttention",
            "Efficient Attention: softmax of keys and of queries apart, d shared maps",
            "arXiv 1812.01243",
            context="d maps for all queries",
            transform="values and output",
            fusion="mixed by position, add",
            order="C^2 N",
        ),
        BlockEntry(
            "external",
            f"{_HERE}.external:ExternalAttention",
            "External Attention: S learnt memories as keys and values",
            "arXiv 2105.02358",
            context="S learnt memories",
            transform="C x C before and after",
            fusion="mixed by position, add, ReLU",
            order="C^2 N",
        ),
        BlockEntry(
            "ema",
            f"{_HERE}.ema:ExpectationMaximisationAttention",
            "Expectation-Maximisation Attention: K bases fitted to the image in T steps",
            "arXiv 1907.13426",
            context="K maps for all queries, by EM",
            transform="C x C before and after",
            fusion="mixed by position, add, ReLU",
            order="C^2 N",
        ),
        BlockEntry(
            "glore",
            f"{_HERE}.glore:GlobalReasoning",
            "Global Reasoning: projection to n nodes, a graph convolution, projection back",
            "arXiv 1811.12814",
            context="n projections, no softmax",
            transform="graph convolution",
            fusion="projected back, add",
            order="C^2 N + C^3",
        ),
        BlockEntry(
            "apnb",
            f"{_HERE}.apnb:AsymmetricPyramidNonLocal",
            "Asymmetric Pyramid Non-local: a map for every query over 110 pooled keys",
            "arXiv 1908.07678",
            context="a map per query over pooled keys",
            transform="values and output",
            fusion="concatenate, C x 2C",
            order="C^2 N",
        ),
        BlockEntry(
            "cc",
            f"{_HERE}.cc:CrissCrossAttention",
            "Criss-Cross Attention: a map for every query over its row and column, twice",
            "arXiv 1811.11721",
            context="a map per query over row and column",
            transform="values",
            fusion="add, twice",
            order="C^2 N + C N^1.5",
        ),
        BlockEntry(
            "dnl",
            f"{_HERE}.dnl:DisentangledNonLocal",
            "Disentangled Non-local: a whitened map for every query, and one for all",
            "arXiv 2006.06668",
            context="a map per query, and one for all",
            transform="values and output",
            fusion="add",
            order="C^2 N + C N^2",
        ),
        BlockEntry(
            "mhsa",
            f"{_HERE}.mhsa:MultiHeadSelfAttention",
            "Multi-head self-attention: a map for every query and head, fused where it can be",
            "arXiv 1706.03762",
            context="a map per query and head",
            transform="values and output",
            fusion="add",
            order="C^2 N + C N^2",
        ),
        BlockEntry(
            "bot",
            f"{_HERE}.bot:BottleneckAttention",
            "Bottleneck Transformer's attention: relative positions, for one size of map",
            "arXiv 2101.11605",
            context="a map per query and head, with positions",
            transform="values",
            fusion="replaces x",
            order="C^2 N + C N^2",
        ),
    ),
)


def catalogue() -> tuple[Registry[BlockEntry], list[str]]:
    """The blocks that have a name: the table's, and those that installed packages announce.

    Returns beside them a sentence for each announced one whose name cannot be used. Imports none.
    """
    points, clashes = peers.announced([entry.name for entry in BLOCKS])
    found = (
        BlockEntry(p.name, f"{p.module}:{p.attr}", f"{p.module}:{p.attr}", peers.origin(p))
        for p in points
    )
    return Registry("block", (*BLOCKS, *found)), clashes
