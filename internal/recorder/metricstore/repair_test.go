package metricstore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
)

// plainEngine is an engine that knows nothing of the store.
func plainEngine() *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{
		MaxSamples: 1_000_000, Timeout: time.Minute, LookbackDelta: 30 * time.Second, Parser: parser.NewParser(parser.Options{}),
	})
}

// readers are the ways to meet the damage of a block between two times.
func readers() map[string]func(s *metricstore.Store, w metricstore.Window, dir string) error {
	ctx := context.Background()
	queried := func(s *metricstore.Store, w metricstore.Window, read func(storage.Querier) error) error {
		q, err := s.Queryable().Querier(w.From.UnixMilli(), w.To.UnixMilli())
		if err != nil {
			return err
		}
		return read(q)
	}
	return map[string]func(s *metricstore.Store, w metricstore.Window, dir string) error{
		"an engine's range query": func(s *metricstore.Store, w metricstore.Window, _ string) error {
			q, err := plainEngine().NewRangeQuery(ctx, s.Queryable(), nil, "load_bytes", w.From, w.To, 15*time.Second)
			if err != nil {
				return err
			}
			defer q.Close()
			return q.Exec(ctx).Err
		},
		"an engine's instant query": func(s *metricstore.Store, w metricstore.Window, _ string) error {
			q, err := plainEngine().NewInstantQuery(ctx, s.Queryable(), nil, "count_over_time(load_bytes[1h])", w.To)
			if err != nil {
				return err
			}
			defer q.Close()
			return q.Exec(ctx).Err
		},
		"a reader that asks for no error": func(s *metricstore.Store, w metricstore.Window, _ string) error {
			return queried(s, w, func(q storage.Querier) error {
				set := q.Select(ctx, false, nil, labels.MustNewMatcher(labels.MatchEqual, "__name__", "load_bytes"))
				for set.Next() {
					for it := set.At().Iterator(nil); it.Next() != 0; {
					}
				}
				if err := q.Close(); err != nil {
					return err
				}
				return metricstore.ErrDamaged
			})
		},
		"a cut": func(s *metricstore.Store, w metricstore.Window, dir string) error {
			stats, err := s.Cut(ctx, w, nil, dir)
			if err == nil && stats.Damaged == 1 {
				return metricstore.ErrDamaged
			}
			return err
		},
	}
}

// TestRepairWhoeverReads damages samples, meets that in each way there is to read,
// and lets the store do what is due. The next read finds all that is whole.
func TestRepairWhoeverReads(t *testing.T) {
	for name, read := range readers() {
		t.Run(name, func(t *testing.T) {
			o, c := recorded(t)
			block := oldestBlock(t, o.Dir)
			flip(t, filepath.Join(block, "chunks", "000001"), 40)
			var lines bytes.Buffer
			o.Log = slog.New(slog.NewTextHandler(&lines, nil))
			s, _ := open(t, o)
			w := metricstore.Window{From: began(), To: c.Now()}
			require.ErrorIs(t, read(s, w, t.TempDir()), metricstore.ErrDamaged)
			require.NoError(t, s.Maintain(context.Background()))
			require.NoDirExists(t, block)

			st := s.Stats()
			require.EqualValues(t, 1, st.Repaired)
			require.Len(t, st.Repairs, 1)
			r := st.Repairs[0]
			require.Equal(t, filepath.Base(block), r.Block)
			require.Equal(t, 1, r.Series)
			if r.Saved == 0 || r.Saved >= r.Samples || r.Samples-r.Saved > 240 { // a chunk holds 120 to 240
				t.Errorf("%+v: one chunk was damaged", r)
			}
			require.Equal(t, 1, strings.Count(lines.String(), "\n"), lines.String())
			require.Contains(t, lines.String(), "block="+r.Block)
			require.Contains(t, r.Text(), r.Block)

			damaged := askOne(t, s, `count_over_time(load_bytes[1h])`, c.Now())
			require.EqualValues(t, r.Samples-r.Saved, 3600-damaged)
			require.EqualValues(t, 3600, askOne(t, s, `count_over_time(other_bytes[1h])`, c.Now()))
			require.NoError(t, s.Maintain(context.Background()))
			require.EqualValues(t, 1, s.Stats().Repaired)
		})
	}
}

// TestRepairIndex damages each part of an index by turns: what is asked about the
// time of the block fails once at most, and what lies beside is all there.
func TestRepairIndex(t *testing.T) {
	o, c := recorded(t)
	block := oldestBlock(t, o.Dir)
	index := filepath.Join(block, "index")
	whole, err := os.ReadFile(index)
	require.NoError(t, err)
	met := 0
	for offset := int64(len(whole)) / 4; offset < int64(len(whole))-64; offset += 16 {
		damaged := o
		damaged.Dir = filepath.Join(t.TempDir(), "metrics")
		require.NoError(t, os.CopyFS(damaged.Dir, os.DirFS(o.Dir)))
		flip(t, filepath.Join(damaged.Dir, "db", filepath.Base(block), "index"), offset)
		s, r, err := metricstore.Open(damaged)
		require.NoError(t, err)
		if len(r.Moved) == 0 && !asksAll(s, c) {
			met++
			require.NoError(t, s.Maintain(context.Background()), "byte %d", offset)
			require.True(t, asksAll(s, c), "byte %d", offset)
			require.EqualValues(t, 1, s.Stats().Repaired, "byte %d", offset)
		}
		require.GreaterOrEqual(t, askOne(t, s, "count_over_time(other_bytes[1h])", c.Now()), 2700.0, "byte %d", offset)
		require.NoError(t, s.Close())
	}
	if met < 3 {
		t.Errorf("damage was met %d times: nothing was tested", met)
	}
}

