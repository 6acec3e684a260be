package modes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"tuplenet/internal/agent"
	"tuplenet/internal/ctl"
	"tuplenet/internal/explain"
	"tuplenet/internal/store"
)

// ctlDialTimeout is how long tpctl waits for etcd before it gives up.
const ctlDialTimeout = 3 * time.Second

// ctlObjects says what the objects of tpctl's commands are.
var ctlObjects = map[string]string{
	"ls":  "logical switches",
	"lsp": "ports of logical switches",
	"lr":  "logical routers",
	"lrp": "ports of logical routers",
	"lsr": "static routes of logical routers",
	"ch":  "chassis, the hosts that take part",

	"lnat":      "NAT rules of logical routers",
	"patchport": "ports of logical switches that lead to the physical network",
	"auth":      "users of etcd, and what each may do",
	"edge":      "roads to the physical network, each with all that belongs to it",
	"toolbox":   "mend what keeps account of ids and addresses",
}

func ctlCommand() *cli.Command {
	cmd := &cli.Command{
		Name:  string(ModeCtl),
		Usage: "show and change the virtual network (tpctl)",
		Description: "Flags may stand anywhere; -- ends them. Names may not contain \"/\".\n\n" +
			example("tpctl ls add LS-A", "tpctl -e 192.168.1.10:2379 lsp show LS-A --json"),
		Flags: append(etcdFlags("endpoints", "e"),
			&cli.BoolFlag{Name: "json", Aliases: []string{"j"}, Usage: "print one JSON object a line", DisableDefaultText: true}),
		ArgsUsage:    "OBJECT VERB [arguments]",
		OnUsageError: func(c *cli.Context, err error, sub bool) error { return ctlFailed(c, usageError(c, err, sub)) },
		Action:       ctlGroup,
	}
	for _, command := range ctl.All() {
		if command.Verb == "" {
			cmd.Subcommands = append(cmd.Subcommands, ctlVerb(command, cmd.OnUsageError))
			continue
		}
		i := slices.IndexFunc(cmd.Subcommands, func(c *cli.Command) bool { return c.Name == command.Object })
		if i < 0 {
			i = len(cmd.Subcommands)
			cmd.Subcommands = append(cmd.Subcommands, &cli.Command{
				Name: command.Object, Usage: ctlObjects[command.Object], ArgsUsage: "VERB [arguments]",
				Action: ctlGroup, OnUsageError: cmd.OnUsageError,
			})
		}
		object := cmd.Subcommands[i]
		object.Subcommands = append(object.Subcommands, ctlVerb(command, cmd.OnUsageError))
	}
	cmd.Subcommands = append(cmd.Subcommands, completionCommand())
	return cmd
}

func ctlVerb(command ctl.Command, onUsageError cli.OnUsageErrorFunc) *cli.Command {
	verb := &cli.Command{
		Name:         cmp.Or(command.Verb, command.Object),
		Usage:        command.Usage,
		ArgsUsage:    strings.Join(command.Args, " "),
		Description:  strings.TrimSpace(command.Notes + "\n\n" + example(command.Example)),
		OnUsageError: onUsageError,
	}
	if command.Alias != "" {
		verb.Aliases = []string{command.Alias}
	}
	for _, f := range command.Flags {
		switch {
		case f.Value == "":
			verb.Flags = append(verb.Flags, &cli.BoolFlag{Name: f.Name, Aliases: f.Aliases, Usage: f.Usage, DisableDefaultText: true})
		case f.Many:
			verb.Flags = append(verb.Flags, &cli.StringSliceFlag{Name: f.Name, Aliases: f.Aliases, Usage: f.Usage})
		default:
			verb.Flags = append(verb.Flags, &cli.StringFlag{Name: f.Name, Aliases: f.Aliases, Usage: f.Usage, Value: f.Default})
		}
	}
	if command.Host {
		verb.Flags = append(verb.Flags, hostFlags()...)
	}
	verb.Action = func(c *cli.Context) error {
		etcd := sync.OnceValues(func() (store.Config, error) { return ctlConfig(c, command.ReadOnly(), c.App.ErrWriter) })
		open := func(ctx context.Context, readOnly bool) (*store.Store, error) {
			cfg, err := etcd()
			if err != nil {
				return nil, err
			}
			cfg.ReadOnly = readOnly
			return openStore(ctx, cfg)
		}
		env := ctl.Env{
			Etcd: etcd,
			Open: func(ctx context.Context) (*store.Store, error) { return open(ctx, command.ReadOnly()) },
			Bridge: func(ctx context.Context, raw bool) (explain.Bridge, error) {
				host, err := hostConfig(c)
				if err != nil {
					return explain.Bridge{}, err
				}
				cfg := agent.Config{OVS: host.OVS, RunDir: host.RunDir, Log: host.OVS.Log}
				return agent.Explain(ctx, func(ctx context.Context) (*store.Store, error) { return open(ctx, true) }, cfg, raw)
			},
			In:    c.App.Reader,
			Out:   c.App.Writer,
			Err:   c.App.ErrWriter,
			JSON:  c.Bool("json"),
			Flags: map[string]string{},
		}
		for _, f := range command.Flags {
			switch {
			case f.Many:
				env.Flags[f.Name] = strings.Join(c.StringSlice(f.Name), ",")
			case f.Value != "":
				env.Flags[f.Name] = c.String(f.Name)
			case c.Bool(f.Name):
				env.Flags[f.Name] = "true"
			}
		}
		ctx := c.Context
		if c.Bool("watch") { // which lasts until somebody ends it, and has then done all it should
			var stop context.CancelFunc
			ctx, stop = signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
			defer stop()
		}
		return ctlFailed(c, command.Run(ctx, env, c.Args().Slice()))
	}
	return verb
}

// openStore connects to etcd for somebody who can name another.
func openStore(ctx context.Context, cfg store.Config) (*store.Store, error) {
	st, err := store.Open(ctx, cfg)
	if err != nil && !errors.Is(err, store.ErrVersion) && !store.Refused(err) {
		return nil, fmt.Errorf("%w (-e or TUPLENET_ENDPOINTS names another etcd)", err)
	}
	return st, err
}

func ctlConfig(c *cli.Context, readOnly bool, say io.Writer) (store.Config, error) {
	cfg, err := etcdConfig(c, say)
	if err != nil {
		return store.Config{}, err
	}
	cfg.DialTimeout = ctlDialTimeout
	cfg.ReadOnly = readOnly
	cfg.Log = slog.New(slog.DiscardHandler) // a command ends with one sentence
	if c.Bool("watch") {
		cfg.Log = slog.New(slog.NewTextHandler(c.App.ErrWriter, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	return cfg, nil
}

func ctlGroup(c *cli.Context) error { return ctlFailed(c, groupAction(c)) }

// ctlFailed prints err to standard output, where scripts look for its words,
// and returns it for standard error and the exit status.
func ctlFailed(c *cli.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ctl.ErrTold):
		return cli.Exit("", 1)
	}
	if !c.Bool("json") {
		fmt.Fprintln(c.App.Writer, err)
		return printed{err}
	}
	return printed{errors.Join(err, ctl.WriteJSON(c.App.Writer, struct {
		Error string `json:"error"`
	}{err.Error()}))}
}
