"""Rows computed again, a few at a time, are those that the block's own forward made."""

import math

import pytest
import torch
from commands import ran, rows_of
from oracles import by_double_loop
from PIL import Image
from torch import nn

from gcbench.attention import readings, running
from gcbench.attention.images import Photo
from gcbench.attention.kinds import KINDS, kind_of
from gcbench.attention.readings import read
from gcbench.blocks.apnb import AsymmetricPyramidNonLocal
from gcbench.blocks.bot import BottleneckAttention
from gcbench.blocks.cc import CrissCrossAttention
from gcbench.blocks.dnl import DisentangledNonLocal
from gcbench.blocks.mhsa import MultiHeadSelfAttention
from gcbench.blocks.nl import NonLocal

SHAPE = (2, 8, 4, 6)


def ours(**options):
    return NonLocal(8, **options), "attention"


def mmcv(**options):
    NonLocal2d = pytest.importorskip("mmcv.cnn.bricks").NonLocal2d
    module = NonLocal2d(8, zeros_init=False, **options)
    return module, module.mode


def timm():
    module = pytest.importorskip("timm.layers").create_attn("nl", 8)
    nn.init.ones_(module.norm.weight)
    return module, None


def disentangled(**options):
    return DisentangledNonLocal(8, **options), "attention"


def pyramid(**options):
    return AsymmetricPyramidNonLocal(8, **options), "attention"


CASES = [
    *((ours, {"similarity": s}) for s in ("gaussian", "dot_product", "concatenation")),
    *((ours, {"subsample": s}) for s in (None, "before", "after")),
    (ours, {"similarity": "gaussian", "subsample": "after", "norm": "batch"}),
    (ours, {"similarity": "concatenation", "subsample": "before", "reduction": 1}),
    (ours, {"scale": False, "norm": "batch"}),
    *((mmcv, {"mode": m}) for m in ("gaussian", "embedded_gaussian", "dot_product")),
    (mmcv, {"mode": "concatenation"}),
    (mmcv, {"mode": "concatenation", "sub_sample": True}),
    (mmcv, {"mode": "gaussian", "sub_sample": True, "norm_cfg": {"type": "BN"}}),
    (timm, {}),
    *((disentangled, options) for options in ({}, {"norm": "batch", "scale": False})),
    *((pyramid, options) for options in ({}, {"fusion": "add"}, {"bins": "2-3"})),
]


def made(make, options, seed=0):
    torch.manual_seed(seed)
    module, method = make(**options)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.4)
    return module.eval(), method


def seen_by_the_block(module, method, x, monkeypatch):
    """What forward returns, and the map (B, N, K) that it made on the way."""
    maps = []

    def keep(function):
        def kept(*args, **kwargs):
            maps.append(function(*args, **kwargs))
            return maps[-1]

        return kept

    with monkeypatch.context() as patch:
        if method:
            patch.setattr(module, method, keep(getattr(module, method)))
        else:
            patch.setattr("torch.nn.functional.softmax", keep(torch.nn.functional.softmax))
        output = module(x)
    return output, maps[0]


@pytest.mark.parametrize(("make", "options"), CASES)
@torch.no_grad()
def test_rows_and_what_they_add_are_those_of_the_block(make, options, monkeypatch):
    module, method = made(make, options)
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    output, full = seen_by_the_block(module, method, x, monkeypatch)
    adapter = kind_of(module).load()
    calls = list(adapter.calls(module, {"x": x}, output))
    assert len(calls) == SHAPE[0]
    for image, call in enumerate(calls):
        assert (call.queries, call.keys) == tuple(full[image].shape)
        assert call.query_grid == SHAPE[2:]
        assert math.prod(call.key_grid) == call.keys
        at = torch.tensor([0, 5, 23, 5])
        rows = call.rows(at)
        torch.testing.assert_close(rows[0], full[image][at], rtol=1e-5, atol=1e-6)
        added = (output - x)[image].flatten(1).T
        torch.testing.assert_close(call.added, added)
        torch.testing.assert_close(call.replay(rows, at), added[at], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("make", "options"), CASES)
