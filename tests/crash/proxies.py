"""Small TCP proxies: what goes through them can be cut."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

Target = str | tuple[str, int]  # a unix socket, or host and port


class Proxy:
    """Passes bytes between a port of its own and the target; while it is cut, nobody gets through."""

    def __init__(self, name: str, target: Target) -> None:
        self.name, self.target = name, target
        self.port = 0
        self.is_cut = False
        self.server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def serve(self) -> None:
        self.server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers, ways = [writer], list[asyncio.Task[None]]()
        self._open.add(writer)
        try:
            if self.is_cut:
                return
            if isinstance(self.target, str):
                there, back = await asyncio.open_unix_connection(self.target)
            else:
                there, back = await asyncio.open_connection(*self.target)
            writers.append(back)
            self._open.add(back)
            ways = [asyncio.create_task(_copy(reader, back)), asyncio.create_task(_copy(there, writer))]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            pass
        finally:
            for way in ways:
                way.cancel()
            for each in writers:
                self._open.discard(each)
                each.close()

    def cut(self) -> None:
        self.is_cut = True
        for writer in list(self._open):
            writer.transport.abort()

    def mend(self) -> None:
        self.is_cut = False


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


class Proxies:
    """All of them, in a thread of their own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.all: dict[str, Proxy] = {}
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def add(self, name: str, target: Target) -> int:
        """Begin to pass; return the port."""
        proxy = self.all[name] = Proxy(name, target)
        asyncio.run_coroutine_threadsafe(proxy.serve(), self.loop).result(10)
        return proxy.port

    def cut(self, name: str) -> None:
        self.loop.call_soon_threadsafe(self.all[name].cut)

    def mend(self, name: str) -> None:
        self.loop.call_soon_threadsafe(self.all[name].mend)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()

    async def _close(self) -> None:
        for proxy in self.all.values():
            if proxy.server is not None:
                proxy.server.close()
            proxy.cut()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        if rest:
            await asyncio.wait(rest, timeout=5)
