"""Masked pre-training of the backbone: half of the patches is hidden, their codes are predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import initialization as init
from transformers.utils import ModelOutput

from .code_loss import code_loss
from .configuration_mteeg import MteegConfig
from .embedding import place_embedding, spatial_rows
from .inputs import batches_of_step
from .layers import Group
from .modeling_mteeg import MteegModel, MteegPreTrainedModel


@dataclass
class MteegPreTrainingOutput(ModelOutput):
    """What :class:`MteegForPreTraining` returns; "complement": with the other patches hidden.

    Parameters
    ----------
    loss : torch.Tensor, optional
        Scalar, cross-entropy on the masked patches plus that on the complement; with labels.
    accuracy, accuracy_complement : torch.Tensor, optional
        Scalars, share of the codes that were found; NaN where nothing was hidden. With labels.
    logits, logits_complement : torch.Tensor, optional
        (hidden patches of all groups, codes), in the order of ``mask`` and of its complement;
        None where the call asked for none.
    mask : torch.Tensor or tuple of torch.Tensor
        bool, (batch, channels * patches), the masked patches; with ``groups`` one for each.
    """

    loss: torch.Tensor | None = None
    accuracy: torch.Tensor | None = None
    accuracy_complement: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    logits_complement: torch.Tensor | None = None
    mask: torch.Tensor | tuple[torch.Tensor, ...] | None = None


def random_mask(
    batch: int,
    patches: int,
    ratio: float = 0.5,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> torch.Tensor:
    """Draw which patches to hide, equally many in every sample.

    Parameters
    ----------
    batch, patches : int
        Samples, and patches of a sample (channels times seconds).
    ratio : float
        Share to hide; the number of the others is rounded down, as in the published code.
    generator : torch.Generator, optional
        On ``device``; by default torch's global one.
    device : torch.device, optional
        Where the mask is to be.

    Returns
    -------
    torch.Tensor
        bool, (batch, patches), True where hidden.
    """
    order = torch.rand(batch, patches, generator=generator, device=device).argsort(1)
    mask = torch.ones(batch, patches, dtype=torch.bool, device=device)
    return mask.scatter_(1, order[:, : int(patches * (1 - ratio))], False)


class MteegForPreTraining(MteegPreTrainedModel):
    """Backbone with a mask token and a linear layer to the codes of the neural tokenizer.

    A folder saved by it is a base too: ``AutoModel.from_pretrained(folder)`` takes its backbone.

    Notes
    -----
    The two passes of symmetric masking share the temporal encoder: the mask token replaces tokens
    after it, and its GroupNorm sees all patches in either pass, so one run of it is exact. The two
    sets of tokens then go through the transformer as one batch of twice the size.

    The published code adds to the cls token the spatial row of the first channel, and in
    fine-tuning the cls row. Here as there, so that published weights give published results.
    """

    _keys_to_ignore_on_load_missing = (r"^mteeg\.fc_norm\.",)

    def __init__(self, config: MteegConfig):
        super().__init__(config)
        self.mteeg = MteegModel(config)
        self.mteeg.fc_norm.requires_grad_(False)  # fine-tuning's, in place of the norm below
        self.mask_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.lm_head = nn.Linear(config.hidden_size, config.num_codes)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, MteegForPreTraining):
            init.trunc_normal_(module.mask_token, std=self.config.initializer_range)
        else:
            super()._init_weights(module)

    def forward(
        self,
        input_values: torch.Tensor | None = None,
        channel_ids: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        groups: Sequence[Mapping[str, torch.Tensor]] | None = None,
        num_hidden: tuple[int, int] | None = None,
        return_logits: bool = True,
    ) -> MteegPreTrainingOutput:
        """Predict the codes of hidden patches, in one pass for a mask and its complement.

        Parameters
        ----------
        input_values, channel_ids : torch.Tensor
            (batch, channels, patches, 200) or (batch, channels, samples), and int64 (channels, 2)
            or (batch, channels, 2), as :meth:`MteegModel.forward` takes them.
        mask : torch.Tensor, optional
            bool, (batch, channels * patches), True where hidden; by default ``random_mask`` of
            ``config.mask_ratio`` draws one.
        labels : torch.Tensor, optional
            int64, (batch, channels * patches), code numbers of all patches, as
            :meth:`MteegTokenizerModel.get_codebook_indices` gives them; they give the loss.
        groups : sequence of mapping, optional
            Instead of the above: several batches of different shapes as one step, each a mapping
            with the arguments above, and maybe ``num_masked``, how many patches its mask hides: on
            a GPU the model would have to wait for that number. Every hidden patch weighs the same
            in the loss.
        num_hidden : tuple of int, optional
            What the two sums of the loss are divided by, for a batch that is a part of a larger
            step: the step's masked patches, and its others. By default this batch's own.
        return_logits : bool
            Whether the logits are wanted. A training does not want them: without them the loss is
            found a slice at a time (``modeling_mteeg.model.code_loss``), which is faster and
            needs far less memory. Needs labels.

        Returns
        -------
        MteegPreTrainingOutput
            Loss, accuracies and logits.

        Raises
        ------
        ValueError
            Inputs of the wrong shape or type, code numbers that the model does not have, labels
            for some groups only or, without logits, for none, or both ways of giving inputs at
            once, or a backbone with tasks' adapters, which pre-training would
            pass by.
        """
        if self.mteeg.tasks:
            raise ValueError(
                f"Expected a backbone without adapters, found those of {list(self.mteeg.tasks)}; "
                "pre-train first, and add tasks to AutoModel.from_pretrained of the saved folder."
            )
        given = {"input_values": input_values, "channel_ids": channel_ids}
        given |= {"mask": mask, "labels": labels}
        if groups is not None and input_values is None:
            given["num_masked"] = None
        batches = batches_of_step(groups, given, self.config)
        for batch in batches:
            self._complete(batch)
        labelled = [batch["labels"] is not None for batch in batches]
        if any(labelled) and not all(labelled):
            raise ValueError(
                f"Expected labels for every group or none, found them for {sum(labelled)} of "
                f"{len(labelled)}."
            )
        if not return_logits and not all(labelled):
            raise ValueError("Expected labels with return_logits=False, found none.")
        places = [patch_places(batch["mask"], batch.get("num_masked")) for batch in batches]
        hidden = self._hidden_rows(batches, places)  # two of (hidden patches of all groups, width)
        masks = tuple(batch["mask"] for batch in batches)
        output = MteegPreTrainingOutput(mask=masks[0] if groups is None else masks)
        if return_logits:
            logits = [self.lm_head(rows) for rows in hidden]
            output.logits, output.logits_complement = logits
        if all(labelled):
            codes = [batch["labels"] for batch in batches]
            wanted = [
                torch.cat([c.flatten()[p[half]] for c, p in zip(codes, places, strict=True)])
                for half in (0, 1)
            ]
            sums = [  # of the losses, and of the right codes
                _loss_of_logits(*pair)
                if return_logits
                else code_loss(pair[0], self.lm_head, pair[1])
                for pair in zip(logits if return_logits else hidden, wanted, strict=True)
            ]
            numbers = num_hidden or [len(part) for part in wanted]
            losses = [loss / max(1, n) for (loss, _), n in zip(sums, numbers, strict=True)]
            output.loss = losses[0] + losses[1]
            shares = [right / len(part) for (_, right), part in zip(sums, wanted, strict=True)]
            output.accuracy, output.accuracy_complement = shares
        return output

    def _complete(self, batch: dict) -> None:
        """Check mask and labels of a batch, and draw the mask where none is given."""
        values = batch["input_values"]
        samples, channels, patches = values.shape[:3]
        if batch["mask"] is None:
            batch["mask"] = random_mask(
                samples, channels * patches, self.config.mask_ratio, device=values.device
            )
        for name, dtype in (("mask", torch.bool), ("labels", torch.int64)):
            tensor = batch[name]
            if tensor is None:
                continue
            shape = (samples, channels * patches)
            if not isinstance(tensor, torch.Tensor) or tensor.dtype != dtype:
                kind = tensor.dtype if isinstance(tensor, torch.Tensor) else type(tensor).__name__
                raise ValueError(f"{name}: expected a tensor of {dtype}, found {kind}.")
            if tuple(tensor.shape) != shape:
                raise ValueError(
                    f"{name}: expected {shape} for {samples} samples of {channels} channels and "
                    f"{patches} patches, found {tuple(tensor.shape)}."
                )
        labels = batch["labels"]
        # Reading values back from an accelerator would make every step wait for it.
        if labels is not None and labels.device.type == "cpu":
            low, high = labels.min().item(), labels.max().item()
            if low < 0 or high >= self.config.num_codes:
                raise ValueError(
                    f"labels: expected code numbers from 0 to {self.config.num_codes - 1}, found "
                    f"{low} to {high}. The model's num_codes must be the tokenizer's."
                )

    def _hidden_rows(
        self, batches: Sequence[Mapping], places: Sequence[tuple[torch.Tensor, torch.Tensor]]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalised outputs (rows, width) at the masked places, and at the others of pass two."""
        matrices = self.mteeg.temporal_encoder.matrices()
        parts = [self._embed_twice(batch, matrices) for batch in batches]
        groups = tuple(Group(*part.shape[:2]) for part in parts)
        keep, number = _hidden_places(places, [batch["mask"].shape for batch in batches])
        x = torch.cat([part.flatten(0, 1) for part in parts])  # (tokens of all groups, width)
        *layers, last = self.mteeg.layers
        for layer in layers:
            x, _ = layer(x, groups)
        x, _ = last(x, groups, keep=keep)  # what follows attention sees the hidden patches alone
        x = self.norm(x)  # (hidden patches of both passes, width)
        return x[:number], x[number:]

    def _embed_twice(self, batch: Mapping, matrices: list) -> torch.Tensor:
        """Tokens (2 * batch, 1 + channels * patches, width): masked, then with the rest masked."""
        model, ids = self.mteeg, batch["channel_ids"]
        values, mask = batch["input_values"], batch["mask"][..., None]
        tokens = model.temporal_encoder(values.to(model.dtype).flatten(1, 2), matrices)
        hidden = self.mask_token.to(tokens.dtype)  # (1, 1, width)
        tables = model.spatial_embedding, model.temporal_embedding
        place = place_embedding(*tables, ids, values.shape[2]).to(tokens.dtype)
        first_channel = spatial_rows(model.spatial_embedding, ids)[..., :1, :]
        cls = (model.cls_token + first_channel).to(tokens.dtype).expand(len(values), 1, -1)
        # The mask hides what a patch holds, not where it lies.
        masked = torch.where(mask, hidden, tokens) + place
        others = torch.where(mask, tokens, hidden) + place
        return torch.cat([torch.cat([cls, masked], 1), torch.cat([cls, others], 1)])

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """Save the model; the folder is a base as well.

        Keywords are those of ``transformers.PreTrainedModel.save_pretrained``.
        """
        self.mteeg.note_fingerprint()
        self.config.tasks_in_weights = None  # where it began with a checkpoint that holds some
        backbone = {"AutoModel": "modeling_mteeg.MteegModel"}
        self.config.auto_map = {**(getattr(self.config, "auto_map", None) or {}), **backbone}
        super().save_pretrained(save_directory, **kwargs)


