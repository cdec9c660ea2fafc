"""`host:port` of a peer: reading it, writing it, and finding one's own."""

import ipaddress
import socket


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[IPv6 address]:port`.

    Raises:
        ValueError: it has another form.
    """
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    if not colon or not host or (":" in host and not bracketed) or not (port.isascii() and port.isdigit()):
        raise ValueError("must be host:port, an IPv6 address in brackets")
    if not 0 < int(port) <= 65535:
        raise ValueError("the port must be from 1 to 65535")
    return host, int(port)


def complete_address(text: str, *, port: int) -> str:
    """`host:port` of a text that may be the host alone, as a pod learns its own address; `port` is for that case.

    Raises:
        ValueError: it is neither.
    """
    if text.count(":") > 1 and not text.startswith("["):
        return format_address(str(ipaddress.IPv6Address(text)), port)
    complete = text if ":" in text.rpartition("]")[2] else f"{text}:{port}"
    parse_address(complete)
    return complete


def format_address(host: str, port: int) -> str:
    """The text of which `parse_address` makes `host` and `port`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def own_address(host: str | None, port: int) -> str:
    """`host:port` by which other machines reach a server that listens at `port` of `host` (None: all addresses).

    Without a host it is the address that the machine's own name resolves to, as in a pod; this machine alone finds
    itself where the name does not resolve.
    """
    if host is None:
        try:
            host = str(socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)[0][4][0])
        except OSError:
            host = "127.0.0.1"
    return format_address(host, port)
