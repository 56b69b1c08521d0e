package types

// Error makes the error a Go error.
func (err Error) Error() string {
	return err.Message
}

// Invalid says that the sample or an argument is malformed.
func Invalid(message string) error {
	return Error{ErrorCodeInvalidInput, message}
}

// Unsupported says that something is well-formed, but not supported.
func Unsupported(message string) error {
	return Error{ErrorCodeUnsupported, message}
}

// Internal is any other failure.
func Internal(message string) error {
	return Error{ErrorCodeInternal, message}
}
