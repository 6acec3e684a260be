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

func TestAmong(t *testing.T) {
	few := []string{"hv1", "hv2", "edge"}
	for word, want := range map[string]string{"edgy": `; did you mean "edge"?`, "nobody": "; there are: hv1, hv2, edge"} {
		if got := Among(word, few); got != want {
			t.Errorf("%s%s, want %s", word, got, want)
		}
	}
	if got := Among("nobody", make([]string, maxListed+1)) + Among("nobody", nil); got != "" {
		t.Errorf("too many, or none, are listed: %s", got)
	}
}
