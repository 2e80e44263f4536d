"""The other stack: PyTCP on a TUN device, in a process of its own that ends within half a minute whatever happens.

    python peer.py DEVICE ADDRESS/LENGTH GATEWAY serve PORT          an echo server; says "ready" once it listens
    python peer.py DEVICE ADDRESS/LENGTH GATEWAY connect HOST PORT   as netcat: standard input, then FIN; what comes back is written out

The device exists already; GATEWAY is the kernel's address on it.
"""

import asyncio
import signal
import sys

signal.alarm(30)

from pmd_net_addr import Ip4Address, Ip4IfAddr
from pmd_pytcp import stack
from pmd_pytcp.socket import AF_INET4, SHUT_WR, SOCK_STREAM, socket

LAST_ACK = 0.2
CHUNK = 65536


async def echo(connection: socket) -> None:
    while data := await connection.recv(CHUNK):
        await connection.send(data)
    connection.close()


async def serve(port: int) -> None:
    listener = socket(AF_INET4, SOCK_STREAM)
    listener.bind(("0.0.0.0", port))
    listener.listen()
    print("ready", flush=True)
    tasks = set()  # The loop itself holds tasks only weakly.
    while True:
        connection, _ = await listener.accept()
        tasks.add(asyncio.create_task(echo(connection)))


async def connect(host: str, port: int) -> None:
    connection = socket(AF_INET4, SOCK_STREAM)
    await connection.connect((host, port))
    await connection.send(sys.stdin.buffer.read())
    connection.shutdown(SHUT_WR)  # type: ignore[attr-defined]  # TCP sockets have it.
    while data := await connection.recv(CHUNK):
        sys.stdout.buffer.write(data)
    connection.close()
    # The stack ends with its process: let it acknowledge the FIN first.
    await asyncio.sleep(LAST_ACK)


async def main(device: str, address: str, gateway: str, mode: str, *arguments: str) -> None:
    stack.init(**stack.initialize_interface__tun(device), ip4_host=Ip4IfAddr(address), ip4_dhcp=False, ip6_support=False)
    stack.route.replace_default(gateway=Ip4Address(gateway), protocol=stack.RouteProtocol.STATIC)
    await stack.start()
    while not stack.local_ip4_unicast():
        await asyncio.sleep(0.01)
    if mode == "serve":
        (port,) = arguments
        await serve(int(port))
    else:
        host, port = arguments
        await connect(host, int(port))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
