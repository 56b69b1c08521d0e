"""Lines in the device's log. They need the grant `log`. `print` writes there too, as `info`, with that grant."""

from wit_world.imports.log import Level, log

from .result import well_formed


def trace(message: object) -> None:
    """Details for debugging every step."""
    log(Level.TRACE, well_formed(str(message)))


def debug(message: object) -> None:
    """For the component's author."""
    log(Level.DEBUG, well_formed(str(message)))


def info(message: object) -> None:
    """What the operator may want to know."""
    log(Level.INFO, well_formed(str(message)))


def warn(message: object) -> None:
    """What the operator should look at."""
    log(Level.WARN, well_formed(str(message)))


def error(message: object) -> None:
    """What went wrong."""
    log(Level.ERROR, well_formed(str(message)))


__all__ = ["Level", "debug", "error", "info", "log", "trace", "warn"]
