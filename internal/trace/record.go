package trace

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
)

// commandType is what the original calls a trace in commands and answers.
const commandType = "pkt_trace"

// Properties returns the record as an answer in etcd holds it: the properties
// that the original's tools read, and in "hop" the rest.
func (r Record) Properties() map[string]string {
	p := map[string]string{
		"cmd_type":        commandType,
		"table_id":        strconv.Itoa(int(r.Stage)),
		"datapath_id":     strconv.FormatUint(uint64(r.Datapath), 10),
		"src_port_id":     strconv.Itoa(int(r.From)),
		"dst_port_id":     strconv.Itoa(int(r.To)),
		"tun_src":         "0",
		"output_iface_id": r.Iface,
	}
	if r.TunnelSrc.Is4() {
		a := r.TunnelSrc.As4()
		p["tun_src"] = strconv.FormatUint(uint64(binary.BigEndian.Uint32(a[:])), 10)
	}
	if r.Iface == "" {
		p["output_iface_id"] = "<UNK_PORT>"
	}
	// Steps hold numbers, names and addresses: that cannot fail.
	steps, _ := json.Marshal(r.Steps)
	p["hop"] = base64.RawURLEncoding.EncodeToString(steps)
	return p
}

// ParseRecord reads an answer in etcd. What an original agent wrote has a stage
// and no steps. The error says what is wrong with an answer that nobody can read.
func ParseRecord(chassis string, sequence int, p map[string]string) (Record, error) {
	r := Record{Chassis: chassis, Sequence: sequence}
	if p["cmd_type"] != commandType {
		return r, fmt.Errorf("an answer of %s is no trace: cmd_type=%q", chassis, p["cmd_type"])
	}
	for _, f := range []struct {
		name string
		bits int
		set  func(uint64)
	}{
		{"table_id", 8, func(v uint64) { r.Stage = Stage(v) }},
		{"datapath_id", 24, func(v uint64) { r.Datapath = uint32(v) }},
		{"src_port_id", 16, func(v uint64) { r.From = uint16(v) }},
		{"dst_port_id", 16, func(v uint64) { r.To = uint16(v) }},
		{"tun_src", 32, func(v uint64) { r.TunnelSrc = addr4(uint32(v)) }},
	} {
		v, err := strconv.ParseUint(p[f.name], 10, f.bits)
		if err != nil {
			return r, fmt.Errorf("an answer of %s has an invalid %s %q", chassis, f.name, p[f.name])
		}
		f.set(v)
	}
	if i := p["output_iface_id"]; i != "<UNK_PORT>" {
		r.Iface = i
	}
	hop, ours := p["hop"]
	r.Original = !ours
	if ours {
		steps, err := base64.RawURLEncoding.DecodeString(hop)
		if err == nil {
			err = json.Unmarshal(steps, &r.Steps)
		}
		if err != nil {
			return r, fmt.Errorf("an answer of %s has an invalid hop: %w", chassis, err)
		}
	}
	return r, nil
}
