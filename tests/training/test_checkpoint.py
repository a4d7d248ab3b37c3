"""Files of arrays: what they hold is as long as they say, or they are refused before memory is taken."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from typing import Any

import numpy as np
import pytest

from numzero.files import DamagedFilesError
from numzero.training.checkpoint import read_arrays

ARRAYS = {
    "empty": np.zeros((0, 2), np.int64),
    "scalar": np.array(3),
    "text": np.array(["x", "y\u00e9"]),
    "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "no text": np.zeros(0, np.str_),
    "flags": np.array([True, False]),
}


def npz(arrays: dict[str, Any]) -> bytes:
    """As numpy writes it, objects allowed."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def unpacked(content: bytes) -> dict[str, Any]:
    """As numpy reads it."""
    with np.load(io.BytesIO(content), allow_pickle=False) as loaded:
        return {name: loaded[name] for name in loaded.files}


def archive(content: bytes, *, name: str = "a.npy", compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip file with one member."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as members:
        members.writestr(name, content)
    return buffer.getvalue()


def header(descr: str, shape: str, rest: bytes = b"") -> bytes:
    """A member that claims a dtype and a shape."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + (len(text) + 1).to_bytes(2, "little") + text + b"\n" + rest


def test_arrays_come_back_as_they_were_written() -> None:
    """Bits, shapes, dtypes; and they may be written to."""
    found = read_arrays(npz(ARRAYS))
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array, strict=True)
        assert found[name].dtype == array.dtype
        assert found[name].flags.writeable


REFUSED = {
    "no zip file": b"no zip file",
    "objects": npz({"a": np.array([{}], object)}),
    "more than there is": archive(header("'<f8'", f"({10**12},)", bytes(80))),
    "nothing of text without end": archive(header("'<U0'", f"({10**12},)")),
    "negative sizes": archive(header("'<f8'", "(-2, -5)", bytes(80))),
    "sizes that are no numbers": archive(header("'<f8'", "('a',)", bytes(80))),
    "an unknown dtype": archive(header("'<q99'", "(1,)", bytes(80))),
    "a deep header": archive(header("'<f8'", "(" * 3000 + ")" * 3000, bytes(80))),
    "a number of 5,000 digits": archive(header("'<f8'", f"({'9' * 5000},)", bytes(80))),
    "too many dimensions": archive(header("'<f8'", f"({'1, ' * 100})", bytes(8))),
    "no array": archive(b"text"),
    "nothing": archive(b""),
    "compressed zeros": archive(header("'|u1'", f"({2**24},)", bytes(2**24)), compression=zipfile.ZIP_DEFLATED),
    "less than it has": archive(header("'<f8'", "(1,)", bytes(80))),
}


@pytest.mark.parametrize("name", REFUSED)
def test_arrays_that_are_not_what_they_claim_are_refused(name: str) -> None:
    """In one sentence, and before memory is taken for what they claim."""
    tracemalloc.start()
    try:
        with pytest.raises(DamagedFilesError, match="a file of arrays is not what was written"):
            read_arrays(REFUSED[name])
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_every_truncation_of_a_file_of_arrays_is_refused() -> None:
    """To any length."""
    content = npz({"a": np.arange(3), "b": np.array("text")})
    for length in range(len(content)):
        with pytest.raises(DamagedFilesError):
            read_arrays(content[:length])
