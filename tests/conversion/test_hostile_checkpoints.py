"""Checkpoints that claim more than they hold: refused in a sentence, at little cost."""

from __future__ import annotations

import io
import pickle
import resource
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny_models import tiny_model

from modeling_mteeg.conversion import ConversionError, convert_state_dict, pickle_values
from modeling_mteeg.conversion.checkpoint_reader import CheckpointError, read_checkpoint
from modeling_mteeg.conversion.key_names import published_key
from modeling_mteeg.conversion.pickle_values import MAX_INSTRUCTIONS, Inert, PickleReader

LAYOUTS = {"archive": {}, "legacy": {"_use_new_zipfile_serialization": False}}
WHOLE = {"cls_token": torch.arange(6.0).reshape(2, 3)}


def rezipped(path: Path, packing: int = zipfile.ZIP_STORED, **members: bytes) -> None:
    """An archive written anew, some members with other content or added."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    root = next(iter(content)).partition("/")[0]
    content |= {f"{root}/{name.replace('__', '/')}": value for name, value in members.items()}
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, value in content.items():
            archive.writestr(name, value)


def with_pickle(path: Path, said: bytes) -> None:
    """An archive with a pickle of one's own, and one storage of 24 bytes."""
    torch.save(WHOLE, path)
    rezipped(path, **{"data.pkl": said})


def refused(path: Path, words: str) -> None:
    with pytest.raises(CheckpointError, match=words) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and len(message) < 2000


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "view",
    [
        torch.ones(1).expand(10**10),
        torch.ones(2).as_strided((5 * 10**9, 2), (0, 1)),
        torch.ones(1000).as_strided((999, 900), (1, 0)),
        torch.ones(100).as_strided((60, 40), (1, 1)),
    ],
    ids=["stride 0", "stride 0 outside", "stride 0 within", "overlapping"],
)
def test_tensors_larger_than_their_numbers_are_refused(tmp_path, layout, view):
    torch.save({"model": {"cls_token": view}}, tmp_path / "a.pth", **LAYOUTS[layout])
    refused(tmp_path / "a.pth", r"the tensor cls_token: of shape .* claims more than the")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_many_tensors_in_the_same_numbers_are_refused(tmp_path, layout):
    one = torch.ones(1000)
    torch.save({str(n): one for n in range(500)}, tmp_path / "a.pth", **LAYOUTS[layout])
    refused(tmp_path / "a.pth", r"its 500 tensors claim 2,000,000 bytes together")
    torch.save({"a": one, "b": one, "c": one[5:]}, tmp_path / "a.pth", **LAYOUTS[layout])
    found = read_checkpoint(tmp_path / "a.pth").state_dict
    assert found["a"].data_ptr() == found["b"].data_ptr() and len(found["c"]) == 995


@pytest.mark.parametrize("layout", LAYOUTS)
def test_views_types_and_empty_tensors_are_what_they_were(tmp_path, layout):
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randn(6, 8, generator=generator)
    state = {"turned": numbers.T, "part": numbers[2:4, 1::2], "none": torch.zeros(0, 3)}
    state["scalar"] = torch.tensor(2.5)
    dtypes = (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int8, torch.uint8)
    state |= {str(dtype): numbers.clone().to(dtype) for dtype in (*dtypes, torch.bool)}
    state["parameter"] = torch.nn.Parameter(numbers.clone())
    if layout == "archive":  # the legacy format has no such types
        state["short"] = numbers.clone().to(torch.float8_e5m2)
    state = OrderedDict(state)
    state._metadata = {"": {"version": 1}}
    torch.save(state, tmp_path / "a.pth", **LAYOUTS[layout])
    found = read_checkpoint(tmp_path / "a.pth").state_dict
    assert list(found) == list(state)
    for name, tensor in state.items():
        assert found[name].dtype == tensor.dtype and found[name].shape == tensor.shape
        assert torch.equal(found[name].double(), tensor.double()), name


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


