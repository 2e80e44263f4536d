"""What the small services send, apart from any connection."""

from fastnet.server.simple import CHARGEN, PATTERN


def test_chargen_is_rfc_864s_pattern() -> None:
    """95 printing characters, of which each line has 72, beginning one later than the line before it."""
    printing = "".join(chr(code) for code in range(128) if chr(code).isprintable())
    assert len(printing) == 95
    lines = PATTERN.decode("ascii").split("\r\n")
    assert lines.pop() == "" and len(lines) == 95
    for number, line in enumerate(lines):
        assert line == (printing[number:] + printing)[:72]
    assert CHARGEN.startswith(PATTERN) and len(CHARGEN) % len(PATTERN) == 0, "so that writes follow each other without a seam"
