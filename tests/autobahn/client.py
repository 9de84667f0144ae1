"""Runs cases of the Autobahn Testsuite against a WebSocket server, many at a time, and prints a line of JSON for each.

What a case sends, expects and concludes is the suite's own; what moves the bytes is the Autobahn of today.
"""

import argparse
import json
import sys

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet import reactor

import cases
from cases import to_wire

# The suite gives a peer a second or so for an answer. On a machine that is busy with other tests a good one may need more; a bad
# one does not get better by waiting.
PATIENCE = 10
OPTIONS = {
    # As in the suite: a bad peer is told, and not only dropped.
    "failByDrop": False,
    # The agent may have to be woken first.
    "openHandshakeTimeout": 60,
    "closeHandshakeTimeout": 10,
    "serverConnectionDropTimeout": 10,
}


def from_wire(data):
    return data.decode("latin-1")


class Peer(WebSocketClientProtocol):
    """What the suite's cases call their protocol."""

    def __init__(self, name, case):
        super().__init__()
        self.name = name
        self.connectionWasOpen = False
        self.createWirelog = False
        self.txFrameStats = {}
        self.runCase = case(self)

    # Of the case, to the wire.

    def sendFrame(self, opcode, payload=b"", **options):
        super().sendFrame(opcode, payload=to_wire(payload), **options)

    def sendMessage(self, payload, *arguments, **options):
        super().sendMessage(to_wire(payload), *arguments, **options)

    def sendMessageFrameData(self, payload, *arguments, **options):
        return super().sendMessageFrameData(to_wire(payload), *arguments, **options)

    def sendCloseFrame(self, code=None, reasonUtf8=None, **options):
        super().sendCloseFrame(code, to_wire(reasonUtf8), **options)

    def enableWirelog(self, enable):
        self.createWirelog = enable

    def continueLater(self, delay, then, _tag=None):
        reactor.callLater(delay, self.unless_closed, then)

    def killAfter(self, delay):
        reactor.callLater(delay * PATIENCE, self.unless_closed, self._fail_connection)

    def closeAfter(self, delay):
        reactor.callLater(delay * PATIENCE, self.unless_closed, self.sendClose)

    def unless_closed(self, then):
        if self.state != self.STATE_CLOSED:
            then()

    # Of the wire, to the case.

    def onOpen(self):
        self.connectionWasOpen = True
        self.runCase.onOpen()

    def onMessage(self, payload, isBinary):
        self.runCase.onMessage(from_wire(payload), isBinary)

    def onPong(self, payload):
        self.runCase.onPong(from_wire(payload))

    def onClose(self, wasClean, code, reason):
        self.runCase.onClose(wasClean, code, reason)

    def logTxFrame(self, frameHeader, payload, repeatLength, chopsize, sync):
        self.txFrameStats[frameHeader.opcode] = self.txFrameStats.get(frameHeader.opcode, 0) + 1

    def connectionLost(self, reason):
        super().connectionLost(reason)
        self.runCase.onConnectionLost(self.failedByMe)
        self.factory.over(self.report())

    def report(self):
        case = self.runCase
        return {
            "id": self.name,
            "opened": self.connectionWasOpen,
            "behavior": case.behavior,
            "behaviorClose": case.behaviorClose,
            "description": case.DESCRIPTION,
            "expectation": case.EXPECTATION,
            "result": f"{case.result} {case.resultClose} {self.wasNotCleanReason or ''}",
            "received": repr(case.received)[:300],
            "closeCode": self.remoteCloseCode,
        }


class Factory(WebSocketClientFactory):
    """One connection, which is one case."""

    def __init__(self, url, name, case, over):
        super().__init__(url)
        self.name, self.case, self.over = name, case, over
        self.setProtocolOptions(**OPTIONS)
        # A case counts the frames that it sends.
        self.logFrames = True

    def buildProtocol(self, addr):
        peer = Peer(self.name, self.case)
        peer.factory = self
        return peer

    def clientConnectionFailed(self, connector, reason):
        why = reason.getErrorMessage()
        self.over({"id": self.name, "opened": False, "behavior": "FAILED", "behaviorClose": "FAILED", "result": why})


class Suite:
    """All that is asked for, so many at a time."""

    def __init__(self, options, chosen):
        self.options, self.waiting, self.running = options, chosen[::-1], 0

    def fill(self):
        while self.waiting and self.running < self.options.at_once:
            name, case = self.waiting.pop()
            self.running += 1
            factory = Factory(self.options.url, name, case, self.over)
            reactor.connectTCP(self.options.address, self.options.port, factory, timeout=10)

    def over(self, report):
        print(json.dumps(report), flush=True)
        self.running -= 1
        if self.waiting or self.running:
            reactor.callLater(0, self.fill)
        else:
            reactor.stop()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="what the server is called, as in ws://agent.namespace.domain/ws")
    parser.add_argument("--address", default="127.0.0.1", help="where it is")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--at-once", type=int, default=16, help="cases at a time")
    parser.add_argument("--only", action="append", default=[], help="the first part of an id, such as 7. or 7.1.")
    parser.add_argument("--without", action="append", default=[], help="the same for what is left out")
    return parser.parse_args()


def main():
    options = arguments()
    only, without = tuple(options.only) or ("",), tuple(options.without)
    chosen = [(name, case) for name, case in cases.load() if name.startswith(only) and not name.startswith(without)]
    if not chosen:
        sys.exit("no case has such an id")
    reactor.callWhenRunning(Suite(options, chosen).fill)
    reactor.run()


if __name__ == "__main__":
    main()
