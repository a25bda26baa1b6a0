// Command statsd measures the uds_statsd receiver beside the statsd receiver of
// the Collector's contrib repository and the line parser of Prometheus'
// statsd_exporter. `make bench-statsd` builds what is needed and runs it; what it
// prints is the section on DogStatsD of docs/benchmarks.md.
//
//	scripts/bench-statsd.sh                    everything, about 25 minutes
//	scripts/bench-statsd.sh -quick             one short round of each, to see that it works
//	scripts/bench-statsd.sh -part receivers    some of the tables
//
// All times are CPU time of this process, which has the receiver and nothing else
// to do: senders are processes of their own, the consumer keeps what it gets and
// looks at it when no time is measured. Nothing is lost: each message is found
// again, in the receiver's own counters and in the sums that it handed out, or the
// run ends with an error. Rounds of ours and theirs alternate.
//
// The module is a nested one, so that what is compared never enters the product's
// go.mod. It needs root, as the receiver does to find out who sends.
package main
