"""Patterns taken apart, for tests: how many bytes a search with one reads."""

from pii.rules.proofs import _bytes

_ONE = ("LITERAL", "NOT_LITERAL", "ANY", "IN")
_REPEAT = ("MAX_REPEAT", "MIN_REPEAT")


def is_bounded(tree):
    """Whether no match is longer than a fixed number of bytes."""
    return tree.getwidth()[1] < 10_000


class Machine:
    """A pattern as Pike's virtual machine (R. Cox, "Regular expression matching: the virtual machine approach").

    RE2's automaton of leftmost matches is in a state for a list of these threads: what it reads, this reads.
    """

    def __init__(self, tree):
        self.code = []
        self._add(tree)
        self.code.append(("match",))

    def _add(self, tree):
        for op, held in tree:
            name = str(op)
            if name in _ONE:
                self.code.append(("one", frozenset(_bytes(name, held))))
            elif name == "SUBPATTERN":
                self._add(held[3])
            elif name == "BRANCH":
                ends = []
                for branch in held[1]:
                    at = len(self.code)
                    self.code.append(None)
                    self._add(branch)
                    ends.append(len(self.code))
                    self.code.append(None)
                    self.code[at] = ("split", at + 1, len(self.code))
                self.code.append(("fail",))
                for end in ends:
                    self.code[end] = ("jump", len(self.code))
            elif name in _REPEAT:
                least, most, inner = held
                greedy = name == "MAX_REPEAT"
                for _ in range(least):
                    self._add(inner)
                if most > 2000:
                    at = len(self.code)
                    self.code.append(None)
                    self._add(inner)
                    self.code.append(("jump", at))
                    self.code[at] = self._split(at + 1, len(self.code), greedy)
                else:
                    optional = []
                    for _ in range(most - least):
                        optional.append(len(self.code))
                        self.code.append(None)
                        self._add(inner)
                    for at in optional:
                        self.code[at] = self._split(at + 1, len(self.code), greedy)

    @staticmethod
    def _split(enter, leave, greedy):
        return ("split", enter, leave) if greedy else ("split", leave, enter)

    def read(self, text):
        """Bytes that all searches of one `finditer` read together, on the way forth and back."""
        total = start = 0
        while start <= len(text):
            end, read = self._search(text, start)
            total += read
            if end is None:
                return total
            total += end - start
            start = max(end, start + 1)
        return total

    def _search(self, text, start):
        threads, end, at = [], None, start
        while True:
            following, seen = [], set()
            for pc in [*threads, 0] if end is None else threads:  # earlier beginnings come first
                if self._follow(pc, following, seen):
                    end = at
                    break
            if at >= len(text) or not (following or end is None):
                return end, at - start
            threads = [pc + 1 for pc in following if text[at] in self.code[pc][1]]
            at += 1

    def _follow(self, pc, out, seen):
        """Add what a thread comes to without reading; whether that is a match, which ends all threads behind."""
        stack = [pc]
        while stack:
            pc = stack.pop()
            if pc in seen:
                continue
            seen.add(pc)
            what = self.code[pc]
            if what[0] == "match":
                return True
            if what[0] == "one":
                out.append(pc)
            elif what[0] == "jump":
                stack.append(what[1])
            elif what[0] == "split":
                stack += [what[2], what[1]]
        return False
