package ctl

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"tuplenet/internal/topology"
)

// object is an entity as it is shown: its name, then its fields in order.
type object struct {
	name   string
	fields []field
	parent field  // in JSON, and among those of all parents: what it hangs on
	event  string // what became of it, where changes are printed
	id     string // tells it from others where its name does not
}

// field is one property. One that is left out of JSON when it is empty has
// omitEmpty; plain output shows it anyway. One that plain output does not show
// has onlyJSON. One that is passing changes with time alone, which is no news. One
// that is ours the original does not print: it does not widen what scripts read.
type field struct {
	name      string
	value     any
	omitEmpty bool
	onlyJSON  bool
	passing   bool
	ours      bool
	plainName string // instead of name, where it is to be short
}

func objectOf(e topology.Stored) object {
	switch e := e.(type) {
	case topology.Switch:
		return object{name: e.Name, fields: append([]field{{name: "id", value: e.ID}}, security(e.Secured)...)}
	case topology.Router:
		return object{name: e.Name, fields: []field{
			{name: "id", value: e.ID},
			{name: "chassis", value: e.Chassis, omitEmpty: true},
		}}
	case topology.SwitchPort:
		return object{name: e.Name, parent: field{name: "switch", value: e.Switch}, fields: append([]field{
			{name: "ip", value: e.IP.String()},
			{name: "mac", value: e.MAC.String()},
			{name: "peer", value: e.Peer, omitEmpty: true},
			{name: "chassis", value: e.Chassis, omitEmpty: true},
		}, attached(e)...)}
	case topology.RouterPort:
		return object{name: e.Name, parent: field{name: "router", value: e.Router}, fields: []field{
			{name: "ip", value: e.Net.Addr().String()},
			{name: "prefix", value: e.Net.Bits()},
			{name: "mac", value: e.MAC.String()},
			{name: "peer", value: e.Peer},
		}}
	case topology.StaticRoute:
		return object{name: e.Name, parent: field{name: "router", value: e.Router}, fields: []field{
			{name: "ip", value: e.Net.Addr().String()},
			{name: "prefix", value: e.Net.Bits()},
			{name: "next_hop", value: e.NextHop.String()},
			{name: "outport", value: e.OutPort},
		}}
	case topology.NAT:
		return object{name: e.Name, parent: field{name: "router", value: e.Router}, fields: []field{
			{name: "ip", value: e.Net.Addr().String()},
			{name: "prefix", value: e.Net.Bits()},
			{name: "xlate_type", value: string(e.Type)},
			{name: "xlate_ip", value: e.XlateIP.String()},
		}}
	case topology.Chassis:
		o := object{name: e.Name, fields: []field{
			{name: "ip", value: e.IP.String()},
			{name: "tick", value: e.Tick},
		}}
		if e.MTU != 0 { // older agents do not tell it
			o.fields = append(o.fields, field{name: "mtu", value: e.MTU})
		}
		return o
	}
	panic(fmt.Sprintf("ctl shows no %T", e))
}

// attached returns the fields of a switch port that few ports have.
func attached(p topology.SwitchPort) []field {
	var fields []field
	set := func(name, value string) {
		if value != "" {
			fields = append(fields, field{name: name, value: value, ours: true})
		}
	}
	set("parent", p.Parent)
	if p.Tag != 0 {
		fields = append(fields, field{name: "tag", value: p.Tag, ours: true})
	}
	fields = append(fields, security(p.Secured)...)
	set("owner", p.Owner)
	set("pool", p.Pool)
	return fields
}

// security returns the field that says that port security is on.
func security(isOn bool) []field {
	if !isOn {
		return nil
	}
	return []field{{name: "security", value: "on", ours: true}}
}

// writePlain prints the object for people, and for scripts that know the
// original's output: a line a field, the blank after an empty field's colon
// included, then an empty line.
func (o object) writePlain(w io.Writer) {
	width := 0
	plain := slices.DeleteFunc(slices.Clone(o.fields), func(f field) bool { return f.onlyJSON })
	for _, f := range plain {
		if !f.ours {
			width = max(width, len(cmp.Or(f.plainName, f.name)))
		}
	}
	fmt.Fprintf(w, "%s:\n", o.name)
	for _, f := range plain {
		fmt.Fprintf(w, "  - %-*s: %v\n", width, cmp.Or(f.plainName, f.name), f.value)
	}
	fmt.Fprintln(w)
}

// MarshalJSON keeps the order of the fields: scripts read these lines, and so
// do people.
func (o object) MarshalJSON() ([]byte, error) {
	fields := []field{{name: "event", value: o.event, omitEmpty: true}, {name: "name", value: o.name, omitEmpty: true}}
	fields = append(fields, o.fields...)
	if o.parent.name != "" {
		fields = append(fields, o.parent)
	}
	var b bytes.Buffer
	b.WriteByte('{')
	for _, f := range fields {
		if f.omitEmpty && f.value == "" {
			continue
		}
		value, err := json.Marshal(f.value)
		if err != nil {
			return nil, err
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%q:%s", f.name, value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// WriteJSON prints v as one line.
func WriteJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// show prints entities in the order given.
func (s *session) show(list []topology.Stored) error { return s.showObjects(objectsOf(list)) }

func objectsOf(list []topology.Stored) []object {
	objects := make([]object, len(list))
	for i, e := range list {
		objects[i] = objectOf(e)
	}
	return objects
}

func (s *session) showObjects(list []object) error {
	out := bufio.NewWriter(s.Out)
	if len(list) == 0 && !s.JSON {
		fmt.Fprintln(out, "empty data set")
	}
	for _, o := range list {
		if s.JSON {
			if err := WriteJSON(out, o); err != nil {
				return fmt.Errorf("print %s: %w", o.name, err)
			}
			continue
		}
		if s.set(allFlag) && o.parent.name != "" {
			o.fields = append([]field{o.parent}, o.fields...)
		}
		o.writePlain(out)
	}
	return out.Flush()
}

// made says that objects were created: in a sentence, or in JSON as what they
// are.
func (s *session) made(list []topology.Stored, format string, args ...any) error {
	if s.JSON {
		return s.show(list)
	}
	return s.say(format, args...)
}

// say prints the sentence that tells of a success.
func (s *session) say(format string, args ...any) error {
	sentence := fmt.Sprintf(format, args...)
	if s.JSON {
		return WriteJSON(s.Out, struct {
			Message string `json:"message"`
		}{sentence})
	}
	_, err := fmt.Fprintln(s.Out, sentence)
	return err
}
