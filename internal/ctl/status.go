package ctl

import (
	"errors"
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
			"What is wrong is told below, with what mends it, and makes the exit status 1. " +
			"Filters choose among the chassis. With --watch all is asked for and shown again every few seconds, less often the more chassis there are.",
		Example: "tpctl status --filter state!=up",
		run:     showStatus, fields: []string{"name", "state", "version", "ip", "mtu", "tunnels", "bfd", "flows", "ports", "mode"},
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
	if !s.set(watchFlag) {
		_, err := s.tellStatus(opts)
		return err
	}
	return s.poll(func(s *session) (time.Duration, error) {
		pause, err := s.tellStatus(opts)
		if !s.JSON {
			fmt.Fprintln(s.Out)
		}
		if errors.Is(err, ErrTold) {
			err = nil
		}
		return pause, err
	})
}

const (
	// askPause is how much time passes for each agent that is asked again and
	// again: etcd keeps what they answer until it is compacted.
	askPause = 20 * time.Millisecond
	// detailPause is for one that is asked for all details.
	detailPause = 5 * time.Second
)

// tellStatus prints a snapshot, and says how long to wait before the next.
func (s *session) tellStatus(opts status.Options) (pause time.Duration, err error) {
	snapshot, err := status.Take(s.ctx, s.store, opts)
	switch {
	case err != nil:
		return 0, err
	case s.ctx.Err() != nil: // it holds what could not be seen for that reason
		return 0, s.ctx.Err()
	}
	snapshot.Chassis = s.chosenOf(snapshot.Chassis)
	print := snapshot.Print
	if s.JSON {
		print = snapshot.PrintJSON
	}
	if err := print(s.Out); err != nil {
		return 0, fmt.Errorf("print the status: %w", err)
	}
	if len(snapshot.Wrong()) > 0 || snapshot.StoreErr == nil && len(snapshot.Chassis) == 0 && s.nothingThere() {
		err = ErrTold
	}
	if opts.Only != "" {
		return detailPause, err
	}
	return pollPause + time.Duration(len(snapshot.Chassis))*askPause, err
}

// chosenOf returns the chassis that were chosen, in their order.
func (s *session) chosenOf(all []status.Chassis) []status.Chassis {
	byName := map[string]status.Chassis{}
	list := make([]object, len(all))
	for i, c := range all {
		byName[c.Name] = c
		list[i] = object{name: c.Name, fields: []field{{name: "state", value: string(c.State)}}}
		add := func(name string, value any) { list[i].fields = append(list[i].fields, field{name: name, value: value}) }
		if c.Registered {
			add("ip", c.IP)
			add("mtu", c.MTU)
		}
		if r := c.Report; r != nil {
			add("version", r.Version)
			add("tunnels", r.Tunnels)
			add("bfd", r.Alive)
			add("flows", r.Flows)
			add("ports", r.Ports)
			add("mode", r.Mode())
		}
	}
	var chosen []status.Chassis
	for _, o := range s.chosen.of(list) {
		chosen = append(chosen, byName[o.name])
	}
	return chosen
}
