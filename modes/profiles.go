package modes

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"tuplenet/internal/agent"
	"tuplenet/internal/metrics"
)

// serveProfiles has SIGUSR1 begin and end to serve the profiles of an agent, until
// ctx ends.
func serveProfiles(ctx context.Context, runDir string, log *slog.Logger) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	defer signal.Stop(signals)
	metrics.Profiles(ctx, filepath.Join(runDir, agent.ProfileSocket), signals, log)
}
