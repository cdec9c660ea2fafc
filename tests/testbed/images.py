"""Images by buildah: the two that nodes start with, and that of the product.

An image leaves as an OCI archive without compression: a node unpacks it faster, and layers that it shares with the base
image keep their digests, so that nodes need not unpack them again.
"""

import configparser
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from . import layout
from .errors import TestbedError
from .processes import CONTAINED, lock, run

BASE_IMAGE = "localhost/python:3.11-bookworm"
PAUSE_IMAGE = "localhost/pause:dev"
BASE_ARCHIVE = layout.IMAGES / "base.tar"
PAUSE_ARCHIVE = layout.IMAGES / "pause.tar"
RELEASE = "bookworm"
BASE_PACKAGES = "python3,python3-venv,ca-certificates"

_CONTAINERFILES = layout.HERE / "images"
_CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
_CA_INSIDE = "/run/host-ca.crt"
_ENV = {"STORAGE_DRIVER": "overlay", "BUILDAH_ISOLATION": "chroot"}  # needs no runtime, and works inside a container
_PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "timeout", "retries", "proxy")
_LEFT_OUT = re.compile(r"__pycache__|.*\.pyc|.*\.egg-info")


def build_pause(archive: Path) -> None:
    """Builds the image of a pod's first container from the program `pause`."""
    _buildah("build", "-q", "-t", PAUSE_IMAGE, "-f", str(_CONTAINERFILES / "pause/Containerfile"), str(layout.BIN))
    _push(PAUSE_IMAGE, archive)


def build_base(archive: Path) -> None:
    """Builds the image that others are built from: Debian with its Python, by debootstrap."""
    with tempfile.TemporaryDirectory(dir=layout.SCRATCH) as folder:
        root = Path(folder) / "root"
        packages = ["--variant=minbase", f"--include={BASE_PACKAGES}"]
        run(*CONTAINED, "debootstrap", *packages, RELEASE, root, _debian_mirror())
        for leftover in ("var/cache/apt", "var/lib/apt/lists"):
            shutil.rmtree(root / leftover, ignore_errors=True)
        run("tar", "-C", root, "-cf", f"{folder}/base.tar", ".")
        _buildah("build", "-q", "-t", BASE_IMAGE, "-f", str(_CONTAINERFILES / "base/Containerfile"), folder)
        _push(BASE_IMAGE, archive)


def archive_of(tag: str) -> Path:
    """Where the archive of an image is kept."""
    return layout.IMAGES / (re.sub(r"[^a-z0-9.]+", "-", tag.lower()) + ".tar")


def build(context: Path, tag: str) -> Path:
    """Builds the Dockerfile of a folder and returns the archive; does nothing when its inputs are as they were.

    The base image is given as the build argument BASE_IMAGE, the authorities that this machine trusts as a file that
    PIP_CERT names; pip has the index that it has outside.

    Raises:
        TestbedError: There is no Dockerfile, or the build failed.
    """
    archive = archive_of(tag)
    stamp = archive.with_suffix(".stamp")
    with lock(layout.CACHE / "locks/.image", "another image is being built"):
        digest = _digest(context)
        if archive.exists() and stamp.exists() and stamp.read_text() == digest:
            print(f"{tag} is unchanged: {archive}")
            return archive
        begin = time.monotonic()
        # The archive in the cache is what counts: buildah's own store may have another image of that name, or none.
        _buildah("pull", "-q", f"oci-archive:{BASE_ARCHIVE}")
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as pip:
            pip.write(_pip_configuration())
            pip.flush()
            volumes = ["-v", f"{_CA_BUNDLE}:{_CA_INSIDE}:ro", "-v", f"{pip.name}:/etc/pip.conf:ro"]
            arguments = [f"--build-arg=BASE_IMAGE={BASE_IMAGE}", f"--build-arg=PIP_CERT={_CA_INSIDE}"]
            _buildah("build", "--layers", *volumes, *arguments, "-t", tag, str(context), show=True)
        stamp.unlink(missing_ok=True)
        new = archive.with_name(f".new-{archive.name}")
        new.unlink(missing_ok=True)
        _push(tag, new)
        new.rename(archive)
        stamp.write_text(digest)
    print(f"{tag} built after {time.monotonic() - begin:.1f} s: {archive}")
    return archive


def _digest(context: Path) -> str:
    """Identifies what an image is built from: the Dockerfile, what it copies from its folder, and the base image."""
    dockerfile = context / "Dockerfile"
    if not dockerfile.exists():
        raise TestbedError(f"there is no {dockerfile}")
    digest = hashlib.sha256(dockerfile.read_bytes() + _pip_configuration().encode())
    digest.update(str(BASE_ARCHIVE.stat().st_mtime_ns).encode())
    for source in copied_sources(dockerfile.read_text()):
        for file in sorted(found for path in context.glob(source) for found in _files(path)):
            digest.update(f"{file.relative_to(context)} {os.access(file, os.X_OK)}\n".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def copied_sources(dockerfile: str) -> list[str]:
    """The paths and patterns that a Dockerfile copies from the folder that it is built in."""
    sources = []
    for line in re.sub(r"\\\n", " ", dockerfile).splitlines():
        words = line.split()
        if words and words[0].upper() in ("COPY", "ADD") and not any(word.startswith("--from=") for word in words):
            sources += [word.rstrip("/") for word in words[1:-1] if not word.startswith("--")]
    return sources


def _files(path: Path) -> Iterator[Path]:
    if _LEFT_OUT.fullmatch(path.name):
        return
    if path.is_dir():
        for child in path.iterdir():
            yield from _files(child)
    else:
        yield path


def _pip_configuration() -> str:
    """The index that pip uses here, from its configuration files and variables, as a file for the inside of a build."""
    parser = configparser.RawConfigParser()
    places = [Path("/etc/pip.conf"), Path.home() / ".pip/pip.conf", Path.home() / ".config/pip/pip.conf"]
    parser.read([*places, Path(os.environ.get("PIP_CONFIG_FILE", "/etc/pip.conf"))])
    found = {"progress-bar": "off"}
    for key in _PIP_SETTINGS:
        value = os.environ.get(f"PIP_{key.replace('-', '_').upper()}") or parser.get("global", key, fallback="")
        if value:
            found[key] = value
    return "[global]\n" + "".join(f"{key} = {value}\n" for key, value in found.items())


def _push(tag: str, archive: Path) -> None:
    _buildah("push", "-q", "--disable-compression", "--format", "oci", tag, f"oci-archive:{archive}:{tag}")


def _buildah(*arguments: str, show: bool = False) -> None:
    if not show:
        run("buildah", *arguments, env=_ENV)
    elif subprocess.run(["buildah", *arguments], env={**os.environ, **_ENV}, check=False).returncode:
        raise TestbedError("buildah failed: see above")


def _debian_mirror() -> str:
    """The mirror of this release that apt uses here, or Debian's own."""
    listed = run("apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)") if shutil.which("apt-get") else ""
    mirrors = [line.split()[1] for line in listed.splitlines() if line.split()[0] in (RELEASE, "stable")]
    return mirrors[0] if mirrors else "http://deb.debian.org/debian"
