"""Ports for servers that cannot be handed a socket, or that are killed and come back to the port they had."""

import socket


def reserved() -> socket.socket:
    """Holds a port of 127.0.0.1 until it is closed: the system gives it to nobody who asks for any, and nobody is
    answered there but by a server that is told this port.

    Bound and not listened at, so a socket that is reused as this one is (SO_REUSEADDR, as servers set it) may listen.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder


def port_of(holder: socket.socket) -> int:
    port: int = holder.getsockname()[1]
    return port
