"""Slow and obvious versions of what the blocks do and cost, written from the papers.

Nothing here is vectorised and nothing is taken from the code under test but the names of its
weights: an equation is a loop over positions, in float64.
"""

import inspect
import itertools
import math
import re
from functools import lru_cache, partial
from typing import Literal, get_args, get_origin

import pytest
import torch

from gcbench.blocks import (
    build,
    build_at,
    build_case,
    build_meta,
    factory_of,
    loops,
    options_at,
    resolve,
)
from gcbench.blocks.constructors import options_of
from gcbench.errors import UsageError
from gcbench.measure.counting import Subject
from gcbench.spec.cases import BlockSpec, axes_at, comparison_of, parse_block

# --- the options of a block, read off its constructor -------------------------------------------


def choices(name):
    """Every option of a block that has a finite list of values, with that list."""
    found = {}
    for option, parameter in options_of(factory_of(parse_block(name))).items():
        if get_origin(parameter.annotation) is Literal:
            found[option] = get_args(parameter.annotation)
        elif parameter.annotation is bool:
            found[option] = (True, False)
    return found


def defaults(name):
    """The default value of every option of a block."""
    options = options_of(factory_of(parse_block(name)))
    return {option: p.default for option, p in options.items() if p.default is not inspect._empty}


def combinations(name):
    """Every spec of a block that its options span, but for its start at zero."""
    lists = {key: values for key, values in choices(name).items() if key != "zero_init"}
    specs = [_spec(name, lists, values) for values in itertools.product(*lists.values())]
    return [spec for spec in specs if _accepted(spec)]


def changed_once(name):
    """The block as it is, and with each single option changed to each of its other values."""
    default = defaults(name)
    changes = [
        (key, value)
        for key, values in choices(name).items()
        for value in values
        if value != default[key]
    ]
    return [name, *(str(BlockSpec(name, (change,))) for change in changes)]


def _spec(name, lists, values):
    pairs = zip(lists, values, strict=True)
    default = defaults(name)
    return str(BlockSpec(name, tuple((k, v) for k, v in pairs if v != default[k])))


def _accepted(spec):
    """Leave out what the paper has no meaning for: an option of a layer that is not there."""
    try:
        build_at(spec, 48, 1 if resolve(spec).takes_ratio else None, (4, 4))
    except UsageError:
        return False
    return True


def divisors(name):
    """The options that divide the channels, and the letter of what each leaves, as a block says."""
    meanings = getattr(factory_of(parse_block(name)), "LETTERS", {})
    found = {letter: re.search(r"C // (\w+)$", words) for letter, words in meanings.items()}
    return {match[1]: letter for letter, match in found.items() if match}


@lru_cache
def fitting(spec, channels):
    """The least number of channels, from so many on, that a block takes: its heads divide it."""
    for wider in range(channels, channels + 64):
        try:
            build_at(spec, wider, 1 if resolve(spec).takes_ratio else None, (4, 4))
        except UsageError:
            continue
        return wider
    raise AssertionError(f"{spec} takes no number of channels")


def fitted(spec, shape):
    """The shape with the least channels, from its own on, that a block takes."""
    B, C, H, W = shape
    return B, fitting(spec, C), H, W


def untrained(spec):
    """The weights that a block itself says no gradient reaches."""
    return getattr(factory_of(parse_block(spec)), "untrained", ())


# --- cases and subjects -------------------------------------------------------------------------


def case_at(spec, shape, **axes):
    """One case on the CPU, as the command line would make it."""
    return comparison_of([resolve(spec)], axes_at(shape, axes), "cpu").cases[0]


def subject_at(spec, shape, counter="auto", **axes):
    """What the metrics are computed of."""
    case = case_at(spec, shape, **axes)
    return Subject(case, build_meta(case), partial(build_case, case, 0), counter)


