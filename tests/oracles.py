"""Slow and obvious versions of what the blocks do and cost, written from the papers.

Nothing here is vectorised and nothing is taken from the code under test but the names of its
weights: an equation is a loop over positions, in float64.
"""

import inspect
import itertools
import math
from functools import partial
from typing import Literal, get_args, get_origin

import torch

from gcbench.blocks import build_case, build_meta, factory_of, options_of, resolve
from gcbench.counting import Subject
from gcbench.errors import UsageError
from gcbench.spec import BlockSpec, axes_at, compare, parse_block

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


def options_at(spec):
    """The value of every option of a spec, given or default."""
    parsed = parse_block(spec)
    return defaults(parsed.target) | dict(parsed.options)


def _spec(name, lists, values):
    pairs = zip(lists, values, strict=True)
    default = defaults(name)
    return str(BlockSpec(name, tuple((k, v) for k, v in pairs if v != default[k])))


def _accepted(spec):
    """What the paper has no meaning for: a hidden layer's options without a hidden layer."""
    options = options_at(spec)
    return options.get("bottleneck", True) or (options["norm"] == "layer" and options["relu"])


# --- cases and subjects -------------------------------------------------------------------------


def case_at(spec, shape, **axes):
    """One case on the CPU, as the command line would make it."""
    return compare([resolve(spec)], axes_at(shape, axes), "cpu").cases[0]


def subject_at(spec, shape, counter="auto", **axes):
    """What the metrics are computed of."""
    case = case_at(spec, shape, **axes)
    return Subject(case, build_meta(case), partial(build_case, case, 0), counter)


def refusal(spec, channels=64):
    """The message with which a spec is refused, by looking at it or by building it."""
    try:
        block = resolve(spec)
        from gcbench.blocks import build

        build(spec, channels, None if not block.takes_ratio else 16)
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
    """z of a block spec in float64, image by image; fails for a block without an equation here."""
    name = parse_block(spec).target
    options = options_at(spec)
    return torch.stack([EQUATIONS[name](image.double(), weights, options) for image in x])


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


def simplified_non_local(image, weights, options):
    """z_i = x_i + sum_j a_j W_v x_j, or W_v sum_j a_j x_j."""
    xs = _positions(image)
    logits = [float(_affine(weights, "key", x)) for x in xs]
    if options["hoist"]:
        shared = _affine(weights, "value", _attended(xs, logits))
    else:
        shared = _attended([_affine(weights, "value", x) for x in xs], logits)
    return _image([x + shared for x in xs], *image.shape[1:])


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


EQUATIONS = {
    "gc": global_context,
    "snl": simplified_non_local,
    "se": squeeze_excitation,
    "nl": non_local,
}


# --- what a block costs, as PAPER.md's tables write it ------------------------------------------


def cost(spec, shape, ratio=None):
    """Parameters and MACs of a block spec at (B, C, H, W) by the paper's formulas."""
    B, C, H, W = shape
    params, macs = COSTS[parse_block(spec).target](options_at(spec), C, H, W, ratio)
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
    return (C + 1) + (C * C + C), 2 * C * N + C * C * (1 if options["hoist"] else N)


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
    return params + (2 * C if options["norm"] == "batch" else 0), macs


COSTS = {"gc": _gc_cost, "snl": _snl_cost, "se": _se_cost, "nl": _nl_cost}
