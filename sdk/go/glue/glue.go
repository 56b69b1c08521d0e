// Package glue connects the exports of a world with the author's functions, and converts failures to errors of the host.
package glue

import (
	"errors"
	"hotshoe/types"
	"runtime"
)

// Start begins a call. Nothing runs between calls, so the garbage collector finishes its work now, and drops unreachable handles.
func Start() {
	runtime.Gosched()
}

// Failure is the host's form of an error; one that is not of `hotshoe/types` is internal.
func Failure(err error) types.Error {
	var failure types.Error
	if errors.As(err, &failure) {
		return failure
	}
	return types.Error{Code: types.ErrorCodeInternal, Message: err.Error()}
}

// Panic is the host's form of a panic, which costs this sample; the component goes on.
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
