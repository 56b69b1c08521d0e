//go:build !wasip1

package abi

// Elsewhere than in a component (an editor, `go vet`, tests of plain functions) no host writes anything.
func reset() {}
