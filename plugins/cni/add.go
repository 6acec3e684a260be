package cni

import (
	"errors"
	"io"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"cni.tuplenet/attach"
)

// How long the agent may take: it has bounds of its own for etcd and Open
// vSwitch, which are narrower, and what it says then tells more.
const (
	patience         = 20 * time.Second
	farewellPatience = 3 * time.Second // to take back, after a failure
)

// owner is what the agent calls what is attached by us.
const owner = attach.CNI

// attachment is one ADD in progress.
type attachment struct {
	cfg    *Config
	id     attach.ID
	wanted Wanted
	agent  *attach.Client
	pair   *Pair
	made   bool // the pair is there, and ours
}

// add is ADD.
func add(args *skel.CmdArgs, stdout io.Writer) error {
	cfg, err := ParseConfig(args.StdinData)
	if err != nil {
		return err
	}
	if err := cfg.Validate(); err != nil {
		return err
	}
	a := &attachment{cfg: cfg, id: cfg.ID(args.ContainerID, args.IfName)}
	if a.wanted, err = cfg.Wanted(args.Args); err != nil {
		return err
	}
	container, err := OpenNetns(args.Netns)
	if err != nil {
		return err
	}
	defer container.Close()
	if container.own && !overridden(args) {
		return attach.Errorf(attach.CodeEnvironment, "CNI_NETNS %s is the network namespace of the host", args.Netns)
	}
	host, err := OpenNetns("")
	if err != nil {
		return err
	}
	defer host.Close()
	a.pair = &Pair{Host: host, Container: container, Device: a.id.Device(), Ifname: args.IfName}
	if a.agent, err = attach.Dial(cfg.RunDir); err != nil {
		return err
	}
	given, err := a.run()
	if err != nil {
		if a.made {
			err = errors.Join(err, a.pair.Remove())
		}
		a.agent.Close(farewellPatience)
		return err
	}
	a.agent.Close(0)
	end := &types100.Interface{Name: a.pair.Device, Mac: hostMAC(a.pair.Device).String(), Mtu: given.MTU}
	if err := cfg.WriteResult(stdout, cfg.Result(given, args.Netns, end)); err != nil {
		return errors.Join(err, del(args, io.Discard)) // a runtime that hears of no result knows of no attachment
	}
	return nil
}

// overridden reports whether the runtime says that the container's namespace may
// be the host's.
func overridden(args *skel.CmdArgs) bool {
	return args.NetnsOverride == "1" || strings.EqualFold(args.NetnsOverride, "true")
}

// run has the attachment made, by the agent and by itself at the same time: it
// says what it wants, does its own part, and hears what has become of it.
func (a *attachment) run() (Attached, error) {
	if err := a.agent.Say(a.reservation()); err != nil {
		return Attached{}, err
	}
	making := a.make()
	answer, err := a.agent.Hear(attach.Reserve, patience)
	if err != nil {
		return Attached{}, err
	}
	if errors.Is(making, ErrExists) {
		making = a.makeAnew()
	}
	if making != nil {
		return Attached{}, making
	}
	given, err := a.cfg.ParseAnswer(answer, a.id.Ifname, a.wanted)
	if err != nil {
		return Attached{}, err
	}
	if err := a.adjust(given); err != nil {
		return Attached{}, err
	}
	if err := a.agent.Say(attach.Request{Op: attach.Plug, Wait: int(a.cfg.Patience().Milliseconds())}); err != nil {
		return Attached{}, err
	}
	if err := a.configure(&given); err != nil {
		return Attached{}, err
	}
	if _, err := a.agent.Hear(attach.Plug, patience+a.cfg.Patience()); err != nil {
		return Attached{}, err
	}
	_, err = a.agent.Ask(attach.Request{Op: attach.Keep}, patience)
	return given, err
}

// reservation is the first request.
func (a *attachment) reservation() attach.Request {
	r := attach.Request{Op: attach.Reserve, ID: a.id, Plugin: owner, Etcd: a.cfg.Etcd(), Switches: a.wanted.Switches,
		Device: a.pair.Device, MAC: a.wanted.MAC.String(), Secured: a.cfg.Secured()}
	if a.wanted.IP.IsValid() {
		r.IP = a.wanted.IP.String()
	}
	return r
}

func (a *attachment) make() error {
	if err := a.pair.Make(a.cfg.MTU); err != nil {
		return err
	}
	a.made = true
	return DisableIPv6(a.pair.Device)
}

// makeAnew makes the pair in place of what an ADD has left that was killed. The
// agent has said by now that there is no such attachment.
func (a *attachment) makeAnew() error {
	if err := a.pair.conflict(); err != nil {
		return err
	}
	if err := a.pair.Remove(); err != nil {
		return err
	}
	if err := a.make(); !errors.Is(err, ErrExists) {
		return err
	}
	return attach.Errorf(attach.CodeEnvironment, "the name %s (CNI_IFNAME)%s, or %s on the host, is taken", a.pair.Ifname, a.pair.Container.where(), a.pair.Device)
}

// adjust gives the host's end what only the agent knew.
func (a *attachment) adjust(given Attached) error {
	if given.MTU != a.cfg.MTU {
		if err := a.pair.SetMTU(given.MTU); err != nil {
			return err
		}
	}
	if given.NoOffload {
		return a.pair.Host.ComputeChecksums(a.pair.Device)
	}
	return nil
}

// configure gives the container's end what it has to be.
func (a *attachment) configure(given *Attached) error {
	if given.NoOffload {
		if err := a.pair.Container.ComputeChecksums(given.Name); err != nil {
			return err
		}
	}
	return a.pair.Container.Configure(&given.Interface)
}
