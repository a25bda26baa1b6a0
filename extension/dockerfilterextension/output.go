package dockerfilterextension

import (
	"encoding/json"
	"net/http"
	"time"
)

// writeWithin is how long a client may take to accept what is written: one that
// has stopped reading must not hold an answer of the engine.
const writeWithin = 10 * time.Second

// output is the way to the client. It is for one goroutine.
type output struct {
	http.ResponseWriter
	control *http.ResponseController
	status  int
	bytes   int64
	// begun: the head is written.
	begun bool
}

func newOutput(w http.ResponseWriter) *output {
	return &output{ResponseWriter: w, control: http.NewResponseController(w)}
}

// Write implements io.Writer. The client gets its time anew with each call.
func (o *output) Write(p []byte) (int, error) {
	o.renew()
	if o.status == 0 {
		o.status = http.StatusOK
	}
	o.begun = true
	n, err := o.ResponseWriter.Write(p)
	o.bytes += int64(n)
	return n, err
}

// renew gives the client its time anew: for each write, and for the end of an
// answer that was quiet before.
func (o *output) renew() {
	_ = o.control.SetWriteDeadline(time.Now().Add(writeWithin)) // an error is one of Write, too
}

// FlushError sends what is buffered.
func (o *output) FlushError() error { return o.control.Flush() }

// begin sends the head of a stream, whose first line may be long in coming.
func (o *output) begin() {
	o.status, o.begun = http.StatusOK, true
	o.renew()
	o.WriteHeader(http.StatusOK)
	_ = o.FlushError() // an error is one of Write, too
}

// message answers with an error, in the form that Docker's clients print.
func (o *output) message(status int, text string) {
	body, err := json.Marshal(struct {
		Message string `json:"message"`
	}{text})
	if err != nil {
		body = []byte("{}") // a string can always be encoded
	}
	o.Header().Set("Content-Type", "application/json")
	o.status, o.begun = status, true
	o.renew()
	o.WriteHeader(status)
	n, _ := o.ResponseWriter.Write(append(body, '\n')) // who has gone needs no error
	o.bytes += int64(n)
}

// json answers with a document of ours.
func (o *output) json(body []byte) {
	o.Header().Set("Content-Type", "application/json")
	_, _ = o.Write(body)
}

func (o *output) text(body string) {
	o.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = o.Write([]byte(body))
}

// lastLine ends a stream with a line that says why, as the engine does.
func (o *output) lastLine(text string) {
	line, err := json.Marshal(map[string]any{"error": text, "errorDetail": map[string]string{"message": text}})
	if err == nil {
		_, _ = o.Write(append(line, '\n'))
	}
}
