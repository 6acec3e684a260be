package ctl

import (
	"fmt"
	"time"

	"tuplenet/internal/status"
)

func statusCommands() []Command {
	return []Command{{
		Object: "status", Args: []string{"[CHASSIS]"}, Flags: []Flag{patienceFlag}, reads: true, finds: true, steps: true,
		Usage: "show how etcd and the chassis are, and what is wrong",
		Notes: "A line for each member of etcd and each chassis; with CHASSIS, all that its agent tells. Agents are asked through etcd; those of the original TupleNet do not answer. " +
			"TUNNELS counts those that Open vSwitch has (of those that it should have), BFD those that are alive (of those that are watched), SYNC is since when the bridge has held all flows. " +
			"What is wrong is told below, with what mends it, and makes the exit status 1.",
		Example: "tpctl status host-alice",
		run:     showStatus,
	}}
}

var patienceFlag = Flag{Name: "timeout", Value: "TIME", Default: "2s", Usage: "`TIME` that a member of etcd, or an agent, may take to answer"}

// showStatus prints a snapshot of the deployment, or of one chassis.
func showStatus(s *session, args []string) error {
	opts := status.Options{}
	var err error
	if opts.Patience, err = time.ParseDuration(s.Flags[patienceFlag.Name]); err != nil || opts.Patience <= 0 {
		return fmt.Errorf("invalid --timeout %q, want a time above 0 such as 2s", s.Flags[patienceFlag.Name])
	}
	if len(args) > 0 {
		if opts.Only, err = name(args[0]); err != nil {
			return err
		}
	}
	snapshot, err := status.Take(s.ctx, s.store, opts)
	if err != nil {
		return err
	}
	print := snapshot.Print
	if s.JSON {
		print = snapshot.PrintJSON
	}
	if err := print(s.Out); err != nil {
		return fmt.Errorf("print the status: %w", err)
	}
	if len(snapshot.Wrong()) > 0 {
		return ErrTold
	}
	return nil
}