@pytest.mark.parametrize("layout", LAYOUTS)
def test_calls_that_would_take_memory_are_not_made(tmp_path, layout):
    large = {"b": Calls(bytearray, 6 * 10**9), "c": Calls(complex, 1, 2)}
    torch.save({"model": WHOLE, "args": large}, tmp_path / "a.pth", **LAYOUTS[layout])
    found = read_checkpoint(tmp_path / "a.pth")
    assert torch.equal(found.state_dict["cls_token"], WHOLE["cls_token"])
    torch.save(WHOLE | {"x": large["b"]}, tmp_path / "a.pth", **LAYOUTS[layout])
    value = read_checkpoint(tmp_path / "a.pth").state_dict["x"]
    assert type(value) is Inert and value.args == (6 * 10**9,)
    for function, args in ((list, (range(10**9),)), (bytes, (10**9,)), (range, (9,))):
        torch.save(WHOLE | {"x": Calls(function, *args)}, tmp_path / "a.pth", **LAYOUTS[layout])
        refused(tmp_path / "a.pth", r"refused, because .* It names: (builtins|__builtin__)\.")


def test_no_function_is_ever_called(tmp_path):
    """Not even one that the list of names lets pass."""
    called = []
    said = pickle.dumps(Calls(torch.nn.parameter.Parameter, called), protocol=2)
    value = PickleReader().read(io.BytesIO(said))
    assert type(value) is Inert and value.name == "torch.nn.parameter.Parameter"


def test_compressed_doubled_and_too_many_members_are_refused(tmp_path):
    path = tmp_path / "a.pth"
    torch.save(WHOLE, path)
    rezipped(path, zipfile.ZIP_DEFLATED, data__1=bytes(2**24))
    refused(path, r"data\S+ is compressed, .* torch\.save does not compress")
    torch.save(WHOLE, path)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a/data/0", bytes(24))
    refused(path, r"its member a/data/0 is there twice")
    torch.save(WHOLE, path)
    with zipfile.ZipFile(path, "a") as archive:
        for number in range(70):
            archive.writestr(f"a/data/{number:065000}", b"")
    refused(path, r"its list of members has more than")


def test_members_that_claim_the_same_bytes_are_refused(tmp_path):
    """Many entries of the list may lead to the same content."""
    path, content = tmp_path / "a.pth", io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}, protocol=2))
        archive.writestr("a/data/0", bytes(10**6))
        for number in range(1, 100):
            member = zipfile.ZipInfo(f"a/data/{number}")
            twin = archive.getinfo("a/data/0")
            for name in ("header_offset", "file_size", "compress_size", "CRC"):
                setattr(member, name, getattr(twin, name))
            archive.filelist.append(member)
            archive.NameToInfo[member.filename] = member
    path.write_bytes(content.getvalue())
    refused(path, r"its members claim [\d,]+ bytes, the file has")


