// Package wit has the types of WIT that Go lacks.
package wit

// Unit is the type of no value.
type Unit = struct{}

// The tags of an Option.
const (
	OptionNone = 0
	OptionSome = 1
)

// Option is a value or nothing.
type Option[T any] struct {
	present bool
	value   T
}

// Some is a value.
func Some[T any](value T) Option[T] {
	return Option[T]{true, value}
}

// None is nothing.
func None[T any]() Option[T] {
	return Option[T]{}
}

// Get returns the value, and whether there is one.
func (option Option[T]) Get() (T, bool) {
	return option.value, option.present
}

// Or returns the value, or another one if there is none.
func (option Option[T]) Or(other T) T {
	if option.present {
		return option.value
	}
	return other
}

// Some returns the value; it panics if there is none.
func (option Option[T]) Some() T {
	if !option.present {
		panic("an option without a value")
	}
	return option.value
}

// Tag says which it is.
func (option Option[T]) Tag() uint8 {
	if option.present {
		return OptionSome
	}
	return OptionNone
}

// The tags of a Result.
const (
	ResultOk  = 0
	ResultErr = 1
)

// Result is what a function of the host returned, or its error.
type Result[T, E any] struct {
	failed bool
	value  T
	err    E
}

// Ok is a success.
func Ok[T, E any](value T) Result[T, E] {
	return Result[T, E]{value: value}
}

// Err is a failure.
func Err[T, E any](err E) Result[T, E] {
	return Result[T, E]{failed: true, err: err}
}

// Get returns both in Go's way. Errors of the host are Go errors.
func (result Result[T, E]) Get() (T, error) {
	if !result.failed {
		return result.value, nil
	}
	if err, is := any(result.err).(error); is {
		return result.value, err
	}
	return result.value, failure{}
}

// failure is an error without a text.
type failure struct{}

func (failure) Error() string { return "the host returned an error" }

// Ok returns the value; it panics after a failure.
func (result Result[T, E]) Ok() T {
	if result.failed {
		panic("a result that is an error")
	}
	return result.value
}

// Err returns the error; it panics after a success.
func (result Result[T, E]) Err() E {
	if !result.failed {
		panic("a result that is no error")
	}
	return result.err
}

// Tag says which it is.
func (result Result[T, E]) Tag() uint8 {
	if result.failed {
		return ResultErr
	}
	return ResultOk
}
