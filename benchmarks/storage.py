"""How arrays are stored in HDF5 files: chunked, compressed, with a checksum of every chunk."""

from collections.abc import Sequence

LIBVER = ("v110", "v110")
"""Readable by HDF5 1.10 and later; older formats limit an attribute to 64 KiB."""

CHUNK = 2**16
"""Values of one column that are compressed together."""

_PACKED = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True}


def storage(shape: Sequence[int], chunks: Sequence[int] | None = None) -> dict[str, object]:
    """Chunks, compression and checksums, which HDF5 refuses for arrays that hold nothing."""
    if not shape or 0 in shape:
        return {}
    return {"chunks": tuple(chunks or (min(size, CHUNK) for size in shape)), **_PACKED}
