package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"tuplenet/internal/agent"
	"tuplenet/internal/status"
)

// needed are the capabilities (capabilities(7)) that the agent and this doctor
// cannot do without.
var needed = []struct {
	bit  int
	name string
}{{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"}, {unix.CAP_NET_RAW, "CAP_NET_RAW"}, {unix.CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE"}}

// checkPermissions tells what this process may not do that the agent has to.
func checkPermissions(_ context.Context, env *Env) []Finding {
	var findings []Finding
	missing, err := missingCapabilities()
	switch {
	case err != nil:
		findings = append(findings, bad("", err.Error(), "run it as root"))
	case len(missing) > 0:
		findings = append(findings, bad("", fmt.Sprintf("runs as uid %d without %s", os.Geteuid(), strings.Join(missing, ", ")),
			"run it, and the agent, as root; in a container, with these capabilities"))
	default:
		findings = append(findings, good("", "runs with all that the agent needs"))
	}
	// Whether it is there is for another check.
	if err := unix.Access(env.RunDir, unix.W_OK); err != nil && !errors.Is(err, unix.ENOENT) {
		findings = append(findings, bad(env.RunDir, fmt.Sprintf("the run directory cannot be written to: %v", err),
			"mount it writable, give it to root, or name another one to the agent with --rundir"))
	}
	return findings
}

// missingCapabilities returns those of needed that this process does not have.
func missingCapabilities() ([]string, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData // 64 bits
	if err := unix.Capget(&header, &data[0]); err != nil {
		return nil, fmt.Errorf("capabilities of this process: %w", err)
	}
	var missing []string
	for _, c := range needed {
		if data[c.bit/32].Effective&(1<<(c.bit%32)) == 0 {
			missing = append(missing, c.name)
		}
	}
	return missing, nil
}

// checkAgent tells whether an agent runs on this host, and answers.
func checkAgent(ctx context.Context, env *Env) []Finding {
	info, err := os.Stat(env.RunDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []Finding{bad("", fmt.Sprintf("there is no run directory %s, so that no agent runs with it", env.RunDir),
			"name the agent's with --rundir, or start an agent")}
	case err == nil && !info.IsDir():
		return []Finding{bad("", env.RunDir+" is no directory, so that no agent can run with it", "name the agent's run directory with --rundir")}
	}
	pid, err := agent.RunningIn(env.RunDir)
	if err != nil {
		return []Finding{bad("", err.Error(), "run it as root")}
	}
	if pid == 0 {
		return []Finding{bad("", fmt.Sprintf("none holds the run directory %s; flows and tunnels stay as they were", env.RunDir),
			"start it, or name its run directory with --rundir")}
	}
	findings := []Finding{good("", "runs with pid %d in %s", pid, env.RunDir)}
	if report, asked := env.ownReport(ctx); asked && report == nil {
		findings = append(findings, bad("", fmt.Sprintf("does not answer through etcd within %s", env.Wait),
			"see its log, and what is bad of etcd; if it hangs, start it anew"))
	}
	return findings
}

// ownReport asks this host's agent for its status, if etcd says that it runs.
func (e *Env) ownReport(ctx context.Context) (report *status.Report, asked bool) {
	own, ok := e.own(ctx)
	if !ok || own.State != status.Up {
		return nil, false
	}
	reports := e.ask(ctx, []string{own.Name})
	if r, ok := reports[own.Name]; ok {
		return &r, true
	}
	return nil, reports != nil
}

// ask asks the agents of chassis for their status; nil if etcd does not let it.
func (e *Env) ask(ctx context.Context, chassis []string) map[string]status.Report {
	if len(chassis) == 0 {
		return nil
	}
	st, err := e.Reach()
	if err != nil {
		return nil
	}
	defer st.Close()
	reports, err := status.Ask(ctx, st, chassis, false, e.Wait)
	if err != nil {
		return nil
	}
	return reports
}
