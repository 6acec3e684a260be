package ctl

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tuplenet/internal/audit"
	"tuplenet/internal/store"
)

var (
	severityFlag = Flag{Name: "severity", Value: "LEVEL", Default: audit.Note.String(), Usage: "tell only what is at least as bad as `LEVEL`: error, warning or note"}
	repairFlag   = Flag{Name: "repair", Usage: "mend what can be mended without losing anything: show how, ask, and do it"}
)

func auditCommands() []Command {
	return []Command{{
		Object: "check", Args: []string{"[NAME...]"}, Flags: []Flag{severityFlag, repairFlag, yesFlag, watchFlag}, reads: true, steps: true,
		Usage: "find what is inconsistent in the store, and what mends it",
		Notes: "With NAME, only what is wrong with objects of these names and with what hangs on them. An error loses packets, a warning will, a note is untidy; " +
			"errors and warnings make the exit status 1. docs/check.md lists what is found. --repair makes the books of ids and addresses anew, gives one of two switches or routers with one id another, " +
			"releases ports from chassis that are gone, and deletes what agents and the plugin for Docker have left behind; it deletes nothing that anybody has made.",
		Example: "tpctl check --severity warning LS-A",
		run:     check,
	}}
}

// check tells what is inconsistent and, if it is asked to, mends some of it
// first.
func check(s *session, names []string) error {
	severity, err := audit.ParseSeverity(s.Flags[severityFlag.Name])
	if err != nil {
		return fmt.Errorf("--%s: %w", severityFlag.Name, err)
	}
	if s.set(watchFlag) {
		if s.set(repairFlag) {
			return fmt.Errorf("--%s and --%s exclude each other", watchFlag.Name, repairFlag.Name)
		}
		return s.poll(func(s *session) (time.Duration, error) { return pollPause, s.look(names, severity) })
	}
	findings, err := s.audit(names, severity)
	if err != nil {
		return err
	}
	if len(findings) == 0 && s.nothingThere() {
		return ErrTold
	}
	if s.set(repairFlag) {
		repaired, err := s.repair(findings)
		switch {
		case err != nil:
			return err
		case !repaired && len(findings) > 0:
			s.note("nothing of this can be repaired without anybody's decision; what mends it is told below")
		case repaired:
			if findings, err = s.audit(names, severity); err != nil {
				return err
			}
		}
	}
	return s.tell(findings)
}

// look is one look of many.
func (s *session) look(names []string, severity audit.Severity) error {
	findings, err := s.audit(names, severity)
	if err != nil {
		return err
	}
	if len(findings) == 0 && s.nothingThere() {
		return nil
	}
	if err := s.tell(findings); !errors.Is(err, ErrTold) {
		return err
	}
	return nil
}

