package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/tallymanhq/tallyman/internal/discovery/configfile"
)

// printer writes what was found, in one of both forms.
type printer struct {
	w      io.Writer
	isJSON bool
	text   discoverText
}

// first writes everything.
func (p *printer) first(out discoverOutput) error {
	if p.isJSON {
		encoder := json.NewEncoder(p.w)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		return encoder.Encode(out)
	}
	text, err := p.text.render(out)
	if err != nil {
		return err
	}
	_, err = io.WriteString(p.w, text)
	return err
}

// changeOutput is one line of -o json --watch, after the first document.
type changeOutput struct {
	Time      time.Time       `json:"time"`
	Gone      bool            `json:"gone"`
	Container containerOutput `json:"container"`
}

// changes writes the containers that are new, different or gone.
func (p *printer) changes(before, after discoverOutput, at time.Time) error {
	old := map[string]containerOutput{}
	for _, c := range before.Containers {
		old[c.ID] = c
	}
	for _, c := range after.Containers {
		was, isOld := old[c.ID]
		delete(old, c.ID)
		if isOld && reflect.DeepEqual(was, c) {
			continue
		}
		if err := p.change(changeOutput{Time: at, Container: c}); err != nil {
			return err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(old)) {
		if err := p.change(changeOutput{Time: at, Gone: true, Container: old[id]}); err != nil {
			return err
		}
	}
	return nil
}

func (p *printer) change(c changeOutput) error {
	if p.isJSON {
		encoder := json.NewEncoder(p.w)
		encoder.SetEscapeHTML(false)
		return encoder.Encode(c)
	}
	text := fmt.Sprintf("\n%s  %s is gone\n", c.Time.Format(time.TimeOnly), titleOf(c.Container))
	if !c.Gone {
		body, err := p.text.container(c.Container)
		if err != nil {
			return err
		}
		text = fmt.Sprintf("\n%s  %s", c.Time.Format(time.TimeOnly), body)
	}
	_, err := io.WriteString(p.w, text)
	return err
}

// discoverText writes for people. A line is as long as what it has to say: paths
// and expressions are to be copied.
type discoverText struct{ colour bool }

// wordColours are ECMA-48's, as those of doctor.
var wordColours = map[string]string{"START": "32", "REFUSED": "31", "BROKEN": "31", "waits": "33"}

// discoverIndent is the column of what is said, behind the longest word.
const discoverIndent = 11

func (d discoverText) render(out discoverOutput) (string, error) {
	var b strings.Builder
	b.WriteString(sourceText(out.Source))
	if len(out.Problems) > 0 {
		b.WriteString("\nThe agent does not start with this configuration:\n")
	}
	for _, problem := range out.Problems {
		d.line(&b, "BROKEN", problem)
	}
	for _, c := range out.Containers {
		text, err := d.container(c)
		if err != nil {
			return "", err
		}
		b.WriteString("\n" + text)
	}
	if len(out.UnmatchedRules) > 0 {
		fmt.Fprintf(&b, "\nRules that fit no container: %s\n", oneLine(strings.Join(out.UnmatchedRules, ", ")))
	}
	if len(out.Notes) > 0 {
		b.WriteByte('\n')
	}
	for _, note := range out.Notes {
		b.WriteString("Note: " + oneLine(note) + "\n")
	}
	b.WriteString("\n" + summaryText(out.Summary))
	return b.String(), nil
}

func sourceText(s discoverSource) string {
	rules := "There are no rules: no --config was given."
	if len(s.Config) > 0 {
		rules = fmt.Sprintf("Rules: %d, of receivers::%s in %s.", s.Rules, s.Receiver, strings.Join(s.Config, ", "))
	}
	labels := "Labels start nothing."
	if s.Labels {
		labels = "Labels may start " + listOr(s.AllowReceivers, "nothing: allow_receivers is empty") + "."
	}
	recognition := "Recognition is off."
	if s.Recognise {
		recognition = "Recognition is on."
	}
	return oneLine(rules) + "\n" + oneLine(labels) + " " + recognition + "\n"
}

func listOr(all []string, none string) string {
	if len(all) == 0 {
		return none
	}
	return strings.Join(all, ", ")
}

// shortID is as much of an id as docker ps shows.
const shortID = 12

func titleOf(c containerOutput) string {
	parts := []string{c.Name, c.Image, c.ID[:min(shortID, len(c.ID))]}
	return oneLine(strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), "  "))
}

