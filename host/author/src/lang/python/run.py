"""Runs componentize-py from its unpacked wheel, and shows of an error what concerns the author: Python's own traceback, with the real paths."""

import re
import sys


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
        return f"a module calls {called[1]} while it is imported; the host is there only when a sample is, so call it in the function that gets the sample"
    message = whole.split("\n\nCaused by:")[0] or whole

    def real(match: re.Match) -> str:
        number = int(match[1])
        return f'File "{folders[number]}/' if number < len(folders) else match[0]

    return re.sub(r'File "/(\d+)/', real, message).strip()


sys.exit(main())
