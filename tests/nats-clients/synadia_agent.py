"""An agent of the Synadia Agent Protocol for NATS, written as users of Synadia's SDK write one.

It answers a prompt in two pieces, the second of them JSON that says what it got.

    $(scripts/nats-clients-venv) tests/nats-clients/synadia_agent.py --server nats://127.0.0.1:4222 --port 9101
"""

import argparse
import asyncio
import contextvars
import json
import os
import signal

import nats
from synadia_ai.agent_service import AgentService

# The headers of the prompt that is being answered.
HEADERS = contextvars.ContextVar("headers")


class SeesHeaders:
    """The SDK's way to see a prompt's headers."""

    async def around_request(self, context, call_next):
        HEADERS.set(dict(context.headers))
        await call_next()


def handler(args):
    """What answers prompts."""

    async def answer(envelope, stream):
        await stream.send(f"echo: {envelope.prompt}\n")
        # Without a word for all the time that it works, as a model that thinks.
        if args.work:
            await asyncio.sleep(args.work)
        await stream.send(json.dumps({"pid": os.getpid(), "headers": HEADERS.get()}))

    return answer


async def visited(_reader, writer):
    """Somebody looks whether it is up."""
    writer.close()


async def run(args):
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await asyncio.sleep(args.delay)
    client = await nats.connect(args.server.split(","), name=args.name)
    service = AgentService(
        agent="demo",
        owner=args.owner,
        session_name=args.name,
        nc=client,
        description="says what it heard",
        interceptors=[SeesHeaders()],
        heartbeat_interval_s=args.beat,
        max_concurrent_prompts=args.at_once,
    )
    service.on_prompt(handler(args))
    await service.start()
    port = await asyncio.start_server(visited, "127.0.0.1", args.port)
    await stop.wait()
    await service.stop()
    await client.drain()
    port.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", required=True, help="addresses of NATS servers, with commas between")
    parser.add_argument("--port", type=int, required=True, help="listen here as soon as it subscribes")
    parser.add_argument("--owner", default="default", help="the namespace of the agent")
    parser.add_argument("--name", default="echo", help="the name of the agent")
    parser.add_argument("--beat", type=int, default=30, help="seconds between heartbeats (default 30, as the SDK's)")
    parser.add_argument("--at-once", type=int, default=1, help="prompts served at once (default 1, as the SDK's)")
    parser.add_argument("--delay", type=float, default=0, help="seconds before it connects")
    parser.add_argument("--work", type=float, default=0, help="seconds that it works on a prompt")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
