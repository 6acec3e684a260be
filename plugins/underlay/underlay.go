package underlay

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"time"

	cni "cni.tuplenet"
	"cni.tuplenet/attach"
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"tuplenet/internal/topology"
)

const (
	// bound is how long etcd and Open vSwitch may take for a verb.
	bound = 30 * time.Second
	// farewell is how long it may take to give a claim back that came to nothing.
	farewell = 5 * time.Second
)

// Main serves the one call that a runtime starts the plugin for, as the
// environment and standard input have it, and returns the exit status.
func Main() int {
	return cni.Serve(skel.CNIFuncs{
		Add:    verb(func(ctx context.Context, a *skel.CmdArgs) error { return add(ctx, a, os.Stdout) }),
		Check:  verb(check),
		Del:    verb(del),
		GC:     verb(collect),
		Status: verb(status),
	})
}

// verb makes of what serves a verb what skel calls.
func verb(serve func(context.Context, *skel.CmdArgs) error) func(*skel.CmdArgs) error {
	return func(args *skel.CmdArgs) error {
		ctx, cancel := context.WithTimeout(context.Background(), bound)
		defer cancel()
		return serve(ctx, args)
	}
}

// call is what a verb works with.
type call struct {
	cfg  *cni.Config
	pool *pool
	attachment
	owner string
}

// begin reads what a verb was given. For those that take back, a configuration
// need not be right, nor the namespace be there. The caller ends the call.
func begin(args *skel.CmdArgs, takesBack bool) (_ *call, err error) {
	cfg, err := cni.ParseConfig(args.StdinData)
	if err != nil {
		return nil, err
	}
	if !takesBack {
		if err := cfg.Validate(); err != nil {
			return nil, err
		}
	}
	c := &call{cfg: cfg}
	c.uplink = uplink{cfg.Underlay, cfg.UnderlayBridge}
	c.id = cfg.ID(args.ContainerID, args.IfName)
	c.owner = c.id.Owner(plugin)
	defer func() {
		if err != nil {
			c.end()
		}
	}()
	if c.host, err = cni.OpenNetns(""); err != nil {
		return nil, err
	}
	if args.Netns == "" {
		return c, nil
	}
	c.pod, err = cni.OpenNetns(args.Netns)
	if gone := codeOf(err) == attach.CodeUnknown || codeOf(err) == attach.CodeEnvironment; takesBack && gone {
		err = nil
	}
	return c, err
}

func (c *call) connect(ctx context.Context) (err error) {
	c.pool, err = openPool(ctx, c.cfg.Etcd(), c.cfg.Node)
	return err
}

func (c *call) end() {
	if c.pool != nil {
		c.pool.close()
	}
	if c.pod != nil {
		c.pod.Close()
	}
	if c.host != nil {
		c.host.Close()
	}
}

// add is ADD.
func add(ctx context.Context, args *skel.CmdArgs, stdout io.Writer) error {
	c, err := begin(args, false)
	if err != nil {
		return err
	}
	defer c.end()
	wanted, err := c.cfg.Wanted(args.Args)
	if err != nil {
		return err
	}
	// What is there has a claim, perhaps, that must not be given back.
	if there, err := c.pod.Find(c.id.Ifname); err != nil {
		return err
	} else if there != nil {
		return attach.Errorf(attach.CodeAttached, "the container has an interface %s already: delete the attachment (DEL) before it is made anew", c.id.Ifname)
	}
	mtu, err := c.mtu(c.host)
	if err != nil {
		return err
	}
	if err := c.connect(ctx); err != nil {
		return err
	}
	l, err := c.pool.claim(ctx, c.owner, wanted, c.cfg.Secured())
	if err != nil {
		return err
	}
	result, err := c.plug(ctx, args.Netns, l, wanted, mtu)
	if err == nil {
		err = c.cfg.WriteResult(stdout, result)
	}
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
		defer cancel()
		return errors.Join(err, c.giveBack(ctx, l.port.Key()))
	}
	return nil
}

// giveBack removes the pod's interface and gives its port back: in this order, as
// a port must not be claimed by another while its tag is in use.
func (c *call) giveBack(ctx context.Context, port topology.Key) error {
	if err := c.remove(ctx); err != nil {
		return err
	}
	return c.pool.release(ctx, port, c.owner)
}

