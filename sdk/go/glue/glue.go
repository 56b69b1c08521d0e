// Package glue is between the exports of a world and the author's functions: it makes errors of what went wrong.
package glue

import (
	"errors"
	"hotshoe/types"
	"runtime"
)

// Start begins a call. Between calls nothing runs, so what the collector has left to do, such as dropping what is out of reach, is done now.
func Start() {
	runtime.Gosched()
}

// Failure is what the host is told of an error; one that is not of `hotshoe/types` is internal.
func Failure(err error) types.Error {
	var failure types.Error
	if errors.As(err, &failure) {
		return failure
	}
	return types.Error{Code: types.ErrorCodeInternal, Message: err.Error()}
}

// Panic is what the host is told of a panic: it costs this sample, and the component goes on.
func Panic(value any) types.Error {
	text := "the component panicked"
	switch value := value.(type) {
	case error:
		text += ": " + value.Error()
	case string:
		text += ": " + value
	}
	return types.Error{Code: types.ErrorCodeInternal, Message: text}
}
