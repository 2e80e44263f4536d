"""Where packets come from and go to: a TUN device, memory, or either behind a wire that is not perfect or that is listened to."""

from fastnet._tun import Tun
from fastnet.devices.base import BaseDevice, Capabilities, Device, Wrapper
from fastnet.devices.capture import Capture, CapturedDevice
from fastnet.devices.impairment import ImpairedDevice, ImpairedLink, Impairment
from fastnet.devices.loopback import LoopbackDevice
from fastnet.devices.memory import MemoryDevice

__all__ = [
    "BaseDevice", "Capabilities", "Capture", "CapturedDevice", "Device", "ImpairedDevice", "ImpairedLink", "Impairment", "LoopbackDevice",
    "MemoryDevice", "Tun", "Wrapper",
]  # fmt: skip
