package agent

import (
	"container/heap"
	"time"
)

// agenda remembers what is to be done when, at most one time for each thing.
// Of things due at one time the one put first comes first.
type agenda[K comparable] struct {
	queue appointments[K]
	puts  uint64
}

type appointment[K comparable] struct {
	what K
	at   time.Time
	seq  uint64
}

func newAgenda[K comparable]() agenda[K] {
	return agenda[K]{queue: appointments[K]{index: map[K]int{}}}
}

// put sets the time of something, in place of the one it had.
func (a *agenda[K]) put(what K, at time.Time) {
	a.puts++
	p := appointment[K]{what, at, a.puts}
	if i, ok := a.queue.index[what]; ok {
		a.queue.list[i] = p
		heap.Fix(&a.queue, i)
		return
	}
	heap.Push(&a.queue, p)
}

func (a *agenda[K]) remove(what K) {
	if i, ok := a.queue.index[what]; ok {
		heap.Remove(&a.queue, i)
	}
}

// take removes and returns what has been due longest at the time now.
func (a *agenda[K]) take(now time.Time) (what K, ok bool) {
	if next, ok := a.next(); !ok || next.After(now) {
		return what, false
	}
	return heap.Pop(&a.queue).(appointment[K]).what, true
}

// next returns the time of what is due first.
func (a *agenda[K]) next() (at time.Time, ok bool) {
	if len(a.queue.list) == 0 {
		return time.Time{}, false
	}
	return a.queue.list[0].at, true
}

// appointments is the heap of an agenda.
type appointments[K comparable] struct {
	list  []appointment[K]
	index map[K]int // in list
}

func (q *appointments[K]) Len() int { return len(q.list) }

func (q *appointments[K]) Less(i, j int) bool {
	a, b := q.list[i], q.list[j]
	if c := a.at.Compare(b.at); c != 0 {
		return c < 0
	}
	return a.seq < b.seq
}

func (q *appointments[K]) Swap(i, j int) {
	q.list[i], q.list[j] = q.list[j], q.list[i]
	q.index[q.list[i].what], q.index[q.list[j].what] = i, j
}

func (q *appointments[K]) Push(x any) {
	p := x.(appointment[K])
	q.index[p.what] = len(q.list)
	q.list = append(q.list, p)
}

func (q *appointments[K]) Pop() any {
	last := len(q.list) - 1
	p := q.list[last]
	q.list = q.list[:last]
	delete(q.index, p.what)
	return p
}
