package modes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"gopkg.in/natefinch/lumberjack.v2"

	"tuplenet/internal/agent"
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
			"vSwitch with a system-id. SIGTERM stops it and leaves everything in place. SIGUSR1 has it\n" +
			"serve Go's profiles on pprof.sock in its run directory, until the next SIGUSR1.\n\n" +
			example("tuplenet --interface eth0 --host 192.168.1.10:2379"),
		Flags:  agentFlags(),
		Action: func(c *cli.Context) error { return runAgent(c, false) },
	}
}

// agentFlags are those of the agent, on an ordinary node and on an edge.
func agentFlags() []cli.Flag {
	return slices.Concat(etcdFlags("host", "a"), []cli.Flag{
		&cli.StringFlag{Name: "interface", Aliases: []string{"f"}, EnvVars: []string{"TUPLENET_INTERFACE"}, Value: "eth0,br0",
			Usage: "`ADDRESS` of the tunnels, or the interface that has it, also when it changes; of several, separated by commas, the first with an address"},
		&cli.StringFlag{Name: "log", Aliases: []string{"l"}, EnvVars: []string{"TUPLENET_LOGDIR"},
			Usage: "`DIRECTORY` of tuplenet.log, which is rotated at 50 MB; without it the log goes to standard error"},
		&cli.StringFlag{Name: "log-level", EnvVars: []string{"TUPLENET_LOG_LEVEL"}, Value: "info", Usage: "`LEVEL`: debug, info, warn or error"},
		&cli.StringFlag{Name: "log-format", EnvVars: []string{"TUPLENET_LOG_FORMAT"}, Value: "text", Usage: "`FORMAT`: text or json"},
	}, hostFlags(), edgeFlags(), ipfixFlags(), []cli.Flag{
		&cli.BoolFlag{Name: "on-demand", Value: true, DisableDefaultText: true,
			Usage: "flows to ports on other hosts are made when traffic goes there (the default, except on an edge); --on-demand=false makes all of them at once [$ONDEMAND]"},
		&cli.StringFlag{Name: "idle", EnvVars: []string{"ONDEMAND_IDLE"}, DefaultText: "300",
			Usage: "`SECONDS` after which flows made on demand go, if no packet has met them"},
		&cli.BoolFlag{Name: "redirect", Value: true, DisableDefaultText: true,
			Usage: "edges forward what this host cannot deliver itself (the default) [$ENABLE_REDIRECT]"},
		metricsFlag(),
		&cli.StringFlag{Name: "interval", Aliases: []string{"i"}, Hidden: true}, // of agents that polled
	})
}

// hostFlags say where an agent and its Open vSwitch have their files.
func hostFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "rundir", EnvVars: []string{"TUPLENET_RUNDIR"}, Value: "/var/run/tuplenet",
			Usage: "`DIRECTORY` of the agent's pid file and state, on a file system that ends with the machine; an agent is alone there"},
		&cli.StringFlag{Name: "ovs-rundir", EnvVars: []string{"OVS_RUNDIR"}, Value: "/var/run/openvswitch", Usage: "`DIRECTORY` of Open vSwitch's sockets"},
		&cli.StringFlag{Name: "ovsdb", EnvVars: []string{"TUPLENET_OVSDB_PATH"}, DefaultText: "db.sock in --ovs-rundir", Usage: "`SOCKET` of ovsdb-server"},
	}
}

// ovsConfig returns what hostFlags say of Open vSwitch.
func ovsConfig(c *cli.Context, log *slog.Logger) ovs.Config {
	return ovs.Config{RunDir: c.String("ovs-rundir"), Database: socketEndpoint(c.String("ovsdb")), Log: log}
}

