"""Slow and obvious versions of blocks that no library has: their equations as loops over numbers.

Nothing is vectorised, and nothing is shared with the blocks but the names of their weights. A loop
maps one image (C, H, W), the weights by name and the value of every option to (C, H, W), all in
float64; batch norms take their running statistics, as in inference.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

Vector = list[float]
Weights = Mapping[str, "Tensor"]
Options = Mapping[str, Any]


# --- what the equations are made of --------------------------------------------------------------


def positions(image: "Tensor") -> list[Vector]:
    """The vectors x_j of one image (C, H, W), row by row."""
    vectors: list[Vector] = image.flatten(1).T.tolist()
    return vectors


def image_of(vectors: Sequence[Vector], height: int, width: int) -> "Tensor":
    """The image (C, H, W) of vectors that stand row by row."""
    import torch

    return torch.tensor(vectors, dtype=torch.float64).T.reshape(-1, height, width)


def layer(weights: Weights, name: str) -> Callable[[Vector], Vector]:
    """A 1x1 convolution of this name, with its bias where it has one."""
    matrix: list[Vector] = weights[f"{name}.weight"].flatten(1).tolist()
    bias: Vector = (
        weights[f"{name}.bias"].tolist() if f"{name}.bias" in weights else [0.0] * len(matrix)
    )
    return lambda vector: [dot(row, vector) + b for row, b in zip(matrix, bias, strict=True)]


def norm(weights: Weights, name: str, eps: float = 1e-5) -> Callable[[Vector], Vector]:
    """A batch norm of this name, by its running statistics."""
    mean, variance, gain, shift = (
        weights[f"{name}.{part}"].tolist()
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    return lambda vector: [
        (value - mean[c]) / math.sqrt(variance[c] + eps) * gain[c] + shift[c]
        for c, value in enumerate(vector)
    ]


def dot(one: Vector, other: Vector) -> float:
    """The scalar product of two vectors."""
    return math.fsum(a * b for a, b in zip(one, other, strict=True))


def plus(one: Vector, other: Vector) -> Vector:
    """The sum of two vectors."""
    return [a + b for a, b in zip(one, other, strict=True)]


def mixed(shares: Vector, vectors: Sequence[Vector]) -> Vector:
    """The sum of vectors, each times its share."""
    total = [0.0] * len(vectors[0])
    for share, vector in zip(shares, vectors, strict=True):
        total = [t + share * value for t, value in zip(total, vector, strict=True)]
    return total


def turned(rows: Sequence[Vector]) -> list[Vector]:
    """Columns as rows."""
    return [list(column) for column in zip(*rows, strict=True)]


def softmax(logits: Vector) -> Vector:
    """Shares that sum to 1."""
    largest = max(logits)
    raised = [math.exp(logit - largest) for logit in logits]
    return [value / sum(raised) for value in raised]


def sigmoid(value: float) -> float:
    """1 / (1 + exp(-value))."""
    return 1 / (1 + math.exp(-value))


def relu(vector: Vector) -> Vector:
    """What is above 0."""
    return [max(value, 0.0) for value in vector]


# --- the blocks ----------------------------------------------------------------------------------


def simple_non_local(image: "Tensor", weights: Weights, options: Options) -> "Tensor":
    """z_i = x_i + sum_j a_j W_v x_j, whether it is hoisted or not."""
    xs = positions(image)
    key, value = layer(weights, "key"), layer(weights, "value")
    shared = mixed(softmax([key(x)[0] for x in xs]), [value(x) for x in xs])
    return image_of([plus(x, shared) for x in xs], *image.shape[1:])


def simam(image: "Tensor", weights: Weights, options: Options) -> "Tensor":
    """Each channel by itself: mean, variance, and a gate for each of its values."""
    channels = []
    for values in turned(positions(image)):
        count = len(values)
        mean = sum(values) / count
        squares = [(value - mean) ** 2 for value in values]
        variance = sum(squares) / (count - 1 if options["unbiased"] and count > 1 else count)
        spread = 4 * (variance + options["lam"])
        channels.append(
            [v * sigmoid(s / spread + 0.5) for v, s in zip(values, squares, strict=True)]
        )
    return image_of(turned(channels), *image.shape[1:])


def triplet(image: "Tensor", weights: Weights, options: Options) -> "Tensor":
    """Gates of every plane, by pooling along the lines that stand on it."""
    import torch

    x = image.tolist()
    C, H, W = image.shape
    cw = _plane([[[x[c][i][j] for i in range(H)] for j in range(W)] for c in range(C)])
    hc = _plane([[[x[c][i][j] for j in range(W)] for c in range(C)] for i in range(H)])
    hw = _plane([[[x[c][i][j] for c in range(C)] for j in range(W)] for i in range(H)])
    of_cw, of_hc = (_gates(p, weights, n) for p, n in ((cw, "cw"), (hc, "hc")))
    of_hw = _gates(hw, weights, "hw") if options["spatial"] else None
    z = torch.empty(C, H, W, dtype=torch.float64)
    for c in range(C):
        for i in range(H):
            for j in range(W):
                gates = [of_cw[c][j], of_hc[i][c], *([of_hw[i][j]] if of_hw else [])]
                z[c, i, j] = x[c][i][j] * sum(gates) / len(gates)
    return z


def _plane(lines: Sequence[Sequence[Vector]]) -> list[list[Vector]]:
    """Maximum and mean of each line that stands on a plane."""
    maximum = [[max(line) for line in row] for row in lines]
    mean = [[sum(line) / len(line) for line in row] for row in lines]
    return [maximum, mean]


def _gates(plane: Sequence[Sequence[Vector]], weights: Weights, name: str) -> list[Vector]:
    """A k x k convolution of two planes to one, its norm, and the gates."""
    [kernel] = weights[f"{name}.conv.weight"].tolist()
    normed = norm(weights, f"{name}.bn")
    rows, columns, half = len(plane[0]), len(plane[0][0]), len(kernel[0]) // 2

    def at(i: int, j: int) -> float:
        return math.fsum(
            kernel[m][di + half][dj + half] * plane[m][i + di][j + dj]
            for m in range(len(plane))
            for di in range(-half, half + 1)
            for dj in range(-half, half + 1)
            if 0 <= i + di < rows and 0 <= j + dj < columns
        )

    return [[sigmoid(normed([at(i, j)])[0]) for j in range(columns)] for i in range(rows)]


def double_attention(image: "Tensor", weights: Weights, options: Options) -> "Tensor":
    """Each map gathers a descriptor, each position mixes the descriptors."""
    xs = positions(image)
    a, b, v, z = (layer(weights, name) for name in ("a", "b", "v", "z"))
    features = [a(x) for x in xs]
    maps = [softmax(logits) for logits in turned([b(x) for x in xs])]
    descriptors = [mixed(shares, features) for shares in maps]
    given = [z(mixed(softmax(v(x)), descriptors)) for x in xs]
    if options["residual"]:
        given = [plus(x, each) for x, each in zip(xs, given, strict=True)]
    return image_of(given, *image.shape[1:])


def double_attention_by_pairs(image: "Tensor", weights: Weights, options: Options) -> "Tensor":
    """The same function by the other association: a weight for every pair of positions."""
    xs = positions(image)
    a, b, v, z = (layer(weights, name) for name in ("a", "b", "v", "z"))
    features = [a(x) for x in xs]
    maps = turned([softmax(logits) for logits in turned([b(x) for x in xs])])
    zs = []
    for x in xs:
        mine = softmax(v(x))
        given = z(mixed([dot(mine, theirs) for theirs in maps], features))
        zs.append(plus(x, given) if options["residual"] else given)
    return image_of(zs, *image.shape[1:])


def efficient(image: "Tensor", weights: Weights, options: Options) -> "Tensor":
    """In each head, every channel of the keys is a map, and gathers a descriptor."""
    xs = positions(image)
    names = ("keys", "queries", "values")
    keys, queries, values = ([layer(weights, name)(x) for x in xs] for name in names)
    width = len(keys[0]) // options["heads"]
    heads = []
    for start in range(0, len(keys[0]), width):
        part = slice(start, start + width)
        maps = [softmax(logits) for logits in turned([key[part] for key in keys])]
        descriptors = [mixed(shares, [value[part] for value in values]) for shares in maps]
        heads.append([mixed(softmax(query[part]), descriptors) for query in queries])
    back = layer(weights, "reprojection")
    ys = [[number for head in heads for number in head[i]] for i in range(len(xs))]
    return image_of([plus(x, back(y)) for x, y in zip(xs, ys, strict=True)], *image.shape[1:])


def expectation_maximisation(image: "Tensor", weights: Weights, options: Options) -> "Tensor":
    """Shares of the bases for every position, then bases anew, T times."""
    xs = positions(image)
    ys = [layer(weights, "conv1")(x) for x in xs]
    bases: list[Vector] = weights["mu"][0].T.tolist()
    for _ in range(options["stages"]):
        shares = [softmax([dot(y, base) for base in bases]) for y in ys]
        bases = []
        for of_base in turned(shares):
            total = 1e-6 + sum(of_base)
            base = mixed([share / total for share in of_base], ys)
            length = 1e-6 + math.sqrt(dot(base, base))
            bases.append([number / length for number in base])
    last, normed = layer(weights, "conv2.0"), norm(weights, "conv2.1")
    zs = [
        relu(plus(x, normed(last(relu(mixed(mine, bases))))))
        for x, mine in zip(xs, shares, strict=True)
    ]
    return image_of(zs, *image.shape[1:])


def external(image: "Tensor", weights: Weights, options: Options) -> "Tensor":
    """A map for each memory, then each position's weights made to sum to 1."""
    xs = positions(image)
    project = options["project"]
    ys = [layer(weights, "conv1")(x) for x in xs] if project else xs
    keys = layer(weights, "linear_0")
    maps = [softmax(logits) for logits in turned([keys(y) for y in ys])]
    name = "linear_0" if options["tied"] else "linear_1"
    matrix = weights[f"{name}.weight"].flatten(1)
    memories: list[Vector] = (matrix if options["tied"] else matrix.T).tolist()
    zs = []
    for x, column in zip(xs, turned(maps), strict=True):
        total = 1e-9 + sum(column)
        given = mixed([share / total for share in column], memories)
        if project:
            given = norm(weights, "conv2.1")(layer(weights, "conv2.0")(given))
        zs.append(relu(plus(x, given)) if project else plus(x, given))
    return image_of(zs, *image.shape[1:])