def refusal(spec, channels=64):
    """The message with which a spec is refused, by looking at it or by building it."""
    try:
        block = resolve(spec)
        build(spec, channels, None if not block.takes_ratio else 16, size=(5, 4))
    except UsageError as error:
        return str(error)
    raise AssertionError(f"{spec} was accepted")


def randomise(module, seed=0):
    """Give every weight and statistic a value of its own, so that none hides behind 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                drawn = torch.randn(tensor.shape, generator=generator) * 0.7
                tensor.copy_(drawn.abs() + 0.3 if name.endswith("running_var") else drawn)
    return module


def weights_of(module):
    """The state of a module by name, in float64."""
    return {name: tensor.detach().double() for name, tensor in module.state_dict().items()}


# --- the equations ------------------------------------------------------------------------------


def equation(spec, weights, x):
    """z of a block spec in float64, image by image; fails for a block without an equation."""
    computed, options = _written(EQUATIONS, spec, "equation"), options_at(spec)
    return torch.stack([computed(image.double(), weights, options) for image in x])


def _written(table, spec, what):
    """What is written here of a block; a test asks for that of every block of the table."""
    name = parse_block(spec).target
    if name not in table:
        pytest.skip(f"the {what} of {name} must be written here")
    return table[name]


def _positions(image):
    """The vectors x_j of one image (C, H, W), row by row."""
    _, height, width = image.shape
    return [image[:, i, j] for i in range(height) for j in range(width)]


def _image(vectors, height, width):
    return torch.stack(vectors, dim=1).reshape(-1, height, width)


def _affine(weights, name, vector):
    matrix = weights[f"{name}.weight"].flatten(1)
    result = torch.stack([sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix])
    return result + weights[f"{name}.bias"] if f"{name}.bias" in weights else result


def _softmax(logits):
    largest = max(logits)
    raised = [math.exp(logit - largest) for logit in logits]
    return [value / sum(raised) for value in raised]


def _sigmoid(vector):
    return torch.stack([1 / (1 + torch.exp(-value)) for value in vector])


def _relu(vector):
    return torch.stack([value if value > 0 else value * 0 for value in vector])


def _attended(vectors, logits):
    return sum(a * v for a, v in zip(_softmax(logits), vectors, strict=True))


def _mean(vectors):
    return sum(vectors) / len(vectors)


def global_context(image, weights, options):
    """z = fusion of x and the transform of one context."""
    xs = _positions(image)
    if options["pooling"] == "att":
        context = _attended(xs, [float(_affine(weights, "conv_mask", x)) for x in xs])
    else:
        context = _mean(xs)

    def transform(name):
        if not options["bottleneck"]:
            return _affine(weights, f"{name}.0", context)
        hidden = _affine(weights, f"{name}.0", context)
        if options["norm"] == "layer":
            mean = sum(hidden) / len(hidden)
            variance = sum((value - mean) ** 2 for value in hidden) / len(hidden)
            gain, shift = weights[f"{name}.1.weight"].flatten(), weights[f"{name}.1.bias"].flatten()
            hidden = (hidden - mean) / math.sqrt(variance + 1e-5) * gain + shift
        if options["relu"]:
            hidden = _relu(hidden)
        return _affine(weights, f"{name}.3", hidden)

    zs = xs
    if options["fusion"] in ("scale", "both"):
        gate = _sigmoid(transform("channel_mul_conv"))
        zs = [z * gate for z in zs]
    if options["fusion"] in ("add", "both"):
        addend = transform("channel_add_conv")
        zs = [z + addend for z in zs]
    return _image(zs, *image.shape[1:])


def squeeze_excitation(image, weights, options):
    """z = x sigmoid(W_2 relu(W_1 mean x))."""
    xs = _positions(image)
    hidden = _relu(_affine(weights, "fc1", _mean(xs)))
    gate = _sigmoid(_affine(weights, "fc2", hidden))
    return _image([x * gate for x in xs], *image.shape[1:])


def non_local(image, weights, options):
    """z_i = x_i + W_z sum_j f(x_i, x_j) g(x_j), every pair of positions on its own."""
    similarity, subsample = options["similarity"], options["subsample"]
    _, height, width = image.shape
    source = _pooled(image) if subsample == "before" else image

    def embed(name, of):
        if similarity == "gaussian" and name != "g":
            return of
        vectors = [_affine(weights, name, x) for x in _positions(of)]
        return _image(vectors, *of.shape[1:])

    thetas = _positions(embed("theta", image))
    phi, g = embed("phi", source), embed("g", source)
    if subsample == "after":
        phi, g = _pooled(phi), _pooled(g)
    phis, gs = _positions(phi), _positions(g)
    width_inner = len(gs[0])

    zs = []
    for x, theta in zip(_positions(image), thetas, strict=True):
        if similarity == "concatenation":
            w = torch.cat([weights["w_theta.weight"].flatten(), weights["w_phi.weight"].flatten()])
            scores = [float(w @ torch.cat([theta, key])) for key in phis]
            f = [max(score, 0.0) / len(phis) for score in scores]
        else:
            scores = [float(sum(a * b for a, b in zip(theta, key, strict=True))) for key in phis]
            if similarity == "embedded_gaussian" and options["scale"]:
                scores = [score / math.sqrt(width_inner) for score in scores]
            if similarity == "dot_product":
                f = [score / len(phis) for score in scores]
            else:
                f = _softmax(scores)
        y = sum(share * value for share, value in zip(f, gs, strict=True))
        z = _affine(weights, "z", y)
        if options["norm"] == "batch":
            deviation = torch.sqrt(weights["bn.running_var"] + 1e-5)
            z = (z - weights["bn.running_mean"]) / deviation
            z = z * weights["bn.weight"] + weights["bn.bias"]
        zs.append(x + z)
    return _image(zs, height, width)


def _pooled(image):
    """The largest of each 2 x 2 window; an odd row or column is left out."""
    channels, height, width = image.shape
    out = image.new_empty(channels, height // 2, width // 2)
    for c, i, j in itertools.product(range(channels), range(height // 2), range(width // 2)):
        out[c, i, j] = max(image[c, 2 * i + di, 2 * j + dj] for di in (0, 1) for dj in (0, 1))
    return out


def efficient_channels(image, weights, options):
    """Every channel's mean and those of its neighbours, where there are any."""
    means = [sum(values) / len(values) for values in loops.turned(loops.positions(image))]
    taps = weights["conv.weight"].flatten().tolist()
    half = len(taps) // 2
    gates = []
    for c in range(len(means)):
        near = [(t, c + t - half) for t in range(len(taps)) if 0 <= c + t - half < len(means)]
        gates.append(loops.sigmoid(sum(taps[t] * means[at] for t, at in near)))
    return image * torch.tensor(gates, dtype=torch.float64)[:, None, None]


