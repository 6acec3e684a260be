package openflow

import (
	"context"
	"encoding/binary"
	"fmt"
)

// Bundle control types (ofp_bundle_ctrl_type); a reply's is one higher.
const (
	bundleOpen    = 0
	bundleClose   = 2
	bundleCommit  = 4
	bundleDiscard = 6
)

// bundleFlags make the bundle atomic (1) and its messages take effect in the
// order in which they were added (2).
const bundleFlags = 1 | 2

// Commit applies mods in their order, as one bundle: packets see all of them
// or none. Keep a bundle to 10,000 mods; ovs-vswitchd does nothing else while
// it applies one.
//
// When a mod is refused, none is applied, the error is a *FlowError, and the
// connection goes on working. Any other error means that nobody can tell
// whether the bundle was applied; the connection is closed then.
func (c *Conn) Commit(ctx context.Context, mods []Mod) error {
	if len(mods) == 0 {
		return nil
	}
	c.bundleMu.Lock()
	defer c.bundleMu.Unlock()

	// The messages of a bundle have successive transaction ids: open, the
	// mods, close, and one that decides.
	open, err := c.reserve(len(mods) + 3)
	if err != nil {
		return fmt.Errorf("bundle on %s: %w", c.path, err)
	}
	end := open + uint32(len(mods)) + 1
	decide := end + 1

	b := appendBundleControl(c.bundleBuf[:0], open, open, bundleOpen)
	for i := range mods {
		if b, err = appendBundleAdd(b, open, open+1+uint32(i), &mods[i]); err != nil {
			return &FlowError{Index: i, Err: err}
		}
	}
	b = appendBundleControl(b, end, open, bundleClose)
	c.bundleBuf = b

	// Open vSwitch commits what is left of a bundle of which it refused a
	// part, so the decision has to wait for its answer.
	out, err := c.exchange(ctx, open, end, b)
	if err != nil {
		return c.abandon(err)
	}
	decision := uint16(bundleCommit)
	if out.err != nil {
		decision = bundleDiscard
	}
	decided, err := c.exchange(ctx, open, decide, appendBundleControl(b[:0], decide, open, decision))
	if err != nil {
		return c.abandon(err)
	}
	if out.err == nil {
		out = decided
	}
	switch {
	case out.err == nil:
		return nil
	case open < out.errXID && out.errXID < end:
		return &FlowError{Index: int(out.errXID - open - 1), Err: out.err}
	}
	return c.abandon(out.err)
}

// abandon closes the connection after a bundle whose fate is unknown. Open
// vSwitch discards what was not committed.
func (c *Conn) abandon(err error) error {
	c.fail(fmt.Errorf("connection closed over a bundle whose fate is unknown: %w", err))
	return fmt.Errorf("bundle on %s: %w", c.path, err)
}

func appendBundleControl(b []byte, xid, bundle uint32, typ uint16) []byte {
	b = append(b, version, typeBundleControl, 0, headerLen+8)
	b = binary.BigEndian.AppendUint32(b, xid)
	b = binary.BigEndian.AppendUint32(b, bundle)
	b = binary.BigEndian.AppendUint16(b, typ)
	return binary.BigEndian.AppendUint16(b, bundleFlags)
}

// appendBundleAdd adds a flow-mod inside the message that puts it into the
// bundle. Both have the same transaction id.
func appendBundleAdd(b []byte, bundle, xid uint32, m *Mod) ([]byte, error) {
	start := len(b)
	b = appendHeader(b, typeBundleAdd, xid)
	b = binary.BigEndian.AppendUint32(b, bundle)
	b = binary.BigEndian.AppendUint32(b, bundleFlags) // 16 bits of padding before them
	b, err := appendFlowMod(b, xid, m)
	if err != nil {
		return nil, err
	}
	return b, endMessage(b, start)
}
