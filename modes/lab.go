package modes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"tuplenet/internal/lab"
)

func labCommand() *cli.Command {
	return &cli.Command{
		Name:  string(ModeLab),
		Usage: "a whole network on this machine: hosts, Open vSwitch, agents, workloads",
		Description: "Hosts are network namespaces, each with an Open vSwitch and an agent of its own; an etcd and a\n" +
			"physical switch join them. It needs root and Open vSwitch, and leaves nothing behind. A host, a\n" +
			"machine outside, a workload (by its port) and the physical switch (phy) are named as\n" +
			"`tuplenet lab status` lists them.\n\n" +
			example("sudo tuplenet lab up", "sudo tuplenet lab exec lsp-alice -- ping 10.20.2.10", "sudo tuplenet lab down"),
		Subcommands: []*cli.Command{
			labUp(), labDown(), labStatus(), labExec(), labPing(),
			labVerb("plug", "plug a workload into a port of the topology, on a host", "PORT HOST", "tuplenet lab plug lsp-carol host-bob",
				func(ctx context.Context, l *lab.Lab, args []string) error {
					return l.AddWorkload(ctx, args[0], args[1])
				}),
			labVerb("unplug", "unplug a workload and remove it; its port stays", "PORT", "tuplenet lab unplug lsp-carol",
				func(ctx context.Context, l *lab.Lab, args []string) error { return l.RemoveWorkload(ctx, args[0]) }),
			labLink("cut", "cut a cable between a host or an outside machine and the physical switch", (*lab.Lab).CutLink),
			labLink("join", "join a cable that was cut", (*lab.Lab).JoinLink),
			labComponent("stop", "stop (SIGTERM)", (*lab.Lab).Stop, (*lab.Lab).StopEtcd),
			labComponent("kill", "kill (SIGKILL)", (*lab.Lab).Kill, (*lab.Lab).KillEtcd),
			labComponent("start", "start again", (*lab.Lab).Start, (*lab.Lab).StartEtcd),
			labComponent("restart", "kill (SIGKILL) and start again", (*lab.Lab).Restart, (*lab.Lab).RestartEtcd),
			labComponent("hang", "make hang (SIGSTOP)", (*lab.Lab).Hang, (*lab.Lab).HangEtcd),
			labComponent("resume", "let go on (SIGCONT) what hangs", (*lab.Lab).Resume, (*lab.Lab).ResumeEtcd),
			labCheck(),
			labVerb("wait", "wait until every workload is bound and every host has its flows", "", "tuplenet lab wait",
				func(ctx context.Context, l *lab.Lab, _ []string) error { return l.WaitReady(ctx) }),
			labDemo(),
		},
	}
}

// labFlags are common to all commands of the lab.
func labFlags(more ...cli.Flag) []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "name", EnvVars: []string{"TUPLENET_LAB"}, Value: lab.DefaultName, Usage: "`NAME` of the lab; several can be up"},
		&cli.BoolFlag{Name: "commands", Aliases: []string{"x"}, Usage: "print every command that the lab runs, as a person would type it"},
	}, more...)
}

// labEcho is where the lab's commands are printed, or nil.
func labEcho(c *cli.Context) io.Writer {
	if c.Bool("commands") {
		return c.App.Writer
	}
	return nil
}

// labVerb is a command that does one thing to a lab that is up.
func labVerb(name, usage, args, line string, do func(context.Context, *lab.Lab, []string) error) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, ArgsUsage: args, Description: example(line), Flags: labFlags(),
		Action: func(c *cli.Context) error {
			return withLab(c, len(strings.Fields(args)), func(ctx context.Context, l *lab.Lab) error { return do(ctx, l, c.Args().Slice()) })
		},
	}
}

