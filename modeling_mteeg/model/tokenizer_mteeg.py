"""LaBraM's neural tokenizer: every patch of EEG becomes the number of a code (LaBraM, stage one).

An encoder makes a token of every patch, the codebook snaps it to a code, and a decoder has to tell
the amplitude and the phase of the patch's spectrum from the codes. Only the encoder and the
codebook are needed afterwards: their code numbers are what masked pre-training predicts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers import initialization as init
from transformers.utils import ModelOutput

from .codebook import Codebook
from .configuration_tokenizer import MteegTokenizerConfig
from .embedding import place_tokens
from .inputs import batches_of_step
from .layers import Group, MteegLayer, TemporalEncoder
from .modeling_mteeg import MteegPreTrainedModel
from .spectral_targets import LogAmplitudes, spectra


@dataclass
class MteegTokenizerOutput(ModelOutput):
    """What :class:`MteegTokenizerModel` returns.

    Parameters
    ----------
    loss : torch.Tensor
        Scalar, sum of the three below; the commitment weighted by ``commitment_weight``, the phase
        by ``phase_weight`` (in the sum alone).
    amplitude_loss, phase_loss, commitment_loss : torch.Tensor
        Scalars, means over all patches of the step.
    token_ids : torch.Tensor or tuple of torch.Tensor
        int64, (batch, channels * patches), channel by channel.
    amplitude, phase : torch.Tensor or tuple of torch.Tensor
        (batch, channels * patches, 200), the decoded spectra, standardised as
        ``spectral_targets`` says.

    Notes
    -----
    With ``groups`` the last three hold a tensor for each group.
    """

    loss: torch.Tensor | None = None
    amplitude_loss: torch.Tensor | None = None
    phase_loss: torch.Tensor | None = None
    commitment_loss: torch.Tensor | None = None
    token_ids: torch.Tensor | tuple[torch.Tensor, ...] | None = None
    amplitude: torch.Tensor | tuple[torch.Tensor, ...] | None = None
    phase: torch.Tensor | tuple[torch.Tensor, ...] | None = None


class TokenTransformer(nn.Module):
    """Transformer of the tokenizer's encoder or decoder, with its tables, cls token and norm."""

    def __init__(self, config: MteegTokenizerConfig, depth: int):
        super().__init__()
        width = config.hidden_size
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.spatial_embedding = nn.Parameter(torch.zeros(1 + config.num_spatial, width))
        self.temporal_embedding = nn.Parameter(torch.zeros(config.num_temporal, width))
        self.layers = nn.ModuleList(MteegLayer(config, index, depth) for index in range(depth))
        self.fc_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)

    def forward(self, tokens: Sequence[torch.Tensor], batches: Sequence[Mapping]) -> torch.Tensor:
        """Run all groups' patch tokens through the layers.

        Parameters
        ----------
        tokens : sequence of torch.Tensor
            For every group (batch, channels * patches, width), without place.
        batches : sequence of mapping
            The groups they come from.

        Returns
        -------
        torch.Tensor
            (patches of all groups, width), normalised, end to end, without the cls tokens.
        """
        parts = [  # for every group (batch, 1 + channels * patches, width)
            place_tokens(part, self, batch["channel_ids"], batch["input_values"].shape[2])
            for part, batch in zip(tokens, batches, strict=True)
        ]
        groups = tuple(Group(*part.shape[:2]) for part in parts)
        x = torch.cat([part.flatten(0, 1) for part in parts])  # (tokens of all groups, width)
        for layer in self.layers:
            x, _ = layer(x, groups)
        parts = zip(x.split([group.rows for group in groups]), groups, strict=True)
        # Without the cls tokens: (batch * channels * patches, width) of every group.
        patches = [part.view(*group, -1)[:, 1:].flatten(0, 1) for part, group in parts]
        return self.fc_norm(torch.cat(patches))