def convolutional_attention(image, weights, options):
    """Gates of the channels, then of the positions."""
    _, H, W = image.shape
    narrow, widen = loops.layer(weights, "fc1"), loops.layer(weights, "fc2")

    def bottleneck(context):
        return widen(loops.relu(narrow(context)))

    columns = loops.turned(loops.positions(image))
    mean = bottleneck([sum(values) / len(values) for values in columns])
    most = bottleneck([max(values) for values in columns])
    gates = [loops.sigmoid(value) for value in loops.plus(mean, most)]
    ys = [[g * v for g, v in zip(gates, x, strict=True)] for x in loops.positions(image)]
    planes = [[sum(y) / len(y) for y in ys], [max(y) for y in ys]]
    [kernel] = weights["conv.weight"].tolist()
    normed = loops.norm(weights, "bn") if options["norm"] == "batch" else lambda vector: vector
    half = len(kernel[0]) // 2
    zs = []
    for i, j in itertools.product(range(H), range(W)):
        total = 0.0
        for m, di, dj in itertools.product(
            range(2), range(-half, half + 1), range(-half, half + 1)
        ):
            if 0 <= i + di < H and 0 <= j + dj < W:
                tap = kernel[m][di + half][dj + half]
                total += tap * planes[m][(i + di) * W + j + dj]
        gate = loops.sigmoid(normed([total])[0])
        zs.append([gate * value for value in ys[i * W + j]])
    return loops.image_of(zs, H, W)


