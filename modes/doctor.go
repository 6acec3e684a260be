package modes

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"tuplenet/internal/agent"
	"tuplenet/internal/config"
	"tuplenet/internal/doctor"
	"tuplenet/internal/store"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:  string(ModeDoctor),
		Usage: "look for what is wrong with this host and the paths to the others",
		Description: "It prints a line for everything that it has looked at: ok, note for what is worth knowing, or BAD with\n" +
			"what to do about it, and ends with status 1 if anything is bad. It changes nothing. Paths are tested from this host to the others\n" +
			"and not back: run it on the others, too. It needs root, for its pings.\n\n" +
			example("tuplenet doctor --interface eth0 -e 192.168.1.10:2379"),
		Flags: slices.Concat([]cli.Flag{configFlag()}, settingFlags(config.Etcd("endpoints", "e")), settingFlags(config.Interface()), hostFlags(), []cli.Flag{
			&cli.DurationFlag{Name: "timeout", Value: time.Second, Usage: "`TIME` that another host may take to answer a ping, and etcd or an agent a question"},
			&cli.StringSliceFlag{Name: "only", Usage: "`CHECK` to carry out, such as flows; may be given several times"},
			&cli.BoolFlag{Name: "verbose", Usage: "print all details, such as each flow that is not as it should be", DisableDefaultText: true},
			&cli.BoolFlag{Name: "json", Aliases: []string{"j"}, Usage: "print one JSON object a line", DisableDefaultText: true},
		}),
		Action: runDoctor,
	}
}

func runDoctor(c *cli.Context) error {
	if c.Args().Present() {
		return fmt.Errorf("the doctor takes no argument %q (see %s --help)", c.Args().First(), c.App.Name)
	}
	if c.Duration("timeout") <= 0 {
		return fmt.Errorf("invalid --timeout %s, want a time above 0 such as 1s", c.Duration("timeout"))
	}
	etcd, err := doctorEtcd(c)
	if err != nil {
		return err
	}
	host, err := hostConfig(c, config.Interface()...)
	if err != nil {
		return err
	}
	checks, err := chosenChecks(c.StringSlice("only"))
	if err != nil {
		return err
	}
	env := &doctor.Env{
		Open:   func(ctx context.Context) (*store.Store, error) { return openStore(ctx, etcd) },
		Reach:  func() (*store.Store, error) { return store.New(etcd) },
		Wait:   c.Duration("timeout"),
		RunDir: host.RunDir,
		OVS:    host.OVS,
	}
	env.TunnelIP, env.TunnelErr = agent.TunnelAddress(host.Interface)
	say := func(f doctor.Finding) error {
		_, err := fmt.Fprintln(c.App.Writer, f)
		if c.Bool("verbose") {
			for _, line := range f.Details {
				fmt.Fprintln(c.App.Writer, "    "+line)
			}
		}
		return err
	}
	if c.Bool("json") {
		lines := json.NewEncoder(c.App.Writer)
		say = func(f doctor.Finding) error { return lines.Encode(f) }
	}
	healthy := true
	for f := range doctor.Run(c.Context, env, checks) {
		healthy = healthy && f.OK
		if err := say(f); err != nil {
			return err
		}
	}
	if !healthy {
		return cli.Exit("", 1) // what is bad has been told
	}
	return nil
}

// doctorEtcd resolves how etcd is reached: as the agent does or, where its file says
// nothing of etcd, as tpctl.
func doctorEtcd(c *cli.Context) (store.Config, error) {
	resolved, err := settingsOf(c, config.AgentFile, config.Etcd("endpoints", "e"))
	cfg := resolved.Etcd
	if err == nil && !resolved.FileSays() {
		cfg, err = etcdConfig(c, c.App.ErrWriter)
	}
	cfg.DialTimeout, cfg.ReadOnly, cfg.Log = ctlDialTimeout, true, slog.New(slog.DiscardHandler) // what matters is in the finding
	return cfg, err
}

// chosenChecks returns the checks of those names, or all if there are none.
func chosenChecks(only []string) ([]doctor.Check, error) {
	all := doctor.Checks()
	if len(only) == 0 {
		return all, nil
	}
	known := checkNames()
	var chosen []string
	for _, name := range only {
		i := slices.IndexFunc(known, func(k string) bool { return strings.EqualFold(k, name) })
		if i < 0 {
			return nil, unknown("check", name, known)
		}
		chosen = append(chosen, known[i])
	}
	return slices.DeleteFunc(all, func(check doctor.Check) bool { return !slices.Contains(chosen, check.Name) }), nil
}

func checkNames() []string {
	var names []string
	for _, check := range doctor.Checks() {
		names = append(names, check.Name)
	}
	return names
}
