"""Uses a sandbox through a Drowse front door as a program with agent-sandbox's Python SDK does.

Runs a command, and writes, lists, finds and reads back files. Ends with status 0 if all went well. The agent may sleep
at first: the SDK does not know of it.

    $(scripts/sdk-venv) tests/sdk/sdk.py --api-url http://127.0.0.1:8080 --sandbox echo --server-port 9101
"""

import argparse
import io
import time

from k8s_agent_sandbox.exceptions import SandboxRequestError
from k8s_agent_sandbox.models import SandboxDirectConnectionConfig
from k8s_agent_sandbox.sandbox import Sandbox


class NoCluster:
    """Stands in for the SDK's access to Kubernetes where there is none: knows nothing of any sandbox."""

    injected_api_client = None

    def get_sandbox(self, _sandbox, _namespace):
        return {}


def cluster(kubeconfig):
    """The SDK's access to Kubernetes; with it, the SDK tells the front door the address of the pod that it knows."""
    if kubeconfig is None:
        return NoCluster()
    from k8s_agent_sandbox.k8s_helper import K8sHelper
    from kubernetes import config

    return K8sHelper(api_client=config.new_client_from_config(config_file=kubeconfig))


def step(what, work):
    """Does it, and prints what it gave and how long it took."""
    start = time.monotonic()
    answer = work()
    print(f"{what}: {answer!r}, after {(time.monotonic() - start) * 1000:.0f} ms", flush=True)
    return answer


def refused(work):
    """The status with which it is refused."""
    try:
        answer = work()
    except SandboxRequestError as error:
        return error.status_code
    raise AssertionError(f"it was not refused: {answer!r}")


def use(sandbox, timeout):
    """What a program does with a sandbox. The first call is the one that may wake it."""
    hello = step("run `echo hi`", lambda: sandbox.commands.run("echo hi", timeout=timeout))
    assert (hello.stdout, hello.stderr, hello.exit_code) == ("hi\n", "", 0), hello
    failed = step("run `false`", lambda: sandbox.commands.run("false", command_timeout=10))
    assert (failed.exit_code, failed.timed_out) == (1, False), failed

    # A name with everything that an encoding may get wrong.
    path = "sdk test/50% ä+b.txt"
    content = bytes(range(256)) * 4096
    files = sandbox.files
    step(f"write {path!r}", lambda: files.write(path, content))
    assert step(f"exists {path!r}", lambda: files.exists(path)) is True
    assert step("exists 'sdk test/nope'", lambda: files.exists("sdk test/nope")) is False
    entries = step("list 'sdk test'", lambda: files.list("sdk test"))
    assert [(entry.name, entry.type, entry.size) for entry in entries] == [("50% ä+b.txt", "file", len(content))], entries
    assert "sdk test" in [entry.name for entry in files.list(".") if entry.type == "directory"]
    assert step(f"read {path!r}", lambda: len(files.read(path))) == len(content)
    assert files.read(path) == content

    step("write a stream", lambda: files.write("sdk test/note", io.BytesIO(b"from a stream")))
    copy = io.BytesIO()
    assert step("read into a stream", lambda: files.read_to("sdk test/note", copy)) == 13
    assert copy.getvalue() == b"from a stream"
    note = step("run `cat 'sdk test/note'`", lambda: sandbox.commands.run("cat 'sdk test/note'"))
    assert (note.stdout, note.exit_code) == ("from a stream", 0), note

    assert step("read a file that is not there", lambda: refused(lambda: files.read("sdk test/nope"))) == 404
    assert step("list outside", lambda: refused(lambda: files.list("../.."))) == 403


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--api-url", required=True, help="the front door")
    parser.add_argument("--sandbox", required=True, help="the name of the agent")
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--server-port", type=int, default=8888, help="the port of the agent (default 8888)")
    parser.add_argument("--timeout", type=int, default=60, help="seconds that the first call may take")
    parser.add_argument("--kubeconfig", metavar="FILE", help="let the SDK look at the Sandbox in this cluster")
    args = parser.parse_args()
    sandbox = Sandbox(
        claim_name=args.sandbox,
        sandbox_id=args.sandbox,
        namespace=args.namespace,
        connection_config=SandboxDirectConnectionConfig(api_url=args.api_url, server_port=args.server_port),
        k8s_helper=cluster(args.kubeconfig),
    )
    try:
        use(sandbox, args.timeout)
    finally:
        sandbox.close_connection()
    print("all went well")


if __name__ == "__main__":
    main()
