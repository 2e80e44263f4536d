"""The same tests over IPv6: with FASTNET_FAMILY=6 the stack of a ``tests.peer.Wire`` speaks IPv6, and packets are translated."""

from pathlib import Path

import pytest

from tests.peer import FAMILY

LEFT_OUT = {
    tuple(fields[:2]): fields[2]
    for line in Path(__file__).with_name("ipv4.tsv").read_text().splitlines()
    if not line.startswith("#")
    for fields in [line.split("\t")]
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what is about IPv4 itself, where IPv6 is tried."""
    if FAMILY != 6:
        return
    # The rest makes its stacks itself, and would be the same test again.
    items[:] = [item for item in items if vars(getattr(item, "module", None)).keys() & {"Wire", "Peer"}]
    for item in items:
        reason = LEFT_OUT.get((item.path.name, getattr(item, "originalname", item.name)))
        if reason is not None and item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.skip(reason=reason))

