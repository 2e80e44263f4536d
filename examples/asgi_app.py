"""An ASGI application; any server of such can serve it, over fastnet too.

    cd examples
    fastnet serve asgi asgi_app:app -- curl -s http://198.18.0.2:8080/
    fastnet run -- uvicorn --loop fastnet.aio:new_event_loop --host 198.18.0.2 --port 80 asgi_app:app
"""

import json
from typing import Any


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Tell who asked, and for what."""
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = json.dumps({"you": scope["client"][0], "path": scope["path"], "me": scope["server"][0]}).encode() + b"\n"
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