// labLink is cut or join, of a machine's cable.
func labLink(name, usage string, do func(l *lab.Lab, ctx context.Context, machine, nic string) error) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, ArgsUsage: "HOST|OUTSIDE [NIC]",
		Description: "NIC is eth0, or eth1 of a host that has two; without it, eth0.\n\n" +
			example("tuplenet lab "+name+" host-bob", "tuplenet lab "+name+" host-edge1 eth1"),
		Flags: labFlags(),
		Action: func(c *cli.Context) error {
			return withLab(c, min(max(c.NArg(), 1), 2), func(ctx context.Context, l *lab.Lab) error {
				return do(l, ctx, c.Args().Get(0), c.Args().Get(1))
			})
		},
	}
}

// withLab opens the lab that the flags name for a command that takes so many
// arguments. The context ends with SIGINT and SIGTERM.
func withLab(c *cli.Context, args int, do func(context.Context, *lab.Lab) error) error {
	if c.NArg() != args {
		return fmt.Errorf("%s: require %s, got %d arguments", c.Command.HelpName, orNothing(c.Command.ArgsUsage), c.NArg())
	}
	l, err := lab.Open(c.String("name"), labEcho(c))
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(c.Context, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	return do(ctx, l)
}

func orNothing(args string) string {
	if args == "" {
		return "no arguments"
	}
	return args
}

// labComponent is stop, kill, start and so on, of a component of a host or of
// etcd.
func labComponent(name, usage string, onHost func(*lab.Lab, context.Context, string, lab.Component) error, etcd func(l *lab.Lab, ctx context.Context, member string) error) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage + " a component of a host, or etcd", ArgsUsage: "HOST agent|vswitchd|ovsdb, or etcd",
		Description: "Of an etcd with several members, etcd is all of them, and etcd1 the first.\n\n" +
			example("tuplenet lab "+name+" host-bob agent", "tuplenet lab "+name+" etcd"),
		Flags: labFlags(),
		Action: func(c *cli.Context) error {
			if c.NArg() == 1 {
				return withLab(c, 1, func(ctx context.Context, l *lab.Lab) error {
					if h, err := l.Host(c.Args().First()); err == nil {
						return fmt.Errorf("%s: require a component of host %s: agent, vswitchd or ovsdb, as in: tuplenet lab %s %[2]s agent", c.Command.HelpName, h.Name, name)
					}
					return etcd(l, ctx, c.Args().First())
				})
			}
			return withLab(c, 2, func(ctx context.Context, l *lab.Lab) error {
				return onHost(l, ctx, c.Args().Get(0), lab.Component(c.Args().Get(1)))
			})
		},
	}
}

