package caddymodule

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/agent"
	"github.com/picloud/picloud/agent/dump"
)

// TestWhatADeadBoardCosts in words.
func TestWhatADeadBoardCosts(t *testing.T) {
	now := time.Date(2026, 11, 28, 15, 0, 0, 0, time.Local)
	at := func(node string, rev int64, when time.Time) agent.KeptDump {
		return agent.KeptDump{Node: node, Manifest: dump.Manifest{Revision: rev, TakenAt: when, Size: 217088, Postgres: "15.18"}}
	}
	s := agent.Survey{
		Cluster: "home", Node: "pi-2", Host: "pi-1", Answers: true, Postgres: "15.18", Size: 9 << 20, Since: now.Add(-48 * time.Hour), Revision: 43, Every: 6 * time.Hour,
		Dumps: []agent.KeptDump{at("pi-1", 43, now), at("pi-3", 41, now.Add(-58*time.Minute))},
	}
	require.Equal(t, `database  on pi-1, answers since 2026-11-26 15:00; 9.0 MB, PostgreSQL 15.18
revision  43
dumps     every 6h
          pi-1: 15:00:00, revision 43, 212 kB
          pi-3: 14:02:00, revision 41, 212 kB
If pi-1 died now: what was changed since 14:02:00 (revision 41 to 43) would be lost, key-value writes included.
To bring it up on this node: picloud database restore --from pi-3
`, describeSurvey(s, now))
	s.Answers, s.Silent, s.Dumps, s.Every = false, []string{"pi-1"}, s.Dumps[:1], -1
	require.Equal(t, `database  on pi-1, does not answer
revision  43
dumps     by hand only
          pi-1: 15:00:00, revision 43, 212 kB
silent    pi-1
If pi-1 does not come back: all of the database would be lost, for no other node that answers keeps a dump.
`, describeSurvey(s, now))
	require.Contains(t, describeSurvey(agent.Survey{Elsewhere: true}, now), "those of whoever runs it")
	require.Contains(t, describeSurvey(agent.Survey{Host: "pi-1", Answers: true}, now), "this node is alone")

	newer := at("pi-3", 43, now)
	r := &agent.Restore{Survey: s, From: at("pi-2", 41, now.Add(-58*time.Minute)), Better: &newer, Aside: "/data/postgres.aside-1"}
	text := describeRestore(r, now)
	for _, part := range []string{
		`cluster "home" moves from pi-1, which does not answer, to pi-2`, "Lost is what was changed since 14:02:00 (revision 41 to 43), key-value writes included.",
		"A NEWER DUMP is on pi-3: revision 43", "pi-1 is a member no more", "is put aside: /data/postgres.aside-1", "Invitations are void",
	} {
		require.Contains(t, text, part)
	}
	r.Answers = true
	require.Contains(t, describeRestore(r, now), "ANSWERS")
	for d, want := range map[time.Duration]string{6 * time.Hour: "6h", 90 * time.Minute: "1h30m", 10 * time.Minute: "10m", 61 * time.Second: "1m1s"} {
		require.Equal(t, want, hours(d))
	}
}
