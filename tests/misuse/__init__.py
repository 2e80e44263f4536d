"""What a program may do wrong from Python, tried in child processes: none of it may crash the interpreter or never end."""
