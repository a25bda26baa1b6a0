package netnsreceiver

import (
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/tallymanhq/tallyman/internal/netns"
	"github.com/tallymanhq/tallyman/receiver/netnsreceiver/internal/metadata"
)

// Short names for the forms of the builder's methods.
type (
	timestamp = pcommon.Timestamp
	direction = metadata.AttributeNetworkIoDirection

	recordPlain      func(timestamp, int64)
	recordDirection  func(timestamp, int64, direction)
	recordInterface  func(timestamp, int64, direction, string)
	recordState      func(timestamp, int64, metadata.AttributeNetworkConnectionState)
	recordOpener     func(timestamp, int64, metadata.AttributeNetworkConnectionOpener)
	recordErrorTypes func(timestamp, int64, metadata.AttributeErrorType)
)

// recorder records the metrics of one namespace: a container's and the host's
// have the same under two names.
type recorder struct {
	bytes, packets, errors, dropped recordInterface
	connections                     recordState
	opened                          recordOpener
	retransmitted, reset            recordPlain
	listenOverflow, listenDropped   recordPlain
	datagrams                       recordDirection
	udpErrors                       recordErrorTypes
	entries, entriesLimit           recordPlain
}

func containerRecorder(mb *metadata.MetricsBuilder) recorder {
	return recorder{
		bytes:          mb.RecordContainerNetworkIoDataPoint,
		packets:        mb.RecordContainerNetworkPacketCountDataPoint,
		errors:         mb.RecordContainerNetworkErrorsDataPoint,
		dropped:        mb.RecordContainerNetworkPacketDroppedDataPoint,
		connections:    mb.RecordContainerNetworkTCPConnectionCountDataPoint,
		opened:         mb.RecordContainerNetworkTCPConnectionOpenedDataPoint,
		retransmitted:  mb.RecordContainerNetworkTCPSegmentRetransmittedDataPoint,
		reset:          mb.RecordContainerNetworkTCPResetDataPoint,
		listenOverflow: mb.RecordContainerNetworkTCPListenOverflowDataPoint,
		listenDropped:  mb.RecordContainerNetworkTCPListenDroppedDataPoint,
		datagrams:      mb.RecordContainerNetworkUDPDatagramCountDataPoint,
		udpErrors:      mb.RecordContainerNetworkUDPErrorDataPoint,
		entries:        mb.RecordContainerNetworkConntrackCountDataPoint,
		entriesLimit:   mb.RecordContainerNetworkConntrackLimitDataPoint,
	}
}

func hostRecorder(mb *metadata.MetricsBuilder) recorder {
	return recorder{
		bytes:          mb.RecordSystemNetworkIoDataPoint,
		packets:        mb.RecordSystemNetworkPacketCountDataPoint,
		errors:         mb.RecordSystemNetworkErrorsDataPoint,
		dropped:        mb.RecordSystemNetworkPacketDroppedDataPoint,
		connections:    mb.RecordSystemNetworkTCPConnectionCountDataPoint,
		opened:         mb.RecordSystemNetworkTCPConnectionOpenedDataPoint,
		retransmitted:  mb.RecordSystemNetworkTCPSegmentRetransmittedDataPoint,
		reset:          mb.RecordSystemNetworkTCPResetDataPoint,
		listenOverflow: mb.RecordSystemNetworkTCPListenOverflowDataPoint,
		listenDropped:  mb.RecordSystemNetworkTCPListenDroppedDataPoint,
		datagrams:      mb.RecordSystemNetworkUDPDatagramCountDataPoint,
		udpErrors:      mb.RecordSystemNetworkUDPErrorDataPoint,
		entries:        mb.RecordSystemNetworkConntrackCountDataPoint,
		entriesLimit:   mb.RecordSystemNetworkConntrackLimitDataPoint,
	}
}

const (
	receive  = metadata.AttributeNetworkIoDirectionReceive
	transmit = metadata.AttributeNetworkIoDirectionTransmit
)

func (r *recorder) device(at timestamp, d *netns.Interface) {
	name := utf8(d.Name)
	for _, side := range []struct {
		direction direction
		counters  *netns.Counters
	}{{receive, &d.Receive}, {transmit, &d.Transmit}} {
		r.bytes(at, int64(side.counters.Bytes), side.direction, name)
		r.packets(at, int64(side.counters.Packets), side.direction, name)
		r.errors(at, int64(side.counters.Errors), side.direction, name)
		r.dropped(at, int64(side.counters.Dropped), side.direction, name)
	}
}

func (r *recorder) protocols(at timestamp, v *protocolValues) {
	r.tcp(at, v)
	if v.have&netns.PartUDP != 0 {
		r.udp(at, v.udp)
	}
	if v.have&netns.PartConntrack != 0 {
		r.conntrack(at, v.conntrack)
	}
}

func (r *recorder) tcp(at timestamp, v *protocolValues) {
	t := v.tcp
	if v.have&netns.PartSNMP != 0 {
		r.connections(at, int64(t.Established), metadata.AttributeNetworkConnectionStateEstablished)
		r.opened(at, int64(t.ActiveOpens), metadata.AttributeNetworkConnectionOpenerActive)
		r.opened(at, int64(t.PassiveOpens), metadata.AttributeNetworkConnectionOpenerPassive)
		r.retransmitted(at, int64(t.RetransSegs))
		r.reset(at, int64(t.EstabResets))
	}
	if v.have&netns.PartSockstat != 0 {
		r.connections(at, int64(t.TimeWait), metadata.AttributeNetworkConnectionStateTimeWait)
	}
	if v.have&netns.PartNetstat != 0 {
		r.listenOverflow(at, int64(t.ListenOverflows))
		r.listenDropped(at, int64(t.ListenDrops))
	}
}

func (r *recorder) udp(at timestamp, u netns.UDP) {
	r.datagrams(at, int64(u.InDatagrams), receive)
	r.datagrams(at, int64(u.OutDatagrams), transmit)
	r.udpErrors(at, int64(u.NoPorts), metadata.AttributeErrorTypeNoPort)
	r.udpErrors(at, int64(u.InErrors), metadata.AttributeErrorTypeInErrors)
	r.udpErrors(at, int64(u.RcvbufErrors), metadata.AttributeErrorTypeRcvbuf)
	r.udpErrors(at, int64(u.SndbufErrors), metadata.AttributeErrorTypeSndbuf)
	r.udpErrors(at, int64(u.InCsumErrors), metadata.AttributeErrorTypeChecksum)
}

func (r *recorder) conntrack(at timestamp, c netns.Conntrack) {
	r.entries(at, int64(c.Count))
	if c.Limit > 0 {
		r.entriesLimit(at, int64(c.Limit))
	}
}
