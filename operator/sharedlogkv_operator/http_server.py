"""The operator's HTTP port: /healthz for liveness, /readyz for readiness, /metrics for Prometheus."""

from collections.abc import Awaitable, Callable

from aiohttp import web

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class HttpServer:
    """Answers probes and scrapes."""

    def __init__(
        self,
        *,
        find_stall: Callable[[], str | None],
        find_unreadiness: Callable[[], str | None],
        render_metrics: Callable[[], bytes],
    ) -> None:
        """Listens on nothing yet.

        Args:
            find_stall: why the operator is stuck and should be restarted; None while it is not.
            find_unreadiness: why it does not work yet; None when it does.
            render_metrics: the metrics, in Prometheus's text format.
        """
        application = web.Application()
        application.router.add_get("/healthz", _probe(find_stall))
        application.router.add_get("/readyz", _probe(find_unreadiness))
        application.router.add_get("/metrics", _metrics(render_metrics))
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False)

    async def start(self, host: str, port: int) -> int:
        """Listens there; the port, which is another where 0 was asked for.

        Raises:
            OSError: the address can't be listened on.
        """
        await self._runner.setup()
        site = web.TCPSite(self._runner, host or None, port)
        await site.start()
        address: tuple[object, ...] = self._runner.addresses[0]
        assert isinstance(address[1], int)
        return address[1]

    async def close(self) -> None:
        """Listens no more."""
        await self._runner.cleanup()


def _probe(find_problem: Callable[[], str | None]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        problem = find_problem()
        return web.Response(text=f"{problem or 'ok'}\n", status=503 if problem else 200)

    return answer


def _metrics(render: Callable[[], bytes]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=render(), headers={"Content-Type": METRICS_TYPE})

    return answer
