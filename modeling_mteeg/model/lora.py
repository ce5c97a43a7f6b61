"""Low-rank adapters of several tasks in one linear layer, each on its own rows of the input.

A layer holds peft's own tensors (``lora_A.<task>``, ``lora_B.<task>``), made through peft's
extension point for custom layers, so adapters are saved in peft's format and stock ``PeftModel``
reads them. Only the forward pass differs: it takes a route (which rows belong to which adapter), so
one call serves the batches of all tasks, and adapters of other tasks get no gradient at all.

This module imports peft, which a base alone does not need: import it where adapters are used.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from peft.tuners.lora import Linear as PeftLoraLinear
from torch import nn

from .adapter_options import AdapterOptions
from .adapter_sharing import AdapterSharing
from .layers import Route
from .lora_products import RoutedLinear, Slices, plan_products
from .peft_guard import TaskConfigs, changing_adapters, foreign_layers, guarded
from .weight_names import uncompiled

if TYPE_CHECKING:
    from peft import LoraConfig

Factors = tuple[torch.Tensor, torch.Tensor]
"""A (rank, in) and B (out, rank)."""


_NO_DROPOUT = nn.Identity()
"""peft wants one for every adapter in every layer; without state, it can be the same."""


class GivenLinear(nn.Linear):
    """A linear layer whose weight is given, so that none is drawn for it."""

    def reset_parameters(self) -> None:
        """Leave the weight as its memory is."""


class MixWeights(nn.Module):
    """How much of every pair a task takes, in one layer: ``weight`` (pairs,), free numbers.

    They start as shares, drawn evenly from all there are: with equal ones all pairs would follow
    the same sum over the tasks, and learn much the same (docs/adapter_sharing.md).
    """

    def __init__(self, pairs: int, like: torch.Tensor):
        super().__init__()
        drawn = like.new_empty(pairs).exponential_()  # a Dirichlet distribution's, of ones
        self.weight = nn.Parameter(drawn / drawn.sum())


class RoutedLoraLinear(guarded(PeftLoraLinear)):
    """peft's LoRA layer whose adapters act on the rows that a route gives them.

    Notes
    -----
    f(x) = W0 x + B_p A_p x + b0 for the rows of task p (paper, section 3.3).

    A task's adapter is its own pair A, B, or made of pairs that other tasks have, too
    (:mod:`modeling_mteeg.model.adapter_sharing`): a sum of products is one product, of the A below
    each other and the B beside each other, so all that follows knows one pair a task.
    """

    takes_route = True

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.blocks: dict[str, int] = {}
        self.parts: dict[str, tuple[str, ...]] = {}
        self.factor: dict[str, float] = {}
        self.lora_mix = nn.ModuleDict()

    def put(
        self,
        adapter: str,
        rank: int,
        alpha: float,
        config: LoraConfig,
        weights: Factors | None = None,
    ) -> None:
        """Give the layer a low-rank pair, in the modules and tables that peft keeps of one.

        Parameters
        ----------
        adapter : str
        rank : int
        alpha : float
            By rank, or with rsLoRA by its root, what B A is multiplied by.
        config : peft.LoraConfig
        weights : tuple of torch.Tensor, optional
            A (rank, in) and B (out, rank), copied; default: as peft draws them, A random, B zero.

        Notes
        -----
        As ``update_layer`` of peft, which besides looks at every other adapter of the layer and
        changes what is trained. The numbers that are drawn are the same.
        """
        base = self.get_base_layer().weight
        # A base in half precision has adapters in full precision, as its heads.
        place = {"device": base.device, "dtype": torch.promote_types(base.dtype, torch.float32)}
        if weights is None:
            self.lora_A[adapter] = nn.Linear(self.in_features, rank, bias=False)
            self.lora_B[adapter] = nn.Linear(rank, self.out_features, bias=False)
        else:
            for part, values in zip((self.lora_A, self.lora_B), weights, strict=True):
                part[adapter] = GivenLinear(*reversed(values.shape), bias=False, **place)
                part[adapter].weight.detach().copy_(values)
        dropout = nn.Dropout(config.lora_dropout) if config.lora_dropout else _NO_DROPOUT
        self.lora_dropout[adapter] = dropout
        self.r[adapter], self.lora_alpha[adapter] = rank, alpha
        self.scaling[adapter] = alpha / (rank**0.5 if config.use_rslora else rank)
        self.use_rslora[adapter] = config.use_rslora
        self.use_dora[adapter] = self.lora_bias[adapter] = False
        if weights is None:
            self.reset_lora_parameters(adapter, True)
            for part in (self.lora_A, self.lora_B):
                part[adapter].to(**place)
        if not self.training:  # new modules start in training mode, dropout on
            for part in (self.lora_A, self.lora_B, self.lora_dropout):
                part[adapter].eval()

    def separate(self, adapter: str, blocks: int, weights: Factors | None = None) -> None:
        """Give every one of ``blocks`` equal parts of the output its own low-rank pair.

        A becomes (blocks * rank, in), of ``weights`` or as peft draws it; B stays (out, rank): the
        rows of B in part j belong to the rows j * rank ... of A. Used for separate adapters on
        query, key and value.
        """
        old = self.lora_A[adapter]  # its weight: (rank, in), or of weights (blocks * rank, in)
        self.blocks[adapter] = blocks
        if weights is not None:
            return
        place = {"device": old.weight.device, "dtype": old.weight.dtype}
        new = nn.Linear(old.in_features, blocks * old.out_features, bias=False, **place)
        self.lora_A[adapter] = new
        for part in new.weight.detach().chunk(blocks):  # each (rank, in), as peft draws it
            nn.init.kaiming_uniform_(part, a=5**0.5)

    def compose(self, task: str, pairs: Sequence[str], factor: float, mixed: bool) -> None:
        """Make a task's adapter of ``pairs`` that are here, to be multiplied by ``factor``.

        ``mixed``: each pair counts by a weight of the task.
        """
        self.parts[task], self.factor[task] = tuple(pairs), factor
        if mixed:
            self.lora_mix[task] = MixWeights(len(pairs), self.lora_A[pairs[0]].weight)

    def carries(self, adapter: str) -> bool:
        """Whether ``adapter`` is a pair of this layer, or made of some."""
        return adapter in self.lora_A or adapter in self.parts

    def pairs_of(self, adapter: str) -> tuple[str, ...]:
        """The pairs that ``adapter`` is made of."""
        return self.parts.get(adapter, (adapter,))

    def _stacked(self, adapter: str) -> Factors:
        """A of an adapter's pairs below each other, B beside each other, not yet weighed."""
        pairs = self.pairs_of(adapter)
        if adapter not in self.parts:
            return self.lora_A[adapter].weight, self.lora_B[adapter].weight
        blocks = self.blocks.get(pairs[0], 1)
        # Block by block, so that separate q, k, v stay separate: (blocks, sum of ranks, in).
        parts = [self.lora_A[pair].weight.unflatten(0, (blocks, -1)) for pair in pairs]
        a = torch.cat(parts, 1).flatten(0, 1)
        parts = []
        for pair in pairs:
            b = self.lora_B[pair].weight  # (out, rank of the pair)
            # rsLoRA scales by the root of the rank, and the ranks add up: B takes the difference.
            ratio = self.scaling[pair] / self.factor[adapter]
            parts.append(b if ratio == 1.0 else b * ratio)
        return a, torch.cat(parts, 1)  # (out, sum of ranks)

    def one_pair(self, adapter: str, stacked: dict[Any, Factors] | None = None) -> Factors:
        """A (rank, in) and B (out, rank) as peft has them, not yet scaled.

        The rank is the sum of those of the adapter's pairs. ``stacked`` keeps what other tasks with
        the same pairs have use for; give the same mapping for all of a call.
        """
        stacked, pairs = {} if stacked is None else stacked, self.pairs_of(adapter)
        if pairs not in stacked:
            stacked[pairs] = self._stacked(adapter)
        a, b = stacked[pairs]
        if adapter in self.lora_mix:
            weight = self.lora_mix[adapter].weight  # (pairs,), each for the columns of its pair
            b = b * weight[:, None].expand(-1, b.shape[1] // len(pairs)).flatten()
        blocks = self.blocks.get(pairs[0], 1)
        # Separate pairs are one with a block-diagonal B, (out, blocks * rank).
        return a, torch.block_diag(*b.chunk(blocks)) if blocks > 1 else b

    def factors(self, adapter: str, stacked: dict[Any, Factors] | None = None) -> Factors:
        """A (rank, in) and scaled B (out, rank), whose product is the adapter's weight change."""
        a, b = self.one_pair(adapter, stacked)
        scaling = self.factor[adapter] if adapter in self.factor else self.scaling[adapter]
        return a, b if scaling == 1.0 else b * scaling

    def _slices(self, route: Route, rows: int) -> tuple[Slices, list[str]]:
        """Cover all rows: those of adapters in this layer, and the plain ones between."""
        slices, names, last = [], [], 0
        for adapter, start, stop in route:
            if not self.carries(adapter):
                continue
            if start > last:  # rows of no adapter, or of one that is not in this layer
                slices.append((last, start, -1))
            elif names and self._same(names[-1], adapter):  # tasks that share all they have
                slices[-1] = (slices[-1][0], stop, len(names) - 1)
                last = stop
                continue
            slices.append((start, stop, len(names)))
            names.append(adapter)
            last = stop
        if last < rows:
            slices.append((last, rows, -1))
        return tuple(slices), names

    def _same(self, first: str, second: str) -> bool:
        """Whether two tasks have the very same adapter."""
        mixed = first in self.lora_mix or second in self.lora_mix
        return not mixed and self.pairs_of(first) == self.pairs_of(second)

    def _dropout(self, adapter: str) -> nn.Module:
        """What drops inputs of an adapter; one mask for all its pairs."""
        return self.lora_dropout[self.pairs_of(adapter)[0]]

    def forward(self, x: torch.Tensor, route: Route = ()) -> torch.Tensor:
        """Apply the layer.

        Parameters
        ----------
        x : torch.Tensor
            (rows, in).
        route : Route
            ``(adapter, first row, row after the last)`` in ascending order; rows of no adapter get
            the plain layer.

        Returns
        -------
        torch.Tensor
            (rows, out).
        """
        slices, names = self._slices(route, x.shape[0])
        base = self.base_layer
        if not names:
            return base(x)
        dropout = self.training and any(
            isinstance(self._dropout(name), nn.Dropout) for name in names
        )
        trained = any(parameter.requires_grad for parameter in base.parameters())
        if dropout or trained or torch.compiler.is_compiling():
            return self._plain_forward(x, slices, names)
        weight, bias = base.weight, base.bias
        dtype = weight.dtype
        if torch.is_autocast_enabled(x.device.type):
            dtype = torch.get_autocast_dtype(x.device.type)
        bias = None if bias is None else bias.to(dtype)
        stacked: dict[Any, Factors] = {}
        pairs = (self.factors(name, stacked) for name in names)
        factors = [factor.to(dtype) for pair in pairs for factor in pair]
        products = plan_products(slices, factors, tuple(weight.shape), dtype)
        return RoutedLinear.apply(x.to(dtype), weight.to(dtype), bias, products, *factors)

    def _plain_forward(self, x: torch.Tensor, slices: Slices, names: list[str]) -> torch.Tensor:
        """The same by ordinary operations: for dropout, for a trained W, and for the compiler."""
        parts = []
        for start, stop, n in slices:
            rows = x[start:stop]  # (slice, in)
            part = self.base_layer(rows)  # (slice, out)
            if n >= 0:
                a, b = self.factors(names[n])
                rows = self._dropout(names[n])(rows)
                part = part + F.linear(F.linear(rows, a.to(rows.dtype)), b.to(rows.dtype))
            parts.append(part)
        return torch.cat(parts)


def linear_layers(
    module: nn.Module, prefix: str = ""
) -> Iterator[tuple[str, nn.Module, nn.Linear | RoutedLoraLinear]]:
    """Linear layers of a backbone, with adapters or without: name, parent, layer.

    Heads are left out, and nothing inside a layer is looked at: the walk takes as long with a
    hundred tasks as with none.
    """
    for name, child in module._modules.items():  # named_children() looks for repeated ones
        if isinstance(child, (nn.Linear, RoutedLoraLinear)):
            yield prefix + name, module, child
        elif child is not None and (prefix or name != "heads"):
            yield from linear_layers(child, f"{prefix}{name}.")


def inject(
    model: nn.Module,
    adapter: str,
    options: AdapterOptions,
    weights: Mapping[str, Factors] | None = None,
) -> None:
    """Put an adapter into the model's linear layers.

    Parameters
    ----------
    model : MteegModel
    adapter : str
    options : AdapterOptions
    weights : mapping of str to tuple of torch.Tensor, optional
        By the layer's name A and B as :func:`lora_state.unpack` gives them; they are copied.
        Default: a fresh adapter, A random and B zero.

    Raises
    ------
    ValueError
        A layer was compiled by itself or has adapters of peft itself, so that nothing can be put
        into it.

    Notes
    -----
    ``peft.inject_adapter_in_model`` looks at every module and every parameter of the model for each
    adapter, those of all other adapters too, so that its time grows with their square: 24 adapters
    took seconds. Here only the linear layers are looked at.
    """
    places = list(linear_layers(model))
    _check_places(model, [(name, layer) for name, _, layer in places], options)
    # Separate q, k, v begin as one pair, which :meth:`RoutedLoraLinear.separate` then splits.
    config = dataclasses.replace(options, separate_qkv=False).to_peft()
    for name, parent, layer in places:
        target = _layer_name(name)
        if target not in options.layers:
            continue
        if isinstance(layer, nn.Linear):
            layer = _routed(layer, adapter, config)
            setattr(parent, name.rpartition(".")[2], layer)
        rank = config.rank_pattern.get(target, config.r)
        alpha = config.alpha_pattern.get(target, config.lora_alpha)
        pair = None if weights is None else weights[name]
        layer.put(adapter, rank, alpha, config, pair)
        if options.blocks_of(target) > 1:
            layer.separate(adapter, options.blocks_of(target), pair)
    configs = dict(getattr(model, "peft_config", None) or {})
    model.peft_config = TaskConfigs({**configs, adapter: config})


def _routed(linear: nn.Linear, adapter: str, config: LoraConfig) -> RoutedLoraLinear:
    """A layer around a linear one; what it has of ``adapter`` is empty, for :meth:`put`."""
    with torch.device("meta"), changing_adapters():
        layer = RoutedLoraLinear(linear, adapter, config, r=1)
    return layer.train(linear.training)


def _layer_name(name: str) -> str:
    """``fc1`` of ``layers.0.mlp.fc1``, compiled or not."""
    return uncompiled(name).rpartition(".")[2]


def _check_places(model: nn.Module, layers: list[tuple[str, Any]], options: AdapterOptions) -> None:
    """Raise where a layer is compiled by itself, or has adapters that are not of a task."""
    plain = [name for name, layer in layers if isinstance(layer, nn.Linear)]
    if any(name.endswith(".base_layer") for name in plain):
        raise ValueError(
            "Expected linear layers without adapters of peft itself, found "
            f"{', '.join(foreign_layers(model))}. Merge them first (PeftModel.merge_and_unload "
            "gives a new base), or add the task to a model without them."
        )
    compiled = [
        uncompiled(name)
        for name in plain
        if name.endswith("._orig_mod") and _layer_name(name) in options.layers
    ]
    if compiled:
        raise ValueError(
            f"Expected linear layers that an adapter can be put around, found {compiled[0]} "
            "compiled by itself. Add or load tasks first, then compile; or compile whole layers, "
            "model.layers[0] = torch.compile(model.layers[0]), or the model."
        )


def adapter_layers(model: nn.Module, adapter: str) -> dict[str, RoutedLoraLinear]:
    """Layers that carry ``adapter``, by their name in the model, in order."""
    return {
        name: layer
        for name, _, layer in linear_layers(model)
        if isinstance(layer, RoutedLoraLinear) and layer.carries(adapter)
    }


def compose(model: nn.Module, task: str, options: AdapterSharing) -> None:
    """Make a task's adapter of pairs that :func:`inject` has put into the layers."""
    pairs, plain = tuple(options.pairs(task)), options.plain()
    for name, layer in adapter_layers(model, pairs[0]).items():
        layer.compose(task, pairs, plain.factor_of(_layer_name(name)), options.mixed)


def remove(model: nn.Module, adapter: str, pairs: Collection[str], merge: bool = False) -> None:
    """Take an adapter out of its layers, adding it to their weights first if ``merge``.

    ``pairs`` are those of its pairs that go with it, since no other task has them. A layer without
    any pair left becomes the plain linear layer again.
    """
    for name, layer in adapter_layers(model, adapter).items():
        if merge:
            a, b = layer.factors(adapter)
            with torch.no_grad():
                weight = layer.base_layer.weight
                weight.add_((b.double() @ a.double()).to(weight.dtype))
        for known in (layer.parts, layer.factor, layer.lora_mix):
            if adapter in known:
                del known[adapter]
        with warnings.catch_warnings(), changing_adapters():
            # peft's own active adapter plays no part here: routes name the adapters.
            warnings.filterwarnings("ignore", message="Adapter .* was active")
            for pair in pairs:
                layer.blocks.pop(pair, None)
                layer.delete_adapter(pair)
        if not layer.lora_A:
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, layer.base_layer)
