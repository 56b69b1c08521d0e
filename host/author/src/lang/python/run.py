"""Runs componentize-py from its unpacked wheel, and shows of an error what concerns the author: Python's own traceback, with the real paths."""

import re
import sys
from pathlib import Path

# The endings of modules that a compiler made for one machine.
COMPILED = {".so", ".pyd", ".dylib"}


def main() -> int:
    wheel, *arguments = sys.argv[1:]
    sys.path.insert(0, wheel)
    from componentize_py import script

    sys.argv = ["componentize-py", *arguments]
    folders = [value for flag, value in zip(arguments, arguments[1:]) if flag == "-p"]
    try:
        script()
    except BaseException as error:
        if isinstance(error, SystemExit) and not error.code:
            return 0
        print(shown(str(error), folders), file=sys.stderr)
        return 1
    return 0


def shown(message: str, folders: list[str]) -> str:
    """Without the tool's own stack, and with the folders for the numbers that stand for them while it runs."""
    whole = message.split("\n\nStack backtrace:")[0]
    called = re.search(r"called trapping stub: (\S+)", whole)
    if called:
        return f"a module calls {called[1]} while it is imported, during the build, when there is no host; call it in the function that gets the sample"
    message = whole.split("\n\nCaused by:")[0] or whole

    def real(match: re.Match) -> str:
        number = int(match[1])
        return f'File "{folders[number]}/' if number < len(folders) else match[0]

    return not_there(message, folders) or re.sub(r'File "/(\d+)/', real, message).strip() + advice(message)


def not_there(message: str, folders: list[str]) -> str:
    """Why an import fails in a package with compiled parts; else nothing."""
    if not re.search(r"^(ImportError|ModuleNotFoundError)\b", message, re.MULTILINE):
        return ""
    # The module that is missing, and the packages that imported it.
    names = [name.split(".")[0] for name in re.findall(r"No module named '([^']+)'", message)]
    names += re.findall(r'File "/\d+/(\w+)[/.]', message)
    for name in names:
        for folder in map(Path, folders):
            inside = [*folder.glob(f"{name}.*"), *folder.glob(f"{name}/**/*")]
            part = next((path for path in inside if path.suffix in COMPILED), None)
            if part:
                return (
                    f"the package `{name}` needs its compiled part {part.relative_to(folder)}, which is for another machine and cannot run in a component; "
                    "use a package in pure Python (for pictures and models, call the host's `vision` and `infer`)"
                )
    return ""


def advice(message: str) -> str:
    """What to do about a module that is not there."""
    missing = re.search(r"^ModuleNotFoundError: No module named '([^'.]+)", message, re.MULTILINE)
    if not missing:
        return ""
    return (
        f"\na build uses the component's own files, the folder vendor and the packages of requirements.txt, but not the packages of your Python; run "
        f"`pip install --target vendor {missing[1]}`, or add a line with a hash to requirements.txt"
    )


sys.exit(main())
