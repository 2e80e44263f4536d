"""The standard library's HTTP request handler over a fastnet socket, and the kernel's own client to try it. As root.

All that ``http.server`` wants of a socket is a stream to read and one to write.
"""

import io
import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler

from fastnet.driver import Driver
from fastnet.netns import Namespace
from fastnet.socket import Socket, create_server
from fastnet.stack import Stack


class Stream(io.RawIOBase):
    """A socket as a stream."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        return self.socket.recv_into(buffer)

    def write(self, data: bytes) -> int:
        self.socket.sendall(data)
        return len(data)


class Handler(BaseHTTPRequestHandler):
    """Says what it was asked for, by whom, and over what."""

    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        self.connection = self.request
        self.wfile = Stream(self.request)
        self.rfile = io.BufferedReader(self.wfile)

    def finish(self) -> None:
        self.request.close()

    def do_GET(self) -> None:
        body = f"{self.path} for {self.client_address[0]}, from a connection in {self.request.state.name}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        print("served:", format % arguments)


def main() -> None:
    """Serve two requests over one connection."""
    with Namespace() as namespace, Driver(Stack(namespace.add_tun(), ("198.18.0.2",))) as driver:
        listener = create_server(driver, ("198.18.0.2", 80))
        server = threading.Thread(target=lambda: Handler(*listener.accept(), None))
        server.start()
        client = HTTPConnection("198.18.0.2", timeout=10)
        for path in ("/first", "/second"):
            client.request("GET", path)
            print(client.getresponse().read().decode(), end="")
        client.close()
        server.join()


if __name__ == "__main__":
    main()
