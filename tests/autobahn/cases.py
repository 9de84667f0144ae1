"""The cases of the Autobahn Testsuite, as it ships them, under Python 3.

They are written in Python 2, whose strings are bytes. So each file is read as Latin-1, which gives every byte a character of its
own, and `client.py` turns text into bytes and back where it meets the wire. What else differs is little, and stands here.
"""

import importlib.abc
import importlib.util
import re
import sys
from pathlib import Path

from autobahn.websocket.utf8validator import Utf8Validator

# Compression, which the demo agent does not offer, and a case that the suite itself leaves out.
LEFT_OUT = {
    "case12_x_x": {"Case12_X_X": [], "Case13_X_X": [], "Case12_X_X_CaseSubCategories": {}, "Case13_X_X_CaseSubCategories": {}},
    "case9_9_1": {},
}


def to_wire(text):
    """Bytes, of which text has a character each."""
    return text.encode("latin-1") if isinstance(text, str) else text


class Hex:
    """`binascii`, which takes and gives strings in Python 2."""

    @staticmethod
    def b2a_hex(text):
        return to_wire(text).hex()


class Validator(Utf8Validator):
    """The same for this one."""

    def validate(self, text):
        return super().validate(to_wire(text))


def folder():
    """Where the suite is installed. It cannot be imported as a whole."""
    return Path(importlib.util.find_spec("autobahntestsuite").origin).parent / "case"


def translated(source):
    """What Python 3 reads otherwise: `print`, the division of integers, the order of bases, two imports that now want bytes."""
    source = re.sub(r"^(import binascii|from \S+ import Utf8Validator)$", "", source, flags=re.MULTILINE)
    source = re.sub(r"^(\s*)print(?: (.*))?$", r"\1print(\2)", source, flags=re.MULTILINE)
    source = source.replace("(object, Case, )", "(Case, )")
    return source.replace(" / self.p.autoFragmentSize", " // self.p.autoFragmentSize")


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the files of the folder by their bare names, as Python 2 does for files of the same folder."""

    def __init__(self, place):
        self.place = place

    def find_spec(self, name, path=None, target=None):
        if name in LEFT_OUT or (path is None and (self.place / f"{name}.py").is_file()):
            return importlib.util.spec_from_loader(name, self)
        return None

    def exec_module(self, module):
        if module.__name__ in LEFT_OUT:
            vars(module).update(LEFT_OUT[module.__name__])
            return
        run(self.place / f"{module.__name__}.py", vars(module))


def run(file, names):
    names.update(xrange=range, binascii=Hex, Utf8Validator=Validator)
    exec(compile(translated(file.read_text("latin-1")), str(file), "exec"), names)


def load():
    """All cases in the order of the suite: pairs of an id such as `7.1.6` and a class."""
    place = folder()
    sys.meta_path.insert(0, Finder(place))
    names = {"__name__": "cases of the suite"}
    run(place / "__init__.py", names)
    # Pickles of equal things may differ under Python 3.
    names["Case"].compare = lambda _case, one, other: one == other
    return [(case.__name__.removeprefix("Case").replace("_", "."), case) for case in names["Cases"]]
