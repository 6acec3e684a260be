package embedded

import (
	"context"
	"testing"
)

// A server answers for itself, whoever asks, and not to who has no time.
func TestAnswer(t *testing.T) {
	t.Parallel()
	s := mustStart(t, local(t))
	if err := s.Answer(within(t)); err != nil {
		t.Errorf("a server that runs: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Answer(ctx); err == nil {
		t.Error("it has answered after the time for it")
	}
}
