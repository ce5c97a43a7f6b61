"""The attention kernel against attention in float64, and when it is left out."""

from __future__ import annotations

import shutil

import pytest
import torch

from modeling_mteeg import MteegConfig, MteegModel
from modeling_mteeg.model import attention_kernel, layers
from modeling_mteeg.model.attention_kernel import kernel, kernel_attention
from modeling_mteeg.model.layers import Group, MteegAttention

needs_compiler = pytest.mark.skipif(
    not shutil.which("g++"), reason="no g++ is installed, which makes the kernel"
)
GROUPS = (Group(2, 257), Group(3, 31), Group(4, 1), Group(1, 5), Group(2, 32), Group(1, 48))
"""More and fewer tokens than a block of queries and than the rows of a product; exact blocks."""
ROWS = sum(group.rows for group in GROUPS)


def attention(width: int, heads: int, dtype: torch.dtype = torch.float32) -> MteegAttention:
    """Attention with weights of norms and biases that are neither 0 nor 1."""
    sizes = {"hidden_size": width, "temporal_channels": width // 25, "num_attention_heads": heads}
    config = MteegConfig.from_preset("tiny", qkv_bias=True, **sizes)
    config._attn_implementation = "sdpa"
    module = MteegAttention(config).requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.copy_(torch.rand(parameter.shape, generator=generator) + 0.5)
    return module.to(dtype)


def product(width: int, scale: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return scale * torch.randn(ROWS, 3 * width, generator=generator)


def by_hand(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Context (rows, width) of tensors (rows, heads, head_dim)."""
    contexts, first = [], 0
    for group in GROUPS:
        for _ in range(group.batch):
            one = slice(first, first + group.tokens)
            scores = torch.einsum("qhd,khd->hqk", query[one], key[one]) * query.shape[-1] ** -0.5
            contexts.append(torch.einsum("hqk,khd->qhd", scores.softmax(-1), value[one]))
            first += group.tokens
    return torch.cat(contexts).flatten(1)


def with_gradients(function, *inputs: torch.Tensor) -> list[torch.Tensor]:
    """What a function gives, and the gradients of its inputs from random ones of the output."""
    inputs = [x.detach().clone().requires_grad_() for x in inputs]
    out = function(*inputs)
    generator = torch.Generator().manual_seed(2)
    given = torch.randn(out.shape, generator=generator).to(out.dtype)
    return [out.detach(), *torch.autograd.grad(out, inputs, given)]


def assert_close(found: list[torch.Tensor], expected: list[torch.Tensor], tolerance: float):
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape and torch.isfinite(ours).all()
        assert (ours.double() - theirs).abs().max() <= tolerance * theirs.abs().max()


def assert_no_worse(
    found: list[torch.Tensor], torch_s: list[torch.Tensor], expected: list[torch.Tensor]
):
    """About as near to what float64 gives as torch's own functions."""
    for ours, theirs, exact in zip(found, torch_s, expected, strict=True):
        wrong, torch_wrong = ((x - exact).abs().max() / exact.abs().max() for x in (ours, theirs))
        assert wrong <= 2 * torch_wrong + 1e-6, (wrong, torch_wrong)


@pytest.fixture
def counted(monkeypatch):
    """Calls of the kernel by a layer."""
    calls = []

    def count(*arguments):
        calls.append(len(arguments[0]))
        return kernel_attention(*arguments)

    monkeypatch.setattr(layers, "kernel_attention", count)
    return calls


@needs_compiler
@pytest.mark.parametrize(
    "width, heads",
    [  # heads of 20, 7, 25, 50
        (200, 10),
        (700, 100),
        pytest.param(100, 4, marks=pytest.mark.slow),
        pytest.param(200, 4, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_it_is_attention_behind_norms_and_biases(width, heads, dtype, tolerance, counted):
    module, qkv = attention(width, heads), product(width).to(dtype)
    exact = attention(width, heads, torch.float64)
    expected = with_gradients(lambda x: by_hand(*exact.heads_of(x)), qkv.double())
    module.compiled = True
    found = with_gradients(lambda x: module.attend_product(x, GROUPS)[0], qkv)
    assert counted == [1], "the product in one"
    assert {x.dtype for x in found} == {dtype}
    assert_close(found, expected, tolerance)


@needs_compiler
@pytest.mark.parametrize("scale", [1.0, 60.0])  # scores of thousands: one key takes all
def test_it_is_attention_of_query_key_and_value_as_torch_s(scale, counted):
    module = attention(200, 10)
    parts = [x.view(ROWS, 10, 20) for x in product(200, scale).chunk(3, dim=1)]  # not contiguous
    expected = with_gradients(by_hand, *(x.double() for x in parts))
    theirs = with_gradients(lambda *x: module.attend(x, GROUPS)[0], *parts)
    module.compiled = True
    ours = with_gradients(lambda *x: module.attend(x, GROUPS)[0], *parts)
    assert counted == [3]
    assert_no_worse(ours, theirs, expected)


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("part", range(3))
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_hidden(part, dtype, number, counted):
    module, tensor = attention(200, 10), product(200).to(dtype)
    row, column = 30, 200 * part + 45  # in the first sample of 257 tokens, the third head
    tensor[row, column] = number
    made = []
    for module.compiled in (False, True):
        made.append(with_gradients(lambda x: module.attend_product(x, GROUPS)[0], tensor))
    assert counted == [1]
    for theirs, ours in zip(*made, strict=True):
        assert torch.equal(theirs.isfinite(), ours.isfinite()) and not ours.isfinite().all()
        assert ours[257:].isfinite().all()


@needs_compiler
def test_what_fills_up_a_block_of_queries_adds_nothing_where_scores_are_large(counted):
    made = []
    for dtype, by_kernel in ((torch.float32, True), (torch.float32, False), (torch.float64, False)):
        module, qkv = attention(200, 10, dtype), product(200).to(dtype)
        module.compiled = by_kernel
        for norm in (module.q_norm, module.k_norm):
            norm.weight *= 30
            norm.bias *= 30
        made.append(with_gradients(lambda x, m=module: m.attend_product(x, GROUPS)[0], qkv))
    assert counted == [1]
    assert_no_worse(*made)


@needs_compiler
def test_neither_threads_nor_repetition_nor_neighbours_change_a_bit():
    module, qkv = attention(200, 10), product(200)
    module.compiled = True
    threads, made = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3, 2):
            torch.set_num_threads(count)
            made.append(with_gradients(lambda x: module.attend_product(x, GROUPS)[0], qkv))
    finally:
        torch.set_num_threads(threads)
    for other in made[1:]:
        assert all(torch.equal(a, b) for a, b in zip(made[0], other, strict=True))
    alone = module.attend_product(qkv[-48:], GROUPS[-1:])[0]
    assert torch.equal(alone, made[0][0][-48:])


@needs_compiler
@pytest.mark.parametrize("trained", ["q_bias", "v_bias", "q_norm.weight", "k_norm.weight"])
def test_norms_and_biases_that_are_trained_get_their_gradients(trained, counted):
    gradients = []
    for by_kernel in (False, True):
        module = attention(200, 10)
        module.compiled = by_kernel
        parameter = module.get_parameter(trained).requires_grad_()
        context, _ = module.attend_product(product(200), GROUPS)
        given = torch.randn(context.shape, generator=torch.Generator().manual_seed(2))
        gradients.append(torch.autograd.grad(context, parameter, given)[0].double())
    assert counted == [3], "behind torch's norms"
    assert_close(gradients[1:], gradients[:1], 1e-5)


@needs_compiler
@pytest.mark.parametrize("what", ["weights", "eager", "float64", "dropout", "not asked for"])
def test_what_it_cannot_do_is_left_to_torch(what, counted):
    dtype = torch.float64 if what == "float64" else torch.float32
    module, qkv = attention(200, 10, dtype), product(200).to(dtype)
    module.compiled = what != "not asked for"
    if what == "eager":
        module.config._attn_implementation = "eager"
    module.config.attention_dropout = 0.5 if what == "dropout" else 0.0
    context, weights = module.attend_product(qkv, GROUPS, need_weights=what == "weights")
    assert counted == [] and context.shape == (ROWS, 200)
    if what == "weights":
        assert weights[0].shape == (2, 10, 257, 257)
    if what == "dropout":
        module.eval().attend_product(qkv, GROUPS)
        assert counted == [1], "an evaluation drops nothing"


@needs_compiler
def test_a_graph_of_the_whole_model_is_torch_s_alone(counted):
    torch.manual_seed(0)
    model = MteegModel(MteegConfig.from_preset("tiny")).eval()
    inputs = torch.randn(2, 4, 4, 200), torch.arange(1, 5).repeat(2, 1).T
    with torch.no_grad():
        expected = model(*inputs).last_hidden_state
        assert counted == []
        for module in model.modules():
            if isinstance(module, MteegAttention):
                module.compiled = True
        eager = model(*inputs).last_hidden_state
        depth = model.config.num_hidden_layers
        assert counted == [3] * depth
        whole = torch.compile(model, backend="eager")(*inputs).last_hidden_state
        assert counted == [3] * depth
    for found in (eager, whole):
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_without_a_compiler_torch_attends_and_says_so(monkeypatch, tmp_path):
    kernel.cache_clear()
    monkeypatch.setenv("CXX", str(tmp_path / "no-such-compiler"))
    module, qkv = attention(200, 10), product(200)
    expected, _ = module.attend_product(qkv, GROUPS)
    module.compiled = True
    try:
        with pytest.warns(UserWarning, match="left to torch: .*no-such-compiler failed"):
            found, _ = module.attend_product(qkv, GROUPS)
        assert torch.equal(found, expected)
    finally:
        kernel.cache_clear()


def test_shapes_of_other_rows_are_refused():
    qkv = product(200)
    with pytest.raises(ValueError, match=f"Expected tensors of {ROWS} rows and one type"):
        kernel_attention([qkv[:-1]], GROUPS, 10, 0.2)
    parts = [x.view(ROWS, 10, 20) for x in qkv.chunk(3, dim=1)]
    with pytest.raises(ValueError, match="one type"):
        kernel_attention([*parts[:2], parts[2].bfloat16()], GROUPS, 10, 0.2)


def test_its_source_is_beside_it():
    assert attention_kernel.SOURCE.name == "attention_kernel.cpp"
    assert attention_kernel.SOURCE.exists()
