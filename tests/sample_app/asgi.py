"""The ASGI application of the project, with a websocket that returns what it receives."""

# First: it sets up Django.
from project.asgi import application as http  # isort: split

from api import streams


async def application(scope, receive, send):
    if scope["type"] != "websocket":
        await http(scope, receive, send)
        return
    await receive()
    socket = await streams.handshake(http, scope)
    if socket is None:
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept"})
    if await socket.run(echo(socket.user.username, receive, send)):
        await send({"type": "websocket.close", "code": streams.ENDED})


async def echo(name, receive, send):
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": f"{name}: {message['text']}"})
