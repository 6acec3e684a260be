package doctor

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"tuplenet/internal/status"
)

const (
	// maxSkew is by how much the clocks of two hosts may differ. Of two records
	// with one address the one with the later time counts.
	maxSkew = 5 * time.Second
	// askedForTime is how many chassis are asked what time it is.
	askedForTime = 8
)

// checkClock tells whether this host's clock is that of the others.
func checkClock(ctx context.Context, env *Env) []Finding {
	synchronised, err := clockSynchronised()
	var findings []Finding
	switch {
	case err != nil:
		findings = append(findings, note("", err.Error(), "see that this host's time is kept by NTP"))
	case synchronised:
		findings = append(findings, good("", "is synchronised"))
	default:
		findings = append(findings, note("", "the kernel does not know it to be synchronised", "run chronyd, ntpd or systemd-timesyncd, if this host does not have its time otherwise"))
	}
	deployment, err := env.snapshot(ctx)
	if err != nil {
		return findings
	}
	own, _ := env.own(ctx)
	if ahead := time.Until(time.Unix(own.Tick, 0)); own.Tick != 0 && ahead > maxSkew {
		findings = append(findings, bad("", fmt.Sprintf("this host's record in etcd is of %s from now", ahead.Round(time.Second)),
			"set the clock right; a host that gets this address cannot take it before that time"))
	}
	var others []string
	for _, c := range deployment.Chassis {
		if c.State == status.Up && c.Name != own.Name && len(others) < askedForTime {
			others = append(others, c.Name)
		}
	}
	asked := time.Now()
	reports := env.ask(ctx, others)
	answered := time.Now()
	for _, name := range others {
		r, ok := reports[name]
		if !ok {
			continue // what is wrong with it tpctl status tells
		}
		// It told the time at some moment between.
		if skew := max(asked.Sub(r.Time), r.Time.Sub(answered)); skew > maxSkew {
			findings = append(findings, bad(name, fmt.Sprintf("its clock says %s when this host's says %s",
				r.Time.UTC().Format(time.RFC3339), answered.UTC().Format(time.RFC3339)), "set the wrong one right, and have both kept by NTP"))
		}
	}
	return findings
}

// clockSynchronised reports what the kernel knows of its clock, see adjtimex(2).
func clockSynchronised() (bool, error) {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return false, fmt.Errorf("state of the clock: %w", err)
	}
	return t.Status&unix.STA_UNSYNC == 0, nil
}