@torch.no_grad()
def test_a_reading_is_what_the_double_loop_makes_of_the_blocks_own_map(make, options, monkeypatch):
    monkeypatch.setattr(readings, "ROW_BYTES", 8 * 7 * 24)
    module, method = made(make, options)
    x = torch.randn(1, *SHAPE[1:], generator=torch.Generator().manual_seed(1))
    output, full = seen_by_the_block(module, method, x, monkeypatch)
    adapter = kind_of(module).load()
    [call] = adapter.calls(module, {"x": x}, output)
    reading = read(call, adapter.no_distribution(module))
    rows = full[0].double()
    is_distribution = bool(torch.allclose(rows.sum(1), torch.ones(24).double(), atol=1e-5))
    assert (reading.values["attention_js"] is not None) == is_distribution
    if not (rows == 0).all(1).any():
        cosine, divergence = (
            by_double_loop(rows) if is_distribution else (by_double_loop_of_cosines(rows), None)
        )
        assert reading.values["attention_cosine"] == pytest.approx(cosine, abs=1e-7)
        assert reading.values["attention_js"] == pytest.approx(divergence, abs=1e-7)
    for name, vectors in (("input_cosine", x), ("output_cosine", output - x)):
        expected = by_double_loop_of_cosines(vectors[0].flatten(1).T.double())
        assert reading.values[name] == pytest.approx(expected, abs=1e-6)
    share = 1 - rows.mean(0).square().sum() / rows.square().sum(1).mean()
    assert reading.values["query_share"] == pytest.approx(float(share), abs=1e-6)


@pytest.mark.parametrize("recurrence", [1, 2, 3])
@torch.no_grad()
def test_rows_of_criss_cross_are_those_of_its_last_application_and_weigh_a_cross(recurrence):
    module, _ = made(lambda: (CrissCrossAttention(8, recurrence=recurrence), None), {})
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1)).double()
    module = module.double()
    before = x
    for _ in range(recurrence - 1):
        before = before + module.gamma * module.gathered(before)
    weights = module.attention(module.query(before), module.key(before))
    adapter = kind_of(module).load()
    calls = list(adapter.calls(module, {"x": x}, module(x)))
    assert adapter.detail(module) == f"application {recurrence} of {recurrence}"
    H, W = SHAPE[2:]
    for image, call in enumerate(calls):
        assert (call.queries, call.keys, call.query_grid) == (H * W, H * W, (H, W))
        at = torch.tensor([0, 5, 23, 5])
        rows = call.rows(at)
        for row, position in zip(rows[0], at.tolist(), strict=True):
            i, j = divmod(position, W)
            full = torch.zeros(H, W).double()
            full[:, j] += weights[image, i, j, :H]
            full[i] += weights[image, i, j, H:]
            torch.testing.assert_close(row, full.flatten())
            assert int((row > 0).sum()) == H + W - 1
            assert float(row.sum()) == pytest.approx(1)
        torch.testing.assert_close(call.replay(rows, at), call.added[at])
        torch.testing.assert_close(call.inputs, before[image].flatten(1).T)


HEADS = [
    (MultiHeadSelfAttention, {"heads": 4}),
    (MultiHeadSelfAttention, {"heads": 2, "bias": False, "sdpa": False}),
    (MultiHeadSelfAttention, {"heads": 1, "residual": False}),
    (BottleneckAttention, {"heads": 2, "height": 4, "width": 6}),
    (BottleneckAttention, {"heads": 4, "height": 4, "width": 6, "scale_position": True}),
]


@pytest.mark.parametrize(("kind", "options"), HEADS)
@torch.no_grad()
def test_rows_of_every_head_are_those_of_the_whole_map(kind, options):
    module, _ = made(lambda: (kind(8, **options), None), {})
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    output = module(x)
    queries, keys, _ = module.by_head(x)
    full = module.attention(queries, keys)
    adapter = kind_of(module).load()
    calls = list(adapter.calls(module, {"x": x}, output))
    assert len(calls) == SHAPE[0]
    for image, call in enumerate(calls):
        assert (call.queries, call.keys, call.heads) == (24, 24, options["heads"])
        at = torch.tensor([0, 5, 23, 5])
        rows = call.rows(at)
        torch.testing.assert_close(rows, full[image][:, at])
        added = output if not getattr(module, "residual", False) else output - x
        torch.testing.assert_close(call.added, added[image].flatten(1).T)
        torch.testing.assert_close(call.replay(rows, at), call.added[at], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["a2", "efficient", "ema"])
