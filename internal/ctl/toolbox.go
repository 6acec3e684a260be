package ctl

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// looksGood is what the original's checks print when they find nothing.
const looksGood = "looks good!"

func toolboxCommands() []Command {
	return []Command{
		{
			Object: "toolbox", Verb: "sync-device-map",
			Usage:   "make the map of ids in use what the switches and routers say",
			Notes:   "For a store into which others wrote switches or routers, or whose map is damaged.",
			Example: "tpctl toolbox sync-device-map",
			run:     syncDeviceMap,
		},
		{
			Object: "toolbox", Verb: "find-ip-conflict", reads: true,
			Usage:   "find ports of a switch or router with one address",
			Notes:   "Prints \"" + looksGood + "\", or a line for each port whose address another one has. \"tpctl check\" finds more, and tells what mends it.",
			Example: "tpctl toolbox find-ip-conflict",
			run:     findIPConflict,
		},
		{
			Object: "toolbox", Verb: "find-id-conflict", reads: true,
			Usage:   "find switches and routers with one id",
			Notes:   "Prints \"" + looksGood + "\", or a line for each switch or router whose id another one has. \"tpctl check --repair\" gives it another.",
			Example: "tpctl toolbox find-id-conflict",
			run:     findIDConflict,
		},
		{
			Object: "toolbox", Verb: "rebuild-ip-book",
			Usage:   "make the books of addresses in use what the ports say",
			Notes:   "For a store into which others wrote ports, or whose books are damaged.",
			Example: "tpctl toolbox rebuild-ip-book",
			run:     rebuildIPBooks,
		},
		{
			Object: "toolbox", Verb: "decode-id-string", Args: []string{"STRING"}, reads: true, finds: true,
			Usage:   "show the ids in a value of globals/device_ids or of ip_book",
			Notes:   "Prints a line for each: the number, and what it is as an address, of which an ip_book knows the last two bytes. It asks etcd nothing.",
			Example: "tpctl toolbox decode-id-string OjAAAAEAAAAAAAIAEAAAAAEAAgADAA==",
			run:     decodeIDString,
		},
	}
}

func syncDeviceMap(s *session, _ []string) error {
	if err := s.store.SyncDeviceIDs(s.ctx); err != nil {
		return err
	}
	return s.say("device map synchronised")
}

func rebuildIPBooks(s *session, _ []string) error {
	n, err := s.store.RebuildIPBooks(s.ctx)
	if err != nil {
		return err
	}
	return s.say("IP books rebuilt: %d", n)
}

// conflict is one of two objects that have one thing, as it is printed.
type conflict struct {
	In   string `json:"in,omitempty"` // the switch or router of two ports
	Name string `json:"name"`
	With string `json:"with"`
	IP   string `json:"ip,omitempty"`
	ID   uint32 `json:"id,omitempty"`
}

// String is the original's line.
func (c conflict) String() string {
	if c.In != "" {
		return fmt.Sprintf("in %s, %s use the same IP as %s: %s", c.In, c.Name, c.With, c.IP)
	}
	return fmt.Sprintf("%s has the same id of %s: %d", c.Name, c.With, c.ID)
}

func findIPConflict(s *session, _ []string) error {
	type place struct {
		parent topology.Key
		ip     netip.Addr
	}
	first := map[place]string{}
	var found []conflict
	for _, kind := range []topology.Kind{topology.KindRouterPort, topology.KindSwitchPort} {
		ports, err := s.list(kind, "")
		if err != nil {
			return err
		}
		for _, e := range ports {
			at := place{parent: e.Key().ParentKey()}
			switch p := e.(type) {
			case topology.RouterPort:
				at.ip = p.Net.Addr()
			case topology.SwitchPort:
				at.ip = p.IP
			}
			if name, taken := first[at]; taken {
				found = append(found, conflict{In: at.parent.Name, Name: name, With: e.Key().Name, IP: at.ip.String()})
			} else {
				first[at] = e.Key().Name
			}
		}
	}
	return s.conflicts(found)
}

func findIDConflict(s *session, _ []string) error {
	first := map[uint32]string{}
	var found []conflict
	for _, kind := range []topology.Kind{topology.KindRouter, topology.KindSwitch} {
		devices, err := s.list(kind, "")
		if err != nil {
			return err
		}
		for _, e := range devices {
			id := topology.DatapathID(e)
			if name, taken := first[id]; taken {
				found = append(found, conflict{Name: e.Key().Name, With: name, ID: id})
			} else {
				first[id] = e.Key().Name
			}
		}
	}
	return s.conflicts(found)
}

// conflicts prints conflicts as scripts in the field know them.
func (s *session) conflicts(found []conflict) error {
	switch {
	case len(found) == 0:
		return s.say(looksGood)
	case s.JSON:
		for _, c := range found {
			if err := WriteJSON(s.Out, c); err != nil {
				return err
			}
		}
		return ErrTold
	}
	lines := make([]string, len(found))
	for i, c := range found {
		lines[i] = c.String()
	}
	return errors.New(strings.Join(lines, "\n"))
}

func decodeIDString(s *session, args []string) error {
	ids, err := store.DecodeIDs(strings.TrimSpace(args[0]))
	if err != nil {
		return fmt.Errorf("invalid id string: %w; want the value of globals/device_ids or of an ip_book, base64 of a Roaring bitmap", err)
	}
	for _, id := range ids {
		ip := netip.AddrFrom4([4]byte{byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id)})
		if s.JSON {
			err = WriteJSON(s.Out, struct {
				ID uint32     `json:"id"`
				IP netip.Addr `json:"ip"`
			}{id, ip})
		} else {
			_, err = fmt.Fprintf(s.Out, "%d => %s\n", id, ip)
		}
		if err != nil {
			return fmt.Errorf("print the ids: %w", err)
		}
	}
	return nil
}