// runAgent runs the agent of an ordinary node, or of an edge if the flags or
// the mode, isGateway, say so.
func runAgent(c *cli.Context, isGateway bool) error {
	// An agent that was killed may have left traffic held, and this one may not
	// get as far as to find that: with the NIC in a bridge, its address may come
	// only when ovs-vswitchd forwards. If it does, it tries again and tells.
	_ = ovs.Release(c.Context, ovsConfig(c, nil))
	if c.Args().Present() {
		return fmt.Errorf("the agent takes no argument %q (see %s --help)", c.Args().First(), c.App.Name)
	}
	cfg, err := edgeConfig(c)
	if err != nil {
		return err
	}
	cfg.Gateway = cfg.Gateway || isGateway
	if err := demandConfig(c, &cfg); err != nil {
		return err
	}
	if err := ipfixConfig(c, &cfg.Settings); err != nil {
		return err
	}
	if cfg.Metrics, err = metricsAddress(c.String("metrics")); err != nil {
		return err
	}
	address, err := agent.TunnelAddress(c.String("interface"))
	if err != nil {
		return err
	}
	etcd, err := etcdConfig(c, "host")
	if err != nil {
		return err
	}
	log, closeLog, err := newLog(c)
	if err != nil {
		return err
	}
	defer closeLog()
	etcd.Log = log

	idle := idleSettings(cfg.Gateway)
	for _, setting := range slices.Sorted(maps.Keys(idle)) {
		log.Warn("going on without what a setting asks for", "setting", setting, "reason", idle[setting])
	}

	ctx, stop := signal.NotifyContext(c.Context, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
	defer stop()
	pid, err := agent.TakeRunDir(ctx, c.String("rundir"), replacePatience)
	if err != nil {
		return err
	}
	defer pid.Release()
	go serveProfiles(ctx, c.String("rundir"), log)

	st, err := store.New(etcd)
	if err != nil {
		return err
	}
	defer st.Close()
	cfg.Store, cfg.OVS, cfg.RunDir, cfg.Log = st, ovsConfig(c, log), c.String("rundir"), log
	cfg.Plugins = pluginServer{c.String("rundir"), log}
	cfg.TunnelIP, cfg.Interface, cfg.Version = address, c.String("interface"), version()
	err = stopped(ctx, agent.Run(ctx, cfg))
	if err != nil && c.String("log") != "" { // else it is on standard error
		log.Error("agent ends", "error", err)
	}
	return err
}

// pluginServer serves plugins on a socket in the run directory.
type pluginServer struct {
	runDir string
	log    *slog.Logger
}

func (p pluginServer) Serve(ctx context.Context, h *agent.Host) {
	host.Serve(ctx, p.runDir, h, p.log)
}

// demandConfig reads what the flags say of flows on demand.
func demandConfig(c *cli.Context, cfg *agent.Config) (err error) {
	if cfg.OnDemand, err = notSwitchedOff(c, "on-demand", "ONDEMAND"); err != nil {
		return err
	}
	if cfg.Gateway {
		cfg.OnDemand = false
	}
	if cfg.Redirect, err = notSwitchedOff(c, "redirect", "ENABLE_REDIRECT"); err != nil {
		return err
	}
	cfg.IdleTimeout = 5 * time.Minute
	if v := c.String("idle"); v != "" {
		seconds, err := strconv.Atoi(v)
		if err != nil || seconds < 1 || seconds > 86400 {
			return fmt.Errorf("invalid --idle (ONDEMAND_IDLE) %q, want seconds from 1 to 86400", v)
		}
		cfg.IdleTimeout = time.Duration(seconds) * time.Second
	}
	return nil
}

// idleSettings returns the settings in the environment that have no effect, and
// why.
func idleSettings(isGateway bool) map[string]string {
	idle := map[string]string{}
	if isGateway && os.Getenv("ONDEMAND") == "1" {
		idle["ONDEMAND=1"] = "a gateway makes the flows of the whole topology"
	}
	return idle
}

// stopped returns nil for the error of what a signal has ended.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// socketEndpoint returns the OVSDB endpoint of a socket's path; what is an
// endpoint already stays as it is.
func socketEndpoint(path string) string {
	if path == "" || strings.Contains(path, ":") {
		return path
	}
	return "unix:" + path
}

// newLog makes the logger that --log, --log-level and --log-format ask for.
func newLog(c *cli.Context) (*slog.Logger, func(), error) {
	var out io.Writer = c.App.ErrWriter
	done := func() {}
	if dir := c.String("log"); dir != "" {
		file := &lumberjack.Logger{Filename: filepath.Join(dir, "tuplenet.log"), MaxSize: 50, MaxBackups: 3}
		if _, err := file.Write(nil); err != nil {
			return nil, nil, fmt.Errorf("log directory: %w", err)
		}
		out, done = file, func() { file.Close() }
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.String("log-level"))); err != nil {
		return nil, nil, fmt.Errorf("invalid --log-level %q, want debug, info, warn or error", c.String("log-level"))
	}
	options := &slog.HandlerOptions{Level: level}
	switch format := c.String("log-format"); format {
	case "text":
		return slog.New(slog.NewTextHandler(out, options)), done, nil
	case "json":
		return slog.New(slog.NewJSONHandler(out, options)), done, nil
	default:
		done()
		return nil, nil, fmt.Errorf("invalid --log-format %q, want text or json", format)
	}
}
