package aggregate_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/aggregate"
)

func TestPolicy(t *testing.T) {
	p, err := aggregate.NewPolicy(aggregate.Rules{
		Mappings: []aggregate.Mapping{
			{Match: "job.*.run.*", Name: "job.run", Tags: []aggregate.Tag{{"job", "$1"}, {"step", "s_${2}_x"}}},
			{Match: "job.*.size", Name: "job.$1.bytes"},
			{Match: "only*", Name: "$1"},
			{Match: "a+b", Name: "plus"},
		},
		Prefix: "p.",
		Exempt: []string{"datadog.dogstatsd.client."},
		Block:  []string{"p.secret", "p.noise.*", "*.debug"},
	})
	require.NoError(t, err)
	f := func(name, want string, tags ...aggregate.Tag) {
		t.Helper()
		for range 2 { // the second time from the cache
			m, keep := p.Apply(name)
			require.True(t, keep)
			require.Equal(t, want, m.Name)
			require.Equal(t, tags, m.Tags)
		}
	}
	f("job.backup.run.copy", "p.job.run", aggregate.Tag{"job", "backup"}, aggregate.Tag{"step", "s_copy_x"})
	f("job.a.b.run.c", "p.job.a.b.run.c") // a * does not match a dot
	f("xjob.a.run.c", "p.xjob.a.run.c")
	f("job.x.size", "p.job.x.bytes")
	f("onlyme", "p.me")
	f("only", "p.only") // its new name would be empty
	f("a+b", "p.plus")
	f("aab", "p.aab")
	f("datadog.dogstatsd.client.metrics", "datadog.dogstatsd.client.metrics")
	f("secrets", "p.secrets")
	for _, name := range []string{"secret", "noise.a", "noise.a.b", "x.debug"} {
		_, keep := p.Apply(name)
		require.False(t, keep, name)
	}
	// More names than the cache holds.
	for round := range 2 {
		for i := range 2500 {
			name := fmt.Sprintf("job.%d.size", i)
			m, keep := p.Apply(name)
			require.True(t, keep)
			require.Equal(t, fmt.Sprintf("p.job.%d.bytes", i), m.Name, round)
		}
	}
}

func TestPolicyRefuses(t *testing.T) {
	for _, rules := range []aggregate.Rules{
		{Mappings: []aggregate.Mapping{{Match: "", Name: "x"}}},
		{Mappings: []aggregate.Mapping{{Match: "x", Name: ""}}},
		{Mappings: []aggregate.Mapping{{Match: "a.**", Name: "x"}}},
		{Block: []string{""}},
	} {
		_, err := aggregate.NewPolicy(rules)
		require.ErrorContains(t, err, "compile")
	}
}

// Mapped names and names as sent must not be taken for each other.
func TestMappedNamesInTheTable(t *testing.T) {
	p, err := aggregate.NewPolicy(aggregate.Rules{
		Mappings: []aggregate.Mapping{
			{Match: "a.*", Name: "b", Tags: []aggregate.Tag{{"x", "$1"}}},
			{Match: "b", Name: "c"},
		},
	})
	require.NoError(t, err)
	r := newRig(t, aggregate.Settings{Policy: p})
	r.add(1, "a.1:1|c", "b:10|c|#x:1", "a.1:1|c|#x:1", "c:100|c|#x:1", "b:10|c")
	require.Equal(t, map[string]float64{"1 b|c x=1": 2, "1 c|c x=1": 110, "1 c|c": 10}, values(r.flush()))
}
