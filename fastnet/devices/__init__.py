"""Where packets come from and go to: a TUN device, or memory."""

from fastnet._tun import Tun
from fastnet.devices.base import Device
from fastnet.devices.memory import MemoryDevice

__all__ = ["Device", "MemoryDevice", "Tun"]
