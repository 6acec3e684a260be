package status

import (
	"encoding/json"
	"io"
	"time"
)

// The lines that PrintJSON writes; type tells them apart.
type (
	memberLine struct {
		Type     string   `json:"type"`
		Name     string   `json:"name,omitempty"`
		Endpoint string   `json:"endpoint"`
		Error    string   `json:"error,omitempty"` // why it could not be asked; then the rest is zero
		Version  string   `json:"version,omitempty"`
		Leader   bool     `json:"leader"`
		Learner  bool     `json:"learner,omitempty"`
		Size     int64    `json:"db_size"`  // bytes
		Quota    int64    `json:"db_quota"` // bytes; 0 if it does not tell
		Revision int64    `json:"revision"`
		Lag      uint64   `json:"raft_lag"` // entries of Raft's log
		Took     float64  `json:"took_ms"`
		Alarms   []string `json:"alarms,omitempty"`
	}
	chassisLine struct {
		Type      string    `json:"type"`
		Name      string    `json:"name"`
		State     State     `json:"state"`
		Since     time.Time `json:"since,omitzero"` // when it went down
		IP        string    `json:"ip,omitempty"`
		MTU       int       `json:"mtu,omitempty"`
		Tick      int64     `json:"tick,omitempty"`
		Contender string    `json:"contender,omitempty"`
		Routers   []string  `json:"routers,omitempty"`
		Behind    int64     `json:"behind"`            // revisions
		Silence   string    `json:"silence,omitempty"` // why there is no report
		Report    *Report   `json:"report,omitempty"`
	}
	problemLine struct {
		Type string `json:"type"`
		Problem
	}
	noteLine struct {
		Type string `json:"type"`
		Note string `json:"note"`
	}
)

// PrintJSON writes what Print writes, one object a line.
func (s *Snapshot) PrintJSON(w io.Writer) error {
	lines := json.NewEncoder(w)
	lines.SetEscapeHTML(false)
	var all []any
	for _, m := range s.Members {
		line := memberLine{Type: "etcd", Name: m.Name, Endpoint: m.Endpoint, Version: m.Version, Leader: m.Leader, Learner: m.Learner,
			Size: m.Size, Quota: m.Quota, Revision: m.Revision, Lag: m.Lag, Took: float64(m.Took.Microseconds()) / 1000, Alarms: m.Alarms}
		if m.Err != nil {
			line.Error = m.Err.Error()
		}
		all = append(all, line)
	}
	for _, c := range s.Chassis {
		line := chassisLine{Type: "chassis", Name: c.Name, State: c.State, Since: c.Since, MTU: c.MTU, Tick: c.Tick,
			Routers: c.Routers, Behind: s.Behind(c), Report: c.Report}
		if c.IP.IsValid() {
			line.IP = c.IP.String()
		}
		if c.Contender.IsValid() {
			line.Contender = c.Contender.String()
		}
		if c.Report == nil {
			line.Silence = s.silence(c)
		}
		all = append(all, line)
	}
	for _, n := range s.Notes() {
		all = append(all, noteLine{"note", n})
	}
	for _, p := range s.Wrong() {
		all = append(all, problemLine{"problem", p})
	}
	for _, line := range all {
		if err := lines.Encode(line); err != nil {
			return err
		}
	}
	return nil
}
