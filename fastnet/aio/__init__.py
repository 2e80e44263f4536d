"""asyncio in process: an event loop that drives a stack."""
