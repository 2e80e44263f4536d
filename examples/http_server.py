"""The standard library's HTTP request handler over a fastnet socket, and the kernel's own client to try it. As root.

Whole programs that open their sockets themselves run under ``fastnet.patched()``: docs/doors.md.
"""

import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler

from fastnet.driver import Driver
from fastnet.netns import Namespace
from fastnet.socket import Socket, create_server
from fastnet.stack import Stack


class Handler(BaseHTTPRequestHandler):
    """Says what it was asked for, by whom, and over what."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = f"{self.path} for {self.client_address[0]}, from a connection in {self.request.state.name}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        print("served:", format % arguments)


def serve(listener: Socket) -> None:
    """One connection, as many requests as it brings."""
    connection, peer = listener.accept()
    with connection:
        Handler(connection, peer, None)


def main() -> None:
    """Serve two requests over one connection."""
    with (
        Namespace() as namespace,
        Driver(Stack(namespace.add_tun(), ("198.18.0.2",))) as driver,
        create_server(driver, ("198.18.0.2", 80)) as listener,
    ):
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        client = HTTPConnection("198.18.0.2", timeout=10)
        for path in ("/first", "/second"):
            client.request("GET", path)
            print(client.getresponse().read().decode(), end="")
        client.close()
        server.join()


if __name__ == "__main__":
    main()
