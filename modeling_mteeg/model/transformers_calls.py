"""The adapter calls that users of transformers and peft know, over the tasks of a model.

They do what transformers documents where that has a meaning here, and say what to write instead
where it has none; docs/stock_calls.md has all of them. The differences come from two facts: a task
has a head beside its adapter, and one task is active at a time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from .peft_configs import STOCK, is_peft_config, options_of

PEFT_PREFIX = "base_model.model."
"""What names of an adapter's tensors begin with in peft's files, and not in transformers' calls."""


def takes_peft_config(method: Callable) -> Callable:
    """Let ``add_adapter`` be called as in transformers, with a configuration of peft.

    ``add_adapter(config, adapter_name="x", labels=[...])``, ``add_adapter("x", config, ...)`` and
    ``add_adapter(adapter_config=config, ...)`` become ``add_adapter("x", options=..., ...)``.
    """

    @functools.wraps(method)
    def called(self, *args: Any, **fields: Any) -> Any:
        given = [value for value in args if is_peft_config(value)]
        if "adapter_config" in fields:
            given.append(fields.pop("adapter_config"))
        if is_peft_config(fields.get("options")):
            given.append(fields.pop("options"))
        if not given and "adapter_name" not in fields:
            return method(self, *args, **fields)
        rest = [value for value in args if not is_peft_config(value)]
        if "adapter_name" in fields:
            rest.insert(0, fields.pop("adapter_name") or "default")
        if given and not rest and "name" not in fields:
            rest = ["default"]  # as in transformers
        for config in given:
            if not is_peft_config(config):
                raise ValueError(
                    f"adapter_config: expected a peft.LoraConfig, found {type(config).__name__}."
                )
            if len(given) > 1 or fields.get("options") is not None:
                raise ValueError("Give one configuration or options of the adapter, not several.")
            if len(rest) < 2 and fields.get("labels") is None and fields.get("card") is None:
                raise ValueError(
                    "add_adapter: a task has a head, too, so it needs its classes: "
                    f"add_adapter({rest[0] if rest else fields['name']!r}, labels=[...], "
                    f"options=LoraConfig(...)), or card=TaskCard(...). {STOCK}"
                )
            fields["options"] = options_of(config)
        return method(self, *rest, **fields)

    return called


_NOT_OURS = {
    "peft_config": "add_adapter(name, options=config, labels=[...]) makes the task",
    "adapter_state_dict": "load_adapter_state_dict(name, state) fills a task that is there",
}


def loading_of(
    source: Any,
    stock: Mapping[str, Any],
    adapter_kwargs: Mapping[str, Any] | None,
    options: Mapping[str, Any],
    by_transformers: bool,
) -> tuple[str, dict[str, Any]]:
    """What the arguments of ``load_adapter`` mean, those that transformers has among them.

    Parameters
    ----------
    source : str, Path or None
        As given first.
    stock : mapping
        Further arguments, by the names that transformers has.
    adapter_kwargs : mapping, optional
        ``subfolder``, and what ``options`` has.
    options : mapping
        ``revision``, ``token``, ``local_files_only`` as given.
    by_transformers : bool
        Whether ``from_pretrained`` calls, which hands on what else it was given.

    Returns
    -------
    source : str
    options : dict

    Raises
    ------
    ValueError
        An argument that has no meaning for a task, with what to write instead.
    TypeError
        One that is not known.
    """
    stock, options = dict(stock), dict(options)
    for key, instead in _NOT_OURS.items():
        if stock.pop(key, None) is not None:
            raise ValueError(f"load_adapter: expected a task's folder, found {key}: {instead}.")
    if stock.pop("hotswap", "auto") is True:
        raise ValueError(
            "load_adapter: hotswap puts other weights into the same names. Hold both tasks, and "
            "set_adapter(name) switches; or load_adapter_state_dict(name, state) fills a task anew."
        )
    stock.pop("low_cpu_mem_usage", None)  # a task has some megabytes, and goes in as it is read
    named = stock.pop("peft_model_id", None)
    if named is not None and source is not None:
        raise ValueError(
            f"load_adapter: expected one source, found name_or_path={source!r} and "
            f"peft_model_id={named!r}."
        )
    source = named if source is None else source
    given = {key: value for key, value in (adapter_kwargs or {}).items() if value}
    folder = given.pop("subfolder", None)
    options |= {key: given.pop(key) for key in options.keys() & given.keys()}
    unknown = sorted(stock) if by_transformers else sorted([*stock, *given])
    if unknown:
        raise TypeError(
            f"load_adapter: unknown arguments {unknown}. The model says device and dtype; "
            "revision, token and local_files_only are for the Hub."
        )
    if source is None:
        raise ValueError(
            "load_adapter: expected a task beside the base, a folder, or owner/repo, found nothing."
        )
    return f"{source}/{folder}" if folder else str(source), options


