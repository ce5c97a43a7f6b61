"""The codebook: nearest codes, moving averages, start, dead codes; without a model around it."""

from __future__ import annotations

import plain_stage_one as plain
import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from modeling_mteeg import MteegTokenizerConfig
from modeling_mteeg.model.codebook import Codebook


def codebook(codes: int = 24, size: int = 6, **options) -> Codebook:
    torch.manual_seed(0)
    options = {"kmeans_start": False} | options
    sizes = {"num_codes": codes, "code_size": size}
    return Codebook(MteegTokenizerConfig.from_preset("tiny", **sizes, **options)).train()


def unit_tokens(count: int, size: int = 6, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, size, generator=generator), dim=-1)


def state(book: Codebook) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in book.state_dict().items()}


def test_nearest_code_and_moved_codes_are_those_of_the_plain_way():
    book, tokens = codebook(), unit_tokens(100)
    before = book.codes.double()
    distances = torch.cdist(tokens.double(), before)
    found = book(3.0 * tokens)  # the length of a token does not matter
    assert torch.equal(found.indices, distances.argmin(1))
    assert torch.allclose(found.values.double(), before[found.indices])
    assert torch.allclose(found.commitment.double(), distances.min(1).values.square().mean() / 6)
    moved = plain.moved_codes(before, tokens.double(), found.indices)
    assert torch.allclose(book.codes.double(), moved, atol=1e-7)
    unused = torch.bincount(found.indices, minlength=24) == 0
    assert unused.any() and torch.equal(book.codes[unused], before[unused].float())
    assert torch.allclose(book.codes.norm(dim=1), torch.ones(24))


def test_codes_of_any_length_are_compared_by_distance():
    book, tokens = codebook(), unit_tokens(100)
    book.codes.mul_(torch.linspace(0.5, 2.0, 24)[:, None])
    distances = torch.cdist(tokens.double(), book.codes.double())
    assert torch.equal(book.look_up(tokens), distances.argmin(1))


def test_usage_is_the_moving_average_of_the_counts():
    book, tokens = codebook(code_decay=0.9), unit_tokens(50)
    expected = torch.zeros(24)
    for _ in range(3):
        indices = book(tokens).indices
        expected = 0.9 * expected + 0.1 * torch.bincount(indices, minlength=24)
    assert torch.allclose(book.usage, expected)
    assert book.updates == 3


def test_gradients_pass_straight_through_and_the_codes_have_none():
    book, tokens = codebook().eval(), unit_tokens(10).requires_grad_()
    direction = torch.randn(10, 6)
    (book(tokens).values * direction).sum().backward()
    straight = torch.autograd.grad((F.normalize(tokens, dim=-1) * direction).sum(), tokens)[0]
    assert torch.allclose(tokens.grad, straight, atol=1e-6)
    assert not list(book.parameters())


def test_evaluation_leaves_everything_as_it_is():
    book = codebook(kmeans_start=True, revive_dead=True).eval()
    before = state(book)
    book(unit_tokens(100))
    assert all(torch.equal(value, before[name]) for name, value in state(book).items())


def test_kmeans_start_finds_clusters():
    """Twelve tight bundles of tokens: each has a code in its middle, whichever were drawn."""
    middles = F.normalize(torch.eye(12) + 0.1 * torch.randn(12, 12), dim=-1)
    noise = 0.01 * torch.randn(12 * 40, 12)
    tokens = F.normalize(middles.repeat(40, 1) + noise, dim=-1)
    book = codebook(48, 12, kmeans_start=True)
    assert not book.started
    assert book.start(3.0 * tokens) and not book.start(tokens)
    best = (middles @ book.codes.T).max(1).values
    assert best.min() > 0.999
    counts = torch.bincount(book.look_up(tokens), minlength=48)
    assert (book.usage - counts).abs().max() <= 2  # of the round before the codes last moved
    means = torch.stack([tokens[book.look_up(tokens) == k].mean(0) for k in counts.nonzero()[:, 0]])
    kept = book.codes[counts > 0]
    assert (F.normalize(means, dim=-1) * kept).sum(1).min() > 0.9999


def test_start_happens_once_and_in_training_only():
    book = codebook(kmeans_start=True)
    book.eval()(unit_tokens(100))
    assert not book.started and book.num_dead() == 24
    book.train()(unit_tokens(100))
    assert book.started
    drift = book.codes.clone()
    book(unit_tokens(100, seed=2))
    assert (book.codes - drift).norm(dim=1).max() < 0.05  # moved by 1 %, not set anew


