"""The load-test server: modes that answer connections right on the stack, without sockets between."""

from fastnet.server.base import LoadServer, Mode, Session
from fastnet.server.http import Http
from fastnet.server.simple import AcceptClose, Chargen, Discard, Echo

__all__ = ["AcceptClose", "Chargen", "Discard", "Echo", "Http", "LoadServer", "Mode", "Session"]
