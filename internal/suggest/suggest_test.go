package suggest

import "testing"

func TestDidYouMean(t *testing.T) {
	known := []string{"lsp-alice", "lsp-bob", "LS-A", "ls"}
	for word, want := range map[string]string{
		"lsp-alicee": `; did you mean "lsp-alice"?`,
		"lsp-bbo":    `; did you mean "lsp-bob"?`,
		"LSP-Alice":  `; did you mean "lsp-alice"?`,
		"LS-B":       `; did you mean "LS-A"?`,
		"nobody":     "",
		"x":          "", // which is as far from anything as from nothing
	} {
		if got := DidYouMean(word, known); got != want {
			t.Errorf("%s%s, want %s", word, got, want)
		}
	}
}
