package agent

import (
	"errors"
	"testing"
)

func TestOneLine(t *testing.T) {
	away := errors.New("OVSDB is away")
	err := errors.Join(errors.Join(away, errors.New("port p: no such bridge")), away)
	if got, want := oneLine(err), "OVSDB is away; port p: no such bridge"; got != want {
		t.Errorf("oneLine = %q, want %q", got, want)
	}
}
