package component

import "testing"

// `go test` runs what needs no host. First run `hotshoe build`, which generates the imported module.
func TestOverlap(t *testing.T) {
	whole, half, apart := box{x2: 2, y2: 2}, box{x2: 2, y2: 1}, box{x1: 5, x2: 6, y2: 1}
	if overlap(whole, half) != 0.5 || overlap(whole, apart) != 0 || overlap(box{}, box{}) != 0 {
		t.Fatal(overlap(whole, half), overlap(whole, apart))
	}
	if kept := suppress([]box{whole, half, apart}, 0.4); len(kept) != 2 || kept[1] != apart {
		t.Fatal(kept)
	}
}
