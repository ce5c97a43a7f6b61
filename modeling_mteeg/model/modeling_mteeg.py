"""LaBraM as a ``PreTrainedModel``, with named adapters and heads of several tasks (MTEEG)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput

from .adapter_loading import AdapterLoadingMixin
from .adapter_saving import AdapterSavingMixin
from .adapters import AdapterMixin
from .base_files import check_weights, refuse_pickles
from .configuration_mteeg import MteegConfig
from .embedding import place_tokens
from .finite_weights import check_finite
from .hub_mixin import HubMixin
from .inputs import check_inputs
from .layers import Group, MteegLayer, Route, TemporalEncoder
from .task_card import TaskCard

if TYPE_CHECKING:
    # transformers lays beside the weights what a file imports by name, be it never run: the code
    # that config.json names under custom_pipelines.
    from .pipeline_mteeg import MteegPipeline  # noqa: F401


@dataclass
class MteegOutput(ModelOutput):
    """What :class:`MteegModel` returns for one batch.

    Parameters
    ----------
    loss : torch.Tensor, optional
        Scalar, mean over the batch, where labels were given.
    logits : torch.Tensor, optional
        (batch, outputs) of the task's head; one column for a binary task.
    last_hidden_state : torch.Tensor
        (batch, 1 + channels * patches, width), cls token first, then channel by channel.
    pooler_output : torch.Tensor
        (batch, width), normalised mean over the patch tokens.
    hidden_states : tuple of torch.Tensor, optional
        Embeddings and every layer's output, each shaped like ``last_hidden_state``.
    attentions : tuple of torch.Tensor, optional
        Per layer (batch, heads, tokens, tokens).
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    last_hidden_state: torch.Tensor | None = None
    pooler_output: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


