package trace

import (
	"cmp"
	"slices"

	"tuplenet/flows"
)

// queued is a step that waits for its turn in a chain.
type queued struct {
	seen
	record *Record // that tells of it
}

// chain returns the steps of a packet in the order in which it made them. whole
// reports whether there are no gaps, see order.
func chain(records []Record) (steps []seen, whole bool) {
	all, whole := order(records)
	for _, s := range all {
		if !s.nothing {
			steps = append(steps, s.seen)
		}
	}
	return steps, whole
}

// order returns the steps of a packet in the order in which it made them. whole
// reports whether there are no gaps: every record is there, and the packet came
// to another chassis only where the one before says so.
//
// A packet carries the number of the last record made of it. That alone is not
// enough: where an edge gets the packet and an agent a copy, both go on counting
// from there. So a step that sends the packet through a tunnel says whose steps
// come next.
func order(records []Record) (steps []queued, whole bool) {
	whole = contiguous(records)
	queues := queue(records)
	pop := func(chassis string) queued {
		next := queues[chassis][0]
		queues[chassis] = queues[chassis][1:]
		steps = append(steps, next)
		return next
	}
	chassis := earliest(queues)
	for len(queues[chassis]) > 0 {
		s := pop(chassis)
		if s.stage != 0 { // nothing but the sequence says what comes next
			chassis = earliest(queues)
			continue
		}
		if to, sent := s.end(Tunnel); sent {
			if q := queues[chassis]; len(q) > 0 && q[0].is(flows.TableWanted) {
				pop(chassis) // the copy, of the same moment
			}
			if len(queues[to.Chassis]) > 0 {
				chassis = to.Chassis
				continue
			}
		}
		if len(queues[chassis]) == 0 {
			chassis = earliest(queues)
			whole = whole && chassis == ""
		}
	}
	return steps, whole
}

// contiguous reports whether the records are numbered from 1 without a gap.
func contiguous(records []Record) bool {
	numbers := make([]int, len(records))
	for i, r := range records {
		numbers[i] = r.Sequence
	}
	slices.Sort(numbers)
	numbers = slices.Compact(numbers)
	return len(numbers) > 0 && numbers[0] == 1 && numbers[len(numbers)-1] == len(numbers)
}

// queue returns the steps that each chassis tells, in order.
func queue(records []Record) map[string][]queued {
	queues := map[string][]queued{}
	looks := map[string]Header{}
	sorted := make([]*Record, len(records))
	for i := range records {
		sorted[i] = &records[i]
	}
	slices.SortStableFunc(sorted, func(a, b *Record) int { return cmp.Compare(a.Sequence, b.Sequence) })
	for _, r := range sorted {
		q := queues[r.Chassis]
		if r.Original {
			step := Step{Datapath: r.Datapath, From: r.From, To: r.To}
			q = append(q, queued{seen{Step: step, chassis: r.Chassis, stage: r.Stage, iface: r.Iface}, r})
		} else if len(r.Steps) == 0 {
			q = append(q, queued{seen{chassis: r.Chassis, nothing: true}, r})
		}
		for _, step := range r.Steps {
			if step.Header != nil {
				looks[r.Chassis] = *step.Header
			}
			s := queued{seen{Step: step, chassis: r.Chassis, header: looks[r.Chassis]}, r}
			lost, _ := s.end(Lost)
			if n := len(q); n > 0 && (step.Astray || lost.Next != 0) && q[n-1].is(step.Table) {
				q[n-1] = s // told again, as it was found out later
				continue
			}
			q = append(q, s)
		}
		queues[r.Chassis] = q
	}
	return queues
}

// earliest returns the chassis whose next step has the lowest number, or nothing
// if no steps are left.
func earliest(queues map[string][]queued) string {
	first := ""
	for chassis, q := range queues {
		if len(q) == 0 {
			continue
		}
		if first == "" || cmp.Or(cmp.Compare(q[0].record.Sequence, queues[first][0].record.Sequence), cmp.Compare(chassis, first)) < 0 {
			first = chassis
		}
	}
	return first
}

// inOrder returns records in the order in which the packet made them.
func inOrder(records []Record) []*Record {
	steps, _ := order(records)
	var out []*Record
	for _, s := range steps {
		if !slices.Contains(out, s.record) {
			out = append(out, s.record)
		}
	}
	return out
}
