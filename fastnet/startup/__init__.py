"""A directory for PYTHONPATH: every Python that starts with it runs patched, on the stack that the environment describes."""