class MteegTokenizerModel(MteegPreTrainedModel):
    """Neural tokenizer: encoder, codebook and decoder (VQ-NSP in the published code).

    In training mode every forward pass is one update of the codebook, or several are one within
    ``tokenizer.codebook.one_step()``; see ``modeling_mteeg.model.codebook.Codebook`` for dead
    codes and several processes.
    """

    config_class = MteegTokenizerConfig
    base_model_prefix = "tokenizer"
    # A step moves a code by less than half precision can hold.
    _keep_in_fp32_modules_strict = ("codebook.codes", "codebook.usage", "log_amplitudes")

    def __init__(self, config: MteegTokenizerConfig):
        super().__init__(config)
        width = config.hidden_size
        self.temporal_encoder = TemporalEncoder(config)
        self.encoder = TokenTransformer(config, config.num_hidden_layers)
        self.to_code = _two_layers(width, config.code_size)
        self.codebook = Codebook(config)
        self.from_code = nn.Linear(config.code_size, width)
        self.decoder = TokenTransformer(config, config.num_decoder_layers)
        self.amplitude_head = _two_layers(width, config.patch_size)
        self.phase_head = _two_layers(width, config.patch_size)
        self.log_amplitudes = None
        if config.amplitude_target == "log":
            self.log_amplitudes = LogAmplitudes(config.patch_size)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, TokenTransformer):
            for table in (module.cls_token, module.spatial_embedding, module.temporal_embedding):
                init.trunc_normal_(table, std=self.config.initializer_range)
        elif isinstance(module, LogAmplitudes):
            init.zeros_(module.mean)
            init.ones_(module.deviation)
        elif isinstance(module, Codebook):
            init.copy_(module.codes, F.normalize(torch.randn_like(module.codes), dim=-1))
            init.zeros_(module.usage)
            init.constant_(module.started, float(not self.config.kmeans_start))
            init.zeros_(module.updates)
        else:
            super()._init_weights(module)

    def forward(
        self,
        input_values: torch.Tensor | None = None,
        channel_ids: torch.Tensor | None = None,
        groups: Sequence[Mapping[str, torch.Tensor]] | None = None,
    ) -> MteegTokenizerOutput:
        """Tokenize, decode, and compare with the spectra.

        Parameters
        ----------
        input_values, channel_ids : torch.Tensor
            (batch, channels, patches, 200) or (batch, channels, samples), and int64 (channels, 2)
            or (batch, channels, 2), as :meth:`MteegModel.forward` takes them.
        groups : sequence of mapping, optional
            Instead of the above: several batches of different shapes as one step, each with
            ``input_values`` and ``channel_ids``. Every patch weighs the same in the losses.

        Returns
        -------
        MteegTokenizerOutput
            Losses, code numbers and decoded spectra.

        Raises
        ------
        ValueError
            Inputs of the wrong shape, or both ways of giving inputs at once.
        """
        given = {"input_values": input_values, "channel_ids": channel_ids}
        batches = batches_of_step(groups, given, self.config)
        quantized = self.codebook(self._encode(batches))  # (patches of all groups, code_size)
        amplitude, phase = self._decode(quantized.values, batches)  # (patches of all groups, 200)
        targets = [self._targets(batch["input_values"]) for batch in batches]
        losses = [
            F.mse_loss(decoded.float(), torch.cat([target[i].flatten(0, 1) for target in targets]))
            for i, decoded in enumerate((amplitude, phase))
        ]
        commitment = self.config.commitment_weight * quantized.commitment

        def per_group(rows: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
            parts = _split(rows, batches)
            return parts[0] if groups is None else parts

        return MteegTokenizerOutput(
            loss=losses[0] + self.config.phase_weight * losses[1] + commitment,
            amplitude_loss=losses[0],
            phase_loss=losses[1],
            commitment_loss=commitment,
            token_ids=per_group(quantized.indices),
            amplitude=per_group(amplitude),
            phase=per_group(phase),
        )

    def get_codebook_indices(
        self,
        input_values: torch.Tensor | None = None,
        channel_ids: torch.Tensor | None = None,
        groups: Sequence[Mapping[str, torch.Tensor]] | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Code numbers of every patch, the labels of masked pre-training.

        Runs encoder and codebook alone, without gradients, and leaves the codebook as it is in
        either mode. Parameters and errors as in :meth:`forward`.

        Returns
        -------
        torch.Tensor or tuple of torch.Tensor
            int64, (batch, channels * patches), channel by channel; with ``groups`` one for each.
        """
        given = {"input_values": input_values, "channel_ids": channel_ids}
        with torch.inference_mode():
            batches = batches_of_step(groups, given, self.config)
            tokens = F.normalize(self._encode(batches), dim=-1)
            indices = _split(self.codebook.look_up(tokens), batches)
        # A tensor made in inference mode may not enter a loss; its copy may.
        copies = tuple(part.clone() for part in indices)
        return copies[0] if groups is None else copies

    @torch.no_grad()
    def start_codebook(self, parts: Iterable[Sequence[Mapping[str, torch.Tensor]]]) -> bool:
        """Start the codebook by k-means over the tokens of a whole step, unless it has been.

        For steps that are cut into parts to save memory: before the first of them, and with all
        its parts, since one part alone may hold fewer tokens than there are codes. Every process
        has to call this. The parts are encoded one after the other, and only their tokens kept.

        Parameters
        ----------
        parts : iterable of sequence of mapping
            This process's parts, each like ``groups`` of :meth:`forward`; maybe none.

        Returns
        -------
        bool
            Whether there was anything to start; if not, no part is encoded.

        Raises
        ------
        ValueError
            Inputs of the wrong shape, or no part in any process.
        """
        if self.codebook.is_started() or self.codebook.is_continuous():
            return False
        tokens = [self.codebook.codes.new_empty(0, self.config.code_size)]
        for part in parts:
            given = dict.fromkeys(("input_values", "channel_ids"))
            tokens.append(self._encode(batches_of_step(part, given, self.config)))
        return self.codebook.start(torch.cat(tokens))

    def _targets(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the decoder has to tell, two of (batch, channels * patches, 200)."""
        amplitude, phase = spectra(values)
        if self.log_amplitudes is not None:
            amplitude = self.log_amplitudes(values)
        return amplitude, phase

    def _encode(self, batches: Sequence[Mapping]) -> torch.Tensor:
        """Tokens (patches of all groups, code_size) in float32, before they become unit vectors."""
        matrices = self.temporal_encoder.matrices()
        patches = [  # (batch, channels * patches, 200)
            batch["input_values"].to(self.encoder.cls_token.dtype).flatten(1, 2)
            for batch in batches
        ]
        tokens = [self.temporal_encoder(part, matrices) for part in patches]
        features = self.encoder(tokens, batches)  # (patches of all groups, width)
        # Half precision would move tokens between codes.
        with torch.autocast(features.device.type, enabled=False):
            return self.to_code(features.to(self.to_code[-1].weight.dtype)).float()

    def _decode(
        self, values: torch.Tensor, batches: Sequence[Mapping]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Amplitude and phase (patches of all groups, 200) from the codes of all groups."""
        tokens = _split(self.from_code(values.to(self.from_code.weight.dtype)), batches)
        features = self.decoder(tokens, batches)
        return self.amplitude_head(features), self.phase_head(features)


def _two_layers(width: int, outputs: int) -> nn.Sequential:
    """Two linear layers with tanh between."""
    return nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, outputs))


def _split(rows: torch.Tensor, batches: Sequence[Mapping]) -> tuple[torch.Tensor, ...]:
    """Rows of all patches end to end as (batch, channels * patches, ...) for each group."""
    shapes = [batch["input_values"].shape[:3] for batch in batches]
    sizes = [batch * channels * patches for batch, channels, patches in shapes]
    parts = zip(rows.split(sizes), shapes, strict=True)
    return tuple(part.unflatten(0, (shape[0], -1)) for part, shape in parts)
