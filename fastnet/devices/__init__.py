"""Where packets come from and go to: a TUN device, memory, or either behind a wire that is not perfect."""

from fastnet._tun import Tun
from fastnet.devices.base import Device
from fastnet.devices.impairment import ImpairedDevice, ImpairedLink, Impairment
from fastnet.devices.loopback import LoopbackDevice
from fastnet.devices.memory import MemoryDevice

__all__ = ["Device", "ImpairedDevice", "ImpairedLink", "Impairment", "LoopbackDevice", "MemoryDevice", "Tun"]
