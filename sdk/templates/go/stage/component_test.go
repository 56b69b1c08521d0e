package component

import "testing"

// `go test` runs what needs no host. First run `hotshoe build`, which generates the imported module.
func TestBestFirst(t *testing.T) {
	classes := bestFirst([]float32{0.2, 0.4, 0.4}, []string{"cat"})
	if classes[0].Index != 1 || classes[1].Index != 2 || classes[2].Label != "cat" || classes[0].Label != "1" {
		t.Fatal(classes)
	}
}
