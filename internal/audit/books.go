package audit

import (
	"fmt"
	"slices"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// books compares the books of what is taken with what there is. A book of
// addresses that is missing is made when it is needed.
func (a *audit) books() {
	devices := map[uint32]string{}
	ports := map[topology.Key]map[uint32]string{}
	for _, item := range a.items {
		if item.Role != store.Object || item.Err != nil {
			continue
		}
		parent := item.Key.ParentKey()
		enter := func(id uint16) {
			if ports[parent] == nil {
				ports[parent] = map[uint32]string{}
			}
			ports[parent][uint32(id)] = item.Key.Name
		}
		switch e := item.Entity.(type) {
		case topology.Switch:
			devices[e.ID] = item.Key.String()
		case topology.Router:
			devices[e.ID] = item.Key.String()
		case topology.SwitchPort:
			enter(e.ID())
		case topology.RouterPort:
			enter(e.ID())
		}
	}
	hasMap := false
	for _, item := range a.items {
		switch item.Role {
		case store.DeviceIDs:
			hasMap = true
			a.deviceIDs(item, devices)
		case store.Book:
			a.ipBook(item, ports[item.Key])
		}
	}
	if len(devices) > 0 && !hasMap {
		a.foundGlobal(DeviceIDsMissing, "globals/device_ids", Finding{What: "it is missing",
			Remedy: []string{Repair{Action: SyncDeviceIDs}.String()}, Repair: &Repair{Action: SyncDeviceIDs}})
	}
}

func (a *audit) deviceIDs(item store.Item, has map[uint32]string) {
	repair := &Repair{Action: SyncDeviceIDs}
	say := func(kind Kind, what string) {
		a.foundGlobal(kind, "globals/device_ids", Finding{What: what, Remedy: []string{repair.String()}, Repair: repair})
	}
	if item.Err != nil {
		say(DeviceIDsDamaged, fmt.Sprintf("it cannot be read: %v", item.Err))
		return
	}
	unlisted, leaked := compare(item.Used, has)
	if len(unlisted) > 0 {
		say(DeviceIDUnlisted, "it lacks "+count(unlisted, "id", func(id uint32) string { return fmt.Sprintf("%d of %s", id, has[id]) }))
	}
	if len(leaked) > 0 {
		say(DeviceIDLeaked, "no switch or router has "+count(leaked, "id", func(id uint32) string { return fmt.Sprint(id) })+" of it")
	}
}

func (a *audit) ipBook(item store.Item, has map[uint32]string) {
	repair := &Repair{Action: RebuildIPBooks}
	say := func(kind Kind, what string) {
		a.found(kind, item.Key, Finding{What: what, Remedy: []string{repair.String()}, Repair: repair})
		last := &a.findings[len(a.findings)-1]
		last.Object = "ip_book of " + last.Object
	}
	if item.Err != nil {
		say(IPBookDamaged, fmt.Sprintf("it cannot be read: %v", item.Err))
		return
	}
	unlisted, leaked := compare(item.Used, has)
	if len(unlisted) > 0 {
		say(AddressUnlisted, "it lacks "+count(unlisted, "port", func(id uint32) string { return has[id] }))
	}
	if len(leaked) > 0 {
		say(AddressLeaked, "no port has "+count(leaked, "address", lowHalf)+" of it")
	}
}

// lowHalf is how a book shows an address, of which it knows the last two bytes.
func lowHalf(id uint32) string { return fmt.Sprintf("x.x.%d.%d", id>>8&0xff, id&0xff) }

// compare returns the ids that a book lacks, and those in it that nobody has.
func compare(book []uint32, has map[uint32]string) (unlisted, leaked []uint32) {
	for _, id := range book {
		if _, ok := has[id]; !ok {
			leaked = append(leaked, id)
		}
	}
	for id := range has {
		if _, ok := slices.BinarySearch(book, id); !ok {
			unlisted = append(unlisted, id)
		}
	}
	slices.Sort(unlisted)
	return unlisted, leaked
}
