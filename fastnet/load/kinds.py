"""What can be asked for by name, known without what does it: the command line offers these before it imports anything."""

ROWS = ("fastnet", "kernel", "asyncio", "floor")
"""Rows of a comparison of handshakes."""
RAW_FLOODS = ("syn", "ack", "rst", "fin", "fragment", "data")
"""Floods of packets that are written without a connection, as ``fastnet.load._flood`` has them."""
FLOODS = (*RAW_FLOODS, "slowloris", "asleep")
"""All floods."""
