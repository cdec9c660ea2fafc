"""The operator as a process of its own, with its HTTP port and what it logs."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

Manifest = dict[str, Any]

CALM_SECONDS: Final = 3600
"""A resync interval that no test lives to see: what happens, happens by watches."""


@dataclass(slots=True)
class Running:
    """An operator's process, its HTTP port, and what it has logged."""

    process: asyncio.subprocess.Process
    port: int
    lines: list[Manifest]

    async def get(self, path: str) -> tuple[int, str]:
        """An answer of its HTTP port."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{self.port}{path}") as response,
        ):
            return response.status, await response.text()

    async def is_ready(self) -> bool:
        """Whether it says that it is ready."""
        return (await self.get("/readyz"))[0] == 200

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends it the signal; its exit status."""
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 30)


def environment_of(kubeconfig: Path | str, **variables: object) -> dict[str, str]:
    """The process's environment; `variables` are the operator's own, in lower case."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("SLKV_")}
    defaults = {
        "replica_image": "localhost/sharedlogkv-absent:0",
        "http_host": "127.0.0.1",
        "http_port": 0,
        "resync_seconds": CALM_SECONDS,
    }
    ours = {f"SLKV_OPERATOR_{key.upper()}": str(value) for key, value in {**defaults, **variables}.items()}
    return {**inherited, "KUBECONFIG": str(kubeconfig), **ours}


@asynccontextmanager
async def running(kubeconfig: Path | str, **variables: object) -> AsyncIterator[Running]:
    """An operator that listens; killed in the end, if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sharedlogkv_operator"),
        env=environment_of(kubeconfig, **variables),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    started = json.loads(await process.stdout.readline())
    assert started["message"] == "started"
    operator = Running(process, started["http_port"], [started])
    reading = asyncio.create_task(read_lines(process.stdout, operator.lines))
    try:
        yield operator
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


async def read_lines(stream: asyncio.StreamReader, lines: list[Manifest]) -> None:
    while line := await stream.readline():
        lines.append(json.loads(line))