HOSTILE = {
    "instructions": (pickle.EMPTY_LIST * 10_001, "at most 10,000 instructions"),
    "long integer": (b"\x8b" + struct.pack("<i", 2**31 - 1), "damaged"),
    "long integer, all there": (b"\x8b" + struct.pack("<i", 10**6) + bytes(10**6), "LONG4"),
    "decimal integer": (b"L" + b"9" * 5000 + b"L\n", "damaged"),
    "text longer than the file": (b"X" + struct.pack("<I", 2**32 - 1) + b"a", "damaged"),
    "bytes longer than the file": (b"\x8e" + struct.pack("<Q", 2**62), "damaged"),
    "frame longer than the file": (b"\x95" + struct.pack("<Q", 2**62), "damaged"),
    "place of the memo": (b"]r\xff\xff\xff\xff", "found a value of type list"),
    "no such place": (b"j\xff\xff\xff\xff", "refers to something that is not there"),
    "nothing to take": (b"\x85", "refers to something that is not there"),
    "registered extension": (b"\x82\x01", "EXT1"),
    "key that takes for ever": (b"}]\x85K\x01s", "a dict with a tuple for a key"),
    "half an item": (b"}(K\x01u", "a key without a value"),
    "key of a number": (b"}(K\x01K\x02u", "expected names that are text"),
    "key of bytes": (b"}(C\x01aK\x02u", "expected names that are text"),
    "long key": (b"}(X" + struct.pack("<I", 10**6) + b"a" * 10**6 + b"K\x02u", "at most 1000"),
    "appends to text": (b"X\x01\0\0\0aK\x01a", "appends to a str"),
    "calls a number": (b"K\x01)R", "calls something that is no function"),
    "other object outside": (b"K\x01Q", "is no storage"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_pickles_that_would_take_long_or_much_are_refused(tmp_path, name, monkeypatch):
    monkeypatch.setattr(pickle_values, "MAX_INSTRUCTIONS", 10_000)
    said, words = HOSTILE[name]
    with_pickle(tmp_path / "a.pth", b"\x80\x02" + said + b".")
    refused(tmp_path / "a.pth", words)


def test_deep_nesting_is_no_trouble(tmp_path):
    depth = 100_000
    said = b"\x80\x02}(X\x01\0\0\0aX\x01\0\0\0bX\x05\0\0\0model" + b"]" * depth + b"a" * (depth - 1)
    with_pickle(tmp_path / "a.pth", said + b"u.")
    refused(tmp_path / "a.pth", "expected a state dict")
    twice = b"\x80\x02K\x01" + b"q\x00h\x00\x86" * 1000 + b"."  # 2**1000 numbers, written out
    with_pickle(tmp_path / "a.pth", twice)
    refused(tmp_path / "a.pth", "expected a state dict")


def test_one_list_given_to_many_calls_does_not_multiply(tmp_path, monkeypatch):
    monkeypatch.setattr(pickle_values, "MAX_INSTRUCTIONS", 10_000)
    pairs = b"ccollections\nOrderedDict\nq\x01](" + b"K\x01K\x02\x86" * 2000 + b"e\x85q\x02"
    with_pickle(tmp_path / "a.pth", b"\x80\x02" + pairs + b"h\x01h\x02R" * 10 + b".")
    refused(tmp_path / "a.pth", "at most 10,000 instructions")


def storage(numel: bytes, kind: bytes = b"FloatStorage", key: bytes = b"0") -> bytes:
    key = b"X" + struct.pack("<I", len(key)) + key
    return b"(X\x07\0\0\0storagectorch\n" + kind + b"\n" + key + b"X\x03\0\0\0cpu" + numel + b"tQ"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ((storage(b"K\x07"), b"K\0", b"K\x06\x85", b"K\x01\x85"), "28 bytes, the file has 24"),
        ((storage(b"J\xff\xff\xff\x7f"), b"K\0", b"K\x06\x85", b"K\x01\x85"), "has 24 bytes"),
        ((storage(b"J\xff\xff\xff\xff"), b"K\0", b"K\x06\x85", b"K\x01\x85"), "whole number"),
        ((storage(b"K\x06", key=b"1"), b"K\0", b"K\x06\x85", b"K\x01\x85"), "no such numbers"),
        ((storage(b"K\x06", b"OddStorage"), b"K\0", b"K\x06\x85", b"K\x01\x85"), "unknown type"),
        ((storage(b"\x88"), b"K\0", b"K\x06\x85", b"K\x01\x85"), "numbers of the storage"),
        ((storage(b"K\x06"), b"K\x01", b"K\x06\x85", b"K\x01\x85"), "more than the 6 numbers"),
        ((storage(b"K\x06"), b"J\xff\xff\xff\xff", b"K\x01\x85", b"K\x01\x85"), "offset"),
        ((storage(b"K\x06"), b"K\0", b"K\x06K\x01\x86", b"K\x01\x85"), "2 axes, but 1 strides"),
        ((storage(b"K\x06"), b"K\0", b"J\xff\xff\xff\xff\x85", b"K\x01\x85"), "shape"),
        ((storage(b"K\x06"), b"K\0", b"K\x06\x85", b"J\xff\xff\xff\xff\x85"), "strides"),
        ((storage(b"K\x06"), b"K\0", b"K\x06", b"K\x01\x85"), "shape: expected at most 16"),
        ((storage(b"K\x06"), b"K\0", b"(" + b"K\x01" * 17 + b"t", b"K\x01\x85"), "at most 16"),
        ((b"K\x01", b"K\0", b"K\x06\x85", b"K\x01\x85"), "a tensor without a storage"),
    ],
)  # fmt: skip
def test_claims_on_numbers_are_compared_with_the_file(tmp_path, said, words):
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + b"".join(said) + b"\x89NtR"
    with_pickle(tmp_path / "a.pth", b"\x80\x02}X\x01\0\0\0a" + tensor + b"s.")
    refused(tmp_path / "a.pth", words)
    right = storage(b"K\x06") + b"K\0K\x06\x85K\x01\x85\x89NtR"
    with_pickle(
        tmp_path / "a.pth",
        b"\x80\x02}X\x01\0\0\0actorch._utils\n_rebuild_tensor_v2\n(" + right + b"s.",
    )
    assert read_checkpoint(tmp_path / "a.pth").state_dict["a"].tolist() == list(range(6))


