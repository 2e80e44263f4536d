"""The event loop over TUN: servers and clients that know nothing of it, and the kernel's stack as their peer."""

import asyncio
import contextlib
import http.server
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import aiohttp
import httpx
import pytest
import trustme
import uvicorn
import websockets.asyncio.client
import websockets.asyncio.server
import websockets.sync.client
import websockets.sync.server
from aiohttp import web

from fastnet.aio import EventLoop, Transport, new_event_loop
from fastnet.ambient import Ambient, as_environment, from_environment
from fastnet.config import Settings
from fastnet.driver import Driver
from fastnet.netns import Namespace
from fastnet.socket import Socket
from fastnet.stack import Stack

STACK = "198.18.0.2"
KERNEL = "198.18.0.1"

Run = Callable[[Callable[[], Awaitable[Any]]], Any]


@pytest.fixture
def run(namespace: Namespace) -> Iterator[Run]:
    """Runs a program on a loop of ours, in a namespace whose kernel is its peer."""
    stack = Stack(namespace.add_tun(offload=True), (STACK, "198.18.0.3"))
    with asyncio.Runner(loop_factory=lambda: new_event_loop(Ambient(Driver(stack)))) as runner:

        async def limited(main: Callable[[], Awaitable[Any]]) -> Any:
            return await asyncio.wait_for(main(), 60)

        yield lambda main: runner.run(limited(main))


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers with what it got; over a WebSocket too."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"][::-1]})
        return
    assert scope["type"] == "http"
    body = b""
    while (message := await receive()).get("body") or message.get("more_body"):
        body += message["body"]
        if not message.get("more_body"):
            break
    headers = [(b"x-client", str(scope["client"][0]).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body or b"hello"})


@contextlib.asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[None]:
    """uvicorn, on the running loop."""
    server = uvicorn.Server(uvicorn.Config(app, host=STACK, port=80, lifespan="off", log_level="warning", **options))
    task = asyncio.create_task(server.serve())
    while not server.started:
        assert not task.done()
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        await task


