"""Parses files one after another: the program that `syntax.py` runs in a process of its own, because a parser may die of a file.

tree-sitter's work is not bounded by the size of a file: where its grammars are ambiguous, or while it recovers from errors, 8 kB
of `a=>a=>...` as Java take it 2 GB and 10 seconds. So a file is given up once it has cost too much, counted in what is the
same on every machine: steps of the parser, and bytes that were allocated at once. The operating system's limit on this
process's memory is far above that: it ends the process, where the counts would say the same.

Reads from stdin, and answers on stdout: REQUEST and so many bytes -> ANSWER. Imports nothing of ours: it is run as a file.
"""

import contextlib
import importlib
import resource
import struct
import sys
import tracemalloc
from typing import Any

REQUEST = struct.Struct("<BI")
"""Index of the language in `GRAMMARS`, bytes of the text."""
ANSWER = struct.Struct("<?qqqq")
"""Whether it was parsed; bytes in errors, errors and missing tokens, functions, classes."""

STEPS = (200, 16)  # calls of 100 steps each that a file may cost: so many, and one for so many of its bytes
MEMORY = (16 << 20, 128)  # bytes that may be allocated at once: so many, and so many for each of its bytes
PROCESS_MEMORY = 1 << 30
_ERROR = 0xFFFF  # tree-sitter's number for the kind ERROR
_PIECE = 1 << 16

_TYPES = "class_declaration interface_declaration enum_declaration"
_SCRIPT = (
    "function_declaration function_expression generator_function_declaration generator_function arrow_function"
    " method_definition"
)
_C = ("function_definition", "field_declaration_list enumerator_list")
_TYPESCRIPT = (_SCRIPT, f"class abstract_class_declaration {_TYPES}")
GRAMMARS: dict[str, tuple[str, str, tuple[str, str]]] = {
    "C": ("tree_sitter_c", "language", _C),
    "C#": (
        "tree_sitter_c_sharp", "language",
        ("method_declaration constructor_declaration local_function_statement",
         f"{_TYPES} struct_declaration record_declaration"),
    ),
    "C++": ("tree_sitter_cpp", "language", _C),
    "Go": ("tree_sitter_go", "language", ("function_declaration method_declaration", "struct_type interface_type")),
    "Java": (
        "tree_sitter_java", "language",
        ("method_declaration constructor_declaration", f"{_TYPES} record_declaration annotation_type_declaration"),
    ),
    "JavaScript": ("tree_sitter_javascript", "language", (_SCRIPT, "class class_declaration")),
    "PHP": (
        "tree_sitter_php", "language_php",
        ("function_definition method_declaration", f"{_TYPES} trait_declaration"),
    ),
    "Python": ("tree_sitter_python", "language", ("function_definition", "class_definition")),
    "Ruby": ("tree_sitter_ruby", "language", ("method singleton_method", "class module")),
    "Rust": ("tree_sitter_rust", "language", ("function_item", "struct_item enum_item trait_item union_item")),
    "TSX": ("tree_sitter_typescript", "language_tsx", _TYPESCRIPT),
    "TypeScript": ("tree_sitter_typescript", "language_typescript", _TYPESCRIPT),
}  # fmt: skip
"""Language -> package, its function, and the kinds of nodes that are functions and that declare types with a body."""


class Grammar:
    """A parser, and the numbers of the kinds that are counted."""

    def __init__(self, language: str) -> None:
        from tree_sitter import Language  # here: who asks this process needs what is above only

        module, function, kinds = GRAMMARS[language]
        grammar = Language(getattr(importlib.import_module(module), function)())
        self._language = grammar
        self.kinds = tuple(
            frozenset(grammar.id_for_node_kind(name, True) for name in names.split()) for names in kinds
        )
        assert all(None not in ids and 0 not in ids for ids in self.kinds), language

    def parse(self, text: bytes) -> Any:
        """The syntax tree; None if it would take more steps than a file may."""
        calls, limit = 0, STEPS[0] + len(text) // STEPS[1]

        def cancel(_offset: int, _has_error: bool) -> bool:
            nonlocal calls
            calls += 1
            return calls > limit

        from tree_sitter import Parser

        parser = Parser(self._language)  # a new one: what one holds from earlier files would count as theirs
        try:
            return parser.parse(
                lambda at, _point: text[at : at + _PIECE], encoding="utf8", progress_callback=cancel
            )
        except (ValueError, MemoryError):
            return None


def measure(grammar: Grammar, text: bytes) -> tuple[bool, int, int, int, int]:
    """The fields of ANSWER. Memory is bounded; the walk over the tree needs no stack."""
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    tree = grammar.parse(text)
    _, peak = tracemalloc.get_traced_memory()
    if tree is None or peak - before > MEMORY[0] + MEMORY[1] * len(text):
        return False, 0, 0, 0, 0
    return (True, *_counted(tree, *grammar.kinds))


def _counted(tree: Any, functions: frozenset[int], classes: frozenset[int]) -> tuple[int, int, int, int]:
    cursor = tree.walk()
    down, right, up = cursor.goto_first_child, cursor.goto_next_sibling, cursor.goto_parent
    with_errors = tree.root_node.has_error
    error_bytes = errors = covered = 0
    counts: dict[int, int] = {}
    while True:
        node = cursor.node
        kind = node.kind_id
        counts[kind] = counts.get(kind, 0) + 1
        if with_errors:
            if kind == _ERROR:
                errors += 1
                error_bytes += max(0, node.end_byte - max(covered, node.start_byte))
                covered = max(covered, node.end_byte)
            elif node.is_missing:
                errors += 1
        if down():
            continue
        while not right():
            if not up():
                return (
                    error_bytes,
                    errors,
                    sum(counts.get(one, 0) for one in functions),
                    sum(counts.get(one, 0) for one in classes),
                )


def main() -> None:
    """Answer requests until stdin ends."""
    with contextlib.suppress(OSError, ValueError):  # a lower limit may hold already
        resource.setrlimit(resource.RLIMIT_AS, (PROCESS_MEMORY, PROCESS_MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    tracemalloc.start(1)
    names, grammars = list(GRAMMARS), {}
    source, target = sys.stdin.buffer, sys.stdout.buffer
    while head := source.read(REQUEST.size):
        number, size = REQUEST.unpack(head)
        text = source.read(size)
        name = names[number]
        if name not in grammars:
            grammars[name] = Grammar(name)
        target.write(ANSWER.pack(*measure(grammars[name], text)))
        target.flush()


if __name__ == "__main__":
    main()