def test_blocks_whose_maps_are_shared_say_what_their_maps_are(name, capsys):
    network = ("attention", "resnet18", "--size", "64", "--no-latency")
    insert = ("--insert", f"{name}@c4.last")
    code, out, err = ran(*network, *insert, capsys=capsys)
    assert (code, out) == (2, "")
    assert f"{name} has " in err
    assert "maps that all queries share" in err
    code, _, err = ran(*network, *insert, "--insert", "nl@c5.last", capsys=capsys)
    assert code == 0
    assert f"{name} has " in err


def by_double_loop_of_cosines(vectors):
    lengths = vectors.norm(dim=1)
    apart = [
        (1 - float(p @ q) / (a * b)) / 2
        for p, a in zip(vectors, lengths.tolist(), strict=True)
        for q, b in zip(vectors, lengths.tolist(), strict=True)
    ]
    return math.fsum(apart) / len(apart)


MULTIHEAD = [
    {"batch_first": True},
    {"batch_first": False},
    {"batch_first": True, "bias": False, "add_zero_attn": True},
    {"batch_first": True, "add_bias_kv": True},
    {"batch_first": True, "kdim": 6, "vdim": 5},
]


@pytest.mark.parametrize("options", MULTIHEAD)
@pytest.mark.parametrize("masked", [False, True])
@torch.no_grad()
def test_rows_of_multihead_attention_are_those_that_it_returns(options, masked):
    torch.manual_seed(0)
    module = nn.MultiheadAttention(12, 3, **options).eval()
    lengths = {"query": (9, 12), "key": (7, options.get("kdim", 12))}
    lengths["value"] = (7, options.get("vdim", 12))
    given = {name: torch.randn(2, *size) for name, size in lengths.items()}
    if not module.batch_first:
        given = {name: tensor.transpose(0, 1) for name, tensor in given.items()}
    mask = torch.zeros(9, 7).masked_fill(torch.rand(9, 7) < 0.3, -1e9) if masked else None
    padding = torch.tensor([[False] * 6 + [True], [False] * 7]) if masked else None
    named = {"attn_mask": mask, "key_padding_mask": None}
    if masked:
        named["key_padding_mask"] = torch.zeros(2, 7).masked_fill(padding, float("-inf"))
    output, rows = module(**given, **named, average_attn_weights=False)
    arguments = {**given, **named, "need_weights": True}
    adapter = KINDS["torch/MultiheadAttention"].load()
    calls = list(adapter.calls(module, arguments, (output, rows)))
    assert len(calls) == 2
    for sequence, call in enumerate(calls):
        assert (call.queries, call.keys, call.heads) == (9, rows.shape[-1], 3)
        at = torch.tensor([8, 0, 3])
        torch.testing.assert_close(call.rows(at), rows[sequence][:, at])
        torch.testing.assert_close(call.replay(call.rows(at), at), call.added[at])


@torch.no_grad()
def test_multihead_statistics_are_means_over_heads():
    torch.manual_seed(0)
    module = nn.MultiheadAttention(12, 3, batch_first=True).eval()
    nn.init.normal_(module.in_proj_weight)
    x = torch.randn(1, 10, 12)
    output, rows = module(x, x, x, average_attn_weights=False)
    arguments = {"query": x, "key": x, "value": x, "attn_mask": None, "key_padding_mask": None}
    [call] = KINDS["torch/MultiheadAttention"].load().calls(module, arguments, (output, None))
    expected = [by_double_loop(head) for head in rows[0].double()]
    reading = read(call, None)
    assert reading.values["attention_cosine"] == pytest.approx(
        sum(cosine for cosine, _ in expected) / 3, abs=1e-6
    )
    assert reading.values["attention_js"] == pytest.approx(
        sum(divergence for _, divergence in expected) / 3, abs=1e-6
    )


@pytest.mark.parametrize("batch_first", [True, False])
@torch.no_grad()
def test_multihead_attention_as_a_block_adds_what_it_attends_to(batch_first):
    torch.manual_seed(0)
    module = nn.MultiheadAttention(12, 3, batch_first=batch_first).eval()
    x = torch.randn(2, 12, 4, 5)
    tokens = x.flatten(2).permute(2, 0, 1)
    inputs = tokens.transpose(0, 1) if batch_first else tokens
    added = module(inputs, inputs, inputs)[0]
    added = added if batch_first else added.transpose(0, 1)
    block = KINDS["torch/MultiheadAttention"].load().as_block(module)
    torch.testing.assert_close(block(x), x + added.transpose(1, 2).reshape(x.shape))