class Greeter(http.server.BaseHTTPRequestHandler):
    """The kernel's side of what our clients talk to."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = f"hello {self.client_address[0]}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def greeter(namespace: Namespace) -> Iterator[None]:
    """An HTTP server on the kernel's port 80. A thread is in its maker's namespace."""
    with http.server.ThreadingHTTPServer((KERNEL, 80), Greeter) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield
        server.shutdown()
        thread.join()


# ---- servers ----


@pytest.mark.parametrize("http_kind", ["httptools", "h11"])
def test_uvicorn(run: Run, http_kind: str) -> None:
    def client() -> None:
        with httpx.Client(base_url=f"http://{STACK}", timeout=20) as session:
            for _ in range(20):
                answer = session.get("/")
                assert answer.text == "hello" and answer.headers["x-client"] == KERNEL
            body = os.urandom(3_000_000)
            assert session.post("/", content=body).content == body
        # One connection for each request.
        for _ in range(5):
            assert httpx.get(f"http://{STACK}/", headers={"Connection": "close"}).text == "hello"

    async def main() -> None:
        async with serving(http=http_kind):
            await asyncio.to_thread(client)

    run(main)


def test_uvicorn_with_tls(run: Run, authority: trustme.CA, tmp_path: pathlib.Path) -> None:
    certificate = authority.issue_cert(STACK)
    chain = tmp_path / "chain.pem"
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(str(chain), append=True)
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    def client() -> None:
        with httpx.Client(base_url=f"https://{STACK}:80", timeout=20, verify=trusting) as session:
            body = os.urandom(1_000_000)
            for _ in range(3):
                assert session.post("/", content=body).content == body

    async def main() -> None:
        async with serving(ssl_certfile=str(chain), ssl_keyfile=str(tmp_path / "key.pem")):
            await asyncio.to_thread(client)

    run(main)


def test_uvicorn_with_websockets(run: Run) -> None:
    def client() -> None:
        with websockets.sync.client.connect(f"ws://{STACK}:80/") as socket:
            for text in ("abc", "x" * 100_000):
                socket.send(text)
                assert socket.recv(timeout=20) == text[::-1]

    async def main() -> None:
        async with serving(ws="websockets-sansio"):
            await asyncio.to_thread(client)

    run(main)


def test_aiohttp_as_a_server(run: Run, tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_bytes(bytes(range(256)) * 4096)

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text=f"hello {request.remote}")

    async def file(request: web.Request) -> web.FileResponse:
        return web.FileResponse(tmp_path / "file")

    def client() -> None:
        with httpx.Client(base_url=f"http://{STACK}", timeout=20) as session:
            for _ in range(5):
                assert session.get("/").text == f"hello {KERNEL}"
            assert session.get("/file").content == bytes(range(256)) * 4096

    async def main() -> None:
        application = web.Application()
        application.add_routes([web.get("/", hello), web.get("/file", file)])
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, STACK, 80).start()
        await asyncio.to_thread(client)
        await runner.cleanup()

    run(main)


def test_websockets_as_a_server(run: Run) -> None:
    async def reverse(connection: websockets.asyncio.server.ServerConnection) -> None:
        async for message in connection:
            await connection.send(message[::-1])

    def client() -> None:
        with websockets.sync.client.connect(f"ws://{STACK}:80/") as socket:
            socket.send("abc" * 50_000)
            assert socket.recv(timeout=20) == "cba" * 50_000

    async def main() -> None:
        async with websockets.asyncio.server.serve(reverse, STACK, 80):
            await asyncio.to_thread(client)

    run(main)


def test_hundreds_of_clients_at_once(run: Run) -> None:
    """They come from the kernel, on a loop of asyncio's own in a thread; all are connected before the first speaks."""

    async def clients() -> None:
        connections = [await asyncio.open_connection(STACK, 80) for _ in range(300)]
        for _ in range(3):
            for _, writer in connections:
                writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            for reader, _ in connections:
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
                assert (await reader.readuntil(b"0\r\n\r\n")).endswith(b"hello\r\n0\r\n\r\n")
        for _, writer in connections:
            writer.close()

    async def main() -> None:
        async with serving():
            await asyncio.to_thread(asyncio.run, clients())

    run(main)