def gather_excite(image, weights, options):
    """Contexts by windows, a bottleneck for each, and the gate of the window that is nearest."""
    _, H, W = image.shape
    e, conv = options["extent"], options["gather"] == "conv"
    if not e and conv:
        kernel = weights["gathering.0.weight"][:, 0]
        vector = [float(v) for v in (kernel * image).sum((1, 2))]
        contexts = [[loops.norm(weights, "gathering.1")(vector)]]
    elif not e:
        contexts = [[[float(v) for v in image.mean((1, 2))]]]
    elif conv:
        contexts = _halved(image, weights, int(math.log2(e)))
    else:
        contexts = [[_window(image, i, j, e - 1) for j in range(0, W, e)] for i in range(0, H, e)]
    if options["excite"] == "mlp":
        narrow, widen = loops.layer(weights, "fc1"), loops.layer(weights, "fc2")
        contexts = [[widen(loops.relu(narrow(c))) for c in row] for row in contexts]
    h, w = len(contexts), len(contexts[0])
    z = torch.empty_like(image)
    for i, j in itertools.product(range(H), range(W)):
        gate = [loops.sigmoid(value) for value in contexts[i * h // H][j * w // W]]
        z[:, i, j] = image[:, i, j] * torch.tensor(gate, dtype=torch.float64)
    return z


def _window(image, i, j, reach):
    """The mean of what lies so far from a position, within the image."""
    window = image[:, max(0, i - reach) : i + reach + 1, max(0, j - reach) : j + reach + 1]
    return [float(value) for value in window.mean((1, 2))]


def _halved(image, weights, steps):
    """Depthwise 3 x 3 convolutions at every other row and column, so many times."""
    for step in range(steps):
        kernel = weights[f"gathering.{3 * step}.weight"][:, 0]
        normed = loops.norm(weights, f"gathering.{3 * step + 1}")
        _, H, W = image.shape
        rows = []
        for i, j in itertools.product(range(0, H, 2), range(0, W, 2)):
            total = image.new_zeros(len(image))
            for di, dj in itertools.product((-1, 0, 1), (-1, 0, 1)):
                if 0 <= i + di < H and 0 <= j + dj < W:
                    total = total + kernel[:, di + 1, dj + 1] * image[:, i + di, j + dj]
            vector = normed(total.tolist())
            rows.append(vector if step == steps - 1 else loops.relu(vector))
        image = loops.image_of(rows, -(-H // 2), -(-W // 2))
    _, H, W = image.shape
    return [[image[:, i, j].tolist() for j in range(W)] for i in range(H)]


def coordinates(image, weights, options):
    """Means of rows and of columns through one bottleneck, and a gate for each."""
    _, H, W = image.shape
    normed, first = loops.norm(weights, "bn1"), loops.layer(weights, "conv1")

    def gates(strip, name):
        hidden = [v * min(max(v + 3, 0.0), 6.0) / 6 for v in normed(first(strip.tolist()))]
        return [loops.sigmoid(value) for value in loops.layer(weights, name)(hidden)]

    rows = [gates(image[:, i].mean(1), "conv_h") for i in range(H)]
    columns = [gates(image[:, :, j].mean(1), "conv_w") for j in range(W)]
    z = torch.empty_like(image)
    for i, j in itertools.product(range(H), range(W)):
        both = [a * b for a, b in zip(rows[i], columns[j], strict=True)]
        z[:, i, j] = image[:, i, j] * torch.tensor(both, dtype=torch.float64)
    return z


def criss_cross(image, weights, options):
    """Every position's row and column, itself once, as often as it is applied."""
    _, H, W = image.shape
    for _ in range(options["recurrence"]):
        xs = loops.positions(image)
        query, key, value = (loops.layer(weights, n) for n in ("query", "key", "value"))
        keys, values = [key(x) for x in xs], [value(x) for x in xs]
        gamma, zs = float(weights["gamma"]), []
        for i, j in itertools.product(range(H), range(W)):
            x = xs[i * W + j]
            seen = [i * W + b for b in range(W)] + [a * W + j for a in range(H) if a != i]
            assert len(seen) == H + W - 1
            mine = query(x)
            shares = loops.softmax([loops.dot(mine, keys[at]) for at in seen])
            given = loops.mixed(shares, [values[at] for at in seen])
            zs.append([a + gamma * b for a, b in zip(x, given, strict=True)])
        image = loops.image_of(zs, H, W)
    return image


def disentangled(image, weights, options):
    """Queries and keys less their means, and beside that one map for all."""
    xs = loops.positions(image)
    names = ("theta", "phi", "g", "mask")
    queries, keys, values, logits = ([loops.layer(weights, n)(x) for x in xs] for n in names)
    scale = (len(keys[0]) ** -0.5 if options["scale"] else 1.0) / options["temperature"]
    centred = []
    for vectors in (queries, keys):
        mean = [sum(column) / len(column) for column in loops.turned(vectors)]
        centred.append([[a - b for a, b in zip(v, mean, strict=True)] for v in vectors])
    shared = loops.softmax([logit[0] for logit in logits])
    normed = loops.norm(weights, "bn") if options["norm"] == "batch" else lambda vector: vector
    zs = []
    for x, query in zip(xs, centred[0], strict=True):
        pairwise = loops.softmax([loops.dot(query, k) * scale for k in centred[1]])
        y = loops.mixed(loops.plus(pairwise, shared), values)
        zs.append(loops.plus(x, normed(loops.layer(weights, "z")(y))))
    return loops.image_of(zs, *image.shape[1:])


def self_attention(image, weights, options):
    """Every head by itself, every pair of positions on its own."""
    xs = loops.positions(image)
    ys = _heads(xs, weights, options, lambda query, scale, i, j: 0.0)
    out = loops.layer(weights, "proj")
    zs = [out(y) for y in ys]
    if options["residual"]:
        zs = [loops.plus(x, z) for x, z in zip(xs, zs, strict=True)]
    return loops.image_of(zs, *image.shape[1:])


def bottleneck_attention(image, weights, options):
    """Heads whose logits have a term for the distance between two positions."""
    _, H, W = image.shape
    down, across = weights["height_rel"].tolist(), weights["width_rel"].tolist()

    def by_distance(query, scale, i, j):
        learnt = loops.plus(down[j // W - i // W + H - 1], across[j % W - i % W + W - 1])
        return loops.dot(query, learnt) * (scale if options["scale_position"] else 1.0)

    return loops.image_of(_heads(loops.positions(image), weights, options, by_distance), H, W)


def _heads(xs, weights, options, by_distance):
    qkv = [loops.layer(weights, "qkv")(x) for x in xs]
    C = len(xs[0])
    d = C // options["heads"]
    ys = [[] for _ in xs]
    for start in range(0, C, d):
        queries, keys, values = (
            [each[offset + start : offset + start + d] for each in qkv] for offset in (0, C, 2 * C)
        )
        for i, query in enumerate(queries):
            logits = [
                loops.dot(query, key) * d**-0.5 + by_distance(query, d**-0.5, i, j)
                for j, key in enumerate(keys)
            ]
            ys[i] += loops.mixed(loops.softmax(logits), values)
    return ys


EQUATIONS = {
    "gc": global_context,
    "se": squeeze_excitation,
    "nl": non_local,
    "eca": efficient_channels,
    "cbam": convolutional_attention,
    "ge": gather_excite,
    "coord": coordinates,
    "cc": criss_cross,
    "dnl": disentangled,
    "mhsa": self_attention,
    "bot": bottleneck_attention,
    **loops.LOOPS,
}


# --- what a block costs, as PAPER.md's tables write it ------------------------------------------


def cost(spec, shape, ratio=None):
    """Parameters and MACs of a block spec at (B, C, H, W) by the paper's formulas."""
    B, C, H, W = shape
    params, macs = _written(COSTS, spec, "costs")(options_at(spec), C, H, W, ratio)
    return params, B * macs


def _gc_cost(options, C, H, W, ratio):
    N = H * W
    mask_params, mask_macs = (C + 1, 2 * C * N) if options["pooling"] == "att" else (0, 0)
    if options["bottleneck"]:
        p = C // ratio
        params = 2 * C * p + p + C + (2 * p if options["norm"] == "layer" else 0)
        macs = 2 * C * p
    else:
        params, macs = C * C + C, C * C
    transforms = 2 if options["fusion"] == "both" else 1
    return mask_params + transforms * params, mask_macs + transforms * macs


def _snl_cost(options, C, H, W, ratio):
    N = H * W
    return (C + 1) + (C * C + C), 2 * C * N + C * C * (
        1 if options["hoist"] or options["impl"] == "fast" else N
    )


def _se_cost(options, C, H, W, ratio):
    p = C // ratio
    return 2 * C * p + p + C, 2 * C * p


def _nl_cost(options, C, H, W, ratio):
    d, N = C // options["reduction"], H * W
    K = (H // 2) * (W // 2) if options["subsample"] else N
    M = K if options["subsample"] == "before" else N
    params, macs = {
        "embedded_gaussian": (
            4 * C * d + 3 * d + C,
            2 * C * d * N + 2 * C * d * M + 2 * N * K * d,
        ),
        "dot_product": (4 * C * d + 3 * d + C, 2 * C * d * N + 2 * C * d * M + 2 * N * K * d),
        "gaussian": (2 * C * d + d + C, C * d * N + C * d * M + N * K * (C + d)),
        "concatenation": (
            4 * C * d + 5 * d + C,
            2 * C * d * N + 2 * C * d * M + d * (N + K) + N * K * d,
        ),
    }[options["similarity"]]
    if options["impl"] == "fast" and options["similarity"] == "dot_product":
        macs = 2 * C * d * M + min(
            2 * C * d * N + 2 * N * K * d,  # theta, z and the map
            2 * C * d * N + (N + K) * d * d,  # theta, z and a matrix d x d
            C * C * N + K * d * d + C * d * d + C * C * d + C * d,  # one matrix C x C
        )
    return params + (2 * C if options["norm"] == "batch" else 0), macs


def _eca_cost(options, C, H, W, ratio):
    t = (math.log2(C) + 1) / 2
    nearest = min(range(1, 99, 2), key=lambda odd: (abs(odd - t), -odd))
    k = options["kernel"] or max(3, nearest)
    return k, k * C


def _cbam_cost(options, C, H, W, ratio):
    p, k = C // ratio, options["kernel"]
    biases = p + C if options["bias"] else 0
    norm = 2 if options["norm"] == "batch" else 0
    return 2 * C * p + biases + 2 * k**2 + norm, 4 * C * p + 2 * k**2 * H * W


def _ge_cost(options, C, H, W, ratio):
    e, params, macs, windows = options["extent"], 0, 0, 1
    if e:
        windows = -(-H // e) * -(-W // e)
    if options["gather"] == "conv" and not e:
        params, macs = C * H * W + 2 * C, C * H * W
    elif options["gather"] == "conv":
        L = int(math.log2(e))
        steps = (-(-H // 2**i) * -(-W // 2**i) for i in range(1, L + 1))
        params, macs = 11 * C * L, 9 * C * sum(steps)
    if options["excite"] == "mlp":
        p = C // ratio
        params, macs = params + 2 * C * p + p + C, macs + 2 * C * p * windows
    return params, macs


def _coord_cost(options, C, H, W, ratio):
    m = max(options["least"], C // options["reduction"])
    biases = m + 2 * C if options["bias"] else 0
    return 3 * C * m + 2 * m + biases, 2 * C * m * (H + W)


def _triplet_cost(options, C, H, W, ratio):
    k, gates = options["kernel"], 3 if options["spatial"] else 2
    return gates * (2 * k**2 + 2), 2 * k**2 * (C * W + C * H + (H * W if gates == 3 else 0))


def _a2_cost(options, C, H, W, ratio):
    m = n = C // options["reduction"]
    return 2 * C * m + 2 * C * n + m + 2 * n + C, H * W * (2 * C * m + 2 * C * n + 2 * m * n)


def _efficient_cost(options, C, H, W, ratio):
    d, h = C // options["reduction"], options["heads"]
    return 4 * C * d + 3 * d + C, H * W * (4 * C * d + 2 * d**2 // h)


def _ema_cost(options, C, H, W, ratio):
    K, T = options["bases"], options["stages"]
    return 2 * C**2 + 3 * C, H * W * (2 * C**2 + (2 * T + 1) * C * K)


def _external_cost(options, C, H, W, ratio):
    S = options["memory"]
    params, macs = (1 if options["tied"] else 2) * C * S, H * W * 2 * C * S
    if options["project"]:
        params, macs = params + 2 * C**2 + 3 * C, macs + H * W * 2 * C**2
    return params, macs


def _glore_cost(options, C, H, W, ratio):
    n = C // options["reduction"]
    s = 2 * n
    params = 2 * C * s + C * n + s + n + n**2 + n + s**2 + 2 * C
    return params, H * W * (2 * C * s + C * n + 2 * s * n) + n**2 * s + s**2 * n


def _apnb_cost(options, C, H, W, ratio):
    d, S = C // options["reduction"], sum(int(side) ** 2 for side in options["bins"].split("-"))
    params, macs = 3 * C * d + 2 * d + C + 2 * d, 3 * C * d + 2 * S * d
    if options["fusion"] == "concat":
        params, macs = params + 2 * C**2 + 3 * C, macs + 2 * C**2
    return params, H * W * macs


def _cc_cost(options, C, H, W, ratio):
    d, R = C // options["reduction"], options["recurrence"]
    macs = R * H * W * (C**2 + 2 * C * d + (H + W) * (C + d))
    return C**2 + 2 * C * d + 2 * d + C + 1, macs


def _dnl_cost(options, C, H, W, ratio):
    d, N = C // options["reduction"], H * W
    norm = 2 * C if options["norm"] == "batch" else 0
    return 4 * C * d + 3 * d + C + C + 1 + norm, 4 * C * d * N + 2 * N**2 * d + C * N + d * N


def _mhsa_cost(options, C, H, W, ratio):
    N = H * W
    return 4 * C**2 + (4 * C if options["bias"] else 0), 4 * C**2 * N + 2 * C * N**2


def _bot_cost(options, C, H, W, ratio):
    N, distances = H * W, 2 * H + 2 * W - 2
    params = 3 * C**2 + distances * (C // options["heads"])
    return params, 3 * C**2 * N + 2 * C * N**2 + C * N * distances


COSTS = {
    "gc": _gc_cost,
    "snl": _snl_cost,
    "se": _se_cost,
    "nl": _nl_cost,
    "eca": _eca_cost,
    "cbam": _cbam_cost,
    "ge": _ge_cost,
    "coord": _coord_cost,
    "simam": lambda options, C, H, W, ratio: (0, 0),
    "triplet": _triplet_cost,
    "a2": _a2_cost,
    "efficient": _efficient_cost,
    "ema": _ema_cost,
    "external": _external_cost,
    "glore": _glore_cost,
    "apnb": _apnb_cost,
    "cc": _cc_cost,
    "dnl": _dnl_cost,
    "mhsa": _mhsa_cost,
    "bot": _bot_cost,
}


def least_elements(spec, shape, ratio=None):
    """Elements that must move: x twice and z, or once where windows suffice, and the weights."""
    B, C, H, W = shape
    options = options_at(spec)
    passes = 2 if options.get("extent") else 3
    buffers = C * options["bases"] if "bases" in options else 0
    return passes * B * C * H * W + cost(spec, shape, ratio)[0] + buffers


def by_double_loop(rows):
    """The definitions, pair by pair: mean cosine distance and mean Jensen-Shannon divergence."""
    vectors = rows.tolist()
    lengths = [math.hypot(*v) for v in vectors]
    cosines, divergences = [], []
    for p, p_length in zip(vectors, lengths, strict=True):
        for q, q_length in zip(vectors, lengths, strict=True):
            cosine = sum(a * b for a, b in zip(p, q, strict=True)) / (p_length * q_length)
            cosines.append((1 - cosine) / 2)
            divergences.append(
                sum(
                    (a * math.log(2 * a / (a + b)) if a else 0)
                    + (b * math.log(2 * b / (a + b)) if b else 0)
                    for a, b in zip(p, q, strict=True)
                )
                / 2
            )
    count = len(vectors) ** 2
    return math.fsum(cosines) / count, math.fsum(divergences) / count


# parameters and MACs at three shapes, of the blocks whose papers print none
SHAPES = [(1, 256, 56, 56), (1, 512, 28, 28), (2, 64, 7, 9)]


EXACT = {
    "eca": [(5, 1280), (5, 2560), (3, 384)],
    "cbam": [(8564, 323712), (33412, 142368), (680, 14396)],
    "cbam:bias=false": [(8292, 323712), (32868, 142368), (612, 14396)],
    "ge": [(0, 0), (0, 0), (0, 0)],
    "ge:extent=4": [(0, 0), (0, 0), (0, 0)],
    "ge:extent=4:gather=conv": [(5632, 2257920), (11264, 1128960), (1408, 29952)],
    "ge:extent=8:gather=conv": [(8448, 2370816), (16896, 1202688), (2112, 32256)],
    "ge:gather=conv": [(803328, 802816), (402432, 401408), (4160, 8064)],
    "ge:excite=mlp:gather=conv": [(811792, 811008), (435744, 434176), (4740, 9088)],
    "ge:excite=mlp:extent=4:gather=conv": [(14096, 3863552), (44576, 2734592), (1988, 36096)],
    "coord": [(6680, 458752), (25648, 917504), (1688, 32768)],
    "simam": [(0, 0), (0, 0), (0, 0)],
    "triplet": [(300, 3117184), (300, 2886688), (300, 213052)],
    "a2": [(65984, 231211008), (263040, 231211008), (4208, 580608)],
    "efficient": [(131712, 513802240), (525568, 513802240), (8352, 1290240)],
    "efficient:heads=8": [(131712, 423886848), (525568, 423886848), (8352, 1064448)],
    "ema": [(131840, 770703360), (525824, 590872576), (8384, 4644864)],
    "external": [(164608, 513802240), (591360, 462422016), (16576, 2064384)],
    "external:tied=true": [(148224, 513802240), (558592, 462422016), (12480, 2064384)],
    "external:project=false": [(32768, 102760448), (65536, 51380224), (8192, 1032192)],
    "glore": [(103168, 309854208), (411136, 320864256), (6592, 823296)],
    "cc": [(82241, 716111872), (328321, 564379648), (5201, 1580544)],
    "dnl": [(131969, 2929876992), (526081, 726347776), (8417, 1552320)],
    "mhsa": [(263168, 5857345536), (1050624, 1451491328), (16640, 3080448)],
    "bot": [(210816, 5830049792), (800512, 1290125312), (12768, 2806272)],
    "apnb": [(230912, 807632896), (920576, 763478016), (14720, 2693376)],
    "apnb:fusion=add": [(99072, 396591104), (394752, 352436224), (6336, 1661184)],
}
