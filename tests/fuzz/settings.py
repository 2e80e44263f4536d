"""Settings of a case: every one that there is, from values at which something changes."""

from __future__ import annotations

from dataclasses import fields
from random import Random
from typing import Any

from fastnet.config import BOUNDS, WORDS, Settings

DEFAULTS = {field.name: getattr(Settings(), field.name) for field in fields(Settings)}

CURATED: dict[str, tuple[Any, ...]] = {
    "somaxconn": (0, 1, 3, 64),
    "tcp_max_syn_backlog": (1, 4, 16),
    "tcp_fin_timeout": (0, 1, 60, 3600),
    "tcp_max_tw_buckets": (0, 1, 4),
    "tcp_max_orphans": (0, 1, 3),
    "tcp_synack_retries": (0, 1, 2, 20),
    "tcp_syn_retries": (0, 1, 3, 20),
    "tcp_retries1": (0, 1, 3, 255),
    "tcp_retries2": (0, 1, 3, 15, 40),
    "tcp_orphan_retries": (0, 1, 2, 20),
    "tcp_defer_accept": (0, 1, 5, 300),
    "tcp_min_snd_mss": (48, 49, 88, 500, 65535),
    "tcp_notsent_lowat": (1, 2, 4000, 1 << 30),
    "tcp_congestion_control": ("cubic", "bbr", "reno", "none", "dctcp"),
    "tcp_pacing_ss_ratio": (50, 100, 200, 1000),
    "tcp_pacing_ca_ratio": (50, 100, 120, 1000),
    "tcp_invalid_ratelimit": (0, 1, 500, 60_000, 1 << 30),
    "tcp_challenge_ack_limit": (0, 1, 5, 0x7FFFFFFF),
    # The last two: data on a SYN is taken without a cookie, by every listener.
    "tcp_fastopen": (0, 1, 3, 0x402, 0x602, 0x607),
    "tcp_fastopen_key": ("", "00010203-04050607-08090a0b-0c0d0e0f", "0-1-2-3,ffffffff-0-0-1"),
    "tcp_fastopen_blackhole_timeout_sec": (0, 1, 60),
    "tcp_keepalive_time": (1, 10, 7200),
    "tcp_keepalive_intvl": (1, 75, 32767),
    "tcp_keepalive_probes": (1, 2, 127),
    "ip_local_port_range": ([40000, 40003], [40000, 40000], [1, 65535], [32768, 60999]),
    "ip_local_reserved_ports": ("", "40000", "40001-40002, 50000", "1-65535"),
    "tcp_tw_reuse_delay": (1, 999, 1000, 1001, 60_000, 1 << 30),
    "tcp_mem": ([0, 0, 0], [0, 1, 2], [2, 4, 16], [16, 64, 256], [0, 0, 1 << 20]),
    "fastnet_source_table": (1, 2, 100),
    "fastnet_source_requests": (0, 1, 3),
    "fastnet_source_connections": (0, 1, 3),
    "fastnet_source_prefix": (0, 1, 24, 31, 32),
}
"""Where the bounds of a setting are no guide, or a value costs more time than it finds."""
BUFFERS = (
    [4096, 131072, 6291456], [2048, 2048, 2048], [1024, 1024, 1024], [1024, 1025, 1027], [4096, 8192, 8192], [4096, 8192, 262144],
    [1024, 1 << 20, 1 << 24], [65536, 65536, 65536],
)  # fmt: skip
"""tcp_rmem and tcp_wmem."""


def values_of(name: str) -> tuple[Any, ...]:
    """What a setting is drawn from: one that nobody thought of here gets its bounds, its default and what lies beside them."""
    if name in CURATED:
        return CURATED[name]
    if name in ("tcp_rmem", "tcp_wmem"):
        return BUFFERS
    if name in WORDS:
        return (DEFAULTS[name],)
    low, high = BOUNDS[name]
    default = DEFAULTS[name]
    if isinstance(default, tuple):
        return (list(default), [low] * len(default), [high] * len(default))
    near = (low, low + 1, low + 2, default - 1, default, default + 1, default // 2, high)
    return tuple(sorted({value for value in near if low <= value <= high}))


def draw_settings(random: Random) -> dict[str, Any]:
    """Settings of one stack: none, some, most or all of them drawn."""
    chance = random.choice((0.0, 0.1, 0.3, 0.6, 1.0))
    return {name: random.choice(values_of(name)) for name in DEFAULTS if random.random() < chance}
