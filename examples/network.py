"""An echo server and its client as a first course on networks writes them, on one stack that talks to itself: no root, no device.

    python examples/network.py
"""

import threading

from fastnet.devices import LoopbackDevice
from fastnet.driver import Driver
from fastnet.network import Network
from fastnet.stack import Stack


def serve(network: Network, server: int) -> None:
    connection, (host, port) = network.accept(server, timeout=5)
    print(f"server: descriptor {connection} leads to {host} port {port}")
    while data := network.read(connection, 1000):
        network.send(connection, data.upper())
    print("server: the client has closed")
    network.close(connection)
    network.close(server)


with Driver(Stack(LoopbackDevice(), ("198.18.0.1",))) as driver:
    network = Network(driver)
    server = network.socket()
    network.bind(server, "198.18.0.1", 4000)
    network.listen(server)
    thread = threading.Thread(target=serve, args=(network, server))
    thread.start()

    client = network.socket()
    network.connect(client, "198.18.0.1", 4000, timeout=5)
    network.send(client, b"hello")
    print("client:", network.read(client, 1000, timeout=5).decode())
    network.close(client)
    thread.join()
