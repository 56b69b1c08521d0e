"""Lists the modules that a Python file imports, and those that it imports in turn, as far as they lie in the folders that are given.

One name a line; `from a import b` gives `a` and `a.b`, since b may be a module or not. Nothing is run. Lines that begin with `warning: ` are about what the
module does while it is imported.
"""

import ast
import sys
from pathlib import Path


def main() -> int:
    start, *folders = map(Path, sys.argv[1:])
    seen: set[str] = set()
    waiting = [(start, "")]
    read: set[Path] = set()
    while waiting:
        path, package = waiting.pop()
        if path in read:
            continue
        read.add(path)
        try:
            tree = ast.parse(path.read_bytes(), str(path))
        except SyntaxError as error:
            print(f"{path}, line {error.lineno}: {error.msg}", file=sys.stderr)
            if error.text:
                print("    " + error.text.rstrip(), file=sys.stderr)
                print("    " + " " * max((error.offset or 1) - 1, 0) + "^", file=sys.stderr)
            return 1
        if path == start:
            for line, call in sorted(clocks(tree)):
                place = f"{path.name}, line {line}: `{call}()`"
                print(f"warning: {place} runs during the build, so every instance gets the time of the build; call it in the function that gets the sample")
        for name in imports(tree, package):
            if name not in seen:
                seen.add(name)
                waiting.extend(find(name, folders))
    print("\n".join(sorted(seen)))
    return 0


CLOCKS = {
    *(f"time.{name}" for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")),
    *(f"{module}datetime.{name}" for module in ("", "datetime.") for name in ("now", "utcnow", "today")),
    *("date.today", "datetime.date.today"),
}


def clocks(tree: ast.Module):
    """The lines outside of any function that read the clock, with the call."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.Call) and ast.unparse(node.func) in CLOCKS:
            yield node.lineno, ast.unparse(node.func)
        waiting.extend(ast.iter_child_nodes(node))


def imports(tree: ast.AST, package: str):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from parts(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                # Relative: one dot is the package itself, each further one its parent.
                around = package.split(".")
                around = around[: len(around) - node.level + 1]
                base = ".".join([*around, base] if base else around)
            yield from parts(base)
            for alias in node.names:
                yield f"{base}.{alias.name}"


def parts(name: str):
    """`a.b.c` imports a, a.b and a.b.c."""
    words = name.split(".")
    for end in range(1, len(words) + 1):
        yield ".".join(words[:end])


def find(name: str, folders: list[Path]):
    """The file of a module, with the package that it belongs to."""
    inner = Path(*name.split("."))
    for folder in folders:
        if (folder / inner / "__init__.py").is_file():
            yield folder / inner / "__init__.py", name
            return
        if (folder / inner).with_suffix(".py").is_file():
            yield (folder / inner).with_suffix(".py"), name.rpartition(".")[0]
            return


sys.exit(main())
