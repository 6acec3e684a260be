package lab_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// disagreeing are the scenarios that end with something broken, so that packets
// do not go as the store wants: what it is.
var disagreeing = map[string]string{
	"isolation":   "a workload is unplugged, and its port still bound",
	"redirection": "a cable is cut, and BFD has found that",
	"trace":       "a bridge holds a flow of somebody else's",
}

// checkAgreement traces a packet from each port of a lab to each other, and says
// where they do not take a way that the store wants. It waits until nothing is
// under way any more.
func checkAgreement(tpctl func(args ...string) ([]byte, error)) error {
	out, err := tpctl("ls", "show", "--json")
	if err != nil {
		return nil // there is no etcd any more
	}
	switches, err := decodeLines[struct{ Name string }](out)
	if err != nil || len(switches) == 0 {
		return err
	}
	names := make([]string, len(switches))
	for i, sw := range switches {
		names[i] = sw.Name
	}
	deadline := time.Now().Add(scenarioPatience)
	for {
		wrong, err := disagreements(tpctl, strings.Join(names, ","))
		if err == nil && len(wrong) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.Join(err, fmt.Errorf("%d packets do not go as the store wants:\n%s", len(wrong), strings.Join(wrong, "\n")))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// disagreements returns a sentence for each packet between ports of some switches
// that takes another way than the dry trace tells.
func disagreements(tpctl func(args ...string) ([]byte, error), switches string) ([]string, error) {
	out, _ := tpctl("trace", "--all", switches, "--compare", "--json") // it fails where one does not arrive
	packets, err := decodeLines[struct {
		From, To string
		Error    string
		Compared *struct {
			Agree      bool
			Difference struct{ Chassis, Table, Want, Got string }
		}
	}](out)
	if err == nil && len(packets) == 0 {
		err = errors.New("tpctl trace printed nothing")
	}
	if err != nil {
		return nil, err
	}
	var wrong []string
	for _, p := range packets {
		if p.Error != "" && !strings.Contains(p.Error, "there are no two ports") {
			return nil, errors.New(p.Error)
		}
		// Without a table the packet was not seen: an agent does not run.
		if p.Compared != nil && !p.Compared.Agree && p.Compared.Difference.Table != "" {
			wrong = append(wrong, fmt.Sprintf("%s -> %s: %+v", p.From, p.To, p.Compared.Difference))
		}
	}
	return slices.Clip(wrong), nil
}

// decodeLines reads one JSON object a line.
func decodeLines[T any](b []byte) ([]T, error) {
	var out []T
	for dec := json.NewDecoder(bytes.NewReader(b)); ; {
		var v T
		switch err := dec.Decode(&v); {
		case err == io.EOF:
			return out, nil
		case err != nil:
			return nil, fmt.Errorf("%q is no JSON: %w", b, err)
		}
		out = append(out, v)
	}
}

// commandIn runs commands of a directory in an environment.
func commandIn(path string, env []string) func(args ...string) ([]byte, error) {
	return func(args ...string) ([]byte, error) {
		cmd := exec.Command(path, args...)
		cmd.Env = env
		return cmd.Output()
	}
}
