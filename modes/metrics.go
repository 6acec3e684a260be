package modes

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/urfave/cli/v2"

	"tuplenet/internal/agent"
	"tuplenet/internal/metrics"
)

func metricsFlag() cli.Flag {
	return &cli.StringFlag{Name: "metrics", EnvVars: []string{"TUPLENET_METRICS"},
		Usage: "`ADDRESS:PORT` to serve /metrics in Prometheus' format, /healthz and /readyz on; PORT alone is for this machine; without it there are none"}
}

// metricsAddress returns where to serve metrics, by what metricsFlag says; empty
// for nowhere.
func metricsAddress(v string) (string, error) {
	if v == "" {
		return "", nil
	}
	address, err := metrics.Address(v)
	if err != nil {
		return "", fmt.Errorf("invalid --metrics (TUPLENET_METRICS): %w", err)
	}
	return address, nil
}

// serveProfiles has SIGUSR1 begin and end to serve the profiles of an agent, until
// ctx ends.
func serveProfiles(ctx context.Context, runDir string, log *slog.Logger) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	defer signal.Stop(signals)
	metrics.Profiles(ctx, filepath.Join(runDir, agent.ProfileSocket), signals, log)
}
