package ctl

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"tuplenet/internal/status"
	"tuplenet/internal/store"
)

// agentPatience is how long agents may take to say who they are.
const agentPatience = 5 * time.Second

// loginPatience is how long they may take to answer as that once etcd authenticates,
// and loginTime what that is longer for each: all of them log in then, each for 0.1 s
// of etcd's time.
var (
	loginPatience = 15 * time.Second
	loginTime     = 200 * time.Millisecond
)

// nobodyCutOff refuses to go on if an agent that is alive, or may be, could not use
// etcd once that authenticates. It returns the chassis whose agents say that they
// can. Whether the passwords are right that they have, etcd does not tell before.
func (s *session) nobodyCutOff(users []store.User) (ready []string, err error) {
	snapshot, err := status.Take(s.ctx, s.store, status.Options{Patience: agentPatience})
	switch {
	case err != nil:
		return nil, err
	case snapshot.StoreErr != nil:
		return nil, snapshot.StoreErr
	case snapshot.AskErr != nil:
		return nil, fmt.Errorf("ask the agents who they are: %w", snapshot.AskErr)
	}
	var without []string
	others := map[string][]string{} // chassis, by what is the matter with their agents
	for _, c := range snapshot.Chassis {
		what := lockedOut(c, users)
		switch {
		case what == "":
			if c.Report != nil {
				ready = append(ready, c.Name)
			}
		case !slices.ContainsFunc(users, func(u store.User) bool { return u.Is(store.Party{Duty: store.DutyNode, Of: c.Name}) }):
			without = append(without, c.Name)
		default:
			others[what] = append(others[what], c.Name)
		}
	}
	if len(without) > 0 {
		return nil, fmt.Errorf(`chassis that are alive have no user, and would be cut off: %s; "tpctl auth setup" makes users, or use --%s`, few(without), blindFlag.Name)
	}
	var parts []string
	for what, names := range others {
		parts = append(parts, few(names)+": "+what)
	}
	if len(parts) > 0 {
		slices.Sort(parts)
		return nil, fmt.Errorf("agents would be cut off from etcd: %s; put its user, or its certificate, into each agent's settings and start it anew, or use --%s", strings.Join(parts, "; "), blindFlag.Name)
	}
	return ready, nil
}

// lockedOut says why the agent of a chassis could not use an etcd that authenticates, or
// returns nothing.
func lockedOut(c status.Chassis, users []store.User) string {
	switch {
	case c.State == status.Unknown && c.Registered && c.MTU == 0:
		return "may be a node of the original TupleNet, which has no users"
	case c.State != status.Up: // it looks for its user when it starts
		return ""
	case c.Report == nil:
		return "does not answer"
	case c.Report.User == "":
		return "asks as nobody, or is of an earlier version that does not say"
	}
	may := func(u store.User) bool {
		return u.Name == c.Report.User && (u.Root || u.Is(store.Party{Duty: store.DutyNode, Of: c.Name}) || u.Is(store.Party{Duty: store.DutyOperator}))
	}
	if !slices.ContainsFunc(users, may) {
		return fmt.Sprintf("asks as user %s, who is not node %s", c.Report.User, c.Name)
	}
	return ""
}

// stillAnswer says which agents of chassis do not answer any more, now that etcd asks
// them for their passwords.
func (s *session) stillAnswer(chassis []string) error {
	reports, err := status.Ask(s.ctx, s.store, chassis, false, loginPatience+time.Duration(len(chassis))*loginTime)
	if err != nil {
		return fmt.Errorf("authentication is on, and the agents could not be asked whether they noticed: %w", err)
	}
	silent := slices.DeleteFunc(chassis, func(name string) bool { _, answers := reports[name]; return answers })
	if len(silent) == 0 {
		return nil
	}
	return fmt.Errorf(`authentication is on, and agents do not answer any more: %s; they forward, and cannot tell of changes; their logs say why, such as a wrong password; "tpctl auth disable" is the way back`, few(silent))
}