func labUp() *cli.Command {
	return &cli.Command{
		Name: "up", Usage: "bring a lab up", ArgsUsage: "[FILE]",
		Description: "FILE describes hosts, the physical network, switches, routers, ports and workloads in YAML, see\n" +
			"docs/lab.md. Without it there are two hosts, two switches and a router between them, as in the\n" +
			"tutorial.\n\n" +
			example("sudo tuplenet lab up", "sudo tuplenet lab up --hosts 5 --name five", "sudo tuplenet lab up --edges 2"),
		Flags: labFlags(
			&cli.IntFlag{Name: "hosts", Usage: "without FILE: so many hosts `N`, with a workload each"},
			&cli.IntFlag{Name: "edges", Usage: "without FILE: the tutorial's two hosts and so many edges `N` (1 to 3), with a client and a web server outside"},
			&cli.IntFlag{Name: "etcd", Usage: "so many members of etcd `N`: 1, 3 or 5", DefaultText: "1, or what FILE says"},
			&cli.StringFlag{Name: "datapath", DefaultText: "system where the kernel has it", Usage: "`TYPE` of Open vSwitch's datapath: system or netdev"},
			&cli.BoolFlag{Name: "no-wait", Usage: "do not wait until all flows are in"},
		),
		Action: func(c *cli.Context) error {
			spec, err := labSpec(c)
			if err != nil {
				return err
			}
			if c.IsSet("etcd") {
				spec.Etcd = c.Int("etcd")
			}
			opts := lab.Options{Name: c.String("name"), Datapath: lab.Datapath(c.String("datapath")), Echo: labEcho(c)}
			ctx, stop := signal.NotifyContext(c.Context, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
			defer stop()
			start := time.Now()
			l, err := lab.Up(ctx, spec, opts)
			if err != nil {
				return err
			}
			if !c.Bool("no-wait") {
				if err := l.WaitReady(ctx); err != nil {
					return errors.Join(err, l.Down())
				}
			}
			_, err = fmt.Fprintf(c.App.Writer, "lab %s is up after %.1f s: %d hosts, %d workloads\nfor tpctl here: export TUPLENET_ENDPOINTS=%s\n",
				l.Name, time.Since(start).Seconds(), len(spec.Hosts), len(spec.Workloads), l.Endpoints())
			return err
		},
	}
}

func labSpec(c *cli.Context) (lab.Spec, error) {
	switch {
	case c.NArg() > 1:
		return lab.Spec{}, fmt.Errorf("%s: require at most one FILE, got %d arguments", c.Command.HelpName, c.NArg())
	case c.NArg() == 1 && (c.IsSet("hosts") || c.IsSet("edges")):
		return lab.Spec{}, errors.New("the hosts are in FILE: give it, or --hosts, or --edges")
	case c.IsSet("hosts") && c.IsSet("edges"):
		return lab.Spec{}, errors.New("--hosts and --edges exclude each other: --edges alone brings the tutorial's two hosts with it; for more hosts describe the lab in a FILE, see docs/lab.md")
	case c.IsSet("hosts"):
		return lab.Generate(c.Int("hosts"))
	case c.IsSet("edges"):
		return lab.Edges(c.Int("edges"))
	case c.NArg() == 0:
		return lab.TwoHosts(), nil
	}
	file := c.Args().First()
	data, err := os.ReadFile(file)
	if err != nil {
		return lab.Spec{}, fmt.Errorf("read the lab file: %w", err)
	}
	spec, err := lab.Parse(data)
	if err != nil {
		return lab.Spec{}, fmt.Errorf("%s: %w", file, err)
	}
	return spec, nil
}

func labDown() *cli.Command {
	return &cli.Command{
		Name: "down", Usage: "take a lab down, or what a crash left of one",
		Description: "All processes in the lab's namespaces end, and namespaces and files go. Where nothing is left,\n" +
			"nothing happens.\n\n" + example("sudo tuplenet lab down", "sudo tuplenet lab down --all"),
		Flags: labFlags(&cli.BoolFlag{Name: "all", Usage: "all labs of this machine"}),
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return fmt.Errorf("%s: require no arguments, got %q; a lab is named with --name", c.Command.HelpName, c.Args().First())
			}
			names := []string{c.String("name")}
			if c.Bool("all") {
				var err error
				if names, err = lab.Names(); err != nil {
					return err
				}
			}
			for _, name := range names {
				if err := lab.Down(c.Context, name, labEcho(c)); err != nil {
					return err
				}
				fmt.Fprintf(c.App.Writer, "lab %s is down\n", name)
			}
			return nil
		},
	}
}

func labStatus() *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "show what runs in a lab", Description: example("tuplenet lab status --json"),
		Flags: labFlags(&cli.BoolFlag{Name: "json", Aliases: []string{"j"}, Usage: "print a JSON object"}),
		Action: func(c *cli.Context) error {
			return withLab(c, 0, func(ctx context.Context, l *lab.Lab) error {
				s, err := l.Status(ctx)
				if err != nil {
					return err
				}
				if c.Bool("json") {
					return json.NewEncoder(c.App.Writer).Encode(s)
				}
				return s.Print(c.App.Writer)
			})
		},
	}
}

