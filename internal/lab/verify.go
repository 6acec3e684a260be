package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// Verdict is what the doctor says of a host's flows and ports.
type Verdict struct {
	Host string
	OK   bool
	Text string
}

func (v Verdict) String() string {
	if v.OK {
		return v.Host + ": " + v.Text
	}
	return v.Host + ": BAD " + v.Text
}

// Check asks on hosts, on all if none is named, whether their Open vSwitch holds
// what an agent would give it that starts now; one that does not is asked again
// until the time is over. It returns a verdict for each host, in their order.
func (l *Lab) Check(ctx context.Context, within time.Duration, hosts ...string) ([]Verdict, error) {
	if len(hosts) == 0 {
		for _, h := range l.Spec.Hosts {
			hosts = append(hosts, h.Name)
		}
	}
	verdicts := make([]Verdict, len(hosts))
	deadline := time.Now().Add(within)
	var group errgroup.Group
	for i, host := range hosts {
		group.Go(func() (err error) {
			for {
				echo, end := l.echo.block()
				verdicts[i], err = l.checkHost(ctx, l.on(host, echo))
				end()
				if err != nil || verdicts[i].OK || time.Now().After(deadline) {
					return err
				}
				if err := pause(ctx); err != nil {
					return err
				}
			}
		})
	}
	return verdicts, group.Wait()
}

// checkPatience bounds a look at one host; one whose Open vSwitch hangs takes
// that long.
const checkPatience = 5 * time.Second

func (l *Lab) checkHost(ctx context.Context, host place) (Verdict, error) {
	v := Verdict{Host: host.name, Text: "was not looked at"}
	try, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	// By the socket, as a host may be cut off.
	out, err := host.output(try, "tuplenet", "doctor", "--only", "flows", "--json", "--endpoints", l.Endpoints())
	// Status 1 is a bad finding, which it tells of.
	exit := (*exec.ExitError)(nil)
	switch {
	case ctx.Err() != nil:
		return v, ctx.Err()
	case try.Err() != nil:
		v.Text = fmt.Sprintf("does not answer within %s", checkPatience)
		return v, nil
	case err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 1):
		return v, err
	}
	var finding struct {
		OK   bool
		Text string
	}
	line, _, _ := strings.Cut(out, "\n")
	if json.Unmarshal([]byte(line), &finding) != nil {
		v.Text = "has no flows to look at"
		if err != nil {
			v.Text = err.Error()
		}
		return v, nil
	}
	v.OK, v.Text = finding.OK, finding.Text
	return v, nil
}
