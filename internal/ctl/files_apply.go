package ctl

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"tuplenet/internal/manifest"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// maxTries is how often apply starts again, without anything written in
// between, when others change what it is about to write.
const maxTries = 50

// application is one run of apply, or of another command that makes a lot.
type application struct {
	*session
	plan     func(*store.Snapshot) ([]manifest.Change, []string, error) // what there is to do, and to know about it
	tell     func() error                                               // what was done, or would be
	approved map[topology.Key]bool                                      // what may be deleted; nil before anybody was asked. Who asks nobody sets it
	done     []manifest.Change
	started  time.Time
}

func applyFiles(s *session, _ []string) error {
	keep, err := s.kept()
	if err != nil {
		return err
	}
	files := strings.Split(s.Flags[fileFlag.Name], ",")
	asks := s.set(pruneFlag) && !s.set(dryRunFlag) && !s.set(yesFlag)
	if asks && slices.Contains(files, "-") {
		return fmt.Errorf("standard input cannot both hold the description and confirm --%s: give --%s, too", pruneFlag.Name, yesFlag.Name)
	}
	wanted, err := s.readFiles()
	if err != nil {
		return err
	}
	if len(wanted) == 0 && s.set(pruneFlag) {
		return fmt.Errorf("the files describe nothing, and --%s would delete everything; \"tpctl ls del -r\" and \"tpctl lr del -r\" do that one by one", pruneFlag.Name)
	}
	a := &application{session: s, started: time.Now()}
	a.plan = func(snapshot *store.Snapshot) ([]manifest.Change, []string, error) {
		spares, err := a.spares(snapshot, wanted)
		if err != nil {
			return nil, nil, err
		}
		changes := wanted.Plan(stateOfStore(snapshot), s.set(pruneFlag), func(key topology.Key) bool {
			return keep(key) || spares.ofDocker(key) || a.approved != nil && !a.approved[key]
		})
		return changes, spares.notes(), nil
	}
	a.tell = func() error { return a.summary(len(wanted)) }
	return a.carryOut()
}

// carryOut does what there is to do, as often as others change something in
// between.
func (a *application) carryOut() error {
	for tries := 0; ; tries++ {
		before := len(a.done)
		err := a.attempt()
		if len(a.done) > before {
			tries = 0
		}
		if !errors.Is(err, store.ErrChanged) {
			return err
		}
		if tries == maxTries || a.ctx.Err() != nil {
			return a.interrupted(fmt.Errorf("others keep writing what is to be written: %w", err))
		}
	}
}

// attempt reads the store and does what is to be done. store.ErrChanged says that
// others have changed something since it was read.
func (a *application) attempt() error {
	var snapshot *store.Snapshot
	err := a.bounded(func(s *session) (err error) {
		snapshot, err = s.store.Snapshot(s.ctx)
		return err
	})
	if err != nil {
		return a.interrupted(err)
	}
	changes, known, err := a.plan(snapshot)
	if err != nil {
		return a.interrupted(err)
	}
	problems, notes := checkChanges(snapshot, changes, a.set(forceFlag))
	if err := problems.Err(); err != nil {
		return a.interrupted(err)
	}
	notes = append(known, notes...)
	if more := len(notes) - shown; more > 1 {
		notes = append(notes[:shown], fmt.Sprintf("and %d more like these", more))
	}
	if a.set(dryRunFlag) {
		a.note(notes...)
		a.done = changes
		return a.tell()
	}
	if a.approved == nil {
		a.note(notes...)
		if err := a.approve(changes); err != nil {
			return err
		}
	}
	a.tellSpared(snapshot, changes)
	if err := a.write(snapshot, changes); err != nil {
		return err
	}
	return a.tell()
}

// shown bounds how many deletions are listed before the question, and how many
// notes.
const shown = 20

// approve asks whether what is to be deleted may be.
func (a *application) approve(changes []manifest.Change) error {
	a.approved = map[topology.Key]bool{}
	var lines []string
	plugged := 0
	for _, c := range changes {
		if c.Action() != manifest.Delete {
			continue
		}
		a.approved[c.Key] = true
		lines = append(lines, changeLine(c))
		if p, ok := c.Before.(topology.SwitchPort); ok && p.Chassis != "" && !p.Outer() {
			plugged++
		}
	}
	if len(lines) == 0 || a.set(yesFlag) {
		return nil
	}
	what := fmt.Sprintf("%s will be deleted", plural(len(lines), "object"))
	if plugged > 0 {
		what += fmt.Sprintf(", %s of them with something plugged in", plural(plugged, "port"))
	}
	if more := len(lines) - shown; more > 0 {
		lines = append(lines[:shown], fmt.Sprintf("and %d more, which --%s shows", more, dryRunFlag.Name))
	}
	return confirm(a.In, a.Err, strings.Join(append(lines, what), "\n"))
}

