package dogstatsd_test

import (
	"fmt"
	"strings"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/dogstatsd"
)

// read parses a packet and writes down what came of it, a line for each line
// and, behind an exclamation mark, what was counted.
func read(p *dogstatsd.Parser, packet string, truncated bool) []string {
	var got []string
	for kind := range p.Lines([]byte(packet), truncated) {
		switch kind {
		case dogstatsd.KindMetric:
			got = append(got, renderSample(p.Sample()))
		case dogstatsd.KindEvent:
			got = append(got, renderEvent(p.Event()))
		case dogstatsd.KindCheck:
			got = append(got, renderCheck(p.Check()))
		default:
			_, reason := p.Rejected()
			got = append(got, "reject "+reason.String())
		}
	}
	return append(got, renderCounts(&p.Counts)...)
}

func renderCounts(counts *dogstatsd.Counts) []string {
	var all []string
	for reason, n := range counts.All() {
		all = append(all, fmt.Sprintf("!%s %d", reason, n))
	}
	return all
}

func typeName(t dogstatsd.Type) string {
	return [...]string{
		"?", dogstatsd.Counter: "c", dogstatsd.Gauge: "g", dogstatsd.Set: "s",
		dogstatsd.Histogram: "h", dogstatsd.Timer: "ms", dogstatsd.Distribution: "d",
	}[t]
}

func renderSample(s *dogstatsd.Sample) string {
	text := fmt.Sprintf("%s %q", typeName(s.Type), s.Name)
	if s.Type == dogstatsd.Set {
		text += fmt.Sprintf(" %q", s.Member)
	} else {
		text += fmt.Sprintf(" %v", s.Values)
	}
	if s.Rate != 1 {
		text += fmt.Sprintf(" @%v", s.Rate)
	}
	if s.Timestamp != 0 {
		text += fmt.Sprintf(" T%d", s.Timestamp)
	}
	return text + renderTags(s.Tags) + renderSender(s.LocalData, s.ExternalData, s.Cardinality)
}

func renderTags(raw []byte) string {
	var text strings.Builder
	for tag := range dogstatsd.Tags(raw) {
		mark := [...]string{
			"#", dogstatsd.PseudoEntity: "entity ", dogstatsd.PseudoCardinality: "card ", dogstatsd.PseudoHost: "host ",
		}[tag.Pseudo]
		fmt.Fprintf(&text, " %s%s=%s", mark, tag.Key, tag.Value)
	}
	return text.String()
}

func renderSender(local, external, card []byte) string {
	text := ""
	if local != nil {
		data, ok := dogstatsd.ParseLocalData(local)
		text += fmt.Sprintf(" c(%s %d %t)", data.ContainerID, data.Inode, ok)
	}
	if external != nil {
		data, ok := dogstatsd.ParseExternalData(external)
		text += fmt.Sprintf(" e(%t %s %s %t)", data.Init, data.ContainerName, data.PodUID, ok)
	}
	if card != nil {
		c, ok := dogstatsd.ParseCardinality(card)
		text += fmt.Sprintf(" card(%s %t)", c, ok)
	}
	return text
}

func renderCommon(c *dogstatsd.Common) string {
	text := ""
	if c.Timestamp != 0 {
		text += fmt.Sprintf(" d:%d", c.Timestamp)
	}
	if c.Host != nil {
		text += fmt.Sprintf(" h:%s", c.Host)
	}
	return text + renderTags(c.Tags) + renderSender(c.LocalData, c.ExternalData, c.Cardinality)
}

func renderEvent(e *dogstatsd.Event) string {
	text := fmt.Sprintf("event %q %q %s %s", e.Title, e.Text, e.Priority, e.Alert)
	if e.AggregationKey != nil {
		text += fmt.Sprintf(" k:%s", e.AggregationKey)
	}
	if e.SourceType != nil {
		text += fmt.Sprintf(" s:%s", e.SourceType)
	}
	return text + renderCommon(&e.Common)
}

func renderCheck(c *dogstatsd.ServiceCheck) string {
	text := fmt.Sprintf("check %q %s", c.Name, c.Status)
	if c.Message != nil {
		text += fmt.Sprintf(" %q", c.Message)
	}
	return text + renderCommon(&c.Common)
}