VIT = [
    {},
    {"qkv_bias": True, "proj_bias": False},
    {"qk_norm": True, "norm_layer": nn.LayerNorm},
    {"qk_norm": True, "scale_norm": True, "norm_layer": nn.LayerNorm},
    {"gated": True, "qkv_bias": True, "attn_head_dim": 5, "dim_out": 7},
]
BLIND = torch.rand(9, 9, generator=torch.Generator().manual_seed(2)).fill_diagonal_(1) < 0.4
MASKS = [
    {},
    {"is_causal": True},
    {"attn_mask": ~BLIND},
    {"attn_mask": torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(3)).double()},
]


def vit(**options):
    Attention = pytest.importorskip("timm.layers").Attention
    torch.manual_seed(0)
    module = Attention(12, 3, **options).double().eval()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.4)
    return module


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("masked", MASKS, ids=lambda masked: "-".join(masked) or "open")
@pytest.mark.parametrize("options", VIT, ids=lambda options: "-".join(options) or "plain")
@torch.no_grad()
def test_rows_of_timms_attention_are_those_that_its_unfused_path_drops_from(options, masked, fused):
    module, maps = vit(**options), []
    x = torch.randn(2, 9, 12, generator=torch.Generator().manual_seed(1)).double()
    module.attn_drop.register_forward_hook(lambda drop, given, rows: maps.append(rows))
    module.fused_attn = False
    module(x, **masked)
    [full] = maps
    module.fused_attn = fused
    output = module(x, **masked)
    assert len(maps) == (1 if fused else 2)
    kind = kind_of(module)
    calls = list(kind.load().calls(module, kind.named((x,), masked), output))
    assert len(calls) == 2
    for sequence, call in enumerate(calls):
        assert (call.queries, call.keys, call.heads) == (9, 9, 3)
        at = torch.tensor([8, 0, 3])
        rows = call.rows(at)
        torch.testing.assert_close(rows, full[sequence][:, at], rtol=0, atol=1e-12)
        torch.testing.assert_close(call.replay(rows, at), output[sequence, at], rtol=0, atol=1e-12)


