package bundle

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/redact"
)

// RedactOptions say what a second pass takes out.
type RedactOptions struct {
	// From and To are files; To is replaced if it is there. They may be the same.
	From, To string
	// WithoutEvents leaves the event segments out: they hold log records as they
	// came, which no pass can mask without breaking their checksums.
	WithoutEvents bool
	// WithoutArguments leaves all arguments of processes out.
	WithoutArguments bool
	// Names are the variables whose names may stay; nil means the default ones.
	Names []string
}

// Redact writes a capture anew without what looks like a secret in its text
// members, and returns its manifest, which says what was taken out. The report
// is left out: it repeats what stands in other members, and who opens the
// capture sees those.
func Redact(o RedactOptions) (*Manifest, error) {
	r, err := Open(o.From)
	if err != nil {
		return nil, err
	}
	m, err := o.rewrite(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, fmt.Errorf("redact capture: %w", err)
	}
	return m, nil
}

func (o RedactOptions) rewrite(r *Reader) (*Manifest, error) {
	m := *r.Manifest
	m.Redactions, m.Missing = slices.Clone(m.Redactions), slices.Clone(m.Missing)
	w, err := Create(o.To, m.Created)
	if err != nil {
		return nil, err
	}
	redactor := &redact.Redactor{Names: o.Names, Keep: keepIDs(&m)}
	if o.Names == nil {
		redactor.Names = redact.DefaultNames()
	}
	for _, name := range r.Names() {
		if why := o.leaveOut(name); why != "" {
			m.Missing = append(m.Missing, Missing{What: name, Why: why})
			continue
		}
		if err := o.member(r, w, name, redactor); err != nil {
			return nil, errors.Join(err, w.Discard())
		}
		m.count(name, redactor.Counts())
	}
	m.mask(redactor)
	m.count(ManifestName, redactor.Counts())
	if _, err := w.Finish(&m); err != nil {
		return nil, err
	}
	return &m, nil
}

func (o RedactOptions) leaveOut(name string) string {
	switch {
	case name == ReportName:
		return "left out by redact: open the capture to see it"
	case o.WithoutEvents && strings.HasPrefix(name, EventsDir+"/"):
		return "left out by redact"
	}
	return ""
}

// member copies one, masked if it is text.
func (o RedactOptions) member(r *Reader, w *Writer, name string, redactor *redact.Redactor) error {
	switch {
	case strings.HasPrefix(name, MetricsDir+"/"), strings.HasPrefix(name, EventsDir+"/"):
		return r.Into(w, name)
	}
	content, err := r.ReadFile(name)
	if err != nil {
		return err
	}
	if o.WithoutArguments {
		redactor.NoArgs = true
	}
	mask := redactor.JSON
	switch path.Ext(name) {
	case ".json":
	case ".jsonl":
		mask = redactor.Lines
	default:
		return w.Add(name, []byte(redactor.Text(string(content))))
	}
	masked, err := mask(content)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return w.Add(name, masked)
}

// Into copies a member to a writer, checked and without holding it in memory.
func (r *Reader) Into(w *Writer, name string) error {
	f, ok := r.files[name]
	if !ok {
		return fmt.Errorf("copy %.80q: %w", name, ErrMalformed)
	}
	from, err := r.members[name].Open()
	if err != nil {
		return fmt.Errorf("copy %s: %w: %w", name, ErrMalformed, err)
	}
	if err := errors.Join(w.Copy(name, from), from.Close()); err != nil {
		return err
	}
	if w.files[len(w.files)-1] != f {
		return fmt.Errorf("copy %s: %w: it is not what the manifest says", name, ErrMalformed)
	}
	return nil
}

func keepIDs(m *Manifest) func(string) bool {
	ids := map[string]bool{}
	for _, id := range m.Scope.Containers {
		ids[id] = true
	}
	for _, t := range m.Triggers {
		ids[t.Container.ID] = true
	}
	return func(run string) bool { return ids[run] }
}

// mask takes secrets out of the sentences of a manifest.
func (m *Manifest) mask(r *redact.Redactor) {
	m.Verdict = r.Text(m.Verdict)
	m.Triggers = slices.Clone(m.Triggers)
	for i := range m.Triggers {
		m.Triggers[i].Reason = r.Text(m.Triggers[i].Reason)
	}
	for i := range m.Missing {
		m.Missing[i].Why = r.Text(m.Missing[i].Why)
	}
}

// count adds to the list of what was taken out.
func (m *Manifest) count(where string, counts map[string]int) {
	for _, what := range redact.Whats(counts) {
		m.Redactions = append(m.Redactions, Redaction{Where: where, What: what, Count: counts[what]})
	}
}