// asksAll asks for samples and labels of all, and tells whether all was answered.
func asksAll(s *metricstore.Store, c *clock) bool {
	ctx := context.Background()
	_, err := s.Instant(ctx, `{container_id="a"}[1h]`, c.Now())
	if err != nil {
		return false
	}
	q, err := s.Queryable().Querier(began().UnixMilli(), c.Now().UnixMilli())
	if err != nil {
		return false
	}
	defer func() { _ = q.Close() }()
	if _, _, err := q.LabelNames(ctx, nil); err != nil {
		return false
	}
	_, _, err = q.LabelValues(ctx, "__name__", nil, labels.MustNewMatcher(labels.MatchEqual, "container_id", "a"))
	return err == nil
}

// TestRepairKeepsLateMark damages a block that holds late samples only, as those do
// that were made before the clock went back: its copy must say so too, or the next
// start takes nothing that is older.
func TestRepairKeepsLateMark(t *testing.T) {
	o, c := recorded(t)
	block := oldestBlock(t, o.Dir)
	change(t, block, func(m *tsdb.BlockMeta) { m.Compaction.SetOutOfOrder() })
	flip(t, filepath.Join(block, "chunks", "000001"), 40)
	s, _ := open(t, o)
	_, err := s.Instant(context.Background(), "count_over_time(load_bytes[1h])", c.Now())
	require.ErrorIs(t, err, metricstore.ErrDamaged)
	require.NoError(t, s.Maintain(context.Background()))
	metas, err := filepath.Glob(filepath.Join(o.Dir, "db", "*", "meta.json"))
	require.NoError(t, err)
	copies := 0
	for _, name := range metas {
		if m := metaOf(t, filepath.Dir(name)); len(m.Compaction.Parents) == 1 && m.Compaction.Parents[0].ULID.String() == filepath.Base(block) {
			copies++
			require.True(t, m.Compaction.FromOutOfOrder())
		}
	}
	require.Equal(t, 1, copies)
}

func metaOf(t *testing.T, block string) (m tsdb.BlockMeta) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(block, "meta.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &m))
	return m
}

func change(t *testing.T, block string, with func(*tsdb.BlockMeta)) {
	t.Helper()
	m := metaOf(t, block)
	with(&m)
	text, err := json.Marshal(m)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(block, "meta.json"), text, 0o600))
}

// TestDamagedHead damages a chunk that is in no block yet. A cut takes the rest, and
// a query gets an error.
func TestDamagedHead(t *testing.T) {
	o, c := recorded(t)
	s, _ := open(t, o)
	damageHead(t, o.Dir)

	w := metricstore.Window{From: began(), To: c.Now()}
	stats, err := s.Cut(context.Background(), w, nil, t.TempDir())
	require.NoError(t, err)
	if stats.Damaged != 1 || stats.Samples < 3600+1800 || stats.Samples >= 2*3600 {
		t.Errorf("%+v", stats)
	}
	_, err = s.Instant(context.Background(), `{container_id="a"}[1h]`, c.Now())
	require.ErrorContains(t, err, "checksum")
}

// TestCutWithoutTemporaryFolder cuts where the host has no folder for temporary
// files, and leaves nothing in the store's own.
func TestCutWithoutTemporaryFolder(t *testing.T) {
	c := newClock()
	o := options(t, c)
	o.Block = time.Minute
	s, _ := open(t, o)
	dir := t.TempDir()
	t.Setenv("TMPDIR", filepath.Join(dir, "there is none"))
	record(t, s, c, 5*time.Minute)
	stats, err := s.Cut(context.Background(), metricstore.Window{From: began(), To: c.Now()}, nil, dir)
	require.NoError(t, err)
	require.Equal(t, 600, stats.Samples)
	left, err := filepath.Glob(filepath.Join(o.Dir, "cutting", "*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestLeftovers opens a store whose last run was killed while it cut, and while it
// kept to memory.
func TestLeftovers(t *testing.T) {
	o, _ := recorded(t)
	for _, name := range []string{"cutting/head123/chunks_head/000001", "memory/chunks_head/000001"} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(o.Dir, name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(o.Dir, name), []byte("left behind"), 0o600))
	}
	open(t, o)
	require.NoDirExists(t, filepath.Join(o.Dir, "cutting"))
	require.NoDirExists(t, filepath.Join(o.Dir, "memory"))
}