def test_what_is_written_last_leaves_before_the_loop_stops(run: Run) -> None:
    """The kernel sends in the call; here it is the end of the run that sends."""

    class Greets(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            transport.write(b"hello")
            greeted.set()

    async def main() -> socket.socket:
        await asyncio.get_running_loop().create_server(Greets, STACK, 80)
        client = await asyncio.to_thread(socket.create_connection, (STACK, 80), 20)
        await greeted.wait()
        return client

    greeted = asyncio.Event()
    with run(main) as client:
        assert client.recv(100) == b"hello"


def test_busy_polling_serves_like_sleeping(namespace: Namespace) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    def client() -> None:
        with socket.create_connection((STACK, 80), timeout=20) as kernels:
            for i in range(200):
                kernels.sendall(b"%d" % i)
                assert kernels.recv(100) == b"%d" % i

    async def main() -> None:
        async with await asyncio.start_server(echo, STACK, 80):
            await asyncio.to_thread(client)
            # And it does not keep timers or other descriptors from their turn.
            await asyncio.sleep(0.01)

    stack = Stack(namespace.add_tun(), (STACK,))
    with asyncio.Runner(loop_factory=lambda: new_event_loop(Ambient(Driver(stack)), busy_poll=0.001)) as runner:
        runner.run(asyncio.wait_for(main(), 60))


# ---- clients ----


def test_httpx_as_a_client(run: Run, greeter: None) -> None:
    async def main() -> None:
        async with httpx.AsyncClient(timeout=20) as client:
            answers = await asyncio.gather(*(client.get(f"http://{KERNEL}/") for _ in range(20)))
            assert {answer.text for answer in answers} == {f"hello {STACK}"}

    run(main)


def test_aiohttp_as_a_client(run: Run, greeter: None) -> None:
    """It makes a kernel's socket and has the loop connect it; the peer sees the stack's address all the same."""

    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            for _ in range(3):
                async with session.get(f"http://{KERNEL}/") as answer:
                    assert await answer.text() == f"hello {STACK}"
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get(f"http://{KERNEL}:81/")

    run(main)


def test_websockets_as_a_client(run: Run, namespace: Namespace) -> None:
    def reverse(connection: websockets.sync.server.ServerConnection) -> None:
        for message in connection:
            connection.send(message[::-1])

    with websockets.sync.server.serve(reverse, KERNEL, 80) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()

        async def main() -> None:
            async with websockets.asyncio.client.connect(f"ws://{KERNEL}:80/") as connection:
                await connection.send("abc")
                assert await connection.recv() == "cba"
                assert isinstance(connection.transport, Transport)

        run(main)
        server.shutdown()
        thread.join()


def test_start_tls(run: Run, authority: trustme.CA, namespace: Namespace) -> None:
    """A kernel's client begins in the clear and goes over to TLS, and so does ours."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("fastnet.test").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async def upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"go ahead\n")
        await writer.start_tls(context)
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    def client() -> None:
        with socket.create_connection((STACK, 80), timeout=20) as plain:
            plain.sendall(b"STARTTLS\n")
            assert plain.recv(100) == b"go ahead\n"
            with trusting.wrap_socket(plain, server_hostname="fastnet.test") as secret:
                secret.sendall(b"secret\n")
                assert secret.recv(100) == b"SECRET\n"

    async def main() -> None:
        async with await asyncio.start_server(upgrade, STACK, 80):
            await asyncio.to_thread(client)

    run(main)


def test_tls_between_our_client_and_the_kernels_server(run: Run, authority: trustme.CA, namespace: Namespace) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("fastnet.test").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    def server(listener: socket.socket) -> None:
        plain, _ = listener.accept()
        with context.wrap_socket(plain, server_side=True) as secret:
            total = 0
            while chunk := secret.recv(65536):
                total += len(chunk)
                if total == 1_000_000:
                    secret.sendall(b"all there")
                    break

    async def main() -> None:
        with socket.create_server((KERNEL, 443)) as listener:
            listener.settimeout(20)
            serving = asyncio.create_task(asyncio.to_thread(server, listener))
            reader, writer = await asyncio.open_connection(KERNEL, 443, ssl=trusting, server_hostname="fastnet.test")
            assert writer.get_extra_info("peercert") and writer.get_extra_info("cipher")
            writer.write(b"x" * 1_000_000)
            assert await reader.readexactly(9) == b"all there"
            await serving
            writer.close()

    run(main)


# ---- what is whose ----


def test_the_kernels_things_are_as_ever(run: Run, tmp_path: pathlib.Path) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for server, connect in (
            (await asyncio.start_server(echo, "127.0.0.1", 8080), lambda: asyncio.open_connection("127.0.0.1", 8080)),
            (await asyncio.start_server(echo, "localhost", 8081), lambda: asyncio.open_connection("localhost", 8081)),
            (
                await asyncio.start_unix_server(echo, str(tmp_path / "socket")),
                lambda: asyncio.open_unix_connection(str(tmp_path / "socket")),
            ),
        ):
            reader, writer = await connect()
            assert not isinstance(writer.transport, Transport)
            writer.write(b"line\n")
            assert await reader.readline() == b"line\n"
            writer.close()
            await writer.wait_closed()
            server.close()
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", "print(6 * 7)", stdout=subprocess.PIPE)
        assert (await child.communicate())[0] == b"42\n"
        signalled = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, signalled.set)
        os.kill(os.getpid(), signal.SIGUSR1)
        await signalled.wait()
        loop.remove_signal_handler(signal.SIGUSR1)
        assert await asyncio.to_thread(lambda: 7) == 7
        began = loop.time()
        await asyncio.sleep(0.05)
        assert loop.time() - began >= 0.05
        threading.Timer(0.05, loop.call_soon_threadsafe, [signalled.clear]).start()
        while signalled.is_set():
            await asyncio.sleep(0.01)

    run(main)


def test_one_server_on_both_stacks(run: Run) -> None:
    async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello\n")
        writer.close()

    def fetch(host: str) -> bytes:
        with socket.create_connection((host, 80), timeout=20) as client:
            return client.recv(100)

    async def main() -> None:
        server = await asyncio.start_server(hello, [STACK, "127.0.0.1", "198.18.0.3"], 80)
        assert len(server.sockets) == 3
        for host in (STACK, "127.0.0.1", "198.18.0.3"):
            assert await asyncio.to_thread(fetch, host) == b"hello\n"
        server.close()
        await server.wait_closed()
        # The wildcard is the stack's.
        server = await asyncio.start_server(hello, None, 80)
        assert await asyncio.to_thread(fetch, STACK) == b"hello\n"
        with pytest.raises(ConnectionRefusedError):
            await asyncio.to_thread(fetch, "127.0.0.1")
        server.close()

    run(main)


def test_sockets_of_the_same_stack(run: Run) -> None:
    """loop.sock_accept() and its kin, over fastnet's sockets."""

    def client() -> bytes:
        with socket.create_connection((STACK, 80), timeout=20) as kernels:
            kernels.sendall(b"question")
            kernels.shutdown(socket.SHUT_WR)
            answer = b""
            while chunk := kernels.recv(65536):
                answer += chunk
            return answer

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        driver = loop.ambient.driver
        with Socket(driver) as listener, socket.create_server((KERNEL, 80)) as kernels, Socket(driver) as opening:
            listener.setblocking(False)
            listener.bind((STACK, 80))
            listener.listen()
            asking = asyncio.create_task(asyncio.to_thread(client))
            accepted, _ = await loop.sock_accept(listener)
            with accepted:
                assert await loop.sock_recv(accepted, 100) == b"question"
                assert await loop.sock_recv(accepted, 100) == b""
                await loop.sock_sendall(accepted, b"a" * 3_000_000)
            assert await asking == b"a" * 3_000_000
            opening.setblocking(False)
            await loop.sock_connect(opening, (KERNEL, 80))
            peer, address = await asyncio.to_thread(kernels.accept)
            with peer:
                assert address[0] == STACK
                await loop.sock_sendall(opening, b"hello")
                assert await asyncio.to_thread(peer.recv, 100) == b"hello"
                reader, writer = await asyncio.open_connection(sock=opening)
                writer.write(b"more")
                assert await asyncio.to_thread(peer.recv, 100) == b"more"
                peer.sendall(b"answer")
                assert await reader.readexactly(6) == b"answer"
                writer.close()
                await writer.wait_closed()

    run(main)


def test_a_loop_needs_a_stack_only_for_what_is_its(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASTNET_TUN", raising=False)

    async def main() -> None:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b""
        writer.close()
        server.close()
        with pytest.raises(ValueError, match="fastnet run -- COMMAND"):
            await asyncio.open_connection("198.18.0.1", 80)
        monkeypatch.setenv("FASTNET_TUN", "no/such device")
        with pytest.raises(ValueError, match="interface name"):
            await asyncio.start_server(lambda reader, writer: None, None, 80)

    with asyncio.Runner(loop_factory=EventLoop) as runner:
        runner.run(main())


def test_what_can_be_no_loops_stack(namespace: Namespace) -> None:
    with Driver(Stack(namespace.add_tun(), (STACK,))) as driver, pytest.raises(ValueError, match="thread of its own"):
        EventLoop(Ambient(driver))


def test_the_environment_describes_a_stack(namespace: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(tcp_rmem=(4096, 100_000, 200_000), somaxconn=7, tcp_congestion_control="reno")
    for name, value in as_environment("fastnet7", (STACK, "198.18.0.3"), settings, 9000, False).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FASTNET_NETWORKS", "198.18.0.0/24, 198.19.0.0/16")
    ambient = from_environment()
    stack = ambient.driver.stack
    assert stack.settings == settings and stack.addresses == (STACK, "198.18.0.3")
    assert (stack.device.name, stack.device.capabilities.mtu, stack.device.capabilities.offload) == ("fastnet7", 9000, False)
    assert ambient.leads_to("198.19.7.7") and not ambient.leads_to("198.18.1.1")
    assert ambient.is_local(STACK) and ambient.is_local(None) and not ambient.is_local(KERNEL)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("FASTNET_MTU", "large", "a number of bytes"),
        ("FASTNET_OFFLOAD", "yes", "0 or 1"),
        ("FASTNET_SET", "somaxconn", "name=value"),
        ("FASTNET_SET", "somaxcon=1", "no setting"),
        ("FASTNET_TUN", "", "fastnet run -- COMMAND"),
    ],
)
def test_what_is_wrong_with_the_environment(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv("FASTNET_TUN", "fastnet7")
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=said):
        from_environment()


# ---- the commands ----

HELLO = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"hello"})
"""


def fastnet(*arguments: str, directory: pathlib.Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from fastnet.cli.main import main; main()", *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


def test_fastnet_run(tmp_path: pathlib.Path) -> None:
    (tmp_path / "hello.py").write_text(HELLO)
    script = (
        f"{sys.executable} -m uvicorn --loop fastnet.aio:new_event_loop --host 198.18.0.2 --port 80 --log-level warning hello:app & "
        "for i in $(seq 100); do curl -s -m 5 http://198.18.0.2/ && break; sleep 0.1; done; kill $!; wait; exit 7"
    )
    done = fastnet("run", "--set", "tcp_rmem=4096,131072,6291456", "--", "sh", "-c", script, directory=tmp_path)
    assert done.stdout == "hello", done.stderr
    assert done.returncode == 7


def test_fastnet_run_says_what_is_wrong(tmp_path: pathlib.Path) -> None:
    done = fastnet("run", "no-such-command", directory=tmp_path)
    assert done.returncode == 3 and done.stderr == "fastnet: no-such-command: No such file or directory\n"
    done = fastnet("run", "--address", "10.0.0.1", "true", directory=tmp_path)
    assert done.returncode == 2 and "10.0.0.1" in done.stderr


def test_fastnet_serve_asgi(tmp_path: pathlib.Path) -> None:
    (tmp_path / "hello.py").write_text(HELLO)
    done = fastnet("serve", "asgi", "hello:app", "--", "curl", "-s", "-m", "20", "http://198.18.0.2:8080/", directory=tmp_path)
    assert done.stdout == "hello" and done.returncode == 0, done.stderr


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)])
def test_fastnet_serve_asgi_passes_the_commands_exit_code_on(script: str, code: int, tmp_path: pathlib.Path) -> None:
    (tmp_path / "hello.py").write_text(HELLO)
    done = fastnet("serve", "asgi", "hello:app", "--", "sh", "-c", script, directory=tmp_path)
    assert done.returncode == code, done.stderr


def test_its_own_address(namespace: Namespace) -> None:
    """A server and its client in one loop: what goes from the stack to itself needs no device, and wakes the loop all the same."""

    async def main() -> None:
        async def upper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write((await reader.read()).upper())
            writer.close()

        server = await asyncio.start_server(upper, STACK, 0)
        reader, writer = await asyncio.open_connection(STACK, server.sockets[0].getsockname()[1])
        writer.write(b"x" * 1_000_000)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 20) == b"X" * 1_000_000
        writer.close()
        server.close()

    stack = Stack(namespace.add_tun(), (STACK,))
    with asyncio.Runner(loop_factory=lambda: new_event_loop(Ambient(Driver(stack)))) as runner:
        runner.run(main())
