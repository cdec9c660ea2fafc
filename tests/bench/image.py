"""The size of the image: compressed, as a registry hands it out, and unpacked, as a node stores it."""

import gzip
import json
import os
import tarfile
from pathlib import Path
from typing import IO, Any, Final

from tests.bench.figures import Figure
from tests.bench.site import Site
from tests.support.environment import DEFAULT_IMAGE
from tests.testbed.images import archive_of

_PIECE_BYTES: Final = 1 << 20


def measure(site: Site) -> list[Figure]:
    """The figure of the image's size; none when no image has been built by `make image`."""
    archive = archive_of(os.environ.get("IMAGE") or DEFAULT_IMAGE)
    if not archive.exists():
        site.say("no image to measure: build one by `make image`")
        return []
    layers = _layers(archive)
    compressed, unpacked = (sum(sizes) for sizes in zip(*layers, strict=True))
    base = layers[0][0]
    return [
        Figure(
            name="image",
            title="image of both programs, compressed",
            unit="MB",
            ours=compressed / 1e6,
            our_note=f"{base / 1e6:.0f} MB of it Debian with Python; {unpacked / 1e6:.0f} MB unpacked",
            details={"compressed_bytes": compressed, "base_bytes": base, "unpacked_bytes": unpacked},
        )
    ]


def _layers(archive: Path) -> list[tuple[int, int]]:
    """The compressed and the unpacked size of each layer of an OCI archive, the lowest layer first."""

    def blob(digest: str) -> IO[bytes]:
        found = images.extractfile(f"blobs/{digest.replace(':', '/')}")
        assert found is not None, f"{archive} lacks {digest}"
        return found

    with tarfile.open(archive) as images:
        index = images.extractfile("index.json")
        assert index is not None, f"{archive} is no OCI archive"
        manifest: dict[str, Any] = json.load(blob(json.load(index)["manifests"][0]["digest"]))
        return [(layer["size"], _unpacked_bytes(blob(layer["digest"]))) for layer in manifest["layers"]]


def _unpacked_bytes(layer: IO[bytes]) -> int:
    size = 0
    with gzip.open(layer) as unpacked:
        while piece := unpacked.read(_PIECE_BYTES):
            size += len(piece)
    return size
