package lab

import (
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// Status is what runs in a lab.
type Status struct {
	Name      string           `json:"name"`
	Dir       string           `json:"dir"`
	Datapath  Datapath         `json:"datapath"`
	Etcd      []EtcdStatus     `json:"etcd"`
	Endpoints string           `json:"endpoints"` // of etcd, as tpctl on this machine takes them
	Hosts     []HostStatus     `json:"hosts"`
	Outside   []OutsideStatus  `json:"outside"`
	Workloads []WorkloadStatus `json:"workloads"`
}

// EtcdStatus is a member of etcd; a pid of 0 says that it does not run.
type EtcdStatus struct {
	Name    string `json:"name"`
	Address string `json:"address"` // for the hosts
	Pid     int    `json:"pid"`
	Hangs   bool   `json:"hangs,omitempty"` // see HangEtcd
}

// HostStatus is what runs on a host; a pid of 0 says that it does not run.
type HostStatus struct {
	Name      string `json:"name"`
	Kind      string `json:"kind"`
	Address   string `json:"address"`
	Namespace string `json:"namespace"`
	OVSDB     int    `json:"ovsdb"`
	Vswitchd  int    `json:"vswitchd"`
	Agent     int    `json:"agent"`

	Hanging []Component `json:"hanging,omitempty"` // see Hang
}

// OutsideStatus is where a machine that runs no TupleNet is found.
type OutsideStatus struct {
	Name      string `json:"name"`
	Address   string `json:"address"` // with the prefix length
	MTU       int    `json:"mtu"`     // bytes
	Namespace string `json:"namespace"`
}

// WorkloadStatus is where a workload is plugged, and where etcd has its port.
type WorkloadStatus struct {
	Workload
	Namespace string `json:"namespace"`
	Chassis   string `json:"chassis"` // that the port is bound to; empty while etcd does not run
}

// Status looks at the lab.
func (l *Lab) Status(ctx context.Context) (Status, error) {
	workloads, err := l.Workloads()
	if err != nil {
		return Status{}, err
	}
	s := Status{
		Name: l.Name, Dir: l.Dir, Datapath: l.Datapath, Endpoints: l.Endpoints(),
		Hosts: []HostStatus{}, Outside: []OutsideStatus{}, Workloads: []WorkloadStatus{},
	}
	working := 0
	for _, m := range l.members() {
		p, ok := m.running()
		s.Etcd = append(s.Etcd, EtcdStatus{string(m.component), m.client, p.pid, ok && p.hangs()})
		if m.works() {
			working++
		}
	}
	for _, h := range l.Spec.Hosts {
		p := l.on(h.Name, l.echo)
		status := HostStatus{
			Name: h.Name, Kind: h.Kind, Address: h.Address, Namespace: p.ns,
			OVSDB: pid(l.daemon(p, OVSDB)), Vswitchd: pid(l.daemon(p, Vswitchd)), Agent: pid(l.daemon(p, Agent)),
		}
		for _, c := range hostComponents {
			if p, ok := l.daemon(p, c).running(); ok && p.hangs() {
				status.Hanging = append(status.Hanging, c)
			}
		}
		s.Hosts = append(s.Hosts, status)
	}
	for _, o := range l.Spec.Outside {
		s.Outside = append(s.Outside, OutsideStatus{o.Name, o.Address, o.MTU, l.namespace(o.Name)})
	}
	v := &view{}
	if 2*working > l.Spec.Etcd {
		if v, err = l.view(ctx); err != nil {
			return Status{}, err
		}
	}
	for _, w := range workloads {
		status := WorkloadStatus{Workload: w, Namespace: l.namespace(w.Port)}
		status.Chassis = v.ports[w.Port].Chassis
		s.Workloads = append(s.Workloads, status)
	}
	return s, nil
}

func pid(d daemon) int {
	p, ok := d.running()
	if !ok {
		return 0
	}
	return p.pid
}

// Print writes the status for people.
func (s Status) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "lab %s in %s, datapath %s\n", s.Name, s.Dir, s.Datapath)
	for _, m := range s.Etcd {
		fmt.Fprintf(t, "%s %s at %s\n", m.Name, running(m.Pid, m.Hangs), m.Address)
	}
	fmt.Fprintf(t, "for tpctl here: export TUPLENET_ENDPOINTS=%s\n", s.Endpoints)
	fmt.Fprintf(t, "\nHOST\tKIND\tADDRESS\tOVSDB\tVSWITCHD\tAGENT\tNAMESPACE\n")
	for _, h := range s.Hosts {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", h.Name, h.Kind, h.Address,
			running(h.OVSDB, slices.Contains(h.Hanging, OVSDB)), running(h.Vswitchd, slices.Contains(h.Hanging, Vswitchd)),
			running(h.Agent, slices.Contains(h.Hanging, Agent)), h.Namespace)
	}
	if len(s.Outside) > 0 {
		fmt.Fprintf(t, "\nOUTSIDE\tADDRESS\tMTU\tNAMESPACE\n")
	}
	for _, o := range s.Outside {
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\n", o.Name, o.Address, o.MTU, o.Namespace)
	}
	fmt.Fprintf(t, "\nWORKLOAD\tADDRESS\tHOST\tBOUND TO\tNAMESPACE\n")
	for _, w := range s.Workloads {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", w.Port, w.Address, w.Host, orDash(w.Chassis), w.Namespace)
	}
	return t.Flush()
}

func running(pid int, hangs bool) string {
	switch {
	case pid == 0:
		return "stopped"
	case hangs:
		return fmt.Sprintf("pid %d hangs", pid)
	}
	return fmt.Sprint("pid ", pid)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
