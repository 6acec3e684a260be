package modes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"gopkg.in/natefinch/lumberjack.v2"

	"tuplenet/internal/agent"
	"tuplenet/internal/config"
	"tuplenet/internal/ovs"
	"tuplenet/internal/store"
	"tuplenet/plugins/host"
)

// replacePatience is how long an agent may take to stop when another takes its
// place.
const replacePatience = 10 * time.Second

func agentCommand() *cli.Command {
	return &cli.Command{
		Name:  string(ModeAgent),
		Usage: "run the agent of this host (also: tuplenet without a mode)",
		Description: "The agent binds the interfaces of br-int to the logical ports that their external_ids:iface-id\n" +
			"names, and keeps flows and tunnels as the topology in etcd wants them. It needs a running Open\n" +
			"vSwitch with a system-id. SIGTERM stops it and leaves everything in place. What changes in its file it\n" +
			"takes over while it runs, where that is possible, and says in its log where not; SIGHUP asks for it.\n" +
			"With --check it says what its settings are and where each comes from, and ends.\n\n" +
			example("tuplenet --interface eth0 --host 192.168.1.10:2379", "tuplenet agent --check"),
		Flags:  agentFlags(),
		Action: func(c *cli.Context) error { return runAgent(c, false) },
	}
}

// agentFlags are those of the agent, on an ordinary node and on an edge.
func agentFlags() []cli.Flag {
	return slices.Concat([]cli.Flag{configFlag()}, settingFlags(config.Agent()), []cli.Flag{
		&cli.BoolFlag{Name: "check", Usage: "say whether the settings are right, what they are and where each comes from, and end", DisableDefaultText: true},
		&cli.BoolFlag{Name: "json", Aliases: []string{"j"}, Usage: "with --check: print one JSON object a line", DisableDefaultText: true},
		&cli.BoolFlag{Name: "release", Usage: "let Open vSwitch go on where an agent that was killed had it wait for flows, and end", DisableDefaultText: true},
		&cli.StringFlag{Name: "interval", Aliases: []string{"i"}, Hidden: true}, // of agents that polled
	})
}

// runAgent runs the agent of an ordinary node, or of an edge if the settings or
// the mode, isGateway, say so.
func runAgent(c *cli.Context, isGateway bool) error {
	if c.Args().Present() {
		return fmt.Errorf("the agent takes no argument %q (see %s --help)", c.Args().First(), c.App.Name)
	}
	read := func(must bool) (*config.Resolved, error) {
		path := c.String("config")
		if must && path == "" {
			path = config.AgentFile
		}
		return resolve(config.Sources{Flag: given(c), Env: os.Getenv, Gateway: isGateway}, path, config.AgentFile, config.Agent())
	}
	settings, err := read(false)
	switch {
	case c.Bool("check"):
		return checkAgent(c, settings, err)
	case c.Bool("json"):
		return errors.New("--json belongs to --check")
	}
	// An agent that was killed may have left traffic held, and this one may not
	// get as far as to find that: with the NIC in a bridge, its address may come
	// only when ovs-vswitchd forwards. If it does, it tries again and tells.
	_ = ovs.Release(c.Context, settings.OVS)
	if err != nil || c.Bool("release") {
		return err
	}
	address, err := agent.TunnelAddress(settings.Interface)
	if err != nil {
		return err
	}
	level := new(slog.LevelVar)
	log, closeLog, err := newLog(c.App.ErrWriter, settings.Config, level)
	if err != nil {
		return err
	}
	defer closeLog()
	for _, note := range settings.Notes() {
		log.Warn("a setting is not as it was meant", "note", note)
	}

	ctx, stop := signal.NotifyContext(c.Context, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
	defer stop()
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	pid, err := agent.TakeRunDir(ctx, settings.RunDir, replacePatience)
	if err != nil {
		return err
	}
	defer pid.Release()
	go serveProfiles(ctx, settings.RunDir, log)

	etcd := settings.Etcd
	etcd.Log = log
	st, err := store.New(etcd)
	if err != nil {
		return err
	}
	defer st.Close()
	changes := make(chan agent.Settings)
	follower := &config.Follower{Read: read, Running: settings, Level: level, Changes: changes, Log: log}
	go follower.Run(ctx, hangup, watch(ctx, c, log))

	cfg := agent.Config{
		Store: st, OVS: settings.OVS, TunnelIP: address, Interface: settings.Interface, RunDir: settings.RunDir, Log: log,
		Gateway: settings.Gateway, Metrics: settings.Metrics, Version: version(),
		Settings: settings.Settings, Changes: changes,
		Plugins: pluginServer{settings.RunDir, log},
	}
	cfg.OVS.Log = log
	newService(ctx, log).heartbeat(&cfg)
	err = stopped(ctx, agent.Run(ctx, cfg))
	if err != nil && settings.LogDir != "" { // else it is on standard error
		log.Error("agent ends", "error", err)
	}
	return err
}

// watch tells of changes of the agent's file; nil if it cannot.
func watch(ctx context.Context, c *cli.Context, log *slog.Logger) <-chan struct{} {
	path := c.String("config")
	level := slog.LevelWarn
	if path == "" {
		path, level = config.AgentFile, slog.LevelDebug // few have it
	}
	changed, err := config.Watch(ctx, path, log)
	if err != nil {
		log.Log(ctx, level, "changes of the configuration are not noticed; SIGHUP has it read", "error", err)
	}
	return changed
}

// pluginServer serves plugins on a socket in the run directory.
type pluginServer struct {
	runDir string
	log    *slog.Logger
}

func (p pluginServer) Serve(ctx context.Context, h *agent.Host) {
	host.Serve(ctx, p.runDir, h, p.log)
}

// stopped returns nil for the error of what a signal has ended.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// newLog makes the logger that settings ask for. Its level can be set while it is
// used.
func newLog(out io.Writer, settings config.Config, level *slog.LevelVar) (*slog.Logger, func(), error) {
	done := func() {}
	if settings.LogDir != "" {
		file := &lumberjack.Logger{Filename: filepath.Join(settings.LogDir, "tuplenet.log"), MaxSize: 50, MaxBackups: 3}
		if _, err := file.Write(nil); err != nil {
			return nil, nil, fmt.Errorf("log directory: %w", err)
		}
		out, done = file, func() { file.Close() }
	}
	level.Set(settings.LogLevel)
	options := &slog.HandlerOptions{Level: level}
	if settings.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(out, options)), done, nil
	}
	return slog.New(slog.NewTextHandler(out, options)), done, nil
}
