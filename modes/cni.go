package modes

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"cni.tuplenet/attach"
	"github.com/urfave/cli/v2"

	"tuplenet/internal/config"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
	"tuplenet/plugins/install"
	"tuplenet/plugins/underlay"
)

// runPlugin is the CNI plugin, as far as package cni leaves that to the rest of
// the program: on nodes that are on a logical port, and for a person who calls it.
func runPlugin() int { return underlay.Main() }

func cniCommand() *cli.Command {
	places := []cli.Flag{
		&cli.StringFlag{Name: "bin-dir", Value: "/opt/cni/bin", Usage: "`DIRECTORY` where the container runtime looks for plugins"},
		&cli.StringFlag{Name: "conf-dir", Value: "/etc/cni/net.d", Usage: "`DIRECTORY` where it looks for networks"},
		&cli.BoolFlag{Name: "dry-run", Usage: "say what would be done, and do nothing", DisableDefaultText: true},
	}
	return &cli.Command{
		Name:  string(ModeCNI),
		Usage: "install the CNI plugin for Kubernetes, containerd, CRI-O or podman on this host, and remove it",
		Description: "The plugin is the same program, called tpcni by a container runtime; docs/kubernetes.md tells more.\n\n" +
			example("tuplenet cni install --switch LS-A", "tuplenet cni uninstall"),
		Subcommands: []*cli.Command{
			{
				Name:  "install",
				Usage: "link the plugin and write the configuration of a network",
				Description: "It links this program as tpcni among the plugins and writes 10-tuplenet.conflist, in which portmap and\n" +
					"bandwidth are chained to it if they are installed. The plugin reaches etcd by this host's agent, and\n" +
					"needs no settings of it: what a flag says of etcd is written, and nothing else. A host that is itself on\n" +
					"a logical port (--underlay) has no agent: its plugin gets the settings that tpctl would use here.\n" +
					"It replaces its own older link, and with --force what is not its own or has been changed.\n\n" +
					example("tuplenet cni install --switch LS-A --subnet 10.20.1.1/24",
						"tuplenet cni install --switch LS-A --mtu 1400 --dry-run",
						"tuplenet cni install --switch LS-A --underlay eth0 --node lsp-vm1 --host 192.168.1.10:2379"),
				Flags: append(append(places,
					&cli.StringFlag{Name: "switch", Usage: "`SWITCH` whose ports the pods get"},
					&cli.StringFlag{Name: "subnet", Usage: "`CIDR` of their addresses, with the gateway's: 10.20.1.1/24", DefaultText: "that of the router on the switch"},
					&cli.StringFlag{Name: "name", Value: "tuplenet", Usage: "`NAME` of the network"},
					&cli.IntFlag{Name: "mtu", Usage: "`BYTES` of the pods' interfaces", DefaultText: "what this host's tunnels can carry"},
					&cli.StringFlag{Name: "underlay", Usage: "`DEVICE` that leads to this host's own logical port, whose VLANs the pods get"},
					&cli.StringFlag{Name: "underlay-bridge", Usage: "Open vSwitch `BRIDGE` that leads there, whose access ports the pods get"},
					&cli.StringFlag{Name: "node", Usage: "name of this host's own logical `PORT`, with one of the two"},
					&cli.BoolFlag{Name: "force", Usage: "replace what is not ours or was changed", DisableDefaultText: true},
				), withoutEnvironment(etcdFlags("host", "a"))...),
				Action: installCNI,
			},
			{
				Name:  "uninstall",
				Usage: "remove the plugin and the configuration of its network",
				Description: "Pods that still run would keep their network, but could not be deleted without the plugin: drain the node\n" +
					"first. While there are interfaces of pods on the host, nothing is done.\n\n" +
					example("tuplenet cni uninstall"),
				Flags: append(places,
					&cli.BoolFlag{Name: "force", Usage: "remove what is not ours or is in use, too", DisableDefaultText: true}),
				Action: uninstallCNI,
			},
		},
	}
}

// installConfig resolves what both commands have in common.
func installConfig(c *cli.Context) (install.Config, error) {
	if c.Args().Present() {
		return install.Config{}, fmt.Errorf("cni %s takes no argument %q (see %s --help)", c.Command.Name, c.Args().First(), c.Command.HelpName)
	}
	for _, f := range c.Command.Flags {
		value, _ := f.(cli.DocGenerationFlag)
		if name := f.Names()[0]; c.IsSet(name) && value != nil && value.TakesValue() && fmt.Sprint(c.Value(name)) == "" {
			return install.Config{}, fmt.Errorf("--%s is empty: leave it out, or say what it should be", name)
		}
	}
	executable, err := os.Executable()
	if err == nil {
		executable, err = filepath.EvalSymlinks(executable)
	}
	if err != nil {
		return install.Config{}, fmt.Errorf("find the file of this program: %w", err)
	}
	return install.Config{BinDir: c.String("bin-dir"), ConfDir: c.String("conf-dir"), Executable: executable,
		Force: c.Bool("force"), DryRun: c.Bool("dry-run")}, nil
}