def test_a_loaded_codebook_is_not_started_again():
    trained, tokens = codebook(kmeans_start=True), unit_tokens(100)
    trained(tokens)
    other = codebook(kmeans_start=True)
    other.load_state_dict(trained.state_dict())
    assert torch.equal(trained(tokens).indices, other(tokens).indices)
    others = other.state_dict()
    assert all(torch.equal(value, others[name]) for name, value in trained.state_dict().items())


def test_an_untrained_state_is_started_anew():
    book, untrained = codebook(kmeans_start=True), codebook(kmeans_start=True).state_dict()
    book(unit_tokens(100))
    book.load_state_dict(untrained)
    book(unit_tokens(100, seed=2))
    assert book.started and book.updates == 1
    drift = (book.codes - untrained["codes"]).norm(dim=1)
    assert drift.min() > 0.05


def test_fewer_tokens_than_codes_leave_the_rest_random_and_dead():
    book, tokens = codebook(kmeans_start=True), unit_tokens(5)
    before = book.codes.clone()
    book(tokens)
    assert torch.equal(book.codes[5:], before[5:])
    assert (tokens @ book.codes[:5].T).max(1).values.min() > 0.99999
    assert book.num_dead() == 19


def test_dead_codes_are_counted_and_stay_dead_by_default():
    book = codebook()
    tokens = book.codes[:4].repeat(25, 1)  # only four codes are ever wanted
    before = book.codes.clone()
    for _ in range(3):
        book(tokens)
    assert book.num_dead() == 20
    assert book.perplexity() == pytest.approx(4, rel=1e-4)
    assert torch.equal(book.codes[4:], before[4:])


def test_revived_codes_are_tokens_of_the_step_and_find_tokens():
    book = codebook(revive_dead=True)
    near = F.normalize(book.codes[:1] + 0.3 * torch.randn(200, 6), dim=-1)
    first = book(near)
    unused = torch.bincount(first.indices, minlength=24) == 0
    assert unused.any() and book.num_dead() == 0
    revived = book.codes[unused]
    distance = torch.cdist(revived.double(), near.double())
    assert distance.min(1).values.max() < 1e-6, "not a token of the step"
    assert len(distance.argmin(1).unique()) == len(revived), "drawn twice"
    second = book(near)
    assert len(second.indices.unique()) > len(first.indices.unique())
    assert second.commitment < first.commitment


def test_draws_depend_on_the_number_of_updates_alone():
    first, second = codebook(kmeans_start=True), codebook(kmeans_start=True)
    tokens = unit_tokens(100)
    first(tokens)
    torch.rand(17)
    second(tokens)
    assert torch.equal(first.codes, second.codes)
    assert not torch.equal(first._draw(tokens, 5), codebook()._draw(tokens, 5))


