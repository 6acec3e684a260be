package cni

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/containernetworking/cni/pkg/skel"

	"cni.tuplenet/attach"
)

// delPatience bounds how long the agent may take for DEL: it goes on by itself.
const delPatience = 3 * time.Second

// del is DEL. It needs nothing of what ADD has made to be there, and not the
// container's namespace either: both ends of the pair go with the host's, which
// is found by its name. So an interface of the same name in the container that
// is somebody else's stays, as it has to when an ADD failed because of it.
func del(args *skel.CmdArgs, stderr io.Writer) error {
	cfg, err := ParseConfig(args.StdinData)
	if err != nil {
		return err
	}
	host, err := OpenNetns("")
	if err != nil {
		return err
	}
	defer host.Close()
	id := cfg.ID(args.ContainerID, args.IfName)
	agent, asking := attach.Dial(cfg.RunDir)
	if asking == nil {
		defer agent.Close(0)
		asking = agent.Say(attach.Request{Op: attach.Release, ID: id, Plugin: owner, Etcd: cfg.Etcd(), Device: id.Device()})
	}
	removing := host.Delete(id.Device())
	var answer attach.Answer
	if asking == nil {
		answer, asking = agent.Hear(attach.Release, delPatience)
	}
	return errors.Join(removing, later(asking, answer, stderr))
}

// later tells a person, on stderr, that the agent does the rest of something
// later, and returns the errors that are none of that kind.
func later(err error, a attach.Answer, stderr io.Writer) error {
	var e *attach.Error
	switch {
	case errors.As(err, &e) && e.Code == attach.CodeTryLater:
		fmt.Fprintf(stderr, "tpcni: %s; the agent takes address and port back when it runs again\n", e)
		return nil
	case err == nil && a.Pending:
		fmt.Fprintf(stderr, "tpcni: %s; the agent takes address and port back once that is over\n", cmp.Or(a.Why, "etcd cannot be reached"))
	}
	return err
}

// collect is GC: the agent takes back what is not valid any more, the devices of
// that go here.
func collect(args *skel.CmdArgs, stderr io.Writer) error {
	cfg, err := ParseConfig(args.StdinData)
	if err != nil {
		return err
	}
	request := attach.Request{Op: attach.Collect, ID: attach.ID{Network: cfg.Name}, Plugin: owner, Etcd: cfg.Etcd(), Valid: []attach.ID{}}
	for _, v := range cfg.Valid {
		request.Valid = append(request.Valid, cfg.ID(v.ContainerID, v.IfName))
	}
	host, err := OpenNetns("")
	if err != nil {
		return err
	}
	defer host.Close()
	agent, err := attach.Dial(cfg.RunDir)
	if err != nil {
		return err
	}
	defer agent.Close(0)
	answer, err := agent.Ask(request, patience)
	if err != nil {
		return err
	}
	if answer.Pending {
		_ = later(nil, answer, stderr)
	}
	var failed []error
	for _, id := range answer.Released {
		failed = append(failed, host.Delete(id.Device()))
	}
	return errors.Join(failed...)
}

// status is STATUS. An agent that is away serves nobody; what is attached goes
// on working.
func status(args *skel.CmdArgs) error {
	cfg, err := ParseConfig(args.StdinData)
	if err != nil {
		return err
	}
	if err := cfg.Validate(); err != nil {
		return err
	}
	request := attach.Request{Op: attach.Status, Plugin: owner, ID: attach.ID{Network: cfg.Name}, Etcd: cfg.Etcd()}
	for _, s := range cfg.Switches {
		request.Switches = append(request.Switches, attach.Switch{Name: s.Name, Subnet: s.Subnet, Reserved: s.Reserved})
	}
	agent, err := attach.Dial(cfg.RunDir)
	if err == nil {
		defer agent.Close(0)
		_, err = agent.Ask(request, delPatience)
	}
	if e := (*attach.Error)(nil); errors.As(err, &e) && e.Code == attach.CodeTryLater {
		return &attach.Error{Code: attach.CodeUnavailable, Msg: e.Msg, Details: e.Details}
	}
	return err
}