// plug makes and configures the pod's interface for a port.
func (c *call) plug(ctx context.Context, netns string, l lease, w cni.Wanted, mtu int) (*types100.Result, error) {
	given, err := c.cfg.ParseAnswer(l.answer(mtu), c.id.Ifname, w)
	if err != nil {
		return nil, err
	}
	if err := c.make(ctx, l.port.Tag, given.MTU); err != nil {
		return nil, err
	}
	if err := c.pod.Configure(&given.Interface); err != nil {
		return nil, err
	}
	if l.routed {
		if err := c.reach(context.WithoutCancel(ctx), l.gateway, c.cfg.Patience()); err != nil {
			return nil, err
		}
	}
	var end *types100.Interface
	if c.bridge != "" {
		end = &types100.Interface{Name: c.id.Device(), Mtu: given.MTU}
	}
	return c.cfg.Result(given, netns, end), nil
}

// check is CHECK.
func check(ctx context.Context, args *skel.CmdArgs) error {
	c, err := begin(args, false)
	if codeOf(err) == attach.CodeUnknown { // which means that DEL is not needed; but there is a claim
		return failure(attach.CodeNotAttached, err)
	} else if err != nil {
		return err
	}
	defer c.end()
	if c.cfg.Previous == nil {
		return attach.Errorf(attach.CodeConfig, "prevResult is missing: CHECK compares with what ADD has returned")
	}
	link, addresses, err := cni.CheckInterface(c.pod, c.cfg.Previous, c.id.Ifname)
	if err != nil {
		return err
	}
	if err := c.connect(ctx); err != nil {
		return err
	}
	ports, err := c.pool.owned(ctx, c.owner)
	if err != nil {
		return err
	}
	for _, port := range ports {
		if port.Owner != c.owner {
			continue
		}
		if ip, mac := addresses[0].IP.String(), link.Attrs().HardwareAddr.String(); ip != port.IP.String() || mac != port.MAC.String() {
			return attach.Errorf(attach.CodeNotAttached, "the container has address %s and MAC %s, its logical port %s %s and %s", ip, mac, port.Name, port.IP, port.MAC)
		}
		return c.attachment.check(ctx, port.Tag)
	}
	return attach.Errorf(attach.CodeNotAttached, "no logical port of node %s belongs to the container", c.cfg.Node)
}

// del is DEL. The interface goes first, and it goes without etcd, too; then DEL
// fails, so that the runtime comes again for the claim. What it never comes for is
// left to GC.
func del(ctx context.Context, args *skel.CmdArgs) error {
	c, err := begin(args, true)
	if err != nil {
		return err
	}
	defer c.end()
	if err := c.remove(ctx); err != nil {
		return err // the claim stays, see giveBack
	}
	if err := c.connect(ctx); err != nil {
		return err
	}
	return c.pool.releaseAll(ctx, c.owner)
}

// collect is GC.
func collect(ctx context.Context, args *skel.CmdArgs) error {
	c, err := begin(args, true)
	if err != nil {
		return err
	}
	defer c.end()
	if err := c.connect(ctx); err != nil {
		return err
	}
	ports, err := c.pool.owned(ctx, plugin+":"+c.cfg.Name+"/")
	if err != nil {
		return err
	}
	for _, port := range ports {
		_, id, ok := attach.ParseOwner(port.Owner)
		if !ok || slices.ContainsFunc(c.cfg.Valid, func(v types.GCAttachment) bool { return c.cfg.ID(v.ContainerID, v.IfName) == id }) {
			continue
		}
		gone := attachment{uplink: c.uplink, id: id, host: c.host}
		if failed := gone.remove(ctx); failed != nil {
			err = cmp.Or(err, failed)
			continue
		}
		err = cmp.Or(err, c.pool.release(ctx, port.Key(), port.Owner))
	}
	return err
}

// status is STATUS.
func status(ctx context.Context, args *skel.CmdArgs) error {
	c, err := begin(args, false)
	if err != nil {
		return err
	}
	defer c.end()
	if _, err := c.link(c.host); err != nil {
		return failure(attach.CodeUnavailable, err)
	}
	if err := c.connect(ctx); err != nil {
		return failure(attach.CodeUnavailable, err)
	}
	return c.pool.provisioned(ctx, c.cfg.Switches)
}
