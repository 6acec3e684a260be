package topology

import "testing"

// What is no name does nothing to a terminal.
func TestKeyString(t *testing.T) {
	for want, key := range map[string]Key{
		"switch LS-A":                        {Kind: KindSwitch, Name: "LS-A"},
		"switch port LS-A/l p":               {Kind: KindSwitchPort, Parent: "LS-A", Name: "l p"},
		`switch "a\nb"`:                      {Kind: KindSwitch, Name: "a\nb"},
		`switch port "\x1b[31m"/"\u009b31m"`: {Kind: KindSwitchPort, Parent: "\x1b[31m", Name: "\u009b31m"},
	} {
		if got := key.String(); got != want {
			t.Errorf("%q is shown as %s, want %s", key.Name, got, want)
		}
	}
	if CheckName("\u009b31m") == nil {
		t.Error("a name may begin an escape sequence")
	}
}