func labExec() *cli.Command {
	return &cli.Command{
		Name: "exec", Usage: "run a command on a host, outside, in a workload or on the physical switch", ArgsUsage: "HOST|OUTSIDE|PORT|phy -- COMMAND...",
		Description: "On a host ovs-vsctl, ovs-ofctl, ovs-appctl and tpctl find what belongs to it. The exit status is\n" +
			"the command's.\n\n" + example("tuplenet lab exec host-alice -- ovs-vsctl show", "tuplenet lab exec phy -- tcpdump -ni br0 udp port 6081"),
		Flags: labFlags(),
		OnUsageError: func(c *cli.Context, err error, _ bool) error {
			return fmt.Errorf("%s: %w; the command goes behind --, as in: tuplenet lab exec lsp-alice -- ping -c 2 10.20.2.10", c.Command.HelpName, err)
		},
		Action: func(c *cli.Context) error {
			args := c.Args().Slice()
			if len(args) > 1 && args[1] == "--" {
				args = append(args[:1], args[2:]...)
			}
			if len(args) < 2 {
				return fmt.Errorf("%s: require %s", c.Command.HelpName, c.Command.ArgsUsage)
			}
			l, err := lab.Open(c.String("name"), labEcho(c))
			if err != nil {
				return err
			}
			cmd, err := l.Command(c.Context, args[0], args[1:]...)
			if err != nil {
				return err
			}
			// In our place, the command has our terminal, signals and status.
			return fmt.Errorf("run %s: %w", cmd.Path, syscall.Exec(cmd.Path, cmd.Args, cmd.Env))
		},
	}
}

func labPing() *cli.Command {
	return &cli.Command{
		Name: "ping", Usage: "ping from a host, an outside machine or a workload, and tell loss and latency", ArgsUsage: "FROM TO|IP",
		Description: "The exit status is 0 only if nothing was lost.\n\n" + example("tuplenet lab ping lsp-alice lsp-bob", "tuplenet lab ping -c 100 -i 0.01 lsp-alice 10.20.2.10"),
		Flags: labFlags(
			&cli.IntFlag{Name: "count", Aliases: []string{"c"}, Value: 5, Usage: "`N` pings"},
			&cli.Float64Flag{Name: "interval", Aliases: []string{"i"}, Value: 0.2, Usage: "`SECONDS` between pings"},
		),
		Action: func(c *cli.Context) error {
			return withLab(c, 2, func(ctx context.Context, l *lab.Lab) error {
				interval := time.Duration(c.Float64("interval") * float64(time.Second))
				p, err := l.Ping(ctx, c.Args().Get(0), c.Args().Get(1), c.Int("count"), interval)
				if err != nil {
					return err
				}
				fmt.Fprintln(c.App.Writer, p)
				if p.Lost() > 0 {
					return cli.Exit("", 1)
				}
				return nil
			})
		},
	}
}

func labCheck() *cli.Command {
	return &cli.Command{
		Name: "check", Usage: "tell whether all hosts hold the flows that an agent would make that starts now",
		Description: "The exit status is 0 only if all do.\n\n" + example("tuplenet lab check", "tuplenet lab check --within 2s"),
		Flags:       labFlags(&cli.DurationFlag{Name: "within", Usage: "`TIME` for which a host may still be on its way there", DefaultText: "0s"}),
		Action: func(c *cli.Context) error {
			return withLab(c, 0, func(ctx context.Context, l *lab.Lab) error {
				verdicts, err := l.Check(ctx, c.Duration("within"))
				if err != nil {
					return err
				}
				ok := true
				for _, v := range verdicts {
					fmt.Fprintln(c.App.Writer, v)
					ok = ok && v.OK
				}
				if !ok {
					return cli.Exit("", 1)
				}
				return nil
			})
		},
	}
}

func labDemo() *cli.Command {
	return &cli.Command{
		Name: "demo", Usage: "bring the two-host lab up, ping across, show the packet's way, take it down",
		Description: "The exit status is 0 only if every packet arrived.\n\n" + example("sudo tuplenet lab demo"),
		Action: func(c *cli.Context) error {
			ctx, stop := signal.NotifyContext(c.Context, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
			defer stop()
			return lab.Demo(ctx, c.App.Writer, lab.Options{})
		},
	}
}