class LargestTensor(TorchDispatchMode):
    """Elements of the largest tensor that any operation makes."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out


@pytest.mark.parametrize("start", [False, True])
def test_8192_codes_need_no_matrix_of_tokens_by_codes(start):
    options = {"kmeans_start": start, "kmeans_iterations": 1, "revive_dead": True}
    book, tokens = codebook(8192, 8, **options), unit_tokens(3000, 8)
    with LargestTensor() as largest:
        book(tokens)
    assert 8192 * 9 <= largest.elements <= 2**22 < 3000 * 8192


def test_half_precision_around_it_does_not_change_the_tokens():
    book, tokens = codebook(200).eval(), unit_tokens(500)
    expected = book(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        found = book(tokens)
    assert torch.equal(found.indices, expected.indices)
    assert torch.equal(found.values, expected.values)


@pytest.mark.parametrize("revive", [False, True])
@pytest.mark.parametrize("pieces", [[100], [1, 60, 39], [0, 100, 0], [1] * 100])
def test_several_forwards_of_one_step_are_one_update(pieces, revive):
    whole, parts = codebook(revive_dead=revive), codebook(revive_dead=revive)
    for step in range(3):
        tokens, before = unit_tokens(100, seed=step), state(parts)
        expected = whole(tokens)
        with parts.one_step():
            found = [parts(piece) for piece in tokens.split(pieces)]
            assert all(torch.equal(value, before[name]) for name, value in state(parts).items())
        assert torch.equal(torch.cat([part.indices for part in found]), expected.indices)
        assert all(torch.equal(value, state(whole)[name]) for name, value in state(parts).items())
    assert parts.updates == 3


def test_the_update_depends_on_no_order():
    """As the additions of a GPU come in any order, and so do the tokens of several processes."""
    tokens = unit_tokens(5000)
    books = [codebook() for _ in range(4)]
    for seed, book in enumerate(books):
        order = torch.randperm(5000, generator=torch.Generator().manual_seed(seed))
        book(tokens[order])
        assert torch.equal(book.codes, books[0].codes) and torch.equal(book.usage, books[0].usage)


def test_an_error_within_a_step_updates_nothing():
    book, before = codebook(), state(codebook())
    with pytest.raises(KeyError), book.one_step():
        book(unit_tokens(100))
        raise KeyError
    assert all(torch.equal(value, before[name]) for name, value in state(book).items())
    with book.one_step():
        book(unit_tokens(100))
    assert book.updates == 1
    with book.one_step(), pytest.raises(RuntimeError, match="one within another"):
        book.one_step().__enter__()


def test_evaluation_within_a_step_is_not_counted():
    book = codebook().eval()
    before = state(book)
    with book.one_step():
        book(unit_tokens(100))
    assert all(torch.equal(value, before[name]) for name, value in state(book).items())


def test_a_step_in_parts_wants_the_start_over_all_of_them_first():
    book, whole = codebook(kmeans_start=True), codebook(kmeans_start=True)
    with pytest.raises(RuntimeError, match="start_codebook"), book.one_step():
        book(unit_tokens(50))
    with pytest.raises(ValueError, match="found none"):
        book.start(torch.empty(0, 6))
    assert not book.started
    tokens = unit_tokens(100)
    whole(tokens)
    assert book.start(tokens)
    with book.one_step():
        for piece in tokens.split(30):
            book(piece)
    assert all(torch.equal(value, state(whole)[name]) for name, value in state(book).items())


def test_a_token_that_is_not_finite_shows_in_its_code_alone():
    book, tokens = codebook(), unit_tokens(100)
    tokens[3, 2] = torch.nan
    taken = book(tokens).indices[3]
    broken = book.codes.isnan().any(1)
    assert broken[taken] and broken.sum() == 1


@pytest.mark.parametrize("in_steps", [False, True])
def test_tokens_pass_on_until_the_codebook_starts(in_steps):
    """The first steps leave the codes alone; then it starts as one does at once."""
    book = codebook(kmeans_start=True, continuous_steps=2)
    before, tokens = book.codes.clone(), unit_tokens(100).requires_grad_()
    for step in range(2):
        assert book.is_continuous() and not book.start(tokens.detach())
        if in_steps:
            with book.one_step():
                found = [book(piece) for piece in (3 * tokens).split(60)]
        else:
            found = [book(3 * tokens)]
        values = torch.cat([part.values for part in found])
        assert torch.allclose(values, tokens) and found[0].commitment == 0
        assert torch.equal(book.codes, before) and not book.started and book.updates == step + 1
    values.sum().backward()
    assert tokens.grad.abs().sum() > 0
    tokens, at_once = unit_tokens(100, seed=3), codebook(kmeans_start=True)
    at_once.updates.fill_(2)
    assert book.start(tokens) and at_once.start(tokens)
    for each in (book, at_once):
        each(tokens)
    assert not book.is_continuous() and book.started
    assert all(torch.equal(value, state(at_once)[name]) for name, value in state(book).items())


def test_a_trained_codebook_has_no_continuous_steps():
    trained = codebook(continuous_steps=5)  # as loaded: started, no updates noted
    assert not trained.is_continuous()
    assert torch.equal(
        trained.eval()(unit_tokens(9)).values, codebook().eval()(unit_tokens(9)).values
    )
    resumed, waiting = (codebook(kmeans_start=True, continuous_steps=5) for _ in range(2))
    for _ in range(4):
        waiting(unit_tokens(50))
    resumed.load_state_dict(waiting.state_dict())
    assert resumed.is_continuous() and resumed.updates == 4
    for book in (waiting, resumed):
        book(unit_tokens(50))
        assert not book.is_continuous()
        book(unit_tokens(50))
    assert all(torch.equal(value, state(waiting)[name]) for name, value in state(resumed).items())
