package abi

import "unsafe"

// What the host writes (lists, texts) goes into memory beside Go's heap, and is copied from there. The host asks for that memory by
// `cabi_realloc`, at a moment when a component must call no import: Go's own allocator may begin or help a collection there, and that
// asks for the time. So nothing below allocates by Go, and nothing yields.

// chunk is the head of a piece of that memory.
type chunk struct {
	next *chunk
	end  uintptr
}

const (
	page      = 64 << 10
	chunkHead = 16
)

var (
	// started is false while Go's runtime starts. What is asked for then (by the adapter to WASI 0.2) is kept for good.
	started bool
	// first is the first of all chunks, current the one to take from, and next the first free byte in it.
	first, current *chunk
	next           uintptr
	// total counts the bytes of all chunks.
	total uintptr
)

func init() {
	started = true
}

// sbrk grows the linear memory. Go's runtime must know of every growth, else it takes the same bytes itself. The linker allows the
// reference with `-checklinkname=0` only.
//
//go:linkname sbrk runtime.sbrk
func sbrk(size uintptr) unsafe.Pointer

// trap ends the call at once. A panic would run deferred functions beyond the host's frames.
func trap()

//go:wasmexport cabi_realloc
func realloc(old unsafe.Pointer, oldSize, align, size uintptr) unsafe.Pointer {
	var fresh unsafe.Pointer
	if started {
		fresh = take(align, size)
	} else {
		fresh = grow(size)
	}
	if oldSize > 0 {
		copy(unsafe.Slice((*byte)(fresh), size), unsafe.Slice((*byte)(old), oldSize))
	}
	return fresh
}

// grow returns whole new pages.
func grow(size uintptr) unsafe.Pointer {
	if size > 1<<31 {
		trap()
	}
	pages := sbrk((size + page - 1) &^ (page - 1))
	if pages == nil {
		trap()
	}
	return pages
}

// take returns the next free bytes of the chunks, and makes another chunk where none has room.
func take(align, size uintptr) unsafe.Pointer {
	for current != nil {
		start := (next + align - 1) &^ (align - 1)
		if start+size <= current.end {
			next = start + size
			return unsafe.Pointer(start)
		}
		if current.next == nil {
			break
		}
		enter(current.next)
	}
	// At least half of what there is, so that slowly growing lists leave few chunks behind that are too small.
	wanted := (max(size+chunkHead+align, total/2) + page - 1) &^ (page - 1)
	made := (*chunk)(grow(wanted))
	made.next = nil
	made.end = uintptr(unsafe.Pointer(made)) + wanted
	total += wanted
	if current == nil {
		first = made
	} else {
		current.next = made
	}
	enter(made)
	start := (next + align - 1) &^ (align - 1)
	next = start + size
	return unsafe.Pointer(start)
}

func enter(it *chunk) {
	current = it
	next = uintptr(unsafe.Pointer(it)) + chunkHead
}

// reset frees all chunks for new use.
func reset() {
	if first != nil {
		enter(first)
	}
}
