package roles

import (
	"errors"
	"fmt"
	"testing"

	"tuplenet/internal/store"
)

func TestMissing(t *testing.T) {
	as := func(user string) *store.Store {
		t.Helper()
		st, err := store.New(store.Config{Endpoints: []string{"127.0.0.1:1"}, Username: user, Password: "x"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { st.Close() })
		return st
	}
	denied := fmt.Errorf("creating it: %w", store.ErrDenied)
	other := errors.New("away")
	plugin := store.Party{Duty: store.DutyPlugin, Of: "LS-A"}
	for _, tt := range []struct {
		err   error
		user  string
		party store.Party
		want  string
	}{
		{denied, "hv1", plugin, "creating it: permission denied; user hv1 lacks the role of a plugin for switch LS-A: tpctl auth add hv1 --plugin LS-A"},
		{denied, "d1", store.Party{Duty: store.DutyDocker, Of: "LR"}, "creating it: permission denied; user d1 lacks the role of Docker's plugin for router LR: tpctl auth add d1 --docker LR"},
		{denied, "d1", store.Party{Duty: store.DutyDocker}, "creating it: permission denied; user d1 lacks the role of Docker's plugin for any router: tpctl auth add d1 --docker ROUTER"},
		{other, "hv1", plugin, "away"},
	} {
		err := Missing(tt.err, as(tt.user), tt.party)
		if err.Error() != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("got %q, want %q", err, tt.want)
		}
		// Who knows more of it has said so before.
		if again := Missing(fmt.Errorf("once more: %w", err), as("x"), store.Party{Duty: store.DutyDocker}); again.Error() != "once more: "+tt.want {
			t.Errorf("got %q", again)
		}
	}
	if err := Missing(nil, as("hv1"), plugin); err != nil {
		t.Error(err)
	}
}