// write writes changes, a transaction for each batch.
func (a *application) write(snapshot *store.Snapshot, changes []manifest.Change) error {
	if len(changes) == 0 {
		return nil
	}
	batches, err := snapshot.Batches(editsOf(manifest.Groups(changes)))
	if err != nil {
		return err
	}
	byKey := make(map[topology.Key]manifest.Change, len(changes))
	for _, c := range changes {
		byKey[c.Key] = c
	}
	if err := a.bounded(func(s *session) error { return s.store.WriteGlobals(s.ctx) }); err != nil {
		return a.interrupted(err)
	}
	bar := a.newProgress(len(changes))
	defer bar.clear()
	for _, batch := range batches {
		if err := a.bounded(func(s *session) error { return snapshot.Write(s.ctx, batch) }); err != nil {
			bar.clear()
			if errors.Is(err, store.ErrChanged) {
				return err
			}
			return a.interrupted(err)
		}
		for _, e := range batch {
			a.done = append(a.done, byKey[e.Key])
		}
		bar.show(len(batch))
	}
	return nil
}

// editsOf returns groups as the store takes them.
func editsOf(groups []manifest.Group) []store.Group {
	list := make([]store.Group, len(groups))
	for i, group := range groups {
		for _, unit := range group {
			var edits store.Unit
			for _, c := range unit {
				edits = append(edits, store.Edit{Key: c.Key, After: c.After})
			}
			list[i] = append(list[i], edits)
		}
	}
	return list
}

// interrupted says how far it came before err.
func (a *application) interrupted(err error) error {
	if len(a.done) == 0 {
		return err
	}
	return errors.Join(a.printDone(), fmt.Errorf("%w\n%s before that, all of it complete; run it again to go on", err, tallyOf(a.done)))
}

// namedOfKind bounds how many objects of a kind are named.
const namedOfKind = 50

// printDone names what was done, or would be. A dry run is for nothing else, and
// names all.
func (a *application) printDone() error {
	most := namedOfKind
	if a.set(verboseFlag) || a.set(dryRunFlag) {
		most = len(a.done)
	}
	return a.printChanges(a.done, most)
}

// summary tells what was done, or would be, for so many objects to be as they
// are described.
func (a *application) summary(described int) error {
	took, counts := time.Since(a.started), tallyOf(a.done)
	if err := a.printDone(); err != nil {
		return err
	}
	switch {
	case a.JSON:
		return WriteJSON(a.Out, counts.result(a.set(dryRunFlag), took))
	case len(a.done) == 0:
		return a.say("nothing to do: the store holds the %s described", plural(described, "object"))
	case a.set(dryRunFlag):
		return a.say("dry run: %s", counts)
	}
	return a.say("%s in %.1f s", counts, took.Seconds())
}

// tally counts what was done, by what was done to which kind.
type tally map[manifest.Action]map[topology.Kind]int

func tallyOf(changes []manifest.Change) tally {
	t := tally{}
	for _, c := range changes {
		t.add(c)
	}
	return t
}

func (t tally) add(c manifest.Change) {
	if t[c.Action()] == nil {
		t[c.Action()] = map[topology.Kind]int{}
	}
	t[c.Action()][c.Key.Kind]++
}

func (t tally) count(a manifest.Action) int {
	sum := 0
	for _, n := range t[a] {
		sum += n
	}
	return sum
}

// String returns "3 switches, 200 ports created, 1 changed, 0 deleted".
func (t tally) String() string {
	made, created := t[manifest.Create], []string(nil)
	for _, k := range []struct {
		n    int
		noun string
	}{
		{made[topology.KindSwitch], "switch"},
		{made[topology.KindRouter], "router"},
		{made[topology.KindSwitchPort] + made[topology.KindRouterPort], "port"},
		{made[topology.KindStaticRoute], "route"},
		{made[topology.KindNAT], "NAT rule"},
	} {
		if k.n > 0 {
			created = append(created, plural(k.n, k.noun))
		}
	}
	if len(created) == 0 {
		created = []string{"0"}
	}
	return fmt.Sprintf("%s created, %d changed, %d deleted", strings.Join(created, ", "), t.count(manifest.Modify), t.count(manifest.Delete))
}

// result returns the counts as they are printed in JSON.
func (t tally) result(dryRun bool, took time.Duration) any {
	return struct {
		Created int     `json:"created"`
		Changed int     `json:"changed"`
		Deleted int     `json:"deleted"`
		DryRun  bool    `json:"dry_run,omitempty"`
		Seconds float64 `json:"seconds"`
	}{t.count(manifest.Create), t.count(manifest.Modify), t.count(manifest.Delete), dryRun, took.Seconds()}
}

// plural returns "1 port" or "2 ports".
func plural(n int, noun string) string {
	switch {
	case n == 1:
	case strings.HasSuffix(noun, "ch"), strings.HasSuffix(noun, "s"):
		noun += "es"
	default:
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// progress is a line that tells a person how far it is.
type progress struct {
	out         io.Writer // nil: nobody looks
	done, total int
}

func (a *application) newProgress(total int) *progress {
	p := &progress{total: total}
	if isTerminal(a.Err) {
		p.out = a.Err
	}
	return p
}

func (p *progress) show(more int) {
	p.done += more
	if p.out != nil {
		fmt.Fprintf(p.out, "\r%d of %s written", p.done, plural(p.total, "object"))
	}
}

func (p *progress) clear() {
	if p.out != nil {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
