"""Running a server over one log: `graven serve`.

    port bound (taken = refused, before anything is signed) → answers 503 while the log is opened and checked
    → control socket bound → "listening on …" → serves until SIGTERM or SIGINT
    → new requests refused, those at work finished → control socket removed → the log closed, its stop recorded

The TCP port and the control socket are two uvicorn servers on one loop, each with an application and a protocol of its
own. Signals, sockets and order are this file's business, not uvicorn's.
"""

import asyncio
import contextlib
import resource
import socket
import ssl
import sys
from asyncio import Protocol
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uvloop
from msgspec import structs

from graven.app import Log
from graven.config import CONFIG_NAME, Config, load_config
from graven.core.errors import Busy, GravenError
from graven.journal.files import Files
from graven.runtime.handshake import Gate
from graven.runtime.process import return_large_buffers, settle_collector
from graven.runtime.serving import Uvicorn, address_of, on_signals
from graven.runtime.telemetry import get_logger, set_up_logging
from graven.server import protocol
from graven.server.access import TokenAccess
from graven.server.control_client import SOCKET_NAME
from graven.server.copying import CopyProcess
from graven.server.doors import Door, control_door, network_door
from graven.server.express import ExpressHttp
from graven.server.live import Live, stopped
from graven.server.protocol import BoundedHttp, ControlHttp
from graven.server.senders import register_senders, senders_of
from graven.server.shippers.webhooks import Hook, load_hooks
from graven.server.sockets import BACKLOG, SyslogSockets, bind, bind_control, bind_syslog, tls_context
from graven.server.syslog import SyslogDoor, syslog_tls

KEEP_ALIVE_S = 60
STOP_S_MAX = 30
SWEEP_S = 5.0
HANDSHAKES_MAX = 1024
HANDSHAKE_S_MAX = 10.0
SAVE_USES_S = 60.0

logger = get_logger("serve")


@dataclass(frozen=True, slots=True)
class Running:
    """A server that listens. `stop` may be called from any thread, with the reason that goes into the log.

    `syslog`: the addresses of syslog, as `syslog://…` (UDP and TCP) and `syslog+tls://…`.
    """

    url: str
    stop: Callable[[str], None]
    syslog: tuple[str, ...] = ()


def run(
    directory: Path,
    config: Config | None = None,
    *,
    listen: str | None = None,
    syslog: str | None = None,
    ready: Callable[[Running], None] | None = None,
    files: Files | None = None,
    lock_wait_s: float = 10.0,
    config_file: Path | None = None,
) -> None:
    """Serve the log in `directory` until told to stop. `listen` and `syslog` go before the configuration's.

    `ready` is called once, when the server listens and the log is open; without it, the address is printed. `files`
    and `lock_wait_s` are those of `Log.open`; `config_file` is where `config` was read, if not in `directory`.

    Raises:
        BadInput: no log, a port that is taken or not allowed, TLS files that do not fit.
        Broken, Disproved: as `Log.open`; and what stopped the writer, if something did while it served.
    """
    config = config or load_config(directory / CONFIG_NAME)
    set_up_logging(config.log.level)
    return_large_buffers()
    if syslog is not None:
        config = structs.replace(config, syslog=structs.replace(config.syslog, listen=syslog))
    tls, hooks, syslog_context = tls_context(config), load_hooks(config.webhooks), syslog_tls(config.syslog)
    with contextlib.ExitStack() as bound:
        listener = bound.enter_context(bind(listen or config.server.listen))
        sockets = bind_syslog(config.syslog, bound)
        runner = bound.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        opening = partial(Log.open, directory, config, files=files, lock_wait_s=lock_wait_s, serve=True)
        copying = CopyProcess(directory, config, config_file)
        one = _Serving(directory, config, listener, tls, hooks, ready or _announce, opening, copying)
        one.syslog = sockets, syslog_context
        runner.run(one.run())


def _http(
    door: Door, http: type[BoundedHttp], gate: Callable[[socket.socket, Callable[[], Protocol]], Gate] | None = None
) -> Uvicorn:
    return Uvicorn(
        door,
        gate=gate,
        http=http,
        loop="uvloop",
        log_level="error",
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_S_MAX,
    )


def _gate(
    context: ssl.SSLContext, live: Live, waiting_max: int, listener: socket.socket, make: Callable[[], Protocol]
) -> Gate:
    lost = partial(live.metrics.http_lost.add, 1)
    gate = Gate(listener, context, make, waiting_max=waiting_max, lost=lost, seconds_max=HANDSHAKE_S_MAX)
    live.metrics.watch("graven_http_handshakes", "TLS handshakes of the HTTP door at work.", lambda: gate.waiting)
    return gate


