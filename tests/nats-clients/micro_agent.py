"""An agent that is a service of the NATS micro framework, written as nats-py's users write one.

It answers a request with what it got, as JSON, and appends the same to a file if it is given one. It listens on a port
as soon as it subscribes, which is where Drowse sees that it is up.

    $(scripts/nats-clients-venv) tests/nats-clients/micro_agent.py --server nats://127.0.0.1:4222 --port 9101
"""

import argparse
import asyncio
import json
import os
import signal

import nats
from nats.micro import add_service
from nats.micro.service import EndpointConfig, ServiceConfig


def endpoint(args):
    """What answers requests."""

    async def answer(request):
        if args.work:
            await asyncio.sleep(args.work)
        got = {
            "pid": os.getpid(),
            "subject": request.subject,
            "body": request.data.decode(),
            "headers": request.headers or {},
        }
        if args.file:
            with open(args.file, "a", encoding="utf-8") as file:
                file.write(json.dumps(got) + "\n")
        await request.respond(json.dumps(got).encode())

    return answer


async def visited(_reader, writer):
    """Somebody looks whether it is up."""
    writer.close()


async def run(args):
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await asyncio.sleep(args.delay)
    client = await nats.connect(args.server.split(","), name="echo")
    service = await add_service(client, ServiceConfig(name="echo", version="0.1.0", description="says what it heard"))
    queue = args.queue or None
    await service.add_endpoint(
        EndpointConfig(name="ask", subject=args.subject, queue_group=queue, handler=endpoint(args))
    )
    await client.flush()
    port = await asyncio.start_server(visited, "127.0.0.1", args.port)
    await stop.wait()
    # Not `service.stop()`: it drops the requests that have arrived already.
    await client.drain()
    port.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", required=True, help="addresses of NATS servers, with commas between")
    parser.add_argument("--port", type=int, required=True, help="listen here as soon as it subscribes")
    parser.add_argument("--subject", default="agents.default.echo.ask")
    parser.add_argument("--queue", help="the queue group (default: nats-py's, which is q)")
    parser.add_argument("--delay", type=float, default=0, help="seconds before it connects")
    parser.add_argument("--work", type=float, default=0, help="seconds that an answer takes")
    parser.add_argument("--file", help="write down what it got")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
