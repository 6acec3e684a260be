package lab

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
)

// Status is what runs in a lab.
type Status struct {
	Name      string           `json:"name"`
	Dir       string           `json:"dir"`
	Datapath  Datapath         `json:"datapath"`
	Etcd      int              `json:"etcd"`      // pid; 0: it does not run
	Endpoints string           `json:"endpoints"` // of etcd, as tpctl on this machine takes them
	Hosts     []HostStatus     `json:"hosts"`
	Outside   []OutsideStatus  `json:"outside"`
	Workloads []WorkloadStatus `json:"workloads"`
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
		Name: l.Name, Dir: l.Dir, Datapath: l.Datapath, Endpoints: l.etcdSocketURL(),
		Hosts: []HostStatus{}, Outside: []OutsideStatus{}, Workloads: []WorkloadStatus{},
		Etcd: pid(l.daemon(l.phy(l.echo), Etcd)),
	}
	for _, h := range l.Spec.Hosts {
		p := l.on(h.Name, l.echo)
		s.Hosts = append(s.Hosts, HostStatus{
			Name: h.Name, Kind: h.Kind, Address: h.Address, Namespace: p.ns,
			OVSDB: pid(l.daemon(p, OVSDB)), Vswitchd: pid(l.daemon(p, Vswitchd)), Agent: pid(l.daemon(p, Agent)),
		})
	}
	for _, o := range l.Spec.Outside {
		s.Outside = append(s.Outside, OutsideStatus{o.Name, o.Address, o.MTU, l.namespace(o.Name)})
	}
	v := &view{}
	if s.Etcd != 0 {
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
	fmt.Fprintf(t, "etcd %s, from here: tpctl -e %s\n", running(s.Etcd), s.Endpoints)
	fmt.Fprintf(t, "\nHOST\tKIND\tADDRESS\tOVSDB\tVSWITCHD\tAGENT\tNAMESPACE\n")
	for _, h := range s.Hosts {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", h.Name, h.Kind, h.Address, running(h.OVSDB), running(h.Vswitchd), running(h.Agent), h.Namespace)
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

func running(pid int) string {
	if pid == 0 {
		return "stopped"
	}
	return fmt.Sprint("pid ", pid)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