// container is the block about one container.
func (d discoverText) container(c containerOutput) (string, error) {
	var b strings.Builder
	b.WriteString(titleOf(c) + "\n")
	for _, t := range c.Technologies {
		at := ""
		if t.Port != 0 {
			at = fmt.Sprintf(" at port %d", t.Port)
		}
		d.line(&b, "is", fmt.Sprintf("%s%s, %s: %s", t.Name, at, t.Confidence, t.By))
	}
	for _, s := range c.Starts {
		if err := d.start(&b, s); err != nil {
			return "", err
		}
	}
	for _, r := range c.Refused {
		d.line(&b, "REFUSED", r.Receiver)
		d.line(&b, "", askedBy(r)+": "+r.Error)
	}
	for _, w := range c.Waiting {
		d.line(&b, "waits", w)
	}
	for _, o := range c.Overruled {
		d.line(&b, "not", fmt.Sprintf("rule %s, which fits, too: %s", o.Rule, o.Why))
	}
	switch {
	case c.Ignored:
		d.line(&b, "ignored", "the container's label says so")
	case len(c.Starts)+len(c.Refused)+len(c.Waiting) == 0:
		d.line(&b, "nothing", "starts; ports: "+portsText(c.Endpoints))
	}
	return b.String(), nil
}

func askedBy(r refusedOutput) string {
	if r.FromRule {
		return "rule " + r.Rule
	}
	return "label " + r.Rule
}

func (d discoverText) start(b *strings.Builder, s startOutput) error {
	d.line(b, "START", s.Receiver+"  "+strings.Join(s.Signals, ", "))
	why := s.Why
	if s.FromRule {
		why = "rule " + s.Rule + ": " + strings.TrimPrefix(why, "rule ")
	}
	d.line(b, "", why)
	indent := strings.Repeat(" ", discoverIndent)
	config, err := configfile.Text(s.Config, indent)
	if err != nil {
		return err
	}
	if s.Endpoint != "" && !hasEndpoint(s.Config) {
		config = indent + "endpoint: " + s.Endpoint + " # if the receiver has this setting\n" + config
	}
	b.WriteString(config)
	if len(s.added) == 0 {
		return nil
	}
	resource, err := configfile.Text(map[string]any{"resource_attributes": s.added}, indent)
	b.WriteString(resource)
	return err
}

// hasEndpoint tells whether a configuration says itself where to ask: the prometheus
// receiver's does so within config.
func hasEndpoint(config map[string]any) bool {
	_, isSet := config["endpoint"]
	_, isScrape := config["config"]
	return isSet || isScrape
}

func portsText(endpoints []endpointOutput) string {
	var all []string
	for _, e := range endpoints {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s %s", e.Transport, e.Address, e.Executable)))
	}
	return listOr(all, "none that can be reached")
}

// line writes a word in its column and what is said.
func (d discoverText) line(b *strings.Builder, word, text string) {
	column := fmt.Sprintf("  %-*s", discoverIndent-2, word)
	if code := wordColours[word]; d.colour && code != "" {
		column = "  \x1b[" + code + "m" + word + "\x1b[0m" + strings.Repeat(" ", discoverIndent-2-len(word))
	}
	b.WriteString(strings.TrimRight(column+oneLine(text), " ") + "\n")
}

func summaryText(s discoverSummary) string {
	return fmt.Sprintf("Containers: %d, %d of them ignored. Receivers: %d would start, %d refused, %d waited for.\n",
		s.Containers, s.Ignored, s.Starts, s.Refused, s.Waiting)
}
