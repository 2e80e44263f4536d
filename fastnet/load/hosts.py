"""More hosts for a comparison: namespaces beside the one that the traffic goes through.

    host's namespace --- veth --- the namespace that made it
"""

import os
import signal
from typing import Self

from fastnet.isolation import follow
from fastnet.netns import Namespace, add_gateway, configure_link, receive_on, set_namespace

NETWORK = "198.18.0.0/15"
"""What a host reaches by way of the namespace that made it."""


class Host:
    """A namespace, held by a process that does nothing else, behind a veth pair: a context manager.

    :param namespace: the one that makes it; ``name``: of its end of the pair there
    :param gateway: its address there, with its prefix length; ``address``: the host's
    :param cores: where the host's kernel works on what arrives (receive packet steering); empty: in the context of whoever sends it
    :ivar pid: the process
    :raises RuntimeError: the process ended before it was ready
    """

    def __init__(self, namespace: Namespace, name: str, gateway: str, address: str, cores: tuple[int, ...] = ()) -> None:
        self.namespace = namespace
        self.name = name
        self.gateway = gateway
        self.address = address
        self.cores = cores

    def __enter__(self) -> Self:
        said, saying = os.pipe()
        heard, telling = os.pipe()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                follow(parent)
                os.close(said)
                os.close(telling)
                with Namespace():
                    os.write(saying, b"!")
                    os.read(heard, 1)
                    configure_link("eth0", self.address)
                    add_gateway(NETWORK, self.gateway.partition("/")[0])
                    if self.cores:
                        receive_on("eth0", self.cores)
                    os.write(saying, b"!")
                    while True:
                        signal.pause()
            finally:
                os._exit(1)
        os.close(saying)
        os.close(heard)
        try:
            if os.read(said, 1):
                self.namespace.add_veth(self.gateway, self.name, "eth0", self.pid)
                os.write(telling, b"!")
            if not os.read(said, 1):
                raise RuntimeError(f"the host {self.name} ended before it was ready")
        except BaseException:
            self.__exit__()
            raise
        finally:
            os.close(said)
            os.close(telling)
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def enter(self) -> None:
        """Move the calling process there, for good; a fork does so."""
        set_namespace(self.pid)
