package ctl

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"tuplenet/internal/store"
)

// shownUser is a user of etcd as it is printed.
type shownUser struct {
	User   string   `json:"user"`
	Is     []string `json:"is"` // parties, or root
	Others []string `json:"other_roles,omitempty"`
	Writes []string `json:"writes"`
}

func authShow(s *session, _ []string) error {
	return s.asRoot(func(s *session, isOn bool) error {
		users, odd, err := s.users()
		if err != nil {
			return err
		}
		chassis, err := s.chassisNames()
		if err != nil {
			return err
		}
		var shown []shownUser
		for _, u := range users {
			shown = append(shown, showUser(u))
		}
		without := slices.DeleteFunc(chassis, func(name string) bool {
			node := store.Party{Duty: store.DutyNode, Of: name}
			return slices.ContainsFunc(users, func(u store.User) bool { return u.Is(node) })
		})
		if s.JSON {
			return s.encodeUsers(isOn, shown, without, odd)
		}
		return s.printUsers(isOn, shown, without, odd)
	})
}

func showUser(u store.User) shownUser {
	shown := shownUser{User: u.Name, Is: []string{}, Writes: []string{}, Others: u.Others}
	if u.Root {
		shown.Is = append(shown.Is, store.Root)
	}
	for _, p := range u.Parties {
		shown.Is = append(shown.Is, p.String())
	}
	for _, g := range u.Writes {
		shown.Writes = append(shown.Writes, g.String())
	}
	return shown
}

func (s *session) encodeUsers(isOn bool, users []shownUser, without []string, odd []store.Party) error {
	lines := []any{struct {
		Enabled bool `json:"enabled"`
	}{isOn}}
	for _, u := range users {
		lines = append(lines, u)
	}
	for _, name := range without {
		lines = append(lines, struct {
			Chassis string `json:"chassis_without_user"`
		}{name})
	}
	for _, p := range odd {
		lines = append(lines, struct {
			Role string `json:"role_with_other_rights"`
		}{p.String()})
	}
	for _, line := range lines {
		if err := WriteJSON(s.Out, line); err != nil {
			return fmt.Errorf("print the users: %w", err)
		}
	}
	return nil
}

func (s *session) printUsers(isOn bool, users []shownUser, without []string, odd []store.Party) error {
	state := "off: who reaches etcd may do everything"
	if isOn {
		state = "on"
	}
	fmt.Fprintf(s.Out, "authentication is %s\n", state)
	table := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
	if len(users) > 0 {
		fmt.Fprintln(table, "\nUSER\tIS\tWRITES")
	}
	for _, u := range users {
		is := append(slices.Clone(u.Is), u.Others...)
		rows := max(1, len(is), len(u.Writes))
		for i := range rows {
			row := []string{"", "", ""}
			if i == 0 {
				row[0] = u.User
			}
			if i < len(is) {
				row[1] = is[i]
			}
			switch {
			case i < len(u.Writes):
				row[2] = u.Writes[i]
			case i == 0 && slices.Contains(u.Is, store.Root):
				row[2] = "everything, and users"
			case i == 0 && len(is) > 0:
				row[2] = "-"
			}
			fmt.Fprintln(table, strings.TrimRight(strings.Join(row, "\t"), "\t"))
		}
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print the users: %w", err)
	}
	if len(without)+len(odd) > 0 {
		fmt.Fprintln(s.Out)
	}
	for _, name := range without {
		fmt.Fprintf(s.Out, "chassis %s has no user; \"tpctl auth setup\" makes one\n", name)
	}
	for _, p := range odd {
		fmt.Fprintf(s.Out, "the role of %s has other rights than it should have; \"tpctl auth setup\" mends that\n", p)
	}
	return nil
}
