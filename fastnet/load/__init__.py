"""Load: a raw handshake client, the servers that fastnet is compared with, and the comparison."""
