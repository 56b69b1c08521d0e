package abi

import "unsafe"

// Pinner keeps what the host reads from out of the collector's reach. Go's collector does not move what is on the heap, so holding the
// pointer is enough; and what is held here is on the heap, since it escapes.
type Pinner struct {
	held []unsafe.Pointer
}

// Pin holds a pointer until Unpin.
func (pinner *Pinner) Pin(pointer unsafe.Pointer) {
	pinner.held = append(pinner.held, pointer)
}

// Unpin lets everything go.
func (pinner *Pinner) Unpin() {
	clear(pinner.held)
	pinner.held = pinner.held[:0]
}

// Allocate makes memory that the host reads or writes, and holds it. Its size is a multiple of its alignment, as everywhere in the
// component model's layout.
func Allocate(pinner *Pinner, size, align uintptr) unsafe.Pointer {
	if size == 0 {
		return nil
	}
	var pointer unsafe.Pointer
	switch align {
	case 1:
		pointer = unsafe.Pointer(unsafe.SliceData(make([]uint8, size)))
	case 2:
		pointer = unsafe.Pointer(unsafe.SliceData(make([]uint16, (size+1)/2)))
	case 4:
		pointer = unsafe.Pointer(unsafe.SliceData(make([]uint32, (size+3)/4)))
	default:
		pointer = unsafe.Pointer(unsafe.SliceData(make([]uint64, (size+7)/8)))
	}
	pinner.Pin(pointer)
	return pointer
}

// open counts the calls of the host whose results have not been copied yet.
var open int

// Begin starts a call of the host.
func Begin() *Pinner {
	open++
	return &Pinner{}
}

// End ends it: its arguments need not live longer, and its results have been copied.
func End(pinner *Pinner) {
	pinner.Unpin()
	open--
	Unpin()
}

// Results starts the results of a call by the host; those of the call before have been read by now.
func Results(pinner *Pinner) *Pinner {
	pinner.Unpin()
	return pinner
}

// Unpin frees what the host wrote, after it has been copied.
func Unpin() {
	if open == 0 {
		reset()
	}
}

// String copies a text that the host wrote.
func String(start *uint8, length uint32) string {
	return string(unsafe.Slice(start, length))
}

// Slice copies elements that the host wrote.
func Slice[T any](start *T, length uint32) []T {
	if length == 0 {
		return nil
	}
	// Not `append` to nil: that may reserve more than is needed.
	copied := make([]T, length)
	copy(copied, unsafe.Slice(start, length))
	return copied
}