def global_reasoning(image: "Tensor", weights: Weights, options: Options) -> "Tensor":
    """Nodes that gather from all positions, exchange, and give back."""
    xs = positions(image)
    states = [layer(weights, "state")(x) for x in xs]
    shares = turned([layer(weights, "projection")(x) for x in xs])
    count = len(xs) if options["normalize"] else 1
    nodes = [mixed([share / count for share in of_node], states) for of_node in shares]
    exchange, update = layer(weights, "adjacency"), layer(weights, "update")
    exchanged = turned([exchange(of_state) for of_state in turned(nodes)])
    nodes = [update(relu(plus(v, w))) for v, w in zip(nodes, exchanged, strict=True)]
    extend, normed = layer(weights, "extend"), norm(weights, "bn", 1e-4)
    zs = [
        plus(x, normed(extend(mixed(mine, nodes))))
        for x, mine in zip(xs, turned(shares), strict=True)
    ]
    return image_of(zs, *image.shape[1:])


def pyramid_non_local(image: "Tensor", weights: Weights, options: Options) -> "Tensor":
    """Every position attends to the cells of a pyramid."""
    _, H, W = image.shape
    xs = positions(image)
    first, normed = layer(weights, "query.0"), norm(weights, "query.1")
    queries = [relu(normed(first(x))) for x in xs]
    sides = [int(side) for side in options["bins"].split("-")]
    cells = [cell for side in sides for cell in _cells(side, H, W)]
    values = [layer(weights, "value")(x) for x in xs]
    keys, pooled = ([_mean([of[at] for at in cell]) for cell in cells] for of in (queries, values))
    scale = len(keys[0]) ** -0.5
    zs = []
    for x, query in zip(xs, queries, strict=True):
        shares = softmax([dot(query, key) * scale for key in keys])
        y = layer(weights, "z")(mixed(shares, pooled))
        if options["fusion"] == "concat":
            zs.append(relu(norm(weights, "fuse.1")(layer(weights, "fuse.0")([*y, *x]))))
        else:
            zs.append(plus(x, y))
    return image_of(zs, H, W)


def _cells(side: int, height: int, width: int) -> list[list[int]]:
    """The positions in each of side x side cells that cover the map, and may overlap."""

    def lines(cell: int, length: int) -> range:
        return range(cell * length // side, -(-(cell + 1) * length // side))

    return [
        [i * width + j for i in lines(a, height) for j in lines(b, width)]
        for a in range(side)
        for b in range(side)
    ]


def _mean(vectors: Sequence[Vector]) -> Vector:
    return [sum(column) / len(vectors) for column in zip(*vectors, strict=True)]


LOOPS: dict[str, Callable[["Tensor", Weights, Options], "Tensor"]] = {
    "snl": simple_non_local,
    "simam": simam,
    "triplet": triplet,
    "a2": double_attention,
    "efficient": efficient,
    "ema": expectation_maximisation,
    "external": external,
    "glore": global_reasoning,
    "apnb": pyramid_non_local,
}