def patch_places(
    mask: torch.Tensor, num_masked: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where a mask hides patches, and where not, among all patches of its samples.

    Parameters
    ----------
    mask : torch.Tensor
        bool, (batch, patches).
    num_masked : int, optional
        How many it hides: without that number an accelerator has to be waited for.

    Returns
    -------
    tuple of torch.Tensor
        int64, (masked,) and (others,), ascending.

    Raises
    ------
    ValueError
        Another number than the mask hides, where that can be looked at.
    """
    mask = mask.flatten()
    if num_masked is not None and mask.device.type != "cpu":
        return sorted_places(mask, num_masked)
    places = mask.nonzero().flatten(), (~mask).nonzero().flatten()
    if num_masked not in (None, len(places[0])):
        raise ValueError(f"num_masked: expected {len(places[0])}, found {num_masked}.")
    return places


def sorted_places(mask: torch.Tensor, num_masked: int) -> tuple[torch.Tensor, torch.Tensor]:
    """:func:`patch_places` of (patches,) without reading anything back."""
    # Stable: masked ones first, each half in the order in which it stands.
    places = mask.to(torch.uint8).argsort(descending=True, stable=True)
    return places[:num_masked], places[num_masked:]


def _hidden_places(
    places: Sequence[tuple[torch.Tensor, torch.Tensor]], shapes: Sequence[Sequence[int]]
) -> tuple[torch.Tensor, int]:
    """Rows of the hidden patches, masked ones of all groups first; and how many those are.

    A group's rows are those of its samples with the mask, then with its complement, each sample's
    cls token first, which is never hidden.
    """
    masked, others, start = [], [], 0
    for (hidden, left), (samples, patches) in zip(places, shapes, strict=True):
        for where, rows in ((hidden, masked), (left, others)):
            sample = where.div(patches, rounding_mode="floor")  # as many cls tokens before, and one
            rows.append(start + where + sample + 1)
            start += samples * (patches + 1)
    masked = torch.cat(masked)
    return torch.cat([masked, *others]), len(masked)


def _loss_of_logits(logits: torch.Tensor, codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of the cross-entropies, and how many rows have their code's logit as the largest."""
    loss = F.cross_entropy(logits.float(), codes, reduction="sum")
    return loss, (logits.detach().argmax(-1) == codes).float().sum()
