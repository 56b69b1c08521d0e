"""Errors that the host counts by their kind. Any other exception counts as `internal`."""

from wit_world.imports.types import ErrorCode


class Error(Exception):
    """A defect of the component or the model. The text is one sentence for a person."""

    code = ErrorCode.INTERNAL


class InvalidInput(Error):
    """The sample or a setting is malformed."""

    code = ErrorCode.INVALID_INPUT


class Unsupported(Error):
    """Well-formed, but not supported."""

    code = ErrorCode.UNSUPPORTED


class NotFound(Error):
    """There is nothing with that name."""

    code = ErrorCode.NOT_FOUND


class Denied(Error):
    """The release or the device does not grant it."""

    code = ErrorCode.DENIED


class LimitExceeded(Error):
    """A limit was reached; the text names it with its unit."""

    code = ErrorCode.LIMIT_EXCEEDED
