"""Prompts an agent as a program with Synadia's SDK does, and prints what came back as one line of JSON.

It discovers the agent, which must answer for that; with `--subject` it takes the address as known, and discovers nothing.

    $(scripts/nats-clients-venv) tests/nats-clients/synadia_caller.py --server nats://127.0.0.1:4222
"""

import argparse
import asyncio
import contextlib
import json
import sys
import time

import nats
from synadia_ai.agents import Agent, AgentInfo, Agents, DiscoverFilter, EndpointInfo, ResponseChunk, StatusChunk


def known(client, agents, args):
    """The agent at a subject that the caller knows, without asking anybody."""
    _, _, agent, owner, name = args.subject.split(".")
    prompt = EndpointInfo(name="prompt", subject=args.subject, queue_group="agents")
    status = EndpointInfo(name="status", subject=args.subject.replace(".prompt.", ".status.", 1), queue_group="agents")
    info = AgentInfo(
        instance_id="",
        agent=agent,
        owner=owner,
        session_name=name,
        protocol_version="0.3",
        description="",
        version="",
        metadata={},
        endpoints=(prompt, status),
        prompt_endpoint=prompt,
    )
    return Agent(client, info, close_event=agents.close_event)


async def find(client, agents, args, out):
    """The agent, and how it was found."""
    if args.subject:
        return known(client, agents, args)
    start = time.monotonic()
    found = await agents.discover(filter=DiscoverFilter(owner=args.owner, session_name=args.name))
    out["discovered"] = [agent.instance_id for agent in found]
    out["discovery_ms"] = round((time.monotonic() - start) * 1000)
    if not found:
        raise LookupError("discovery finds no such agent")
    out["metadata"] = dict(found[0].metadata)
    out["answers_ping"] = await agents.ping(found[0].instance_id)
    return found[0]


async def prompt(agent, args, number):
    """All that an agent answers to one prompt."""
    start, statuses, texts = time.monotonic(), [], []
    stream = agent.prompt(f"{args.prompt} {number}", timeout=args.timeout)
    async with contextlib.aclosing(stream) as pieces:
        async for piece in pieces:
            if isinstance(piece, StatusChunk):
                statuses.append([piece.status, round((time.monotonic() - start) * 1000)])
            elif isinstance(piece, ResponseChunk):
                texts.append(piece.text)
    # The last piece is JSON. If it is missing, somebody has ended the agent while it worked.
    if len(texts) != 2:
        raise ValueError(f"the answer is cut off: {texts} {statuses}")
    return {
        "text": texts[0].strip(),
        "statuses": statuses,
        "ms": round((time.monotonic() - start) * 1000),
        **json.loads(texts[1]),
    }


async def run(args):
    client = await nats.connect(args.server.split(","))
    agents, out = Agents(nc=client), {}
    try:
        agent = await find(client, agents, args, out)
        await asyncio.sleep(args.pause)
        if args.status:
            out["status"] = (await agent.status(timeout_s=args.timeout)).model_dump()
        else:
            prompts = await asyncio.gather(*(prompt(agent, args, number) for number in range(args.many)))
            out["prompts"] = prompts
    # Whatever goes wrong is what is to be seen.
    except Exception as error:
        out["error"] = f"{type(error).__name__}: {error}"
    await agents.close()
    await client.close()
    print(json.dumps(out))
    return 1 if "error" in out else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", required=True, help="addresses of NATS servers, with commas between")
    parser.add_argument("--owner", default="default", help="the namespace of the agent")
    parser.add_argument("--name", default="echo", help="the name of the agent")
    parser.add_argument("--subject", help="prompt there, without discovery: agents.prompt.demo.default.echo")
    parser.add_argument("--prompt", default="hello")
    parser.add_argument("--many", type=int, default=1, metavar="N", help="so many prompts at once")
    parser.add_argument("--status", action="store_true", help="ask for its status instead")
    parser.add_argument("--pause", type=float, default=0, help="seconds between discovery and prompt")
    parser.add_argument("--timeout", type=float, default=60, help="seconds of silence that it bears (the SDK's default)")
    sys.exit(asyncio.run(run(parser.parse_args())))


if __name__ == "__main__":
    main()
