package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

const (
	// maxList bounds the answer that a table is made of: about 45,000
	// containers of 1.4 KB (measured with 200).
	maxList = 64 << 20
	// maxTable bounds what is kept of it, the more so as events add to it.
	maxTable = 64 << 20
	// entryCost stands for the maps and headers of one container.
	entryCost = 512
	// maxElement bounds one container of a list, as the projection does.
	maxElement = 16 << 20
	// longestLabel is what is kept of a label for rules to match.
	longestLabel = 4096
)

var (
	errAmbiguous = errors.New("several ids begin so")
	errTable     = errors.New("too many containers")
)

// table is the containers by id and name. It has no lock of its own.
type table struct {
	byID   map[string]Container
	byName map[string]string // -> id
	bytes  int
}

func newTable() *table { return &table{byID: map[string]Container{}, byName: map[string]string{}} }

func (t *table) add(c Container) error {
	t.remove(c.ID)
	c.Labels = cutLabels(c.Labels)
	t.bytes += cost(c)
	if t.bytes > maxTable {
		t.bytes -= cost(c)
		return fmt.Errorf("%w: more than %d bytes", errTable, maxTable)
	}
	t.byID[c.ID] = c
	if c.Name != "" {
		t.byName[c.Name] = c.ID
	}
	return nil
}

// cutLabels keeps one container with absurd labels from filling the table.
func cutLabels(labels map[string]string) map[string]string {
	for key, value := range labels {
		if len(value) > longestLabel {
			labels[key] = strings.Clone(value[:longestLabel])
		}
	}
	return labels
}

func (t *table) remove(id string) {
	c, ok := t.byID[id]
	if !ok {
		return
	}
	t.bytes -= cost(c)
	delete(t.byID, id)
	// The name may have gone to another one already.
	if t.byName[c.Name] == id {
		delete(t.byName, c.Name)
	}
}

func cost(c Container) int {
	n := entryCost + len(c.ID) + len(c.Name) + len(c.Image) + len(c.ImageID) + len(c.State)
	for key, value := range c.Labels {
		n += len(key) + len(value) + 32
	}
	return n
}

func (t *table) get(id string) (Container, error) {
	c, ok := t.byID[id]
	if !ok {
		return Container{}, noSuchContainer(id)
	}
	return c, nil
}

func (t *table) all() []Container {
	list := make([]Container, 0, len(t.byID))
	for _, c := range t.byID {
		list = append(list, c)
	}
	return list
}

// resolve follows dockerd: full id, name, unique prefix of an id.
func (t *table) resolve(ref string, visible func(Container) bool) (Container, error) {
	sees := func(c Container) bool { return visible == nil || visible(c) }
	if c, ok := t.byID[ref]; ok && sees(c) {
		return c, nil
	}
	// dockerd's names begin with a slash, which may be said or not.
	if c, ok := t.byID[t.byName[strings.TrimPrefix(ref, "/")]]; ok && sees(c) {
		return c, nil
	}
	if ref == "" {
		return Container{}, noSuchContainer(ref)
	}
	var found Container
	for id, c := range t.byID {
		if !strings.HasPrefix(id, ref) || !sees(c) {
			continue
		}
		if found.ID != "" {
			return Container{}, errAmbiguous
		}
		found = c
	}
	if found.ID == "" {
		return Container{}, noSuchContainer(ref)
	}
	return found, nil
}

// parseContainers reads the answer of /containers/json:
//
//	[{"Id":"<64 hex>","Names":["/web","/other/alias"],"Image":"nginx:1",
//	  "ImageID":"sha256:<hex>","State":"running","Labels":{"k":"v"},...},...]
//
// Names with a second slash are legacy links; they are not kept.
func parseContainers(src io.Reader) (*table, error) {
	decoder := json.NewDecoder(src)
	if token, err := decoder.Token(); err != nil || token != json.Delim('[') {
		return nil, unexpectedJSON("list", token, err)
	}
	t := newTable()
	for decoder.More() {
		before := decoder.InputOffset()
		var c struct {
			ID      string `json:"Id"`
			Names   []string
			Image   string
			ImageID string
			State   string
			Labels  map[string]string
		}
		if err := decoder.Decode(&c); err != nil {
			return nil, unexpectedJSON("container", nil, err)
		}
		if !isID(c.ID) || decoder.InputOffset()-before > maxElement {
			return nil, fmt.Errorf("%w: container %.80q of %d bytes", ErrUnexpected, c.ID, decoder.InputOffset()-before)
		}
		err := t.add(Container{
			ID: c.ID, Name: plainName(c.Names), Image: c.Image, ImageID: c.ImageID, State: c.State, Labels: c.Labels,
		})
		if err != nil {
			return nil, err
		}
	}
	if token, err := decoder.Token(); err != nil {
		return nil, unexpectedJSON("end of list", token, err)
	}
	// An answer that was cut says so only here, and one that is too long too.
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, unexpectedJSON("end of answer", nil, err)
	}
	return t, nil
}

// unexpectedJSON keeps an error of the connection apart from one of the text.
func unexpectedJSON(what string, token json.Token, err error) error {
	for _, known := range []error{ErrUnavailable, ErrClosed} {
		if errors.Is(err, known) {
			return err
		}
	}
	if err == nil {
		return fmt.Errorf("%w: parse %s: %.40q", ErrUnexpected, what, fmt.Sprint(token))
	}
	return fmt.Errorf("%w: parse %s: %w", ErrUnexpected, what, err)
}

func plainName(names []string) string {
	for _, name := range names {
		name = strings.TrimPrefix(name, "/")
		if !strings.Contains(name, "/") {
			return name
		}
	}
	return ""
}

// isID tells whether text is 64 lower-case hex digits.
func isID(text string) bool {
	return len(text) == 64 && strings.Trim(text, "0123456789abcdef") == ""
}

// changes are the actions after which a container's name or state is another.
// Labels and image never change.
var changes = map[string]bool{
	"create": true, "rename": true, "start": true, "restart": true, "die": true, "stop": true,
	"pause": true, "unpause": true, "destroy": true,
}

// parseChange returns the id of the container that an event is about, or "" if
// it changes nothing in the table:
//
//	{"Type":"container","Action":"destroy","Actor":{"ID":"<64 hex>",...},...}
func parseChange(event []byte) (id string, gone bool, err error) {
	var e struct {
		Type, Action string
		Actor        struct{ ID string }
	}
	if err := json.Unmarshal(event, &e); err != nil {
		return "", false, fmt.Errorf("%w: parse event: %w", ErrUnexpected, err)
	}
	if e.Type != "container" || !changes[e.Action] {
		return "", false, nil
	}
	if !isID(e.Actor.ID) {
		return "", false, fmt.Errorf("%w: event of container %.80q", ErrUnexpected, e.Actor.ID)
	}
	return e.Actor.ID, e.Action == "destroy", nil
}