def test_legacy_files_that_claim_numbers_they_do_not_have_are_refused(tmp_path):
    path = tmp_path / "a.pth"
    torch.save(WHOLE, path, **LAYOUTS["legacy"])
    whole = path.read_bytes()
    numbers = struct.pack("<q", 6) + np.arange(6, dtype="<f4").tobytes()
    assert whole.endswith(numbers)
    path.write_bytes(whole[: -len(numbers)] + struct.pack("<q", 10**12) + numbers[8:])
    refused(path, "claims 24 bytes, the file has 1,000,000,000,000 numbers there")
    path.write_bytes(whole[:-4])
    refused(path, "claims 24 bytes, the file has")
    path.write_bytes(whole + bytes(3))
    refused(path, "3 bytes lie behind its last storage")


def test_a_long_header_of_safetensors_is_not_read(tmp_path):
    save_file({"a" * 2**22: torch.zeros(1)}, tmp_path / "a.safetensors")
    refused(tmp_path / "a.safetensors", r"expected a header of at most 4,194,304 bytes")


@pytest.mark.slow
@pytest.mark.parametrize("full", [False, True])
def test_hostile_checkpoints_take_little_memory_and_time(tmp_path, full):
    """In a process of its own, which tells how much it took at most."""
    torch.save({"a": torch.ones(1).expand(10**10)}, tmp_path / "stride.pth")
    torch.save([Calls(bytearray, 6 * 10**9)], tmp_path / "call.pth")
    torch.save(WHOLE, tmp_path / "packed.pth")
    rezipped(
        tmp_path / "packed.pth", zipfile.ZIP_DEFLATED, data__1=bytes(2 ** (27 if full else 24))
    )
    if full:
        with_pickle(tmp_path / "sets.pth", b"\x80\x02" + b"\x8f" * (MAX_INSTRUCTIONS - 10) + b".")
        dicts = b"}K\x00Ns" * (MAX_INSTRUCTIONS // 4 - 10)
        with_pickle(tmp_path / "dicts.pth", b"\x80\x02" + dicts + b".")
    program = f"""
import resource, pathlib, sys
from modeling_mteeg.conversion.checkpoint_reader import CheckpointError, read_checkpoint
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sorted(pathlib.Path({str(tmp_path)!r}).glob("*.pth")):
    try:
        read_checkpoint(path)
    except CheckpointError:
        pass
    else:
        assert False, path
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (120, 120)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) < 500, f"{done.stdout} MB"


@pytest.mark.parametrize("kind", ["base", "pretraining"])
@pytest.mark.parametrize("name", ["attn.q_norm", "mlp.fc1"])
def test_weights_without_numbers_are_named(kind, name):
    state = {published_key(k): v for k, v in tiny_model().base_state_dict().items()}
    name = f"blocks.0.{name}.weight"
    state[name] = state[name][:0]
    with pytest.raises(ConversionError, match=r"none of them empty, found shape \(0,"):
        convert_state_dict(state, kind=kind)


def test_a_layer_of_an_endless_number_is_named():
    with pytest.raises(ConversionError, match="not a key of LaBraM"):
        convert_state_dict(
            {"cls_token": torch.ones(1, 1, 4), "patch_embed.conv1.weight": torch.ones(1, 1, 1, 1),
             f"blocks.{'9' * 5000}.norm1.weight": torch.ones(4)}
        )  # fmt: skip
