package modes

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"tuplenet/internal/agent"
	"tuplenet/internal/cleanup"
)

// cleanupPatience is how long Open vSwitch may take to answer; removing half a
// million flows takes it seconds.
const cleanupPatience = time.Minute

func cleanupCommand() *cli.Command {
	return &cli.Command{
		Name:  string(ModeCleanup),
		Usage: "show what TupleNet has on this host, and take it away",
		Description: "It shows TupleNet's flows, ports and IPFIX settings in Open vSwitch, the sysctls that untunnel mode has\n" +
			"changed and the files of the run directory. With --yes, or after a yes on a terminal, it removes just that, and\n" +
			"gives the sysctls back their values of before. It refuses to while an agent runs. Other flows and\n" +
			"ports stay, and br-int does if --bridge is not given. The chassis in etcd is left to tpctl ch del.\n\n" +
			example("tuplenet cleanup", "tuplenet cleanup --yes"),
		Flags: append(append(hostFlags(), configFlag()),
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask, remove it", DisableDefaultText: true},
			&cli.BoolFlag{Name: "bridge", Usage: "remove br-int, too, with the ports of others that are in it", DisableDefaultText: true},
			&cli.BoolFlag{Name: "json", Aliases: []string{"j"}, Usage: "print one JSON object a line, and do not ask", DisableDefaultText: true},
		),
		Action: runCleanup,
	}
}

func runCleanup(c *cli.Context) error {
	if c.Args().Present() {
		return fmt.Errorf("cleanup takes no argument %q (see %s --help)", c.Args().First(), c.App.Name)
	}
	host, err := hostConfig(c)
	if err != nil {
		return err
	}
	cfg := cleanup.Config{OVS: host.OVS, RunDir: host.RunDir, Bridge: c.Bool("bridge")}
	held, runs := agent.HoldRunDir(cfg.RunDir)
	if held != nil {
		defer held.Release()
	}
	if c.Bool("yes") {
		if runs != nil {
			return runs
		}
		return cleanUp(c, cfg)
	}
	ctx, cancel := context.WithTimeout(c.Context, cleanupPatience)
	found, err := cleanup.Find(ctx, cfg)
	cancel()
	if err := errors.Join(err, printItems(c, found.Items, false)); err != nil {
		return err
	}
	in, isFile := c.App.Reader.(*os.File)
	switch {
	case c.Bool("json"):
		return nil
	case len(found.Items) == 0:
		return sayNothing(c)
	case runs != nil:
		return runs
	case !isFile || !term.IsTerminal(int(in.Fd())):
		fmt.Fprintln(c.App.ErrWriter, "nothing was removed; --yes removes it")
		return nil
	}
	fmt.Fprint(c.App.ErrWriter, "all of this will be removed\nconfirm? [yes/no] ")
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && err != io.EOF {
		return fmt.Errorf("read the confirmation from standard input: %w", err)
	}
	if answer = strings.TrimSpace(answer); answer != "yes" && answer != "y" {
		return errors.New("operation canceled")
	}
	return cleanUp(c, cfg)
}

// cleanUp removes what there is, and tells it.
func cleanUp(c *cli.Context, cfg cleanup.Config) error {
	ctx, cancel := context.WithTimeout(c.Context, cleanupPatience)
	defer cancel()
	removed, err := cleanup.Remove(ctx, cfg)
	if err := errors.Join(err, printItems(c, removed.Items, true)); err != nil {
		return err
	}
	if c.Bool("json") {
		return nil
	}
	if len(removed.Items) == 0 {
		return sayNothing(c)
	}
	if removed.Chassis != "" {
		fmt.Fprintf(c.App.ErrWriter, "other hosts know this one until: tpctl ch del %s\n", removed.Chassis)
	}
	return nil
}

func sayNothing(c *cli.Context) error {
	_, err := fmt.Fprintln(c.App.Writer, "nothing of TupleNet is on this host")
	return err
}

// printItems tells what there is, or what was removed.
func printItems(c *cli.Context, items []cleanup.Item, removed bool) error {
	if c.Bool("json") {
		lines := json.NewEncoder(c.App.Writer)
		for _, i := range items {
			line := struct {
				cleanup.Item
				Removed bool `json:"removed"`
			}{i, removed}
			if err := lines.Encode(line); err != nil {
				return err
			}
		}
		return nil
	}
	var b strings.Builder
	for _, i := range items {
		if removed {
			b.WriteString("removed ")
		}
		fmt.Fprintf(&b, "%s %s", i.Kind, i.Name)
		if i.Note != "" {
			fmt.Fprintf(&b, " (%s)", i.Note)
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(c.App.Writer, b.String())
	return err
}
