package wasi_nn_errors

// names are those of the codes, as in the WIT file.
var names = [...]string{
	ErrorCodeInvalidArgument:      "invalid-argument",
	ErrorCodeInvalidEncoding:      "invalid-encoding",
	ErrorCodeTimeout:              "timeout",
	ErrorCodeRuntimeError:         "runtime-error",
	ErrorCodeUnsupportedOperation: "unsupported-operation",
	ErrorCodeTooLarge:             "too-large",
	ErrorCodeNotFound:             "not-found",
	ErrorCodeSecurity:             "security",
	ErrorCodeUnknown:              "unknown",
}

// Error makes the error a Go error: its code and data.
func (self *Error) Error() string {
	return "wasi:nn: " + names[self.Code()] + ": " + self.Data()
}
