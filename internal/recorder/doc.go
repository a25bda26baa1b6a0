// Package recorder is the flight recorder: it keeps what the agent knows of a host
// at full detail for some hours, freezes what belongs to an incident, and shows it.
//
// This package has the interfaces by which components of the Collector meet; the
// recorder itself is put together in keeper, of parts that know nothing of each
// other: metricstore, eventstore, entity, live, capture, api, web. serve and evidence
// join them.
//
// Kernel needs: none; see the packages below for theirs.
package recorder
