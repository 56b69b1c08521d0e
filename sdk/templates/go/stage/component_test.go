package component

import "testing"

// What needs no host is tested by `go test`, once `hotshoe build` has made the module that the imports are from.
func TestBestFirst(t *testing.T) {
	classes := bestFirst([]float32{0.2, 0.4, 0.4}, []string{"cat"})
	if classes[0].Index != 1 || classes[1].Index != 2 || classes[2].Label != "cat" || classes[0].Label != "1" {
		t.Fatal(classes)
	}
}