// audit reads the store and returns what is inconsistent: as bad as severity,
// and about one of names, unless there are none; and what that follows from.
func (s *session) audit(names []string, severity audit.Severity) ([]audit.Finding, error) {
	var items []store.Item
	err := s.bounded(func(s *session) (err error) {
		items, err = s.store.Everything(s.ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	all := audit.Check(items, time.Now())
	for _, name := range names {
		if !slices.ContainsFunc(all, func(f audit.Finding) bool { return f.About(name) }) &&
			!slices.ContainsFunc(items, func(i store.Item) bool { return isCalled(i, name) }) {
			s.note("the store holds nothing of the name " + name)
		}
	}
	isChosen := func(f audit.Finding) bool {
		return f.Severity() >= severity && (len(names) == 0 || slices.ContainsFunc(names, f.About))
	}
	causes := map[string]bool{}
	for _, f := range all {
		if isChosen(f) && f.Follows != "" {
			causes[f.Follows] = true
		}
	}
	return slices.DeleteFunc(all, func(f audit.Finding) bool { return !isChosen(f) && !causes[f.Object] }), nil
}

// isCalled reports whether a key of the store is, or names, something of a name.
func isCalled(i store.Item, name string) bool {
	return i.Key.Name == name || i.Path == name || i.Network != nil && (i.Network.ID == name || i.Network.Name == name)
}

// tell prints findings, and returns ErrTold if there is anything worse than a
// note.
func (s *session) tell(findings []audit.Finding) error {
	counts := map[audit.Severity]int{}
	for _, f := range findings {
		counts[f.Severity()]++
		if err := s.tellOne(f); err != nil {
			return fmt.Errorf("print %s: %w", f.Object, err)
		}
	}
	if !s.JSON {
		var sum []string
		for level := audit.Error; level >= audit.Note; level-- {
			if n := counts[level]; n == 1 {
				sum = append(sum, "1 "+level.String())
			} else if n > 1 {
				sum = append(sum, fmt.Sprintf("%d %ss", n, level))
			}
		}
		if _, err := fmt.Fprintln(s.Out, cmp.Or(strings.Join(sum, ", "), looksGood)); err != nil {
			return fmt.Errorf("print the result: %w", err)
		}
	}
	if counts[audit.Error]+counts[audit.Warning] > 0 {
		return ErrTold
	}
	return nil
}

func (s *session) tellOne(f audit.Finding) error {
	if s.JSON {
		repair := ""
		if f.Repair != nil {
			repair = f.Repair.String()
		}
		return WriteJSON(s.Out, struct {
			Severity audit.Severity `json:"severity"`
			Kind     audit.Kind     `json:"kind"`
			Object   string         `json:"object"`
			What     string         `json:"what"`
			Effect   string         `json:"effect"`
			Follows  string         `json:"follows_from,omitempty"`
			Cure     string         `json:"cure,omitempty"`
			Remedy   []string       `json:"remedy,omitempty"`
			Advice   string         `json:"advice,omitempty"`
			Repair   string         `json:"repair,omitempty"`
		}{f.Severity(), f.Kind, f.Object, f.What, f.Effect(), f.Follows, f.Cure, f.Remedy, f.Advice, repair})
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s: %s (%s)\n", f.Severity(), f.Object, f.What, f.Kind)
	fmt.Fprintf(&b, "  traffic: %s\n", f.Effect())
	label := "mend:"
	line := func(text string) {
		fmt.Fprintf(&b, "  %-8s %s\n", label, text)
		label = ""
	}
	if f.Follows != "" {
		fmt.Fprintf(&b, "  follows from: %s, and goes when that is mended\n", f.Follows)
	}
	if f.Cure != "" {
		line(f.Cure)
		label = "or:"
	}
	for _, command := range f.Remedy {
		line(command)
	}
	if f.Advice != "" {
		line("(" + f.Advice + ")")
	}
	_, err := fmt.Fprintln(s.Out, b.String())
	return err
}

// repair shows what it would do about findings, asks, and does it. It reports
// whether there was anything to do.
func (s *session) repair(findings []audit.Finding) (bool, error) {
	var plan []audit.Repair
	seen := map[string]bool{}
	for _, f := range findings {
		if f.Repair != nil && !seen[f.Repair.String()] {
			seen[f.Repair.String()] = true
			plan = append(plan, *f.Repair)
		}
	}
	if len(plan) == 0 {
		return false, nil
	}
	slices.SortStableFunc(plan, func(a, b audit.Repair) int { return cmp.Compare(a.Action, b.Action) })
	steps := s.Out
	if s.JSON {
		steps = s.Err
	}
	for _, r := range plan {
		fmt.Fprintln(steps, "repair:", r)
	}
	if !s.set(yesFlag) {
		if err := confirm(s.In, s.Err, "this is done in this order"); err != nil {
			return false, err
		}
	}
	for _, r := range plan {
		if err := s.bounded(func(s *session) error { return s.carryOutRepair(r) }); err != nil {
			return true, fmt.Errorf("%s: %w; the repairs before it are done", r, err)
		}
	}
	return true, nil
}

// carryOutRepair does what a repair says if the store still is so that it has
// to be done, and says what it did.
func (s *session) carryOutRepair(r audit.Repair) error {
	switch r.Action {
	case audit.WriteGlobals:
		if err := s.store.WriteGlobals(s.ctx); err != nil {
			return err
		}
		return s.say("globals written")
	case audit.SyncDeviceIDs:
		return syncDeviceMap(s, nil)
	case audit.RebuildIPBooks:
		return rebuildIPBooks(s, nil)
	case audit.Renumber:
		id, err := s.store.Renumber(s.ctx, r.Key)
		if err != nil {
			return err
		}
		return s.say("%s has id %d", r.Key, id)
	case audit.ReleasePorts:
		released, err := s.store.ReleasePorts(s.ctx, r.Key.Name)
		if err != nil {
			return err
		}
		for _, port := range released {
			if err := s.say("switch %s port %s released from %s", port.Parent, port.Name, r.Key.Name); err != nil {
				return err
			}
		}
		return nil
	case audit.RemoveKey:
		for _, item := range append([]store.Item{r.Item}, r.More...) {
			if err := s.removeKey(item, r.While); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("unknown repair %d", r.Action)
}

// removeKey deletes a key if the store still holds it as it was read, and while,
// too.
func (s *session) removeKey(item store.Item, while *store.Item) error {
	gone, err := s.store.Remove(s.ctx, item, while)
	if err != nil {
		return err
	}
	if !gone {
		return s.say("%s has changed meanwhile, it stays", item.Path)
	}
	return s.say("%s deleted", item.Path)
}
