"""Looking at a lab's services from within its network, without leaving this process."""

import ctypes
import http.client
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

CLONE_NEWNET = 0x40000000


def enter_network(namespace: Path) -> None:
    """Move the calling thread, and threads it starts later, into a network namespace.

    Raises:
        OSError: no such namespace, or not allowed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    with namespace.open("rb") as file:
        if libc.setns(file.fileno(), CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(namespace))


class Window:
    """A view into one network: its connections are made there, whatever network the caller is in.

    A socket belongs to the network it was made in, so only its making needs the thread that has entered.
    `namespace` None is the caller's own network.
    """

    def __init__(self, namespace: Path | None) -> None:
        initializer = (lambda: enter_network(namespace)) if namespace else None
        self._threads = ThreadPoolExecutor(1, initializer=initializer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown()

    def connect(self, address: str, port: int, *, timeout: float = 1.0) -> socket.socket:
        """Return a TCP connection made within the network.

        Raises:
            OSError: nobody listens, or no answer in `timeout` seconds.
        """
        return self._threads.submit(socket.create_connection, (address, port), timeout).result()

    def get(self, address: str, port: int, path: str, *, timeout: float = 2.0) -> tuple[int, str]:
        """Return status and body of an HTTP GET.

        Raises:
            OSError, http.client.HTTPException: no proper answer.
        """
        connection = http.client.HTTPConnection(address, port, timeout=timeout)
        try:
            connection.sock = self.connect(address, port, timeout=timeout)
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def banner(self, address: str, port: int) -> str:
        """Return the first line that a server says by itself, as SSH does."""
        with self.connect(address, port) as connection, connection.makefile("rb") as file:
            return file.readline().decode(errors="replace").strip()