@torch.no_grad()
def test_timms_attention_as_a_block_adds_what_it_attends_to():
    module = vit(qk_norm=True, norm_layer=nn.LayerNorm)
    x = torch.randn(2, 12, 4, 5).double()
    adapter = kind_of(module).load()
    assert adapter.detail(module) == "3 heads, qk_norm"
    added = module(x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(adapter.as_block(module)(x), x + added)
    with pytest.raises(ValueError, match="a width of its own"):
        adapter.as_block(vit(dim_out=7))


def test_maps_of_timms_attention_take_memory_where_it_is_not_fused():
    module = vit()
    arguments = {"x": torch.zeros(2, 9, 12)}
    found = []
    for module.fused_attn in (True, False):
        found.append(kind_of(module).load().map_bytes(module, arguments))
    assert found == [0, 2 * 4 * 2 * 3 * 81]


def test_timms_vit_is_measured_with_its_class_token_and_drawn_without(capsys, tmp_path):
    pytest.importorskip("timm")
    Image.effect_noise((50, 40), 90).save(tmp_path / "a.png")
    size = ["--size", "32", "--threads", "1", "--no-latency", "--images", str(tmp_path / "a.png")]
    files = ["--csv", str(tmp_path / "a.csv"), "-o", str(tmp_path / "maps.png")]
    net = "timm/vit_tiny_patch16_224:img_size=32:patch_size=8:depth=2"
    code, _, err = ran("attention", net, *size, *files, capsys=capsys)
    assert (code, "not drawn" in err) == (0, False), err
    rows = rows_of(tmp_path / "a.csv")
    assert [row["block"] for row in rows] == ["blocks.0.attn", "blocks.1.attn"]
    for row in rows:
        assert (row["kind"], row["detail"]) == ("timm/Attention", "3 heads")
        # a class token, and 4 x 4 patches
        assert (row["queries"], row["keys"], row["heads"]) == ("17", "17", "3")
        assert float(row["attention_js"]) > 0
        assert int(row["macs"]) > int(row["snl_macs"]) > 0
    with Image.open(tmp_path / "maps.png") as image:
        assert image.height > 1000


class Overridden(NonLocal):
    """Attends otherwise than the block that it is derived from."""

    def forward(self, x):
        return x + self.z(self.g(x).flip(-1))


class Nothing(NonLocal):
    def forward(self, x):
        return x


def through(*layers, size=(8, 8), dtype=torch.float32, **options):
    drawn = torch.Generator().manual_seed(0)
    first = nn.Conv2d(3, 8, 1)
    nn.init.normal_(first.weight, generator=drawn)
    model = nn.Sequential(first, *layers).eval().to(dtype)
    picture = torch.randint(255, (20, 20, 3), dtype=torch.uint8, generator=drawn)
    photos = [Photo("noise", lambda: Image.fromarray(picture.numpy()))]
    return running.measure(model, "made up", running.find(model), photos, size, **options)


def test_a_block_that_does_otherwise_than_its_kind_is_not_believed():
    torch.manual_seed(0)
    [seen] = through(Overridden(8), queries=lambda grid: [(0, 0)], drawn=1)
    reading = seen.readings[0]
    for name in ("attention_cosine", "attention_js", "query_share"):
        assert reading.values[name] is None
        assert "cannot be computed again" in reading.reasons[name]
    assert reading.values["input_cosine"] is not None
    assert (seen.maps, seen.maps_reason) == ([], reading.reasons["query_share"])


class Renamed(NonLocal):
    def forward(self, features):
        return super().forward(features)


class Paired(NonLocal):
    def forward(self, x):
        return super().forward(x), None


class Asking(nn.MultiheadAttention):
    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        return super().forward(tokens, tokens, tokens)[0]


def test_a_block_that_calls_its_input_otherwise_is_measured_all_the_same():
    assert through(Renamed(8))[0].readings[0].values["query_share"] is not None


@pytest.mark.parametrize("block", [Paired(8), Asking(8, 2, batch_first=True)])
def test_a_block_that_is_called_or_answers_otherwise_says_so(block):
    [seen] = through(block)
    assert seen.readings == []
    assert seen.reason.startswith("it is called or answers otherwise than its kind")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_network_is_measured_in_its_own_dtype(dtype):
    torch.manual_seed(0)
    block = NonLocal(8)
    torch.manual_seed(1)
    plain = through(block)[0].readings[0].values
    torch.manual_seed(1)
    [seen] = through(block.to(dtype), dtype=dtype)
    assert seen.dtype == str(dtype).removeprefix("torch.")
    for name, value in seen.readings[0].values.items():
        assert value is None or value == pytest.approx(plain[name], rel=0.1, abs=1e-3)


class Windows(nn.Module):
    """Attention within four quarters of the picture, at once."""

    def __init__(self):
        super().__init__()
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        B, C, H, W = x.shape
        quarters = x.reshape(B, C, 2, H // 2, 2, W // 2).permute(0, 2, 4, 3, 5, 1)
        tokens = quarters.reshape(4, -1, C)
        return self.attend(tokens, tokens, tokens)[0]


def test_windows_are_priced_together_and_not_drawn_over_the_picture(monkeypatch):
    seeds = []

    def keep(call, why_not, seed):
        seeds.append(seed)
        return read(call, why_not, seed)

    monkeypatch.setattr(running, "read", keep)
    [seen] = through(Windows(), queries=lambda grid: [(0, 0)], drawn=1)
    assert seen.shape == (4, 8, 16, 1)
    assert seen.maps == []
    assert "gets 4 maps of a picture at once" in seen.maps_reason
    assert len(set(seeds)) == 4


def test_a_module_of_that_name_is_not_taken_for_where_a_block_was_put():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.place = NonLocal(8)
            self.other = NonLocal(8)

        def forward(self, x):
            return self.other(self.place(x))

    assert [each.found.path for each in through(Named())] == ["1.place", "1.other"]


def test_what_was_not_subtracted_lost_nothing_to_rounding():
    torch.manual_seed(0)
    module = nn.MultiheadAttention(8, 2, batch_first=True)
    nn.init.normal_(module.out_proj.weight, std=1e-9)

    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.attend = module

        def forward(self, x):
            tokens = x.flatten(2).transpose(1, 2)
            return self.attend(tokens, tokens, tokens)[0]

    [seen] = through(Tokens())
    assert seen.readings[0].values["output_cosine"] is not None


def test_a_block_that_adds_nothing_says_so():
    block = NonLocal(8, zero_init=True)
    reading = through(block)[0].readings[0]
    assert reading.values["output_cosine"] is None
    assert reading.reasons["output_cosine"] == "all 64 positions are zero and have no direction"
    assert reading.values["added_share"] == 0
    assert reading.values["query_share"] is not None


def test_what_rounding_may_have_made_is_not_told():
    block = NonLocal(8)
    nn.init.constant_(block.z.weight, 1e-9)
    nn.init.constant_(block.z.bias, 1e-7)
    reading = through(block)[0].readings[0]
    assert "rounding" in reading.reasons["output_cosine"]


def test_numbers_that_are_not_finite_are_no_reading():
    block = NonLocal(8)
    nn.init.constant_(block.theta.weight, float("nan"))
    reading = through(block)[0].readings[0]
    assert "not finite" in reading.reasons["attention_js"]


def test_above_a_number_of_queries_pairs_are_sampled(monkeypatch):
    torch.manual_seed(0)
    block = NonLocal(8)
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    exact = through(block)[0].readings[0]
    assert (exact.js_pairs, exact.js_half_width) == (0, 0)
    monkeypatch.setattr(readings, "EXACT_BYTES", 1)
    sampled = through(block)[0].readings[0]
    assert sampled.js_pairs == readings.PAIRS
    apart = abs(sampled.values["attention_js"] - exact.values["attention_js"])
    assert 0 < apart <= sampled.js_half_width < 0.1 * exact.values["attention_js"]


def test_a_block_called_twice_is_seen_twice():
    block = NonLocal(8)
    paths = [each.found.path for each in through(block, nn.ReLU(inplace=True), block)]
    assert paths == ["1", "1#2"]


def test_hooks_are_gone_afterwards():
    block = NonLocal(8)
    through(block)
    assert not block._forward_hooks
    assert not block._forward_pre_hooks


def test_blocks_in_layers_with_a_fast_path_are_seen():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.TransformerEncoder(
                nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
                2,
                enable_nested_tensor=False,
            )

        def forward(self, x):
            return self.encoder(x.flatten(2).transpose(1, 2))

    seen = through(Tokens(), queries=lambda grid: [(0, 0)], drawn=1)
    assert [len(each.readings) for each in seen] == [1, 1]
    assert seen[0].maps[0].query_grid == (8, 8)
    assert seen[0].maps[0].left_out.tolist() == [0]


@torch.no_grad()
def test_what_a_map_leaves_out_goes_to_tokens_that_are_no_position():
    class Classed(nn.Module):
        def __init__(self):
            super().__init__()
            self.attend = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x):
            tokens = x.flatten(2).transpose(1, 2)
            tokens = torch.cat([tokens.new_ones(1, 1, 8), tokens], 1)
            return self.attend(tokens, tokens, tokens)[0]

    [seen] = through(Classed(), queries=lambda grid: [(0, 0), (7, 7)], drawn=1)
    [maps] = seen.maps
    assert (seen.queries, maps.query_grid, maps.rows.shape) == (65, (8, 8), (2, 64))
    assert bool((maps.left_out > 0).all())
    torch.testing.assert_close(
        maps.rows.sum(1) + maps.left_out, torch.ones(2).double(), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize(
    ("tokens", "size", "expected"),
    [
        (197, (224, 224), (14, 14)),
        (196, (224, 224), (14, 14)),
        (1 + 4 + 8 * 16, (64, 128), (8, 16)),
        (7, (224, 225), None),
    ],
)
def test_tokens_are_a_grid_of_the_pictures_proportions(tokens, size, expected):
    assert running._token_grid(tokens, size) == expected


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_loads(kind):
    adapter = kind.load()
    for name in ("calls", "map_bytes", "detail", "no_distribution", "as_block"):
        assert callable(getattr(adapter, name))