func installCNI(c *cli.Context) error {
	cfg, err := installConfig(c)
	if err != nil {
		return err
	}
	cfg.Network = install.Network{
		Name: c.String("name"), MTU: c.Int("mtu"), Switch: c.String("switch"), Subnet: c.String("subnet"),
		Underlay: c.String("underlay"), UnderlayBridge: c.String("underlay-bridge"), Node: c.String("node"),
	}
	for flag, name := range map[string]string{"switch": cfg.Network.Switch, "node": cfg.Network.Node} {
		if err := topology.CheckName(name); name != "" && err != nil {
			return fmt.Errorf("--%s: %w", flag, err)
		}
	}
	etcd, err := pluginEtcd(c, cfg.Network.Node != "")
	if err != nil {
		return err
	}
	cfg.Network.Endpoints, cfg.Network.Prefix = strings.Join(etcd.Endpoints, ","), etcd.Prefix
	cfg.Network.CAFile, cfg.Network.CertFile, cfg.Network.KeyFile = etcd.CAFile, etcd.CertFile, etcd.KeyFile
	if etcd.Username != "" {
		cfg.Network.User = etcd.Username + ":" + etcd.Password
	}
	report, err := install.Install(c.Context, cfg)
	if differs := (*install.Difference)(nil); errors.As(err, &differs) {
		fmt.Fprint(c.App.Writer, differs.Text)
	}
	if err := printReport(c, report, err); err != nil {
		return err
	}
	next := "the network is there once this host's agent runs; tuplenet doctor says whether it does"
	if cfg.Network.Node != "" {
		next = fmt.Sprintf("the pods' ports are made by: tpctl ls provision %s CIDR --node %s", cfg.Network.Switch, cfg.Network.Node)
	} else if err := askAgent(&cfg.Network, etcd); err != nil {
		fmt.Fprintf(c.App.ErrWriter, "note: no pod can be attached now, says this host's agent: %v\n", err)
	}
	fmt.Fprintln(c.App.ErrWriter, "next: "+next)
	return nil
}

// agentPatience is how long this host's agent may take to say what it thinks of
// a network. It may look into etcd.
const agentPatience = 5 * time.Second

// askAgent asks this host's agent whether the network can work. No agent has
// nothing to say.
func askAgent(n *install.Network, etcd store.Config) error {
	agent, err := attach.Dial(cmp.Or(os.Getenv("TUPLENET_RUNDIR"), "/var/run/tuplenet"))
	if err != nil {
		return nil
	}
	defer agent.Close(0)
	_, err = agent.Ask(attach.Request{
		Op: attach.Status, Plugin: "cni", ID: attach.ID{Network: n.Name},
		Switches: []attach.Switch{{Name: n.Switch, Subnet: n.Subnet}},
		Etcd: &attach.Etcd{Endpoints: etcd.Endpoints, Prefix: etcd.Prefix, CAFile: etcd.CAFile, CertFile: etcd.CertFile, KeyFile: etcd.KeyFile,
			Username: etcd.Username, Password: etcd.Password},
	}, agentPatience)
	return err
}

// withoutEnvironment makes flags be what was typed, and nothing else.
func withoutEnvironment(flags []cli.Flag) []cli.Flag {
	for i, f := range flags {
		switch f := f.(type) {
		case *cli.StringFlag:
			f.EnvVars = nil
		case textFlag:
			flags[i] = f.StringFlag
		}
	}
	return flags
}

// pluginEtcd returns the way to etcd that flags say; for a plugin that has no
// agent, also what the environment and the file of tpctl say.
func pluginEtcd(c *cli.Context, alone bool) (store.Config, error) {
	typed, settings := config.Sources{Flag: given(c)}, config.Etcd("host", "a")
	if alone {
		typed.Env = os.Getenv
		resolved, err := resolve(typed, cmp.Or(c.String("config"), os.Getenv("TUPLENET_CONFIG")), config.ClientFile, settings)
		return resolved.Etcd, err
	}
	for i := range settings { // what nobody says the agent knows
		settings[i].Default = ""
	}
	resolved, err := resolve(typed, c.String("config"), os.DevNull, settings)
	return resolved.Etcd, err
}

func uninstallCNI(c *cli.Context) error {
	cfg, err := installConfig(c)
	if err != nil {
		return err
	}
	if cfg.Attached, err = install.Attached(); err != nil {
		return err
	}
	report, err := install.Uninstall(cfg)
	if err == nil && len(report.Done) == 0 {
		report.Done = []string{"nothing of the CNI plugin is on this host"}
	}
	return printReport(c, report, err)
}

// printReport tells what was done, also before err, and returns err.
func printReport(c *cli.Context, report install.Report, err error) error {
	for _, line := range report.Done {
		fmt.Fprintln(c.App.Writer, line)
	}
	for _, note := range report.Notes {
		fmt.Fprintln(c.App.ErrWriter, "note: "+note)
	}
	return err
}
