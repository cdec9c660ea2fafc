"""The log in a file: the contracts of every log and of every fenced writer, and what only a file has."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.support.fenced_contract import FencedContract
from tests.support.file import FileSite
from tests.support.log_contract import LogContract


@pytest_asyncio.fixture(name="site")
async def _site(tmp_path: Path) -> AsyncIterator[FileSite]:
    site = FileSite(tmp_path)
    yield site
    await site.close()


class TestFileLog(LogContract):
    """The contract, on a file."""


class TestFileFencedWriter(FencedContract):
    """The contract of fenced writers, on a file."""