class _Serving:
    """One run, from the bound port to the closed log."""

    def __init__(
        self,
        directory: Path,
        config: Config,
        listener: socket.socket,
        tls: ssl.SSLContext | None,
        hooks: Mapping[str, Hook],
        ready: Callable[[Running], None],
        opening: Callable[..., Log],
        copying: CopyProcess,
    ) -> None:
        self._directory, self._config, self._listener, self._tls = directory, config, listener, tls
        self._hooks, self._ready, self._opening, self._copying = hooks, ready, opening, copying
        self.syslog: tuple[SyslogSockets, ssl.SSLContext | None] = SyslogSockets(), None
        self._door: SyslogDoor | None = None
        self._servers: list[tuple[Uvicorn, asyncio.Task[None]]] = []
        self._told = asyncio.Event()
        self._reason = "stopped"

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        live = Live(self._directory, self._config)
        access = TokenAccess(self._directory / "state")
        on_signals(self._tell)
        files_max = _raise_file_limit()
        BoundedHttp.connections_max = min(protocol.CONNECTIONS_MAX, files_max // 2)
        BoundedHttp.lost = partial(live.metrics.http_lost.add, 1)
        gate = None if self._tls is None else partial(_gate, self._tls, live, min(HANDSHAKES_MAX, files_max // 8))
        self._start(_http(network_door(live, access, self._hooks), ExpressHttp, gate), self._listener)
        sweeper = loop.create_task(self._sweep(live, access))
        try:
            await self._servers[0][0].up.wait()
            log = await asyncio.to_thread(self._opening, give_up=self._told.is_set)
            try:
                await asyncio.to_thread(register_senders, log, senders_of(self._config, syslog=self._has_syslog))
                live.adopt(log, loop)
                self._copying.start()
                await self._begin_syslog(live, loop)
                if not self._told.is_set():
                    await self._serve(live, access)
            finally:
                live.stopping = True
                await self._stop_servers(live)
                if self._door is not None:
                    await self._door.end()
                try:
                    await asyncio.to_thread(self._close, log, access)
                finally:
                    await asyncio.to_thread(self._copying.finish)
            if (error := stopped(log)) is not None:
                raise error
        except Busy:
            if not self._told.is_set():  # else: told to stop while it waited for witnesses
                raise
        finally:
            live.stopping = True
            await self._stop_servers(live)
            sweeper.cancel()
            live.close()

    async def _serve(self, live: Live, access: TokenAccess) -> None:
        """From the open log to the order to stop."""
        loop = asyncio.get_running_loop()
        control = _http(control_door(live, access.uses), ControlHttp)
        self._start(control, bind_control(self._directory / "state"))
        await control.up.wait()
        url = _url(self._listener, secure=self._tls is not None)
        logger.info(
            "listening", extra={"fields": {"url": url, "origin": self._config.origin, "size": live.opened().size}}
        )

        def stop(reason: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: it has stopped
                loop.call_soon_threadsafe(self._tell, reason)

        settle_collector()
        self._ready(Running(url, stop, self._syslog_urls()))
        await self._told.wait()
        logger.info("stopping", extra={"fields": {"reason": self._reason}})

    @property
    def _has_syslog(self) -> bool:
        sockets, _ = self.syslog
        return sockets.tcp is not None or sockets.tls is not None

    async def _begin_syslog(self, live: Live, loop: asyncio.AbstractEventLoop) -> None:
        if self._has_syslog:
            sockets, context = self.syslog
            self._door = SyslogDoor(live, self._config.syslog, loop)
            await self._door.begin(tcp=sockets.tcp, udp=sockets.udp, tls=sockets.tls, context=context)

    def _start(self, server: Uvicorn, listener: socket.socket) -> None:
        self._servers.append((server, asyncio.get_running_loop().create_task(server.serve(sockets=[listener]))))

    def _syslog_urls(self) -> tuple[str, ...]:
        sockets, _ = self.syslog
        found = [("syslog", sockets.tcp), ("syslog+tls", sockets.tls)]
        return tuple(f"{scheme}://{address_of(one)}" for scheme, one in found if one is not None)

    def _tell(self, reason: str) -> None:
        if self._told.is_set():  # told twice: wait for nobody any more
            for server, _ in self._servers:
                server.force_exit = True
        else:
            self._reason = reason
        self._told.set()

    async def _stop_servers(self, live: Live) -> None:
        """Refuse what is not wholly here, finish what is, accept no more."""
        servers, self._servers = self._servers, []
        error = Busy("the server is stopping", retry_after_s=5, mend="send again when it is back")
        for server, _ in servers:
            server.should_exit = True
            for connection in list(server.server_state.connections):
                if isinstance(connection, BoundedHttp):
                    connection.refuse_unfinished(error)
        if live.log is not None and (len(live.publications) or len(live.stampings)):
            with contextlib.suppress(GravenError):
                await asyncio.to_thread(live.log.publish)
            await asyncio.sleep(0)
            live.give_up()
        for _, task in servers:
            await task

    def _close(self, log: Log, access: TokenAccess) -> None:
        with contextlib.suppress(OSError):
            (self._directory / "state" / SOCKET_NAME).unlink()
        access.uses.save()
        log.close(self._reason)

    async def _sweep(self, live: Live, access: TokenAccess) -> None:
        loop = asyncio.get_running_loop()
        saved_s, told_of = loop.time(), False
        while True:
            await asyncio.sleep(SWEEP_S)
            now_s = loop.time()
            for server, _ in self._servers:
                for connection in list(server.server_state.connections):
                    if isinstance(connection, BoundedHttp):
                        connection.sweep(now_s)
            live.sweep()
            if live.log is not None and not live.stopping:
                with contextlib.suppress(GravenError):
                    await asyncio.to_thread(live.watch.sweep, live.log)
            if self._door is not None:
                await self._door.sweep(now_s)
            if now_s - saved_s >= SAVE_USES_S:
                saved_s = now_s
                await asyncio.to_thread(access.uses.save)
            if live.log is not None and not told_of and (error := stopped(live.log)) is not None:
                told_of = True
                logger.error("the log takes no more events", extra={"fields": {"why": str(error)}})


def _announce(running: Running) -> None:
    sys.stdout.write("".join(f"listening on {url}\n" for url in (running.url, *running.syslog)))
    sys.stdout.flush()


def _url(listener: socket.socket, *, secure: bool) -> str:
    return f"{'https' if secure else 'http'}://{address_of(listener)}"


def _raise_file_limit() -> int:
    """A connection is a file: as many as the system lets us have. Returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return soft if soft != resource.RLIM_INFINITY else 1 << 20
