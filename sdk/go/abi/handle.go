// Package abi is the base of the generated bindings: handles, memory that host and component share, and cleaning up.
// Components do not use it themselves.
package abi

import "runtime"

// Handle is the host's number of a resource; 0 after it was given away or dropped.
type Handle struct {
	number int32
}

// MakeHandle keeps a number that the host gave.
func MakeHandle(number int32) *Handle {
	handle := &Handle{}
	handle.Set(number)
	return handle
}

// Use returns the number.
func (handle *Handle) Use() int32 {
	if handle.number == 0 {
		panic("a resource is used that was dropped or given away")
	}
	return handle.number
}

// Take returns the number and forgets it: the resource now belongs to another owner.
func (handle *Handle) Take() int32 {
	number := handle.Use()
	handle.number = 0
	return number
}

// TakeOrNil is like Take, but returns 0 if the handle is empty.
func (handle *Handle) TakeOrNil() int32 {
	number := handle.number
	handle.number = 0
	return number
}

// Set gives an empty handle its number.
func (handle *Handle) Set(number int32) {
	if number == 0 || handle.number != 0 {
		panic("a resource's handle is set twice, or to nothing")
	}
	handle.number = number
}

// AddCleanup runs `cleanup` some time after `object` is unreachable. It is a safety net for resources that were not dropped: the collector knows
// nothing of the host's memory behind a handle, so it may run too late. Call Drop to release a handle in time.
func AddCleanup[T, S any](object *T, cleanup func(S), argument S) {
	runtime.AddCleanup(object, cleanup, argument)
}
