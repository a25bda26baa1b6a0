package dogstatsd

const checkStart = "_sc"

// ServiceCheck is one line that is a service check. Its slices are valid until
// the next line is parsed.
type ServiceCheck struct {
	Common
	// Name is as sent and not empty.
	Name   []byte
	Status Status
	// Message has its newlines and colons back.
	Message []byte
}

// Status is what a service check found, with the numbers of the protocol.
type Status uint8

// The statuses.
const (
	StatusOK Status = iota
	StatusWarning
	StatusCritical
	StatusUnknown
)

// String is the word of the documentation, in lower case.
func (s Status) String() string { return statusNames[min(s, StatusUnknown)] }

var statusNames = [...]string{StatusOK: "ok", StatusWarning: "warning", StatusCritical: "critical", StatusUnknown: "unknown"}

// readCheck reads a line into p.check. On a Reason the check is worthless.
//
//	"_sc|" name "|" status *("|" field)
//
// As in the Datadog Agent the fourth byte is not looked at.
func (p *Parser) readCheck(line []byte) Reason {
	if len(line) <= len(checkStart)+1 {
		return CheckNoName
	}
	name, rest := field(line[len(checkStart)+1:])
	status, fields := field(rest)
	switch {
	case len(name) == 0:
		return CheckNoName
	case len(name) > MaxName:
		return NameTooLong
	case len(status) != 1 || status[0] < '0' || status[0] > '0'+byte(StatusUnknown):
		return CheckBadStatus
	}
	p.text = p.text[:0]
	p.check = ServiceCheck{Name: name, Status: Status(status[0] - '0')}
	bad, unknown := p.check.readFields(fields)
	if tooMany(p.check.Tags) {
		return TooManyTags
	}
	p.check.Message = p.unescape(p.check.Message, true)
	p.countFields(CheckBadField, bad, unknown)
	return reasonNone
}

func (c *ServiceCheck) readFields(rest []byte) (bad, unknown int) {
	for len(rest) > 0 {
		var text []byte
		if text, rest = field(rest); len(text) == 0 {
			continue
		}
		if key, value := fieldKey(text); key == 'm' {
			c.Message = value
			continue
		}
		switch c.set(text) {
		case fieldBad:
			bad++
		case fieldUnknown:
			unknown++
		}
	}
	return bad, unknown
}
