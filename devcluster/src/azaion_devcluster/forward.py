"""Carries connections from the machine's loopback to the API server in the cluster's network namespace.

The listening socket is opened on the machine and handed in: a socket stays in the network namespace it was
made in, so accepting reaches outside and connecting reaches inside.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from azaion_devcluster import node

if TYPE_CHECKING:
    import socket

_CHUNK = 1 << 16


async def serve(listener: socket.socket) -> None:
    """Serves for ever."""
    server = await asyncio.start_server(_carry, sock=listener)
    async with server:
        await server.serve_forever()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", node.API_PORT)
    except OSError:
        writer.close()
        return
    try:
        async with asyncio.TaskGroup() as both_ways:
            both_ways.create_task(_pump(reader, inner_writer))
            both_ways.create_task(_pump(inner_reader, writer))
    finally:
        for end in (writer, inner_writer):
            end.close()
            with contextlib.suppress(OSError):
                await end.wait_closed()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await source.read(_CHUNK):
            sink.write(chunk)
            await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()
