"""Asks an agent as a program with nats-py does, and prints what came back as one line of JSON.

Each request has headers and a reply inbox of its own, and stays to see whether more than one answer comes. With
`--request` it is nats-py's own `request` instead, which looks at the first answer only.

    $(scripts/nats-clients-venv) tests/nats-clients/ask.py --server nats://127.0.0.1:4222 --subject agents.default.echo.ask
"""

import argparse
import asyncio
import json
import sys
import time

import nats
from nats.errors import Error, TimeoutError

# What a caller's own headers may hold.
HEADERS = {"X-Trace": "a b:c, d"}


def read(message):
    """An answer as it is printed; an agent that answers with JSON is shown as what it is."""
    text = message.data.decode()
    try:
        body = json.loads(text)
    except ValueError:
        body = text
    return {"headers": message.headers or {}, "body": body}


async def answers(client, args, number):
    """The answers to one request, as they come."""
    body, headers = f"{args.body} {number}".encode(), {**HEADERS, "Asked": str(number)}
    if args.request:
        yield await client.request(args.subject, body, timeout=args.timeout, headers=headers)
        return
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    await client.publish(args.subject, body, reply=inbox, headers=headers)
    yield await subscription.next_msg(timeout=args.timeout)
    try:
        while True:
            yield await subscription.next_msg(timeout=args.linger)
    except TimeoutError:
        await subscription.unsubscribe()


async def ask(client, args, number):
    """What came of one request: every answer, or why there is none."""
    start, outcome = time.monotonic(), {"number": number, "answers": []}
    try:
        async for answer in answers(client, args, number):
            outcome.setdefault("ms", round((time.monotonic() - start) * 1000))
            outcome["answers"].append(read(answer))
    except Error as error:
        outcome["error"] = f"{type(error).__name__}: {error}"
    return outcome


def heard(outcome):
    """What the agent says it got, if it has answered exactly once."""
    bodies = [answer["body"] for answer in outcome["answers"]]
    return bodies[0] if len(bodies) == 1 and isinstance(bodies[0], dict) else None


def is_good(outcome):
    """Whether there is exactly one answer, to this request, with the headers that it had."""
    got, asked = heard(outcome), {**HEADERS, "Asked": str(outcome["number"])}
    return got is not None and got["body"].endswith(f" {outcome['number']}") and asked.items() <= got["headers"].items()


async def run(args):
    client = await nats.connect(args.server.split(","))
    outcomes = await asyncio.gather(*(ask(client, args, number) for number in range(args.many)))
    await client.close()
    good = [heard(outcome) for outcome in outcomes if is_good(outcome)]
    summary = {
        "sent": args.many,
        "good": len(good),
        "held": sum("Drowse-Hold-Id" in got["headers"] for got in good),
        "lives": len({got["pid"] for got in good}),
        "slowest_ms": max(outcome.get("ms", 0) for outcome in outcomes),
        "first": outcomes[0],
        # A few of them say what is wrong.
        "bad": [outcome for outcome in outcomes if not is_good(outcome)][:5],
    }
    print(json.dumps(summary))
    return 0 if len(good) == args.many else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", required=True, help="addresses of NATS servers, with commas between")
    parser.add_argument("--subject", default="agents.default.echo.ask")
    parser.add_argument("--body", default="hello")
    parser.add_argument("--many", type=int, default=1, metavar="N", help="so many requests at once")
    parser.add_argument("--request", action="store_true", help="with nats-py's own `request`")
    parser.add_argument("--timeout", type=float, default=30, help="seconds that the first answer may take")
    parser.add_argument("--linger", type=float, default=0.3, help="seconds to wait for another answer")
    sys.exit(asyncio.run(run(parser.parse_args())))


if __name__ == "__main__":
    main()