def task_loss(
    card: TaskCard,
    logits: torch.Tensor,
    labels: torch.Tensor,
    label_smoothing: float = 0.0,
    class_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean loss of a batch (paper, section 4.2).

    Parameters
    ----------
    card : TaskCard
        Says which loss.
    logits : torch.Tensor
        (batch, outputs).
    labels : torch.Tensor
        (batch,), class numbers.
    label_smoothing : float
        For cross-entropy only, as in LaBraM's fine-tuning.
    class_weights : torch.Tensor, optional
        (classes,), a factor of the loss of every class's samples, as ``weight`` of
        ``torch.nn.functional.cross_entropy`` before its mean. The mean stays one over samples, not
        over weights, so that a batch may be cut anywhere.

    Raises
    ------
    ValueError
        Labels of another shape, or class numbers outside the task's labels.
    """
    if not isinstance(labels, torch.Tensor) or labels.shape != logits.shape[:1]:
        tensor = isinstance(labels, torch.Tensor)
        raise ValueError(
            f"Task {card.name!r}: expected labels as a tensor of shape {tuple(logits.shape[:1])}, "
            f"found {tuple(labels.shape) if tensor else type(labels).__name__}."
        )
    # Reading values back from an accelerator would make every step wait for it.
    if labels.device.type == "cpu" and not torch.compiler.is_compiling() and labels.numel():
        low, high = labels.min().item(), labels.max().item()
        if low < 0 or high >= len(card.labels):
            raise ValueError(
                f"Task {card.name!r}: expected labels from 0 to {len(card.labels) - 1} "
                f"({', '.join(card.labels)}), found {low} to {high}."
            )
    logits, labels = logits.float(), labels.long()
    if class_weights is not None and card.is_binary:
        factors = class_weights.to(logits)[labels]  # (batch,)
        return F.binary_cross_entropy_with_logits(logits[:, 0], labels.float(), factors)
    if class_weights is not None:
        losses = F.cross_entropy(  # (batch,)
            logits, labels, class_weights.to(logits), reduction="none",
            label_smoothing=label_smoothing,
        )  # fmt: skip
        return losses.mean()
    if card.is_binary:
        return F.binary_cross_entropy_with_logits(logits[:, 0], labels.float())
    return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)


class MteegPreTrainedModel(PreTrainedModel):
    """Start values, and what transformers needs to know of the architecture."""

    config_class = MteegConfig
    base_model_prefix = "mteeg"
    main_input_name = "input_values"
    supports_gradient_checkpointing = True
    _no_split_modules = ("MteegLayer", "TemporalEncoder")
    _supports_sdpa = True
    _supports_attention_backend = True
    _fresh_weights = True
    """Whether a checkpoint may lack weights that are then made anew (heads of other classes)."""

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path | None, *args: Any, **kwargs: Any
    ) -> Any:
        """Load weights from a folder or the Hub; as in ``transformers.PreTrainedModel``.

        Raises
        ------
        UnsafeFileError
            Only pickled weights are there, or the files are not what they should be; see
            ``modeling_mteeg.model.checked_files``.
        """
        with refuse_pickles(pretrained_model_name_or_path, kwargs):
            return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)

    @classmethod
    def _load_pretrained_model(cls, model, state_dict, checkpoint_files, load_config, *args, **kw):
        """Check the files by their headers before anything is allocated, the numbers after."""
        if state_dict is None:
            strict = not (cls._fresh_weights or load_config.ignore_mismatched_sizes)
            check_weights(model, checkpoint_files or (), strict)
        loaded = super()._load_pretrained_model(
            model, state_dict, checkpoint_files, load_config, *args, **kw
        )
        if state_dict is None:
            check_finite(model.state_dict(), Path(checkpoint_files[0]).parent)
        return loaded

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        std = self.config.initializer_range
        if isinstance(module, nn.Linear):
            init.trunc_normal_(module.weight, std=getattr(module, "init_std", std))
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d):
            bound = (module.in_channels * module.kernel_size[1]) ** -0.5
            init.uniform_(module.weight, -bound, bound)
            init.uniform_(module.bias, -bound, bound)
        elif isinstance(module, (nn.LayerNorm, nn.GroupNorm)):
            init.ones_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, MteegLayer):
            if self.config.layer_scale_init is not None:
                init.constant_(module.gamma_1, self.config.layer_scale_init)
                init.constant_(module.gamma_2, self.config.layer_scale_init)
            if self.config.qkv_bias:
                init.zeros_(module.attention.q_bias)
                init.zeros_(module.attention.v_bias)
        elif isinstance(module, MteegModel):
            for table in (module.cls_token, module.spatial_embedding, module.temporal_embedding):
                init.trunc_normal_(table, std=std)


class MteegModel(
    AdapterMixin, AdapterLoadingMixin, AdapterSavingMixin, HubMixin, MteegPreTrainedModel
):
    """LaBraM backbone that holds any number of tasks' adapters and heads.

    The temporal encoder is shared by all tasks; the transformer's linear layers carry a low-rank
    adapter for each task; every task has its own head (paper, section 3.3). See
    ``modeling_mteeg.model.adapters.AdapterMixin`` for adding, loading and saving tasks.
    """

    _fresh_weights = False

    def __init__(self, config: MteegConfig):
        super().__init__(config)
        width = config.hidden_size
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.spatial_embedding = nn.Parameter(torch.zeros(1 + config.num_spatial, width))
        self.temporal_embedding = nn.Parameter(torch.zeros(config.num_temporal, width))
        self.temporal_encoder = TemporalEncoder(config)
        self.layers = nn.ModuleList(
            MteegLayer(config, index) for index in range(config.num_hidden_layers)
        )
        self.fc_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.init_adapters()
        self.post_init()

    def forward(
        self,
        input_values: torch.Tensor | None = None,
        channel_ids: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        task: str | None = None,
        tasks: Mapping[str, Mapping[str, torch.Tensor]] | None = None,
        smoothing: float = 0.0,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> MteegOutput | tuple | dict[str, MteegOutput]:
        """Features and, where a task is active or named, its logits.

        Parameters
        ----------
        input_values : torch.Tensor
            (batch, channels, patches, 200) or (batch, channels, samples), 200 Hz, in units of
            0.1 mV, as the feature extractor gives it.
        channel_ids : torch.Tensor
            int64, (channels, 2), see :func:`modeling_mteeg.model.channels.channel_ids`; or (batch,
            channels, 2), rows for every sample, as collators that stack samples make it.
        labels : torch.Tensor, optional
            (batch,), class numbers; gives the loss.
        task : str, optional
            Task for this call only; by default the active one.
        tasks : mapping, optional
            Instead of the above: task name to a mapping with ``input_values``, ``channel_ids`` and
            maybe ``labels``; one pass over the batches of several tasks. Tasks that are given the
            very same tensors share one pass through the temporal encoder.
        smoothing : float
            Label smoothing of cross-entropy losses. (transformers' Trainer takes every argument
            with ``label`` in its name for labels, hence the short one.)
        output_hidden_states, output_attentions, return_dict : bool, optional
            As everywhere in transformers. Attention weights need plain attention, which is then
            used for this call.

        Returns
        -------
        MteegOutput or dict of str to MteegOutput
            One output, or with ``tasks`` an output for each of them.

        Raises
        ------
        ValueError
            Inputs of the wrong shape, an unknown task, or both ways of giving inputs at once.
        """
        inputs = self._inputs_by_task(input_values, channel_ids, labels, task, tasks)
        if not self.tasks:
            self.say_once_what_lies_beside()
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        if output_attentions is None:
            output_attentions = self.config.output_attentions
        outputs = self._encode(inputs, output_hidden_states, output_attentions)
        for name, output in outputs.items():
            if name is not None:
                output.logits = self.heads[name](*self._read_by_heads(output, inputs[name]))
            given = inputs[name].get("labels")
            if given is not None:
                if name is None:
                    raise ValueError(
                        "labels need a task: name one, or set_adapter() first."
                        f"{self._beside_base()}"
                    )
                output.loss = task_loss(self.tasks[name], output.logits, given, smoothing)
        if tasks is not None:
            return outputs
        output = outputs[next(iter(outputs))]
        if return_dict is False or (return_dict is None and not self.config.return_dict):
            return output.to_tuple()
        return output

    def head_features(
        self, input_values: torch.Tensor, channel_ids: torch.Tensor, task: str | None = None
    ) -> torch.Tensor:
        """What the output layer of a task's head gets, (batch, ``heads[task].in_features``).

        A linear classifier that was fitted to these, such as logistic regression, can be put into
        ``heads[task].weight`` (outputs, features) and ``heads[task].bias`` (outputs,) as it is.

        Parameters
        ----------
        input_values, channel_ids, task
            As for :meth:`forward`.
        """
        inputs = self._inputs_by_task(input_values, channel_ids, None, task, None)
        ((name, batch),) = inputs.items()
        if name is None:
            raise ValueError("head_features: name a task, or set_adapter() first.")
        output = self._encode(inputs, False, False)[name]
        return self.heads[name].features(*self._read_by_heads(output, batch))

    def encode(
        self, batches: Mapping[str, Mapping[str, torch.Tensor]], adapter: str | None = None
    ) -> dict[str, MteegOutput]:
        """Features of several batches in one pass, all by the base or all by one adapter.

        Parameters
        ----------
        batches : mapping
            Any name to a mapping with ``input_values`` and ``channel_ids`` as for :meth:`forward`.
        adapter : str, optional
            An adapter of this model; None: the base alone.

        Returns
        -------
        dict of str to MteegOutput
            Features by the names of the batches, without logits.
        """
        if adapter is not None and adapter not in self.adapter_options:
            raise ValueError(
                f"adapter: expected one of {list(self.adapter_options)}, found {adapter!r}."
            )
        return self._encode(batches, False, False, dict.fromkeys(batches, adapter))

    def _read_by_heads(self, output: MteegOutput, batch: Mapping) -> tuple:
        """The arguments of :meth:`TaskHead.forward` for a task's output and inputs."""
        tokens, pooled = output.last_hidden_state, output.pooler_output
        return tokens, pooled, batch["channel_ids"], self.fc_norm, batch["input_values"]

    def _inputs_by_task(self, input_values, channel_ids, labels, task, tasks) -> dict:
        """Either way of giving inputs to :meth:`forward` as a mapping by task (None: the base)."""
        if tasks is None:
            batch = {"input_values": input_values, "channel_ids": channel_ids, "labels": labels}
            return {self.active_adapter if task is None else self._known_task(task): batch}
        single = (input_values, channel_ids, labels, task)
        if not tasks or any(value is not None for value in single):
            raise ValueError(
                "Give either input_values and channel_ids (and labels, task), or a non-empty "
                "tasks mapping that holds them for every task."
            )
        inputs = {self._known_task(name): batch for name, batch in tasks.items()}
        for name, batch in inputs.items():
            unknown = sorted(set(batch) - {"input_values", "channel_ids", "labels"})
            if unknown:
                raise ValueError(
                    f"Task {name!r}: expected input_values, channel_ids and maybe labels, "
                    f"found {unknown} too."
                )
        return inputs

    def _encode(
        self,
        inputs: Mapping[str | None, Mapping],
        hidden_states: bool,
        attentions: bool,
        adapters: Mapping[str, str | None] | None = None,
    ) -> dict[str | None, MteegOutput]:
        """One pass of the backbone over every task's batch, laid end to end.

        ``adapters`` names the adapter of every batch where that is not its task's own.
        """
        matrices = self.temporal_encoder.matrices()  # once for all tasks
        # By the objects that were given, which are held: a number of one that is gone comes again.
        embedded: dict[tuple[int, int], tuple[torch.Tensor, ...]] = {}
        alike: list[dict[str | None, torch.Tensor]] = []  # tasks with as many tokens a sample
        for name, batch in inputs.items():
            values, ids = batch.get("input_values"), batch.get("channel_ids")
            key = id(values), id(ids)
            if key not in embedded:
                embedded[key] = self._embed(values, ids, matrices), values, ids
            tokens = embedded[key][0]  # (batch, 1 + channels * patches, width)
            for tasks in alike:
                if next(iter(tasks.values())).shape[1] == tokens.shape[1]:
                    tasks[name] = tokens
                    break
            else:
                alike.append({name: tokens})
        # Tasks of one shape side by side: one call of attention for all, adapters in one product.
        names = [name for tasks in alike for name in tasks]
        laid = [tokens for tasks in alike for tokens in tasks.values()]
        shapes = [tokens.shape[:2] for tokens in laid]
        sizes = [[tokens.shape[0] for tokens in tasks.values()] for tasks in alike]
        groups = tuple(
            Group(sum(size), next(iter(tasks.values())).shape[1])
            for tasks, size in zip(alike, sizes, strict=True)
        )
        parts = [tokens.flatten(0, 1) for tokens in laid]  # (batch * tokens, width) each
        rows, route, start = [batch * count for batch, count in shapes], [], 0
        for name, count in zip(names, rows, strict=True):
            adapter = name if adapters is None else adapters[name]
            stop = start + count
            if route and (adapter, start) == route[-1][::2]:  # one run of rows, one product
                route[-1] = (adapter, route[-1][1], stop)
            elif adapter is not None:  # the rows of the base alone have no adapter
                route.append((adapter, start, stop))
            start = stop
        x = torch.cat(parts) if len(parts) > 1 else parts[0]  # (rows of all tasks, width)
        if self.training and not x.requires_grad and not torch.compiler.is_compiling():
            # Reentrant checkpointing gives parameters in a layer no gradient if its input has none.
            x.requires_grad_(any(layer.gradient_checkpointing for layer in self.layers))
        states, weights = [x], []
        routed: Route | None = tuple(route) if self.has_adapters else None
        for layer in self.layers:
            x, weight = layer(x, groups, routed, attentions)  # (rows, width), weights by group
            if hidden_states:
                states.append(x)
            if attentions:  # by group, (batch, heads, tokens, tokens), to those of every task
                pairs = zip(weight, sizes, strict=True)
                weights.append([one for whole, size in pairs for one in whole.split(size)])

        def per_task(flat: torch.Tensor) -> list[torch.Tensor]:
            """(rows, width) as (batch, tokens, width) for each task, in the order of ``names``."""
            parts = zip(flat.split(rows), shapes, strict=True)
            return [part.view(*shape, -1) for part, shape in parts]

        last = per_task(x)
        states = [per_task(state) for state in states] if hidden_states else []
        outputs = {
            name: MteegOutput(
                last_hidden_state=last[n],
                pooler_output=self.fc_norm(last[n][:, 1:].mean(1)),  # over patches, without cls
                hidden_states=tuple(state[n] for state in states) if hidden_states else None,
                attentions=tuple(weight[n] for weight in weights) if attentions else None,
            )
            for n, name in enumerate(names)
        }
        return {name: outputs[name] for name in inputs}  # in the order given

    def _embed(self, values, channel_ids, matrices: list) -> torch.Tensor:
        """Tokens (batch, 1 + channels * patches, width) of one batch of windows."""
        values = check_inputs(values, channel_ids, self.config)
        batch, channels, patches, size = values.shape
        # Channel by channel: patch n of channel c is row c * patches + n, as in place_embedding.
        values = values.to(self.cls_token.dtype).reshape(batch, channels * patches, size)
        tokens = self.temporal_encoder(values, matrices)  # (batch, channels * patches, width)
        return place_tokens(tokens, self, channel_ids, patches)
