// Package evidence gives captures what the flight recorder holds: it implements
// the interfaces of [capture.Options] over the stores themselves.
//
//   - [Metrics] and [Events] cut a window out of a store, by container.
//   - [Entities] names containers, and says whose data belong together.
//   - [Story] draws the plots and the time line of the report.
//
// Drops are what a store has dropped between the last [Source.Note] before the
// window and the cut, so they are never too few: a store counts since it was
// opened, and knows no times. Gaps are found in the samples themselves.
//
// Concurrency: everything here is safe for concurrent use, as the stores are.
//
// Cost: a capture of the default scope, 32 containers of 60 series for 12 minutes
// at 1 s and their 10,000 events out of a store with 200 containers, takes 0.8 s of
// CPU and 2.6 MB on disk (AMD EPYC; page and compression included). The goals are 2 s
// and 8 MB for 24 containers.
//
//	go test -run '^$' -bench Capture -benchtime 3x ./internal/recorder/evidence
//
// Kernel needs: none.
package evidence
