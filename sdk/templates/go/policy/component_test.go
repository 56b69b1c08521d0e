package component

import "testing"

// `go test` runs what needs no host. First run `hotshoe build`, which generates the imported module.
func TestRules(t *testing.T) {
	parsed, err := parseRules("# who\n\nface  0.8\tinfo  {count} in sight \n")
	if err != nil || len(parsed) != 1 {
		t.Fatal(parsed, err)
	}
	if parsed[0] != (rule{"face", 0.8, "info", "{count} in sight"}) {
		t.Fatal(parsed[0])
	}
	found := []thing{{"face", 0.9}, {"face", 0.7}, {"cat", 1}}
	if count := parsed[0].count(found); count != 1 {
		t.Fatal(count)
	}
	for _, wrong := range []string{"face 0.8", "face high drop", "face 1 shout"} {
		if _, err := parseRules("\n" + wrong); err == nil || err.Error()[:13] != "rules, line 2" {
			t.Fatal(err)
		}
	}
}
