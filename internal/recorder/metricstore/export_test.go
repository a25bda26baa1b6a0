package metricstore

import (
	"path/filepath"

	"github.com/prometheus/prometheus/tsdb"
)

// OpenBare opens a TSDB alone, with the settings of a store.
func OpenBare(o Options) (*tsdb.DB, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{opts: o, rawDB: filepath.Join(o.Dir, "db")}
	return s.openDB(nil)
}
