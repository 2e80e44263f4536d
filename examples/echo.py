"""An echo server with blocking sockets, a thread for each client, and the kernel's own clients to try it. As root.

``fastnet.socket`` has the standard library's calls, timeouts and errors: the server would run on the kernel's sockets as it stands.
"""

import socket as kernel
import threading

from fastnet.driver import Driver
from fastnet.netns import Namespace
from fastnet.socket import Socket, create_server
from fastnet.stack import Stack

CLIENTS = 3


def serve(listener: Socket) -> None:
    """Accept so many clients, each with a thread of its own."""
    for _ in range(CLIENTS):
        connection, peer = listener.accept()
        threading.Thread(target=echo, args=(connection, peer)).start()


def echo(connection: Socket, peer: tuple[str, int]) -> None:
    with connection:
        total = 0
        while data := connection.recv(4096):
            connection.sendall(data)
            total += len(data)
        print(f"{peer[0]}: {total} bytes, then a FIN")


def main() -> None:
    """Serve three clients of the kernel's, one after another."""
    with Namespace() as namespace, Driver(Stack(namespace.add_tun(), ("198.18.0.2",))) as driver:
        listener = create_server(driver, ("198.18.0.2", 7))
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        for n in range(CLIENTS):
            with kernel.create_connection(("198.18.0.2", 7), timeout=10) as client:
                client.sendall(b"hello" * (n + 1))
                client.shutdown(kernel.SHUT_WR)
                print("back:", b"".join(iter(lambda client=client: client.recv(4096), b"")).decode())
        server.join()


if __name__ == "__main__":
    main()