class TransformersCallsMixin:
    """Switching and removing tasks by the calls of ``transformers.PeftAdapterMixin``."""

    _switched_off: str | None = None  # the task that disable_adapters() switched off

    def set_adapter(self, adapter_name: str | Sequence[str] | None) -> None:
        """Make a task the active one, or None for the base alone. Nothing else changes.

        A list, as in transformers, holds one name.

        Raises
        ------
        ValueError
            An unknown task, or several.
        """
        if isinstance(adapter_name, (list, tuple)):
            if len(adapter_name) != 1:
                raise ValueError(
                    f"One task is active at a time, found {list(adapter_name)}. For several in one "
                    "pass: model(tasks={name: batch, ...})."
                )
            (adapter_name,) = adapter_name
        self.active_adapter = None if adapter_name is None else self._known_task(adapter_name)
        self._switched_off = None

    def active_adapters(self) -> list[str]:
        """The active task, in a list as transformers has it; empty for the base alone."""
        return [] if self.active_adapter is None else [self.active_adapter]

    def disable_adapters(self) -> None:
        """Use the base alone, until :meth:`enable_adapters` or :meth:`set_adapter`."""
        if self.active_adapter is not None:
            active = self.active_adapter
            self.set_adapter(None)
            self._switched_off = active

    def enable_adapters(self) -> None:
        """Make the task active again that :meth:`disable_adapters` switched off.

        Without one it is the active task that stays, or the only task of the model.

        Raises
        ------
        ValueError
            The model holds no task; or several, and none of them was the active one.
        """
        if self.active_adapter is not None:
            return
        names = [self._switched_off] if self._switched_off in self.tasks else list(self.tasks)
        if len(names) != 1:
            raise ValueError(
                f"enable_adapters: {self._held()}, and none of them was switched off. One task is "
                "active at a time: set_adapter(name)."
            )
        self.set_adapter(names[0])

    def delete_adapter(self, adapter_names: str | Sequence[str]) -> None:
        """Take adapter and head of a task, or of several, out of the model.

        The others stay bit for bit. Of several, all must be there, or none is taken.
        """
        names = [adapter_names] if isinstance(adapter_names, str) else adapter_names
        if not isinstance(names, (list, tuple)):
            names = [names]
        for name in [self._known_task(name) for name in dict.fromkeys(names)]:
            self._drop(name, merge=False)

    def get_adapter_state_dict(
        self,
        adapter_name: str | None = None,
        state_dict: Mapping[str, torch.Tensor] | None = None,
    ) -> dict[str, torch.Tensor]:
        """Tensors of a task under the names that transformers gives them, and its head's.

        Parameters
        ----------
        adapter_name : str, optional
            Default: the active task.
        state_dict : mapping, optional
            All weights of the model, as gathered from several devices, to take them from.

        Returns
        -------
        dict of str to torch.Tensor
            ``layers.0.attention.qkv.lora_A.weight`` ..., (rank, in) and (out, rank), and
            ``head.weight`` ...; :meth:`load_adapter_state_dict` takes them.

        Raises
        ------
        ValueError
            No task is active and none is named; an unknown one; a ``state_dict`` of other weights.
        """
        name = self.active_adapter if adapter_name is None else adapter_name
        if name is None:
            raise ValueError(
                f"get_adapter_state_dict: no task is active, so name one; {self._held()}."
            )
        self._known_task(name)
        source = self if state_dict is None else self._as_in(state_dict)
        state = source.adapter_state_dict(name)
        return {key.removeprefix(PEFT_PREFIX): tensor for key, tensor in state.items()}

    def enable_peft_hotswap(self, *args: Any, **kwargs: Any) -> None:
        """Refused: tasks of any ranks stand side by side, and switching costs nothing."""
        raise ValueError(
            "enable_peft_hotswap: not needed here. Tasks of any ranks stand side by side: "
            "load_adapter() each, and set_adapter(name) switches, in a compiled model too; "
            "load_adapter_state_dict(name, state) puts other weights into a task."
        )

    def _held(self) -> str:
        return f"the model holds {', '.join(sorted(self.tasks)) or 'no tasks'}"
