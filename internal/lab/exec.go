package lab

import (
	"context"
	"fmt"
	"os/exec"

	"tuplenet/internal/suggest"
)

// at finds the place of a host, an outside machine, a workload (by its port) or
// the physical switch ("phy").
func (l *Lab) at(target string) (place, error) {
	if target == physical {
		return l.phy(l.echo), nil
	}
	if _, err := l.Host(target); err == nil {
		return l.on(target, l.echo), nil
	}
	if _, ok := l.Spec.outside(target); ok {
		return l.plain(target, l.echo), nil
	}
	workloads, err := l.Workloads()
	if err != nil {
		return place{}, err
	}
	names := []string{physical}
	for _, h := range l.Spec.Hosts {
		names = append(names, h.Name)
	}
	for _, o := range l.Spec.Outside {
		names = append(names, o.Name)
	}
	for _, w := range workloads {
		if w.Port == target {
			return l.in(w, l.echo), nil
		}
		names = append(names, w.Port)
	}
	return place{}, fmt.Errorf("lab %s has no host, no outside machine and no workload %q%s", l.Name, target, suggest.Among(target, names))
}

// Command prepares a command on a host, on an outside machine, in a workload
// (named by its port) or on the physical switch ("phy"). On a host the tools of Open vSwitch and
// tpctl find what belongs to it. The command is not shown.
func (l *Lab) Command(ctx context.Context, target string, argv ...string) (*exec.Cmd, error) {
	p, err := l.at(target)
	if err != nil {
		return nil, err
	}
	return p.command(ctx, argv...), nil
}

// Exec runs a command as Command prepares it and returns what it prints to
// standard output. The error of a command that fails holds what it complained
// of.
func (l *Lab) Exec(ctx context.Context, target string, argv ...string) (string, error) {
	p, err := l.at(target)
	if err != nil {
		return "", err
	}
	return p.output(ctx, argv...)
}
