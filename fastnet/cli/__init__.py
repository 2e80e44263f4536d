"""The ``fastnet`` command."""
