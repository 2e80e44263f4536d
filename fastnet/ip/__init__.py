"""The internet layer around TCP: for now ICMP echo."""
